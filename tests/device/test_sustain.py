import numpy as np
import pytest
from additive import COLUMN_SAMPLES, REACH, Additive

from device import conditioning, sustain
from device.recording import as_note
from device.synth import Excitation

RATE_HZ = 16_000
COLUMNS = 50  # of a loop
START = 125
MARGIN = conditioning.MARGIN_COLUMNS
AFTER = 1 + MARGIN  # columns behind the loop: the seam's, and what the decoder only hears


def some_tracks(seed: int = 0) -> np.ndarray:
    """Two notes' latents, wandering, [2, 250, 16]."""
    return np.cumsum(np.random.default_rng(seed).normal(size=(2, 250, 16)), axis=1).astype(np.float32)


HELD, DECAYING = 0, 1
DECAYS = np.array([1.9, 2.0])


def test_every_pitch_has_a_loop_that_is_in_tune():
    off = {pitch: abs(sustain.off_cents(pitch, sustain.loop_columns(pitch))) for pitch in range(128)}
    low, high = (max((off[pitch], pitch) for pitch in pitches) for pitches in (range(24, 48), range(48, 128)))
    print(f"worst loop: {low[0]:.2f} cents off at pitch {low[1]}, from 48 up {high[0]:.2f} at {high[1]}")
    assert low[0] <= 3
    assert high[0] <= 1


def test_a_loop_lies_in_the_held_part_and_begins_late():
    for pitch in np.arange(21, 109, 0.5):
        columns = sustain.loop_columns(pitch)
        assert columns in sustain.LOOP_COLUMNS
        assert 113 <= sustain.loop_column(columns) <= 125
        assert sustain.loop_column(columns) + columns <= 187.5
    early = [pitch for pitch in range(48, 109) if sustain.loop_column(sustain.loop_columns(pitch)) < START]
    assert not early


def test_a_body_is_the_note_then_a_loop_that_goes_on_into_itself():
    body = sustain.body(some_tracks(), DECAYS, COLUMNS)
    assert body.shape == (2, START + 16 + COLUMNS + AFTER, 16)
    assert body.dtype == np.float32
    np.testing.assert_array_equal(body[HELD, :START], some_tracks()[HELD, :START])
    np.testing.assert_array_equal(body[HELD, START : START + COLUMNS - 15],
                                  some_tracks()[HELD, START : START + COLUMNS - 15])
    for note in (HELD, DECAYING):  # what stands around the loop's two ends is the same
        np.testing.assert_array_equal(body[note, START : START + 16 + AFTER], body[note, START + COLUMNS :])


def test_a_body_is_three_segments_of_the_decoder_and_a_release_is_one() -> None:
    for pitch in range(128):
        columns = sustain.loop_columns(pitch)
        body = sustain.body(some_tracks(), DECAYS, columns).shape[1] - MARGIN
        assert 2 < body / conditioning.SEGMENT_COLUMNS <= 3
    assert sustain.RELEASE_COLUMNS <= conditioning.SEGMENT_COLUMNS
    assert MARGIN < sustain.CONTEXT


def test_a_loop_has_no_step():
    tracks = some_tracks()
    steps = np.abs(np.diff(tracks, axis=1)).max()
    for seed in range(5):
        body = sustain.body(some_tracks(seed), DECAYS, COLUMNS)
        # a fade adds to each step a sixteenth of what it bridges
        bridged = np.abs(some_tracks(seed)[HELD, START : START + COLUMNS] - some_tracks(seed)[HELD, START - 1]).max()
        assert np.abs(np.diff(body[HELD, START:], axis=0)).max() < steps + bridged / 8
    constant = np.ones((1, 250, 16), np.float32)
    np.testing.assert_array_equal(sustain.body(constant, np.zeros(1), COLUMNS), 1)
    np.testing.assert_array_equal(sustain.body(constant, np.full(1, 9.0), COLUMNS), 1)


def test_a_decaying_sound_stands_still_from_the_loop_on():
    tracks = some_tracks()
    body = sustain.body(tracks, DECAYS, COLUMNS)[DECAYING]
    np.testing.assert_array_equal(body[: START - 15], tracks[DECAYING, : START - 15])
    still = tracks[DECAYING, START - 4 : START + 4].mean(axis=0)
    np.testing.assert_allclose(body[START:], np.tile(still, (COLUMNS + 16 + AFTER, 1)), atol=1e-5)
    np.testing.assert_allclose(body[START - 1], (tracks[DECAYING, START - 1] + 15 * still) / 16, atol=1e-5)
    # the way there is straight: a track that is straight keeps within it
    line = np.linspace(0, 1, 250, dtype=np.float32)[None, :, None].repeat(16, axis=2)
    faded = sustain.body(line, np.full(1, 9.0), COLUMNS)[0, :, 0]
    assert (np.diff(faded[: START + 1]) >= 0).all()
    assert np.diff(faded).max() < 2 / 250


