import numpy as np
import pytest
from scipy.signal import welch

from device import synth


def controls(frames: int = 250) -> np.ndarray:
    return np.zeros((1, frames, synth.CONTROLS), np.float32)


def test_a_control_is_a_level_in_decibels() -> None:
    x = np.array([0, 3, 6], np.float32)
    assert synth.level(x) == pytest.approx([0, 10 ** (-45 / 20) - 10 ** (-90 / 20), 1 - 10 ** (-90 / 20)], rel=1e-4)


@pytest.mark.parametrize("pitch", [36, 61, 84.5])
def test_a_harmonic_sounds_at_its_frequency_and_level(pitch: float) -> None:
    levels = controls()
    levels[:, :, 1] = 0.25
    audio = synth.synthesize(levels, pitch)[0]
    hz = 2 * 440 * 2 ** ((pitch - 69) / 12)
    time_s = np.arange(len(audio)) / 16000
    found = 2 * np.mean(audio * np.exp(-2j * np.pi * hz * time_s))
    assert abs(found) == pytest.approx(0.25, rel=0.01)
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(0.25 / np.sqrt(2), rel=0.01)


def test_a_noise_band_sounds_in_its_band() -> None:
    levels = controls(1000)
    levels[:, :, synth.HARMONICS + 16] = 0.1  # of 65 bands from 0 to 8 kHz: 2 kHz
    frequency_hz, power = welch(synth.synthesize(levels, 60)[0], 16000, nperseg=2048)
    assert abs(np.sum(frequency_hz * power) / np.sum(power) - 2000) < 60
    inside = np.abs(frequency_hz - 2000) < 250
    assert power[inside].sum() > 0.95 * power.sum()


def test_equal_bands_give_back_the_noise() -> None:
    levels = controls(100)
    levels[:, :, synth.HARMONICS :] = 1 / synth.band_gain()
    audio = synth.synthesize(levels, 60)[0]
    noise = synth.white_noise(6400)
    np.testing.assert_allclose(audio[64:-64], noise[64:-64], atol=1e-5)
    assert noise.std() == pytest.approx(synth.NOISE_RMS, rel=0.02)


def test_silence_is_silent_and_nothing_aliases() -> None:
    assert np.all(synth.synthesize(controls(), 60) == 0)
    assert synth.audible(100).sum() == 2  # 2637, 5274, not 7911 Hz


def test_what_is_decoded_in_parts_adds_up() -> None:
    random = np.random.default_rng(0)
    a, b = random.uniform(0, 1, (2, 1, 40, synth.CONTROLS)).astype("f")
    mixed = synth.synthesize((a + b) / 2, 57)
    np.testing.assert_allclose(mixed, (synth.synthesize(a, 57) + synth.synthesize(b, 57)) / 2, atol=2e-4)


def test_a_track_of_one_pitch_is_that_pitch_to_the_bit() -> None:
    levels = np.random.default_rng(0).uniform(0, 0.1, (2, 80, synth.CONTROLS)).astype("f")
    for pitch in (45, 60.25):
        steady = synth.synthesize(levels, pitch)
        np.testing.assert_array_equal(synth.synthesize(levels, np.full(10, pitch, np.float32)), steady)


def test_phase_runs_on_where_the_pitch_changes() -> None:
    track = np.array([57, 57, 57.5, 69, 69, 52, 60, 60], np.float32)
    levels = controls(64)
    levels[:, :, 2] = 0.3
    audio = synth.synthesize(levels, track)[0]
    # Summed sample by sample, as an oscillator would.
    hz = np.repeat([440 * 2 ** ((pitch - 69) / 12) for pitch in track.tolist()], 512)
    turns = np.concatenate([[0], np.cumsum(hz)[:-1]]) / 16000
    oscillator = 0.3 * np.sin(2 * np.pi * 3 * turns + synth.PHASES_RADIANS[2])
    np.testing.assert_allclose(audio, oscillator, atol=1e-4)


def test_only_the_harmonics_of_the_pitch_of_the_moment_sound() -> None:
    levels = controls(64)
    levels[:, :, :100] = 0.01
    audio = synth.synthesize(levels, np.array([60] * 4 + [100] * 4, np.float32))[0]
    spectrum = np.abs(np.fft.rfft(audio[2048:] * np.hanning(2048)))
    lines_hz = np.arange(len(spectrum)) * 16000 / 2048
    peaks = lines_hz[1:-1][(spectrum[1:-1] > spectrum[:-2]) & (spectrum[1:-1] > spectrum[2:]) & (spectrum[1:-1] > 1)]
    assert peaks == pytest.approx([2637, 5274], abs=8)
    assert np.sqrt(np.mean(audio[:2048] ** 2)) == pytest.approx(0.01 * np.sqrt(29 / 2), rel=0.02)  # 29 below 7.8 kHz


def test_a_track_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="9 pitches for 8 frames"):
        synth.synthesize(controls(64), np.full(9, 60.0))
