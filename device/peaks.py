"""Where the partials of a recording lie: the peaks of its spectra, and slots of the decoder's oscillators for them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from device.preset import PARTIALS, SAMPLE_RATE_HZ

PADDED_SAMPLES = 65_536  # 2^16, the next above a note
BIN_HZ = SAMPLE_RATE_HZ / PADDED_SAMPLES
WINDOW_SAMPLES = 12_288  # Hann: partials 5 Hz apart are two
STARTS_SAMPLES = (160, 4_800)  # a partial that stays has its frequency in both windows
STRUCK_WINDOW_SAMPLES = 4_096  # for partials that have died away in the windows above
STRUCK_STARTS_SAMPLES = (80, 1_104)
RANGE_DB = 45.0  # under the strongest partial
RISE_DB = 15.0  # over what is around it, or it is noise
AROUND_HZ = 120.0
STRUCK_RANGE_DB = 32.0
STRUCK_APART_HZ = 30.0  # from a stronger partial, whose side lobe or flutter it is otherwise
STEADY_CENTS = 4.0  # a partial further off its harmonic than this is heard as off, and one that moves less stays
STEADY_HZ = (0.3, 2.0)  # at least, as windows know no better; at most, as noise has peaks everywhere
STRUCK_STEADY_HZ = (2.0, 4.0)
LINE_HZ, BESIDE_HZ = 3.0, 12.0  # half widths: of a steady partial in a window, and of what is looked at beside it
LINE_SHARE = 0.6  # of the power there that a partial has, and a peak of noise has not
MATCH_CENTS = 35.0  # within which a partial is the harmonic of a note that is a little out of tune
MOST_FREE = 24  # partials of their own, of the strongest
SLOT_REACH = 6  # slots away from its own that a partial may be put
MOST_CENTS = 3_200.0  # away from it; with the detuning, an int16 of tenths holds it
STIFFEST = 3e-3  # B of the stiffest strings
STIFF_PARTIALS = 3  # from so many on, those above are looked for where a stiff string has them


class Peaks(NamedTuple):
    """The peaks of a window's spectrum."""

    hz: np.ndarray  # ascending
    db: np.ndarray  # under the strongest
    is_line: np.ndarray  # bool: a partial, and not the top of a band of noise


