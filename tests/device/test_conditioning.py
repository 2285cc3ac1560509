import numpy as np
import pytest

from device import conditioning, sustain
from device.conditioning import CHANNELS, COLUMNS, MARGIN_COLUMNS, ROWS, SEGMENT_COLUMNS
from device.preset import FRAMES


def some_track(columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(columns, CHANNELS)).astype("f")


@pytest.mark.parametrize("lengths", [[1], [67, 68, 69], [250, 250, 250], [272, 273], [188, 67] * 4, [3750]])
def test_tracks_come_back_from_the_decoders_rows(lengths: list[int]) -> None:
    tracks = [some_track(length, seed) for seed, length in enumerate(lengths)]
    tensors = conditioning.to_tensors(tracks)
    assert tensors.shape[1:] == (ROWS, COLUMNS, CHANNELS)
    assert (len(tensors) - 1) * ROWS < sum(-(-length // SEGMENT_COLUMNS) for length in lengths) <= len(tensors) * ROWS
    found = conditioning.from_tensors(tensors, lengths)
    assert len(found) == len(tracks)
    for track, back in zip(tracks, found, strict=True):
        np.testing.assert_array_equal(back, track)


def test_a_note_takes_one_invocation() -> None:
    assert len(conditioning.to_tensors([some_track(2 * FRAMES)])) == 1


@pytest.mark.parametrize("pitch", [21, 36, 60, 75, 108])
def test_a_wavetables_body_and_release_take_one_invocation(pitch: int) -> None:
    loop = sustain.loop_columns(pitch)
    body = sustain.loop_column(loop) + sustain.CONTEXT + loop
    assert len(conditioning.to_tensors([some_track(body), some_track(sustain.RELEASE_COLUMNS)])) == 1


def test_a_row_sees_what_lies_beside_it() -> None:
    track = np.arange(1.0, 251)[:, None].repeat(CHANNELS, 1)
    first, second, third, last = conditioning.to_tensors([track])[0, :, :, 0]
    assert np.all(first[:MARGIN_COLUMNS] == 0)
    assert first[MARGIN_COLUMNS] == 1
    assert second[0] == SEGMENT_COLUMNS + 1 - MARGIN_COLUMNS
    assert np.array_equal(third, np.arange(third[0], third[0] + COLUMNS))
    assert np.all(last[MARGIN_COLUMNS + 250 - 3 * SEGMENT_COLUMNS :] == 0)
    assert np.all(last[: MARGIN_COLUMNS + 250 - 3 * SEGMENT_COLUMNS] > 0)


def test_a_track_sees_nothing_of_its_neighbours() -> None:
    alone = conditioning.to_tensors([some_track(70, 1)])[0]
    after_another = conditioning.to_tensors([some_track(130), some_track(70, 1)])[0]
    np.testing.assert_array_equal(after_another[2:], alone[:2])
    assert np.all(alone[2:] == 0)


@pytest.mark.parametrize(("before", "after"), [(0, MARGIN_COLUMNS), (MARGIN_COLUMNS, 0), (5, 7), (MARGIN_COLUMNS,) * 2])
def test_context_is_heard_and_takes_no_place(before: int, after: int) -> None:
    track = some_track(SEGMENT_COLUMNS + before + after)
    rows = conditioning.to_tensors([track] * ROWS, before, after)
    assert rows.shape == (1, ROWS, COLUMNS, CHANNELS)
    np.testing.assert_array_equal(rows[0, 1, MARGIN_COLUMNS - before : COLUMNS - MARGIN_COLUMNS + after], track)
    assert np.all(rows[0, :, : MARGIN_COLUMNS - before] == 0)
    np.testing.assert_array_equal(conditioning.from_tensors(rows, [SEGMENT_COLUMNS] * ROWS)[2],
                                  track[before : len(track) - after])


def test_semitones_are_told_apart() -> None:
    steps = np.abs(np.diff([conditioning.hats(pitch) for pitch in range(24, 109)], axis=0)).max(axis=1)
    assert np.allclose(steps, conditioning.HAT_LEVEL / 12)
    assert np.array_equal(conditioning.hats(20), conditioning.hats(24))
    assert np.array_equal(conditioning.hats(120), conditioning.hats(108))
    assert np.allclose([conditioning.hats(pitch).sum() for pitch in np.arange(20, 115, 0.5)], conditioning.HAT_LEVEL)


def test_embeddings_are_interpolated_between_the_middles_of_their_frames() -> None:
    """The middle of a frame of 512 samples lies between its two columns, at a quarter of the way to the next."""
    track = conditioning.columns(np.array([[0.0], [1.0], [3.0]]))
    assert track.dtype == np.float32
    assert track[:, 0].tolist() == [0, 0.25, 0.75, 1.5, 2.5, 3]


def test_columns_keep_what_is_before_them() -> None:
    embeddings = np.random.default_rng(0).normal(size=(2, 3, 5, 16)).astype("f")
    tracks = conditioning.columns(embeddings)
    assert tracks.shape == (2, 3, 10, 16)
    np.testing.assert_allclose(tracks[1, 2], conditioning.columns(embeddings[1, 2]), atol=1e-6)
    np.testing.assert_allclose((tracks[0, 0] + tracks[1, 1]) / 2,
                               conditioning.columns((embeddings[0, 0] + embeddings[1, 1]) / 2), atol=1e-6)


def test_a_pitch_stands_beside_the_embedding_column_by_column() -> None:
    track = np.random.default_rng(0).normal(size=(6, 16)).astype("f")
    moving = conditioning.channels(track, np.array([48, 48, 60.5, 60.5, 60.5, 60.5], np.float32))
    low, high = (conditioning.channels(track, pitch) for pitch in (48, 60.5))
    assert moving.shape == (6, CHANNELS)
    np.testing.assert_array_equal(moving, np.concatenate([low[:2], high[2:]]))
    np.testing.assert_array_equal(low[:, :16], track)
    assert np.array_equal(low[3, 16:], [0, 0, 4, 0, 0, 0, 0, 0])