def test_what_falls_stands_at_the_same_level_before_and_behind_the_loops_start():
    gain = sustain.fall(np.array([0.0, 10.0]), COLUMNS)
    assert gain.shape == (2, (START + 16 + COLUMNS) * 256)
    np.testing.assert_array_equal(gain[0], 1)
    assert (gain[1, : START * 256 + 1] == 1).all()
    np.testing.assert_allclose(20 * np.log10(gain[1, (START + 16) * 256 :]), -10 * 16 * 256 / RATE_HZ, atol=1e-4)
    assert (np.diff(gain[1]) <= 0).all()
    assert np.abs(np.diff(gain[1])).max() < 1e-3


def test_a_release_is_the_notes_end_and_what_was_before_it():
    tracks = some_tracks()
    np.testing.assert_array_equal(sustain.release(tracks), tracks[:, 183 - MARGIN :])


@pytest.mark.parametrize("pitch", [30, 35, 60, 87])
def test_a_decoded_loop_goes_on_as_if_it_had_been_decoded_for_longer(pitch):
    columns = sustain.loop_columns(pitch)
    assert REACH < sustain.CONTEXT
    body = sustain.body(np.abs(some_tracks()), DECAYS, columns)
    excitation = Excitation(np.array([[0, 30, -70, 5] + [0] * 96], np.float32), np.ones((2, 1), np.float32))
    start, cycle = sustain.loop_start_samples(columns), columns * COLUMN_SAMPLES
    assert start == (sustain.loop_column(columns) + 16) * COLUMN_SAMPLES
    longer = np.concatenate([body[:, :-AFTER], *[body[:, -AFTER - columns : -AFTER]] * 2, body[:, -AFTER:]], axis=1)
    once = Additive().decode_columns(body, pitch, excitation, cycle, start, after=MARGIN)[:, : start + cycle]
    thrice = Additive().decode_columns(longer, pitch, excitation, cycle, start, after=MARGIN)[:, : start + 3 * cycle]
    looped = np.concatenate([once, once[:, start:], once[:, start:]], axis=1)
    assert np.abs(once).max() > 0.1
    np.testing.assert_allclose(looped, thrice, atol=2e-5 * np.abs(once).max())


# --- recordings that are shorter than a note's hold

def tone(seconds: float, fall_db_per_s: float = 0.0, release_s: float = 0.1, hz: float = 233.1) -> np.ndarray:
    at_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    level = 10 ** (-fall_db_per_s * at_s / 20) * np.minimum(1, at_s / 0.05)
    level *= np.clip((seconds - at_s) / release_s, 0, 1)
    return (level * (np.sin(2 * np.pi * hz * at_s) + 0.5 * np.sin(6 * np.pi * hz * at_s + 1))).astype(np.float32)


def levels_db(audio: np.ndarray) -> np.ndarray:
    """Of each 50 ms."""
    power = np.mean(audio[: len(audio) // 800 * 800].reshape(-1, 800) ** 2, axis=1)
    return 10 * np.log10(power + 1e-12)


@pytest.mark.parametrize("seconds", [0.35, 0.6, 1.0, 1.7, 2.5, 2.95])
def test_a_short_sound_that_stands_is_held_for_three_seconds_and_released(seconds):
    note = as_note(tone(seconds))
    held = sustain.held(note)
    assert held.shape == note.shape
    assert held.dtype == np.float32
    db = levels_db(held)
    assert np.ptp(db[4:58]) < 1.5
    assert db[66:].max() < -100
    np.testing.assert_array_equal(held[: round(0.2 * RATE_HZ)], note[: round(0.2 * RATE_HZ)])
    # no click: nothing but the two partials
    spectrum = np.abs(np.fft.rfft(held[RATE_HZ // 5 : 3 * RATE_HZ - 4_000] * np.hanning(3 * RATE_HZ - 4_000 - 3_200)))
    hz = np.arange(len(spectrum)) * RATE_HZ / (3 * RATE_HZ - 7_200)
    away = (np.abs(hz - 233.1) > 60) & (np.abs(hz - 699.3) > 60)
    assert 20 * np.log10(spectrum[away].max() / spectrum.max()) < -45


@pytest.mark.parametrize("audio", [
    tone(1.0, 20), tone(1.5, 12), tone(2.0, 60), tone(3.2), tone(3.3, release_s=1), tone(5.0), tone(0.1),
    tone(0.06, release_s=0.01), np.concatenate([np.ones(40), np.zeros(4_000)]).astype(np.float32)])
def test_what_dies_away_or_is_long_enough_or_has_no_steady_part_is_left_alone(audio):
    note = as_note(audio)
    np.testing.assert_array_equal(sustain.held(note), note)


@pytest.mark.parametrize("seed", range(20))
def test_any_sound_at_all_can_be_held(seed):
    rng = np.random.default_rng(seed)
    length = int(rng.integers(800, 64_000))
    audio = rng.normal(size=length) * np.repeat(rng.uniform(0, 1, 100), length // 100 + 1)[:length]
    held = sustain.held(as_note(audio.astype(np.float32)))
    assert held.shape == (64_000,)
    assert np.isfinite(held).all()
