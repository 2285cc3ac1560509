"""Controls to sound: partials of the asked pitch, and noise in bands, as DDSP does it (Engel et al., 2020).

A control frame every 64 samples (250 Hz) holds the levels of 100 partials and of 65 noise bands, in decibels, so that
8 bits suffice for each. Partials are the harmonics, or lie where those of the corners' recordings do, each corner's
own sounding as loud as the corner is near. Phase is a function of pitch and time alone and the noise is always the
same one, so that sounds decoded from different embeddings can be crossfaded as if they were one sound.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from device.preset import HOP_SAMPLES, SAMPLE_RATE_HZ

Pitch = float | np.ndarray  # MIDI, of a whole sound; or float32 [frames], of each HOP_SAMPLES of it

FRAME_SAMPLES = 64
FRAMES_A_COLUMN = 4
COLUMN_SAMPLES = FRAME_SAMPLES * FRAMES_A_COLUMN  # the student's step; it puts out this many frames at once
PARTIALS = 100
BANDS = FRAME_SAMPLES + 1
CONTROLS = PARTIALS + BANDS
HIGHEST_HZ = 7800.0  # just under Nyquist, where a partial would alias
NOISE_RMS = 0.1
# Schroeder (1970): phases that grow with the square of the number give the lowest crest factor.
NUMBERS = np.arange(1, PARTIALS + 1, dtype=np.float32)
PHASES_TURNS = NUMBERS.astype(np.float64) ** 2 / (2 * PARTIALS)
# A control runs from 0 to CONTROL_TOP (a ReLU6's range) over RANGE_DB; 255 steps of 0.35 dB in int8.
CONTROL_TOP = 6.0
RANGE_DB = 90.0
BAND_TOP_DB = 20.0  # a single band may have to carry a loud partial that has no slot
WINDOW = np.sin(np.pi * (np.arange(2 * FRAME_SAMPLES) + 0.5) / (2 * FRAME_SAMPLES)).astype(np.float32)
RAMP = ((np.arange(FRAME_SAMPLES) + 0.5) / FRAME_SAMPLES).astype(np.float32)


def pitch_to_hz(pitch: float) -> float:
    return float(440.0 * 2.0 ** ((pitch - 69) / 12))


def ratios(cents: np.ndarray) -> np.ndarray:
    """float64 [..., PARTIALS]: frequencies over the fundamental's, of partials that lie so far off harmonics."""
    return np.asarray(NUMBERS * 2.0 ** (cents / 1200.0), np.float64)


@dataclass(frozen=True, eq=False)
class Excitation:
    """Where the partials of some corners lie, and how much of each corner is in each of some notes."""

    cents: np.ndarray  # float32 [corners, PARTIALS]: off the harmonics, in cents
    weights: np.ndarray  # float32 [notes, corners], sums 1

    @classmethod
    def harmonic(cls, notes: int) -> "Excitation":
        return cls(np.zeros((1, PARTIALS), np.float32), np.ones((notes, 1), np.float32))


