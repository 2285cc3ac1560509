"""Controls to sound: harmonics of the asked pitch, and noise in bands, as DDSP does it (Engel et al., 2020).

A control frame every 64 samples (250 Hz) holds the levels of 100 harmonics and of 65 noise bands, in decibels, so that
8 bits suffice for each. Phase is a function of pitch and time alone and the noise is always the same one, so that
sounds decoded from different embeddings can be crossfaded as if they were one sound. The pitch may change from one
frame of the embedding to the next.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np

from device.preset import HOP_SAMPLES, SAMPLE_RATE_HZ

Pitch = float | np.ndarray  # MIDI, of a whole sound; or float32 [frames], of each HOP_SAMPLES of it

FRAME_SAMPLES = 64
HARMONICS = 100
BANDS = FRAME_SAMPLES + 1
CONTROLS = HARMONICS + BANDS
HIGHEST_HZ = 7800.0  # just under Nyquist, where a harmonic would alias
NOISE_RMS = 0.1
# Schroeder (1970): phases that grow with the square of the number give the lowest crest factor.
HARMONIC_NUMBERS = np.arange(1, HARMONICS + 1, dtype=np.float32)
PHASES_RADIANS = np.pi * HARMONIC_NUMBERS**2 / HARMONICS
# A control runs from 0 to CONTROL_TOP (a ReLU6's range) over RANGE_DB; 255 steps of 0.35 dB in int8.
CONTROL_TOP = 6.0
RANGE_DB = 90.0
BAND_TOP_DB = 20.0  # a single band may have to carry a loud partial that is no harmonic
WINDOW = np.sin(np.pi * (np.arange(2 * FRAME_SAMPLES) + 0.5) / (2 * FRAME_SAMPLES)).astype(np.float32)
RAMP = ((np.arange(FRAME_SAMPLES) + 0.5) / FRAME_SAMPLES).astype(np.float32)


def pitch_to_hz(pitch: float) -> float:
    return float(440.0 * 2.0 ** ((pitch - 69) / 12))


def audible(pitch: float) -> np.ndarray:
    """float32 [HARMONICS]: 1 for the harmonics of a MIDI pitch that lie under HIGHEST_HZ, else 0."""
    return (HARMONIC_NUMBERS * pitch_to_hz(pitch) < HIGHEST_HZ).astype(np.float32)


def turns(pitch: float, start_samples: int, samples: int) -> np.ndarray:
    """The fundamental's phase in turns, float32 [samples] in [0, 1); a note starts at sample 0 with phase 0."""
    time_s = np.arange(start_samples, start_samples + samples, dtype=np.float64) / SAMPLE_RATE_HZ
    return (np.mod(pitch_to_hz(pitch) * time_s, 1.0)).astype(np.float32)


def stretches(pitch: Pitch, frames: int) -> Iterator[tuple[int, int, float, float]]:
    """The stretches of `frames` control frames in which the pitch stays: (begin, end, MIDI pitch, turns before it).

    The fundamental's phase runs on from one to the next. Raises ValueError where a track is of another length.
    """
    if np.ndim(pitch) == 0:
        yield 0, frames, float(pitch), 0.0
        return
    steps = HOP_SAMPLES // FRAME_SAMPLES
    track = np.repeat(np.asarray(pitch, np.float64), steps)
    if len(track) != frames:
        raise ValueError(f"{len(track) // steps} pitches for {frames // steps} frames of an embedding")
    bounds = [0, *(np.flatnonzero(np.diff(track)) + 1).tolist(), frames]
    turns_before = 0.0
    for begin, end in pairwise(bounds):
        held = float(track[begin])
        yield begin, end, held, turns_before
        turns_before = (turns_before + pitch_to_hz(held) * (end - begin) * FRAME_SAMPLES / SAMPLE_RATE_HZ) % 1.0


