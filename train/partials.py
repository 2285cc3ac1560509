"""The strongest partials of a struck sound, and what is left of them in another one."""

from typing import NamedTuple

import numpy as np

from device.preset import SAMPLE_RATE_HZ
from device.synth import HIGHEST_HZ

STRONGEST = 5  # that count
WINDOW_SAMPLES = SAMPLE_RATE_HZ // 2  # Hann: partials 8 Hz apart are two
PADDED_SAMPLES = 1 << 17  # bins of 0.12 Hz
BIN_HZ = SAMPLE_RATE_HZ / PADDED_SAMPLES
LOWEST_HZ = 20.0
RANGE_DB = 30.0  # under the strongest: what is softer does not count
RISE_DB = 12.0  # over what is around a partial, or it is noise
AROUND_HZ = 100.0
APART_HZ = 8.0
REACH_CENTS = 50.0  # from a partial to what is left of it, though APART_HZ at least
NEAR_CENTS, NEAR_DB = 10.0, 3.0  # what counts as kept


class Partials(NamedTuple):
    """Some partials of a sound, the strongest first."""

    hz: np.ndarray
    db: np.ndarray  # under the strongest


def spectrum_db(audio: np.ndarray) -> np.ndarray:
    """Levels of the first half second, at least so long, in bins of BIN_HZ."""
    window = np.hanning(WINDOW_SAMPLES)
    return 20 * np.log10(np.abs(np.fft.rfft(audio[:WINDOW_SAMPLES] * window, PADDED_SAMPLES)) + 1e-9)


def tops(db: np.ndarray) -> np.ndarray:
    """The bins of a spectrum that are higher than both neighbours, where a decoder can have partials."""
    inner = db[1:-1]
    found = 1 + np.flatnonzero((inner > db[:-2]) & (inner >= db[2:]))
    return found[(found * BIN_HZ > LOWEST_HZ) & (found * BIN_HZ < HIGHEST_HZ)]


def vertex(db: np.ndarray, top: int) -> tuple[float, float]:
    """Frequency and level of the parabola through a top and its neighbours."""
    left, middle, right = db[top - 1 : top + 2]
    bend = left - 2 * middle + right
    off = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return (top + off) * BIN_HZ, middle - 0.25 * (left - right) * off


def strongest(audio: np.ndarray) -> Partials:
    """The five strongest partials of a sound, float32 [samples], those within RANGE_DB of the first."""
    db = spectrum_db(audio)
    found = tops(db)
    around = round(AROUND_HZ / BIN_HZ)
    kept: list[tuple[float, float]] = []
    for top in found[np.argsort(-db[found], kind="stable")]:
        hz, level_db = vertex(db, int(top))
        if len(kept) == STRONGEST or (kept and level_db < kept[0][1] - RANGE_DB):
            break
        if all(abs(hz - other) >= APART_HZ for other, _ in kept) and (
                level_db > np.median(db[max(0, top - around) : top + around]) + RISE_DB):
            kept.append((hz, level_db))
    hz_of, db_of = (np.array(column) for column in zip(*kept, strict=True)) if kept else (np.zeros(0), np.zeros(0))
    return Partials(hz_of, db_of - db_of[:1])


def errors(recording: np.ndarray, decoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each of the recording's strongest partials: how many cents the decoded sound's lies off it, and how many dB
    its level, against each sound's strongest partial; NaN where it has none there."""
    wanted, db = strongest(recording), spectrum_db(decoded)
    there = tops(db)
    cents, off_db = np.full(len(wanted.hz), np.nan), np.full(len(wanted.hz), np.nan)
    if not len(there):
        return cents, off_db
    top_db = vertex(db, int(there[np.argmax(db[there])]))[1]
    for i, (hz, level_db) in enumerate(zip(*wanted, strict=True)):
        reach_hz = max(APART_HZ, hz * (2 ** (REACH_CENTS / 1200) - 1))
        near = there[np.abs(there * BIN_HZ - hz) <= reach_hz]
        if len(near):
            found_hz, found_db = vertex(db, int(near[np.argmax(db[near])]))
            cents[i], off_db[i] = 1200 * np.log2(found_hz / hz), found_db - top_db - level_db
    return cents, off_db
