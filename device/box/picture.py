"""A small picture of a sound for the display: how loud it is by frequency and time."""

import numpy as np

from device.preset import SAMPLE_RATE_HZ

BANDS, COLUMNS = 16, 44
LENGTH_S = 2.0  # of a note: attack, and what it becomes
WINDOW = 1024
LOWEST_HZ, HIGHEST_HZ = 60.0, 7_500.0
RANGE_DB = 55.0  # below the loudest it is black


def timbre(sound: np.ndarray) -> np.ndarray:
    """Of a sound int16 [samples], float32 [BANDS, COLUMNS], 0..1, the lowest band first."""
    hop = int(LENGTH_S * SAMPLE_RATE_HZ) // COLUMNS
    padded = np.zeros(COLUMNS * hop + WINDOW, np.float32)
    padded[: min(len(sound), len(padded))] = sound[: len(padded)]
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: COLUMNS * hop : hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=1)) ** 2  # [COLUMNS, bins]
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 1) * WINDOW / SAMPLE_RATE_HZ
    first = edges[:-1].astype(int)
    last = np.maximum(edges[1:].astype(int), first + 1)
    bands = np.stack([power[:, low:high].max(axis=1) for low, high in zip(first, last, strict=True)])
    db = 10 * np.log10(bands / max(float(bands.max()), 1.0) + 1e-12)
    return np.asarray(np.clip(1 + db / RANGE_DB, 0, 1), np.float32)