@lru_cache(maxsize=4)
def oscillators(pitch: float, frames: int, turns_before: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The audible harmonics as a product: what each is at the start of a frame, and how it turns within one.

    float32 [frames, 2 K] and [2 K, FRAME_SAMPLES]. sin(a + b) = sin a cos b + cos a sin b, so the sum of all harmonics
    is one matrix product, and sines are computed once a frame instead of once a sample.
    """
    k = HARMONIC_NUMBERS[audible(pitch) > 0].astype(np.float64)
    starts_s = np.arange(frames) * FRAME_SAMPLES / SAMPLE_RATE_HZ
    turned = np.outer(starts_s, k * pitch_to_hz(pitch)) + k * turns_before
    start = 2 * np.pi * np.mod(turned, 1.0) + PHASES_RADIANS[: len(k)]
    within = 2 * np.pi * np.outer(k * pitch_to_hz(pitch) / SAMPLE_RATE_HZ, np.arange(FRAME_SAMPLES))
    starts = np.concatenate([np.sin(start), np.cos(start)], axis=1).astype(np.float32)
    return starts, np.concatenate([np.cos(within), np.sin(within)]).astype(np.float32)


def white_noise(samples: int) -> np.ndarray:
    """The one noise that all notes share: float32 [samples], RMS NOISE_RMS, from PCG64's raw bits (a fixed stream)."""
    bits = np.random.PCG64(2017).random_raw(samples)
    uniform = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return ((uniform - 0.5) * (NOISE_RMS * 12**0.5)).astype(np.float32)


def noise_spectra(noise: np.ndarray) -> np.ndarray:
    """Windowed spectra of noise [samples]: complex64 [samples / FRAME_SAMPLES + 1, BANDS], a frame centred on each
    control frame."""
    frames = len(noise) // FRAME_SAMPLES
    padded = np.pad(noise[: frames * FRAME_SAMPLES], FRAME_SAMPLES)
    halves = padded.reshape(frames + 2, FRAME_SAMPLES)
    return np.fft.rfft(np.concatenate([halves[:-1], halves[1:]], -1) * WINDOW).astype(np.complex64)


@lru_cache(maxsize=2)
def shared_noise_spectra(frames: int) -> np.ndarray:
    return noise_spectra(white_noise(frames * FRAME_SAMPLES))


def level(control: np.ndarray) -> np.ndarray:
    """Amplitude of a control in [0, CONTROL_TOP]: 1 at the top, RANGE_DB lower at the bottom, less that bottom: 0."""
    decade = np.float32(np.log(10.0) / 20.0 * RANGE_DB)
    return np.exp((control / np.float32(CONTROL_TOP) - 1) * decade) - np.exp(-decade)


def band_gain() -> float:
    return float(10.0 ** (BAND_TOP_DB / 20))


def synthesize(levels: np.ndarray, pitch: Pitch) -> np.ndarray:
    """Levels float32 [notes, frames, CONTROLS], see `level`, at one pitch or one track of pitches -> audio float32
    [notes, samples]. Where the pitch changes, phase runs on."""
    notes, frames, _ = levels.shape
    levels = np.concatenate([levels, levels[:, -1:]], axis=1)  # the last level is held
    gains = levels[..., HARMONICS:] * np.float32(band_gain())  # [notes, frames + 1, BANDS]
    spectra = shared_noise_spectra(frames)
    audio = np.empty((notes, frames, FRAME_SAMPLES), np.float32)
    voiced = [(begin, end, *oscillators(held, end - begin, before))
              for begin, end, held, before in stretches(pitch, frames)]
    for note in range(notes):
        for begin, end, starts, within in voiced:
            amplitudes = np.tile(levels[note, begin : end + 1, : starts.shape[1] // 2], 2)  # [frames + 1, 2 K]
            first, last = (amplitudes[:-1] * starts) @ within, (amplitudes[1:] * starts) @ within
            audio[note, begin:end] = first + (last - first) * RAMP
        grains = np.fft.irfft(spectra * gains[note], n=2 * FRAME_SAMPLES).astype(np.float32) * WINDOW
        audio[note] += grains[:-1, FRAME_SAMPLES:] + grains[1:, :FRAME_SAMPLES]
    return audio.reshape(notes, frames * FRAME_SAMPLES)
