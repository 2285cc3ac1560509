from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import welch

from device import synth
from device.synth import PARTIALS, Excitation, pitch_to_hz

SAMPLE_RATE_HZ = 16_000


def controls(frames: int = 250) -> np.ndarray:
    return np.zeros((1, frames, synth.CONTROLS), np.float32)


def some_levels(notes: int, frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 0.02, (notes, frames, synth.CONTROLS)).astype("f")


def some_cents(corners: int, seed: int = 1) -> np.ndarray:
    """The first corner's partials are harmonics, the others' are not, some of them."""
    cents = np.random.default_rng(seed).uniform(-200, 200, (corners, PARTIALS)).astype("f")
    cents[0], cents[:, ::3] = 0, 0
    return cents


def decibels(error: np.ndarray, reference: np.ndarray) -> float:
    return float(20 * np.log10(np.abs(error).max() / np.abs(reference).max() + 1e-12))


def amplitude(audio: np.ndarray, hz: float) -> float:
    """Of a sine of this frequency in audio, which has a whole number of its cycles or many."""
    return float(abs(2 * np.mean(audio * np.exp(-2j * np.pi * hz * np.arange(len(audio)) / SAMPLE_RATE_HZ))))


def test_a_control_is_a_level_in_decibels() -> None:
    x = np.array([0, 3, 6], np.float32)
    assert synth.level(x) == pytest.approx([0, 10 ** (-45 / 20) - 10 ** (-90 / 20), 1 - 10 ** (-90 / 20)], rel=1e-4)


