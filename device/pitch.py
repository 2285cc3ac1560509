"""Which MIDI pitch a recording has: its file's name says it, else YIN finds it in the sound.

YIN: de Cheveigne and Kawahara, "YIN, a fundamental frequency estimator for speech and music", JASA 111 (2002).
"""

import re
from pathlib import Path

import numpy as np
import soxr

from device.errors import TetradError
from device.preset import SAMPLE_RATE_HZ
from device.recording import as_note
from device.synth import pitch_to_hz

LOWEST, HIGHEST = 21, 108  # A0 .. C8, a piano's range and NSynth's: a 2 or a 440 in a name is no pitch
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
NSYNTH = re.compile(r"-(\d{3})-\d{3}$")  # flute_acoustic_002-069-050: instrument-pitch-velocity
NUMBER = re.compile(r"(?:^|_)(\d{2,3})$")  # flute_60
NOTE = re.compile(r"(?:^|[_\- ])([A-Ga-g])([#♯b♭]?)(\d)$")  # flute_F#3, C4 is 60

YIN_RATE_HZ = 48_000  # at 16 kHz the period of C8 is 3.8 samples, too few to interpolate in
WINDOW_SAMPLES = 4_096  # 85 ms, two periods of A0
STEP_SAMPLES = 2_400  # 50 ms
ATTACK_FRAMES = 2  # 100 ms: the pitch of an attack is not the note's
APERIODICITY = 0.15  # YIN's threshold (the paper takes 0.1 to 0.15): what of a frame's power is not periodic
STEADY_RATIO = 0.03  # -30 dB of the loudest frame: what is softer is the room
FEWEST_FRAMES = 3  # that agree
SPREAD_SEMITONES = 1.0  # between the quartiles: vibrato, not a melody


def pitch_from_name(stem: str) -> int | None:
    """The MIDI pitch at the end of a file's name (without suffix), or None: flute_60, flute_F#3, Bb3, NSynth's names.

    Only 21..108 count, so that take_2 and sample_440 have none.
    """
    if found := NSYNTH.search(stem) or NUMBER.search(stem):
        pitch = int(found[1])
    elif found := NOTE.search(stem):
        pitch = 12 * (int(found[3]) + 1) + SEMITONES[found[1].upper()] + ACCIDENTALS[found[2]]
    else:
        return None
    return pitch if LOWEST <= pitch <= HIGHEST else None


def pitch_from_sound(audio: np.ndarray) -> float | None:
    """The MIDI pitch (with its fraction) of the steady part of a sound, float32 [samples] at 16 kHz.

    None where there is no one pitch: noise, drums, a melody.
    """
    note = soxr.resample(as_note(audio).astype(np.float64), SAMPLE_RATE_HZ, YIN_RATE_HZ)
    shortest, longest = int(YIN_RATE_HZ / pitch_to_hz(HIGHEST + 1)), int(YIN_RATE_HZ / pitch_to_hz(LOWEST - 1))
    span = WINDOW_SAMPLES + longest
    frames = np.lib.stride_tricks.sliding_window_view(note, span)[::STEP_SAMPLES]  # (frames, span)
    frames = frames - frames.mean(axis=1, keepdims=True)
    power = np.sqrt(np.mean(frames**2, axis=1))
    steady = power > STEADY_RATIO * power.max()
    steady[:ATTACK_FRAMES] = False
    if steady.sum() < FEWEST_FRAMES:
        return None
    periods = np.array([period for curve in differences(frames[steady], longest)
                        if (period := first_dip(curve, shortest)) is not None])
    if len(periods) < max(FEWEST_FRAMES, 0.5 * steady.sum()):
        return None
    pitches = 69 + 12 * np.log2(YIN_RATE_HZ / periods / 440)
    low, middle, high = np.percentile(pitches, (25, 50, 75))
    inside = LOWEST - 0.5 <= middle < HIGHEST + 0.5
    return float(middle) if inside and high - low <= SPREAD_SEMITONES else None


def differences(frames: np.ndarray, longest: int) -> np.ndarray:
    """YIN's cumulative mean normalized difference (equation 8), [frames, longest + 1], of frames [frames, span].

    Equation 6, d(tau) = sum over the window of (x[j] - x[j + tau])^2, is taken apart into two energies and a
    correlation, which the FFT gives for all tau at once.
    """
    window = frames.shape[1] - longest
    size = 1 << (frames.shape[1] - 1).bit_length()
    head = np.fft.rfft(frames[:, :window], size)
    correlation = np.fft.irfft(np.fft.rfft(frames, size) * head.conj(), size)[:, : longest + 1]
    sums = np.cumsum(np.pad(frames**2, ((0, 0), (1, 0))), axis=1)
    energy = sums[:, window: window + longest + 1] - sums[:, : longest + 1]  # of the window moved by tau
    squared = np.maximum(energy[:, :1] + energy - 2 * correlation, 0)[:, 1:]  # tau = 1 .. longest
    mean = np.cumsum(squared, axis=1) / np.arange(1, longest + 1)
    return np.pad(squared / np.maximum(mean, 1e-12), ((0, 0), (1, 0)), constant_values=1.0)


def first_dip(curve: np.ndarray, shortest: int) -> float | None:
    """The first tau, not under `shortest`, at which the curve dips under the threshold, to a fraction of a sample."""
    under = np.flatnonzero(curve[shortest:] < APERIODICITY)
    if not under.size:
        return None
    tau = shortest + int(under[0])
    while tau + 1 < len(curve) and curve[tau + 1] < curve[tau]:
        tau += 1
    if tau + 1 == len(curve):  # still falling: its bottom lies outside of the range
        return None
    left, bottom, right = curve[tau - 1: tau + 2]
    bend = left - 2 * bottom + right
    return tau + (0.5 * (left - right) / bend if bend > 0 else 0.0)  # vertex of the parabola through three points


def pitch_of(path: Path, audio: np.ndarray) -> int:
    """The MIDI pitch of a recording (float32 [samples] at 16 kHz): the name's, else the sound's. Raises TetradError."""
    pitch = pitch_from_name(path.stem)
    if pitch is None:
        found = pitch_from_sound(audio)
        pitch = None if found is None else round(found)
    if pitch is None:
        raise TetradError(f"{path}: no pitch in its name and none found in its sound; name it with its MIDI pitch "
                          f"({LOWEST}..{HIGHEST}), {path.stem}_60{path.suffix}, or note, {path.stem}_C4{path.suffix}")
    return pitch
