"""Vibrato as the engine plays it (device/engine/voice.c), for sounds that are decoded without an engine."""

import numpy as np

from device.preset import SAMPLE_RATE_HZ

TAPS = 16  # of the interpolation, a windowed sinc


def vibrate(audio: np.ndarray, rate_hz: float, depth_cents: float, delay_s: float) -> np.ndarray:
    """A sound float32 [samples] with its pitch moved by a sine of peak `depth_cents` that fades in about `delay_s`."""
    if depth_cents == 0:
        return audio
    time_s = np.arange(len(audio)) / SAMPLE_RATE_HZ
    rise = np.clip((time_s - 0.5 * delay_s) / delay_s, 0, 1) if delay_s else np.ones(len(audio))
    cents = depth_cents * (0.5 - 0.5 * np.cos(np.pi * rise)) * np.sin(2 * np.pi * rate_hz * time_s)
    read = np.concatenate([[0.0], np.cumsum(2.0 ** (cents / 1200))[:-1]])
    return read_at(audio, read)


def read_at(audio: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A sound float32 [samples] at places between its samples, float32 [places]; 0 outside of it."""
    whole = np.floor(places).astype(int)
    share = places - whole
    padded = np.pad(audio, (TAPS, TAPS + 1))
    total = np.zeros(len(places))
    for tap in range(1 - TAPS // 2, TAPS // 2 + 1):
        off = tap - share
        weight = np.sinc(off) * np.cos(np.pi * off / (TAPS + 1)) ** 2
        total += weight * padded[np.clip(whole + tap + TAPS, 0, len(padded) - 1)]
    return total.astype(np.float32)