@pytest.mark.parametrize("pitch", [36, 61, 84.5])
def test_a_harmonic_sounds_at_its_frequency_and_level(pitch: float) -> None:
    levels = controls()
    levels[:, :, 1] = 0.25
    audio = synth.synthesize(levels, pitch)[0]
    assert amplitude(audio, 2 * 440 * 2 ** ((pitch - 69) / 12)) == pytest.approx(0.25, rel=0.01)
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(0.25 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize("cents", [-144.4, 6.0, 1200.0])
def test_a_partial_sounds_where_the_recordings_lies(cents: float) -> None:
    levels = controls()
    levels[:, :, 2] = 0.25
    lies = np.zeros((1, PARTIALS), np.float32)
    lies[0, 2] = cents
    audio = synth.synthesize(levels, 60, Excitation(lies, np.ones((1, 1), np.float32)))[0]
    assert amplitude(audio, 3 * pitch_to_hz(60) * 2 ** (cents / 1200)) == pytest.approx(0.25, rel=0.01)
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(0.25 / np.sqrt(2), rel=0.01)


def test_a_noise_band_sounds_in_its_band() -> None:
    levels = controls(1000)
    levels[:, :, PARTIALS + 16] = 0.1  # of 65 bands from 0 to 8 kHz: 2 kHz
    frequency_hz, power = welch(synth.synthesize(levels, 60)[0], SAMPLE_RATE_HZ, nperseg=2048)
    assert abs(np.sum(frequency_hz * power) / np.sum(power) - 2000) < 60
    inside = np.abs(frequency_hz - 2000) < 250
    assert power[inside].sum() > 0.95 * power.sum()


def test_equal_bands_give_back_the_noise() -> None:
    levels = controls(100)
    levels[:, :, PARTIALS:] = 1 / synth.band_gain()
    audio = synth.synthesize(levels, 60)[0]
    noise = synth.white_noise(6400)
    np.testing.assert_allclose(audio[64:-64], noise[64:-64], atol=1e-5)
    assert noise.std() == pytest.approx(synth.NOISE_RMS, rel=0.02)


def test_levels_run_from_frame_to_frame_and_the_last_is_held() -> None:
    levels = controls(4)
    levels[0, :, 0] = [0, 0.2, 0.2, 0.6]
    audio = synth.synthesize(levels, 60)[0]
    tone = np.sin(2 * np.pi * (pitch_to_hz(60) * np.arange(256) / SAMPLE_RATE_HZ + synth.PHASES_TURNS[0]))
    between = np.interp(np.arange(256) + 0.5, np.arange(5) * 64, [0, 0.2, 0.2, 0.6, 0.6])
    np.testing.assert_allclose(audio, between * tone, atol=1e-4)


def test_silence_is_silent() -> None:
    assert np.all(synth.synthesize(controls(), 60) == 0)


@pytest.mark.parametrize(("pitch", "slot", "cents", "sounds"), [
    (100, 1, 0, True), (100, 2, 0, False), (100, 2, -100, True), (60, 29, 0, False), (60, 28, 0, True),
    (60, 28, 100, False), (60, 99, -3000, True),
])
def test_what_would_alias_is_silent(pitch: float, slot: int, cents: float, sounds: bool) -> None:
    """Of pitch 100 the harmonics are at 2637, 5274, 7911 Hz; of 60 the twenty-ninth at 7587, the thirtieth at 7849."""
    levels, lies = controls(), np.zeros((1, PARTIALS), np.float32)
    levels[:, :, slot], lies[0, slot] = 0.1, cents
    audio = synth.synthesize(levels, pitch, Excitation(lies, np.ones((1, 1), np.float32)))
    assert bool(np.abs(audio).max() > 0.05) is sounds


def test_what_is_decoded_in_parts_adds_up() -> None:
    random = np.random.default_rng(0)
    a, b = random.uniform(0, 1, (2, 1, 40, synth.CONTROLS)).astype("f")
    mixed = synth.synthesize((a + b) / 2, 57)
    np.testing.assert_allclose(mixed, (synth.synthesize(a, 57) + synth.synthesize(b, 57)) / 2, atol=2e-4)


def test_excitations_mix_as_their_corners_do() -> None:
    levels = some_levels(1, 60)
    cents = some_cents(4)
    corners = [synth.synthesize(levels, 50.3, Excitation(cents, np.eye(4, dtype="f")[i : i + 1]))[0] for i in range(4)]
    weights = np.array([[0.4, 0.3, 0.2, 0.1], [0.5, 0, 0.5, 0], [0.25] * 4], np.float32)
    mixed = synth.synthesize(np.repeat(levels, 3, axis=0), 50.3, Excitation(cents, weights))
    assert min(np.abs(a - b).max() for a, b in pairwise(corners)) > 0.05
    for sound, weight in zip(mixed, weights, strict=True):
        expected = sum(w * corner for w, corner in zip(weight, corners, strict=True))
        assert decibels(sound - expected, expected) < -100


def test_a_corner_alone_is_as_if_there_were_no_others() -> None:
    levels, cents = some_levels(2, 40), some_cents(3)
    together = synth.synthesize(levels, 60, Excitation(cents, np.array([[0, 1, 0], [0, 0, 1]], np.float32)))
    for i, sound in enumerate(together):
        alone = synth.synthesize(levels[i : i + 1], 60, Excitation(cents[i + 1 : i + 2], np.ones((1, 1), np.float32)))
        assert decibels(sound - alone[0], sound) < -100


def test_harmonic_corners_are_harmonics_however_they_are_weighted() -> None:
    levels = some_levels(1, 40)
    plain = synth.synthesize(levels, 60)
    weighted = synth.synthesize(levels, 60, Excitation(np.zeros((4, PARTIALS), "f"), np.full((1, 4), 0.25, "f")))
    assert decibels(weighted - plain, plain) < -100


LOOP_START, CYCLE = 12 * 256, 9 * 256


@pytest.mark.parametrize("pitch", [21.0, 47.3, 60.0, 97.7])
def test_a_loop_repeats_itself_exactly(pitch: float) -> None:
    """Where the levels do. After it comes the next one, and a loop's end runs into its beginning."""
    body, loop = some_levels(2, LOOP_START // 64, seed=2), some_levels(2, CYCLE // 64, seed=3)
    levels = np.concatenate([body, loop, loop, loop], axis=1)
    excitation = Excitation(some_cents(2), np.array([[1, 0], [0.3, 0.7]], np.float32))
    audio = synth.synthesize(levels, pitch, excitation, CYCLE, LOOP_START)
    first, second = audio[:, LOOP_START:][:, :CYCLE], audio[:, LOOP_START + CYCLE :][:, :CYCLE]
    assert np.abs(first).max() > 0.05
    assert decibels(second - first, first) < -100
    last = audio[:, LOOP_START + 2 * CYCLE : -64]  # the very last level is held
    assert decibels(last - first[:, :-64], first) < -100
    straight = synth.synthesize(levels, pitch, excitation)
    assert decibels(straight[:, LOOP_START + CYCLE :][:, :CYCLE] - straight[:, LOOP_START:][:, :CYCLE], first) > -30


def test_the_noise_before_a_loop_is_the_shared_one() -> None:
    levels = controls((LOOP_START + 2 * CYCLE) // 64)
    levels[:, :, PARTIALS:] = 1 / synth.band_gain()
    audio = synth.synthesize(levels, 60, None, CYCLE, LOOP_START)[0]
    noise = synth.white_noise(len(audio))
    until = LOOP_START - 64 + CYCLE  # where it would go on, and repeats instead
    np.testing.assert_allclose(audio[64:until], noise[64:until], atol=1e-5)
    again = noise[LOOP_START - 64 :][: len(audio) - until]
    np.testing.assert_allclose(audio[until + 64 : -64], again[64:-64], atol=1e-5)


@pytest.mark.parametrize("pitch", [33.4, 60.0, 71.2])
def test_harmonics_stay_harmonics_in_a_loop(pitch: float) -> None:
    levels = controls(2 * CYCLE // 64)
    levels[:, :, :PARTIALS] = 0.01
    audio = synth.synthesize(levels, pitch, None, CYCLE)[0]
    cycles = round(pitch_to_hz(pitch) * CYCLE / SAMPLE_RATE_HZ)
    assert abs(pitch_to_hz(pitch) * CYCLE / SAMPLE_RATE_HZ - cycles) > 0.02  # or there were nothing to round
    lines = np.abs(np.fft.rfft(audio[:CYCLE])) * 2 / CYCLE
    heard = np.flatnonzero(lines > 0.005)
    top = int(synth.HIGHEST_HZ / (cycles * SAMPLE_RATE_HZ / CYCLE))
    assert heard.tolist() == [k * cycles for k in range(1, min(top, PARTIALS) + 1)]
    assert lines[heard] == pytest.approx(0.01, rel=0.01)


def test_partials_are_rounded_each_by_less_than_half_a_cycle() -> None:
    levels, cents = controls(2 * CYCLE // 64), some_cents(2)[1:]
    levels[:, :, 10] = 0.1
    audio = synth.synthesize(levels, 60, Excitation(cents, np.ones((1, 1), np.float32)), CYCLE)[0]
    asked_hz = 11 * pitch_to_hz(60) * 2 ** (cents[0, 10] / 1200)
    heard = int(np.argmax(np.abs(np.fft.rfft(audio[:CYCLE]))))
    assert amplitude(audio, heard * SAMPLE_RATE_HZ / CYCLE) == pytest.approx(0.1, rel=0.01)
    off_by_hz = abs(heard * SAMPLE_RATE_HZ / CYCLE - asked_hz)
    assert off_by_hz <= 0.5 * SAMPLE_RATE_HZ / CYCLE * (1 + 11)  # its own rounding, and eleven times the fundamental's


def test_a_track_of_one_pitch_is_that_pitch_to_the_bit() -> None:
    levels = some_levels(2, 80)
    for pitch in (45, 60.25):
        steady = synth.synthesize(levels, pitch)
        np.testing.assert_array_equal(synth.synthesize(levels, np.full(10, pitch, np.float32)), steady)


@pytest.mark.parametrize("cents", [0.0, -144.4])
def test_phase_runs_on_where_the_pitch_changes(cents: float) -> None:
    track = np.array([57, 57, 57.5, 69, 69, 52, 60, 60], np.float32)
    levels, lies = controls(64), np.zeros((1, PARTIALS), np.float32)
    levels[:, :, 2], lies[0, 2] = 0.3, cents
    audio = synth.synthesize(levels, track, Excitation(lies, np.ones((1, 1), np.float32)))[0]
    # Summed sample by sample, as an oscillator would.
    hz = np.repeat([440 * 2 ** ((pitch - 69) / 12) for pitch in track.tolist()], 512)
    turns = 3 * 2 ** (cents / 1200) * np.concatenate([[0], np.cumsum(hz)[:-1]]) / SAMPLE_RATE_HZ
    oscillator = 0.3 * np.sin(2 * np.pi * (turns + synth.PHASES_TURNS[2]))
    np.testing.assert_allclose(audio, oscillator, atol=1e-4)


def test_only_the_harmonics_of_the_pitch_of_the_moment_sound() -> None:
    levels = controls(64)
    levels[:, :, :PARTIALS] = 0.01
    audio = synth.synthesize(levels, np.array([60] * 4 + [100] * 4, np.float32))[0]
    spectrum = np.abs(np.fft.rfft(audio[2048:] * np.hanning(2048)))
    lines_hz = np.arange(len(spectrum)) * SAMPLE_RATE_HZ / 2048
    peaks = lines_hz[1:-1][(spectrum[1:-1] > spectrum[:-2]) & (spectrum[1:-1] > spectrum[2:]) & (spectrum[1:-1] > 1)]
    assert peaks == pytest.approx([2637, 5274], abs=8)
    assert np.sqrt(np.mean(audio[:2048] ** 2)) == pytest.approx(0.01 * np.sqrt(29 / 2), rel=0.02)  # 29 below 7.8 kHz


def test_phases_do_not_depend_on_the_length() -> None:
    levels = some_levels(1, 120)
    whole = synth.synthesize(levels, 60)
    part = synth.synthesize(levels[:, :50], 60)
    np.testing.assert_allclose(part[:, : 49 * 64], whole[:, : 49 * 64], atol=1e-6)


def test_a_track_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="9 pitches for 8 frames"):
        synth.synthesize(controls(64), np.full(9, 60.0))