class Found(NamedTuple):
    """The peaks of a note: those of the held sound, ascending, then those of its beginning that are none of them."""

    hz: np.ndarray
    db: np.ndarray
    is_steady: np.ndarray  # bool: a partial, which stays
    is_struck: np.ndarray  # bool: one that dies away at once

    @property
    def held(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies and levels of the held sound's."""
        return self.hz[~self.is_struck], self.db[~self.is_struck]


def find(audio: np.ndarray) -> Found:
    """Of a note, float32 [NOTE_SAMPLES]."""
    held, late = (peaks(audio[start : start + WINDOW_SAMPLES]) for start in STARTS_SAMPLES)
    steady = stays(held, late, STEADY_HZ) & held.is_line
    struck, later = (peaks(audio[start : start + STRUCK_WINDOW_SAMPLES]) for start in STRUCK_STARTS_SAMPLES)
    is_loud = struck.db > -STRUCK_RANGE_DB
    is_new = is_loud & stays(struck, later, STRUCK_STEADY_HZ)
    for hz in held.hz[steady]:
        is_new &= np.abs(struck.hz - hz) > STRUCK_APART_HZ
    for louder in np.flatnonzero(is_loud):  # side lobes and flutter
        is_new &= (np.abs(struck.hz - struck.hz[louder]) > STRUCK_APART_HZ) | (struck.db >= struck.db[louder])
    new = int(is_new.sum())
    return Found(np.concatenate([held.hz, struck.hz[is_new]]), np.concatenate([held.db, struck.db[is_new]]),
                 np.concatenate([steady, np.ones(new, bool)]), np.arange(len(held.hz) + new) >= len(held.hz))


@lru_cache(maxsize=2)
def _window(samples: int) -> np.ndarray:
    return np.hanning(samples).astype(np.float32)


def peaks(audio: np.ndarray) -> Peaks:
    """The partials of a window."""
    power = np.abs(np.fft.rfft(audio * _window(len(audio)), PADDED_SAMPLES)) ** 2
    db = 10 * np.log10(power + 1e-12)
    inner = db[1:-1]
    found = 1 + np.flatnonzero((inner > db[:-2]) & (inner >= db[2:]) & (inner > db.max() - RANGE_DB)
                               & (inner > -60))
    step = round(AROUND_HZ / BIN_HZ / 4)
    coarse = np.median(db[: len(db) // step * step].reshape(-1, step), axis=1)  # of 30 Hz each
    padded = np.pad(coarse, 4, mode="edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 9), axis=1)
    found = found[db[found] > around[np.minimum(found // step, len(around) - 1)] + RISE_DB]
    a, b, c = db[found - 1], db[found], db[found + 1]
    bend = a - 2 * b + c
    offset = np.where(bend < 0, 0.5 * (a - c) / np.where(bend < 0, bend, 1), 0)
    hz = (found + offset) * BIN_HZ
    total = np.concatenate([[0.0], np.cumsum(power, dtype=np.float64)])
    near, beside = (total[np.minimum(found + half + 1, len(power))] - total[np.maximum(found - half, 0)]
                    for half in (round(LINE_HZ / BIN_HZ), round(BESIDE_HZ / BIN_HZ)))
    heard = hz > 20
    return Peaks(hz[heard], db[found][heard] - db.max(), (near > LINE_SHARE * beside)[heard])


def stays(early: Peaks, late: Peaks, within_hz: tuple[float, float]) -> np.ndarray:
    """Which peaks of a window a later one has too: bool. within_hz: as far as one may move, at least and at most."""
    if not len(early.hz) or not len(late.hz):
        return np.zeros(len(early.hz), bool)
    moved_hz = np.abs(late.hz[nearest(late.hz, early.hz)] - early.hz)
    return np.asarray(moved_hz < np.clip(early.hz * STEADY_CENTS / 1731, *within_hz))


def nearest(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where in `ascending`, which has members, lies what is nearest to each value."""
    if len(ascending) == 1:
        return np.zeros(len(values), np.int64)
    return np.searchsorted((ascending[1:] + ascending[:-1]) / 2, values)


def stretch_cents(stiffness: float) -> np.ndarray:
    """float32 [PARTIALS]: how far a stiff string's partials lie off its first one's multiples (Fletcher, 1964)."""
    k = np.arange(1, PARTIALS + 1)
    return (600 * np.log2((1 + stiffness * k**2) / (1 + stiffness))).astype(np.float32)


def harmonic_fit(found: Found, f0_hz: float) -> tuple[float, float]:
    """Detuning in cents and stiffness B of the held partials that are near harmonics, following them upwards.

    (f_k / k)^2 of a stiff string is a line in k^2, whose slope over its value at 0 is B.
    """
    hz, db = found.held
    base_hz, stiffness = f0_hz, 0.0  # of the string without stiffness
    ks, at_hz, weights = list[int](), list[float](), list[float]()
    for k in range(1, 31):
        expected = k * base_hz * np.sqrt(1 + stiffness * k * k)
        low, high = np.searchsorted(hz, expected * np.array([1 - MATCH_CENTS / 1731, 1 + MATCH_CENTS / 1731]))
        if low == high:
            continue
        best = low + int(np.argmax(db[low:high]))
        ks.append(k)
        at_hz.append(float(hz[best]) / k)
        weights.append(10 ** (float(db[best]) / 20) / k)  # the low ones are what is heard as the pitch
        n, d, w = np.array(ks, float), np.array(at_hz), np.array(weights)
        base_hz, stiffness = weighted_median(d, w), 0.0
        if len(ks) >= STIFF_PARTIALS:
            slope, level = line(n**2, d**2, w + 0.01)
            if slope > 0 and level > 0:
                base_hz, stiffness = float(np.sqrt(level)), min(float(slope / level), STIFFEST)
    if not ks:
        return 0.0, 0.0
    plain = 1200 * np.log2(d / weighted_median(d, w))
    stray = 1200 * np.log2(d / base_hz) - 600 * np.log2(1 + stiffness * n**2)
    # Not heard in the tenth, or no string
    is_stiff = (len(ks) > STIFF_PARTIALS and 866 * stiffness * 100 >= STEADY_CENTS
                and np.median(np.abs(stray)) < min(STEADY_CENTS, 0.5 * np.median(np.abs(plain))))
    if not is_stiff:
        return float(1200 * np.log2(weighted_median(d, w) / f0_hz)), 0.0
    return float(1200 * np.log2(base_hz * np.sqrt(1 + stiffness) / f0_hz)), stiffness


def line(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Slope and value at 0 of the line through points, by least squares."""
    total = weights.sum()
    x_mean, y_mean = weights @ x / total, weights @ y / total
    slope = weights @ ((x - x_mean) * (y - y_mean)) / max(weights @ (x - x_mean) ** 2, 1e-12)
    return slope, y_mean - slope * x_mean


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def free_share(found: Found, fundamental_hz: float, stretched: np.ndarray) -> float:
    """How much of the power of the held sound lies in steady partials that are far from harmonics."""
    hz, db = found.held
    if not len(hz):
        return 0.0
    harmonic_hz = np.arange(1, PARTIALS + 1) * fundamental_hz * 2 ** (stretched / 1200)
    off = 1200 * np.log2(hz / harmonic_hz[nearest(harmonic_hz, hz)])
    power = 10 ** (db / 10)
    return float(power[found.is_steady[: len(hz)] & (np.abs(off) > MATCH_CENTS)].sum() / power.sum())


def place_partials(found: Found, fundamental_hz: float, stretched: np.ndarray,
                   spread_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Puts steady partials that are no harmonics into the slots of the harmonics next to them.

    `spread_hz` [PARTIALS]: as far as a moving pitch spreads each harmonic. Returns cents float32 [PARTIALS]; bool
    [PARTIALS], which slots hold a harmonic still; and how much of the held sound's power lies in partials that are far
    from any.
    """
    hz, db, is_steady, is_struck = found
    k = np.arange(1, PARTIALS + 1)
    cents, taken, is_harmonic = stretched.copy(), np.zeros(PARTIALS, bool), np.ones(PARTIALS, bool)
    if not len(hz):
        return cents, is_harmonic, 0.0
    harmonic_hz = k * fundamental_hz * 2 ** (stretched / 1200)
    nears = nearest(harmonic_hz, hz)
    offs = 1200 * np.log2(hz / harmonic_hz[nears])
    is_own = (np.abs(offs) > STEADY_CENTS) & (np.abs(hz - harmonic_hz[nears]) > spread_hz[nears])
    is_there = np.zeros(PARTIALS, bool)
    is_there[nears[~is_own]] = True
    placed, free_power = 0, 0.0
    lies_hz = harmonic_hz.copy()
    for i in np.argsort(-db):
        near = nears[i]
        if not is_own[i] and is_harmonic[near]:
            taken[near] = True
            continue
        if not is_steady[i] or placed == MOST_FREE:
            continue
        if (taken & (np.abs(lies_hz - hz[i]) < 0.1 * fundamental_hz)).any():  # a side-band of a stronger one
            continue
        # A harmonic whose slot a stronger partial has got goes where there is none
        free = np.flatnonzero(~taken & ~(is_there & ~is_own[i]) & (np.abs(k - 1 - near) <= SLOT_REACH))
        if not len(free):
            continue
        slot = int(free[np.argmin(np.abs(free - near))])
        deviation = 1200 * np.log2(hz[i] / (k[slot] * fundamental_hz))
        if abs(deviation) > MOST_CENTS:
            continue
        cents[slot], lies_hz[slot], taken[slot], is_harmonic[slot] = deviation, hz[i], True, False
        placed += 1
        free_power += 10 ** (db[i] / 10) if abs(offs[i]) > MATCH_CENTS and not is_struck[i] else 0.0
    held_power = float(np.sum(10 ** (db[~is_struck] / 10)))
    return cents.astype(np.float32), is_harmonic, free_power / held_power if held_power else 0.0
