"""What is heard in a recording."""

import wave
from pathlib import Path

import numpy as np

DTYPES = {2: "<i2", 4: "<i4"}
QUIET = 1e-2  # of the loudest, -40 dB: no note
WINDOW_S, HOP_S = 0.1, 0.02
SAME = 0.3  # semitones
BROKEN = 0.4  # of the longest note: what is shorter is the edge of a break, as where an emulated guest has no time
STEADY = 5  # windows in a row that have one pitch: a note, not the change between two


def read(path: Path) -> tuple[np.ndarray, int]:
    """Left channel, float64 -1..1 [frames], and the rate in Hz."""
    with wave.open(str(path)) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), DTYPES[file.getsampwidth()])
        return data[::file.getnchannels()] / 2.0 ** (8 * file.getsampwidth() - 1), file.getframerate()


def keys_heard(audio: np.ndarray, rate_hz: int) -> list[float]:
    """The notes, one after the other, as MIDI keys with their fraction. One that comes again at once counts once."""
    window, loudest = round(WINDOW_S * rate_hz), rms(audio, rate_hz).max()
    notes: list[list[float]] = []  # each as its windows tell it
    steady: list[float] = []
    for start in range(0, len(audio) - window, round(HOP_S * rate_hz)):
        stretch = audio[start:start + window]
        if np.sqrt(np.mean(stretch**2)) <= QUIET * loudest:
            steady = []
            continue
        key = key_of(pitch_hz(stretch, rate_hz))
        steady = [*steady, key] if steady and abs(key - steady[0]) < SAME else [key]
        if len(steady) < STEADY:
            continue
        if notes and abs(notes[-1][0] - key) < SAME:
            notes[-1].append(key)
        else:
            notes.append(steady)
    return merged([note for note in notes if len(note) > BROKEN * max(map(len, notes), default=0)])


def merged(notes: list[list[float]]) -> list[float]:
    """Their keys; what is left between two of the same was a break in one."""
    keys: list[float] = []
    for note in notes:
        key = float(np.median(note))
        if not keys or abs(keys[-1] - key) >= SAME:
            keys.append(key)
    return keys


def rms(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Of stretches of WINDOW_S."""
    window = round(WINDOW_S * rate_hz)
    return np.sqrt(np.mean(audio[:len(audio) // window * window].reshape(-1, window) ** 2, axis=1))


def pitch_hz(audio: np.ndarray, rate_hz: int, least_hz: float = 60.0, most_hz: float = 1_500.0) -> float:
    """The fundamental of a stretch of sound: its normalized autocorrelation's first peak that is nearly its highest
    (McLeod and Wyvill, A Smarter Way to Find Pitch, 2005)."""
    frames = 1 << (2 * len(audio) - 1).bit_length()
    products = np.fft.irfft(np.abs(np.fft.rfft(audio - audio.mean(), frames)) ** 2)[:len(audio)]
    squares = np.cumsum((audio - audio.mean()) ** 2)
    energies = np.maximum(squares[::-1] + squares[-1] - np.concatenate(([0.0], squares[:-1])), 1e-12)
    lags = slice(int(rate_hz / most_hz), int(rate_hz / least_hz) + 2)
    match = (2 * products / energies)[lags]
    peaks = np.flatnonzero((match[1:-1] > match[:-2]) & (match[1:-1] >= match[2:])) + 1
    if not len(peaks):
        return least_hz
    k = int(peaks[np.argmax(match[peaks] > 0.9 * match[peaks].max())])
    a, b, c = match[k - 1:k + 2]
    return rate_hz / (lags.start + k + 0.5 * (a - c) / (a - 2 * b + c))


def key_of(hz: float) -> float:
    """The MIDI key, with its fraction."""
    return 69 + 12 * float(np.log2(hz / 440))