@lru_cache(maxsize=8)
def _oscillators(cents: bytes, corners: int, hz: float, frames: int, cycle_samples: int, turns_before: float,
                 ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The audible oscillators of all corners, each once: numbers [M] of their slots, which corners have them bool
    [corners, M], and what turns them: float32 [frames, 2 M] what they are at the start of a frame, [2 M, FRAME_SAMPLES]
    how they go on within it. sin(a + b) = sin a cos b + cos a sin b, so the sum of all is one matrix product, and sines
    are computed once a frame instead of once a sample.
    """
    def whole(hertz: np.ndarray) -> np.ndarray:
        return np.rint(hertz * cycle_samples / SAMPLE_RATE_HZ) * SAMPLE_RATE_HZ / cycle_samples

    off = np.frombuffer(cents, np.float32).reshape(corners, PARTIALS)
    if cycle_samples:
        hz = float(whole(np.array(hz)))  # first, so that harmonics stay harmonics
    hertz = whole(ratios(off) * hz) if cycle_samples else ratios(off) * hz
    keys = [(slot, float(hertz[corner, slot])) for corner in range(corners) for slot in range(PARTIALS)]
    once = sorted({key for key in keys if 0 < key[1] < HIGHEST_HZ})
    slots = np.array([slot for slot, _ in once], np.int64)
    sounding = np.array([f for _, f in once], np.float64)
    mine = np.array([[hertz[corner, slot] == f for slot, f in once] for corner in range(corners)], bool)
    mine = mine.reshape(corners, len(once))
    turned = np.arange(frames)[:, None] * FRAME_SAMPLES / SAMPLE_RATE_HZ * sounding + PHASES_TURNS[slots]
    turned += turns_before * sounding / hz
    start = 2 * np.pi * np.mod(turned, 1.0)
    within = 2 * np.pi * np.outer(sounding / SAMPLE_RATE_HZ, np.arange(FRAME_SAMPLES))
    starts = np.concatenate([np.sin(start), np.cos(start)], axis=1).astype(np.float32)
    return slots, mine, starts, np.concatenate([np.cos(within), np.sin(within)]).astype(np.float32)


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


@lru_cache(maxsize=4)
def shared_noise_spectra(frames: int, cycle_samples: int, loop_start: int) -> np.ndarray:
    """Of white_noise, which from a frame before loop_start on repeats itself each cycle_samples, if these are not 0."""
    at = np.arange(frames * FRAME_SAMPLES)
    if cycle_samples:
        first = loop_start - FRAME_SAMPLES
        at = np.where(at < first, at, first + (at - first) % cycle_samples)
    return noise_spectra(white_noise(len(at))[at])


def level(control: np.ndarray) -> np.ndarray:
    """Amplitude of a control in [0, CONTROL_TOP]: 1 at the top, RANGE_DB lower at the bottom, less that bottom: 0."""
    decade = np.float32(np.log(10.0) / 20.0 * RANGE_DB)
    return np.exp((control / np.float32(CONTROL_TOP) - 1) * decade) - np.exp(-decade)


def band_gain() -> float:
    return float(10.0 ** (BAND_TOP_DB / 20))


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
        turns_before += pitch_to_hz(held) * (end - begin) * FRAME_SAMPLES / SAMPLE_RATE_HZ


def synthesize(levels: np.ndarray, pitch: Pitch, excitation: Excitation | None = None, cycle_samples: int = 0,
               loop_start: int = 0) -> np.ndarray:
    """Levels float32 [notes, frames, CONTROLS], see `level`, at one pitch or one track of pitches -> audio float32
    [notes, samples]. Where the pitch changes, phase runs on.

    excitation: of these notes; harmonics where it is left out. cycle_samples: for a loop of so many samples, all
    frequencies are rounded to whole cycles in it, and the noise repeats with it from sample loop_start on; both are
    multiples of FRAME_SAMPLES.
    """
    notes, frames, _ = levels.shape
    excitation = excitation or Excitation.harmonic(notes)
    levels = np.concatenate([levels, levels[:, -1:]], axis=1)  # the last level is held
    gains = levels[..., PARTIALS:] * np.float32(band_gain())  # [notes, frames + 1, BANDS]
    spectra = shared_noise_spectra(frames, cycle_samples, loop_start)
    audio = np.empty((notes, frames, FRAME_SAMPLES), np.float32)
    for begin, end, held, before in stretches(pitch, frames):
        _add_partials(levels[:, begin : end + 1], held, excitation, cycle_samples, before, audio[:, begin:end])
    for note in range(notes):
        grains = np.fft.irfft(spectra * gains[note], n=2 * FRAME_SAMPLES).astype(np.float32) * WINDOW
        audio[note] += grains[:-1, FRAME_SAMPLES:] + grains[1:, :FRAME_SAMPLES]
    return audio.reshape(notes, frames * FRAME_SAMPLES)


def _add_partials(levels: np.ndarray, pitch: float, excitation: Excitation, cycle_samples: int, turns_before: float,
                  audio: np.ndarray) -> None:
    """Writes the partials of levels [notes, frames + 1, CONTROLS] to audio [notes, frames, FRAME_SAMPLES]."""
    cents = np.ascontiguousarray(excitation.cents, np.float32)
    slots, mine, starts, within = _oscillators(cents.tobytes(), len(cents), pitch_to_hz(pitch), audio.shape[1],
                                               cycle_samples, turns_before)
    shares = (excitation.weights @ mine).astype(np.float32)  # [notes, M]
    for note, share in enumerate(shares):
        heard = np.flatnonzero(share)  # at a corner of the pad the partials of the others are not
        both = np.concatenate([heard, heard + len(slots)])
        turning, going = (starts, within) if len(heard) == len(slots) else (starts[:, both], within[both])
        amplitudes = np.tile(levels[note][:, slots[heard]] * share[heard], 2)  # [frames + 1, 2 M]
        first, last = (amplitudes[:-1] * turning) @ going, (amplitudes[1:] * turning) @ going
        audio[note] = first + (last - first) * RAMP
