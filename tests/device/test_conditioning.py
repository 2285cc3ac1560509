import numpy as np
import pytest

from device import conditioning


@pytest.mark.parametrize("frames", [1, 500, 1000, 1001, 2500])
def test_a_note_comes_back_from_the_decoders_rows(frames: int) -> None:
    track = np.random.default_rng(0).normal(size=(frames, conditioning.CHANNELS)).astype("f")
    tensors = conditioning.to_tensors(track)
    assert tensors.shape[1:] == (conditioning.ROWS, conditioning.COLUMNS, conditioning.CHANNELS)
    np.testing.assert_array_equal(conditioning.from_tensors(tensors, frames), track)


def test_a_note_of_four_seconds_takes_one_invocation() -> None:
    assert len(conditioning.to_tensors(np.zeros((1000, conditioning.CHANNELS)))) == 1


def test_a_row_sees_what_lies_beside_it() -> None:
    track = np.arange(1.0, 1001)[:, None].repeat(conditioning.CHANNELS, 1)
    first, second, _, last = conditioning.to_tensors(track)[0, :, :, 0]
    margin = conditioning.MARGIN_FRAMES
    assert np.all(first[:margin] == 0)
    assert first[margin] == 1
    assert second[0] == 251 - margin
    assert np.all(last[-margin:] == 0)


def test_semitones_are_told_apart() -> None:
    steps = np.abs(np.diff([conditioning.hats(pitch) for pitch in range(24, 109)], axis=0)).max(axis=1)
    assert np.allclose(steps, conditioning.HAT_LEVEL / 12)
    assert np.array_equal(conditioning.hats(20), conditioning.hats(24))


def test_embeddings_are_interpolated_between_the_middles_of_their_frames() -> None:
    upsampled = conditioning.upsampling(3) @ np.array([[0.0], [1.0], [3.0]])
    assert upsampled[4, 0] == 0  # sample 256, the middle of the first frame
    assert upsampled[12, 0] == 1
    assert upsampled[16, 0] == pytest.approx(2)
    assert upsampled[23, 0] == 3


def test_a_track_of_pitches_is_fed_frame_by_frame() -> None:
    embedding = np.random.default_rng(0).normal(size=(3, 16)).astype("f")
    moving = conditioning.channels(embedding, np.array([48, 60.5, 60.5], np.float32))
    low, high = (conditioning.channels(embedding, pitch) for pitch in (48, 60.5))
    np.testing.assert_array_equal(moving, np.concatenate([low[:8], high[8:]]))
