"""What a recording has beside its embedding: how its partials lie, its vibrato, and how it decays while it is held.

A decoder that is excited by harmonics at a constant pitch can have none of these. They are measured here, a preset
carries them in a few bytes, and decoder and engine put them back.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from device.preset import NOTE_SAMPLES, SAMPLE_RATE_HZ

PARTIALS = 100
FRAME_SAMPLES = 64  # of the pitch's track: 250 Hz
FRAMES = NOTE_SAMPLES // FRAME_SAMPLES
FRAME_HZ = SAMPLE_RATE_HZ / FRAME_SAMPLES

PADDED_SAMPLES = 65_536  # 2^16, the next above a note
BIN_HZ = SAMPLE_RATE_HZ / PADDED_SAMPLES
PEAK_WINDOW_SAMPLES = 12_288  # Hann: partials 5 Hz apart are two
PEAK_STARTS_SAMPLES = (160, 4_800)  # a partial that stays has its frequency in both windows
PEAK_RANGE_DB = 45.0  # under the strongest partial
PEAK_RISE_DB = 15.0  # over what is around it, or it is noise
AROUND_HZ = 120.0
STRUCK_WINDOW_SAMPLES = 4_096  # for partials that have died away in the windows above
STRUCK_STARTS_SAMPLES = (80, 1_104)
STRUCK_RANGE_DB = 32.0
STRUCK_APART_HZ = 30.0  # from a stronger partial, whose side lobe or flutter it is otherwise
STEADY_CENTS = 4.0  # a partial further off its harmonic than this is heard as off, and one that moves less stays
STEADY_HZ = (0.3, 2.0)  # at least, as windows know no better; at most, as noise has peaks everywhere
STRUCK_STEADY_HZ = (2.0, 4.0)
LINE_HZ, BESIDE_HZ = 3.0, 12.0  # half widths: of a steady partial in a window, and of what is looked at beside it
LINE_SHARE = 0.6  # of the power there that a partial has, and a peak of noise has not
MATCH_CENTS = 35.0  # within which a partial is the harmonic of a note that is a little out of tune
FREE_SHARE = 0.01  # of the power in partials far from harmonics makes a bell, whose partials are no vibrato
BELL_SHARE = 0.25  # of it makes a bell that has no pitch to follow
MOST_FREE = 24  # partials of their own, of the strongest
SLOT_REACH = 6  # slots away from its own that a partial may be put
MOST_CENTS = 3_200.0  # away from it; with the detuning, an int16 of tenths holds it
STIFFEST = 3e-3  # B of the stiffest strings
STIFF_PARTIALS = 3  # from so many on, those above are looked for where a stiff string has them
SIDE_BANDS = 2.5  # of a vibrato's rate, beyond its depth: as far as it spreads a partial

TRACK_PARTIALS = 12
TRACK_TOP_HZ = 5_000.0
TRACK_FRAME_SAMPLES = 32  # of the bands: 500 Hz
TRACK_CENTS = 60.0  # of a vibrato that bands must hold
TRACK_MOST_HZ = 240.0  # to either side
SMOOTHING = np.hanning(13)[1:-1]  # of 11 frames, 44 ms
TRACK_REACH_CENTS = 120.0
TRACK_COUNTS = 1e-2  # of its greatest weight a track's frame has to have, to count as much as the others
HELD_S = 3.0  # of a note, NSynth's
VIBRATO_HZ = (3.0, 9.0)
VIBRATO_CENTS = (4.0, 200.0)
VIBRATO_SHARE = 0.4  # of the track's variance that one sine must explain
DECAY_FROM_S, DECAY_TO_S = 1.0, 2.9
DECAY_FLOOR_DB = 60.0  # under the loudest: below is silence
GONE_DB_PER_S = 60.0  # of a sound that is over by then


@dataclass(frozen=True, eq=False)
class Tone:
    """What was measured of a note."""

    partials_cents: np.ndarray  # float32 [PARTIALS]: how far partial k lies off k times the fundamental
    detune_cents: float  # of the fundamental against the asked pitch
    track_cents: np.ndarray  # float32 [FRAMES]: the pitch against the asked one, at 250 Hz
    rate_hz: float  # of the vibrato; 0: none
    depth_cents: float  # its peak deviation
    delay_s: float  # until it has half of its depth
    decay_db_per_s: float  # while held, from 1 s on


def analyse(audio: np.ndarray, pitch: float) -> Tone:
    """A note as `device.recording.as_note` gives it, float32 [NOTE_SAMPLES], that plays this MIDI pitch."""
    f0_hz = 440.0 * 2.0 ** ((pitch - 69) / 12)
    early, late = (peaks(audio[start : start + PEAK_WINDOW_SAMPLES]) for start in PEAK_STARTS_SAMPLES)
    struck = [peaks(audio[start : start + STRUCK_WINDOW_SAMPLES]) for start in STRUCK_STARTS_SAMPLES]
    detune, stiffness = harmonic_fit(early, f0_hz)
    fundamental_hz = f0_hz * 2 ** (detune / 1200)
    stretched = stretch_cents(stiffness)
    spectrum = np.fft.rfft(audio, PADDED_SAMPLES)
    track, weight = pitch_track(spectrum, fundamental_hz, stretched, np.ones(PARTIALS, bool))
    rate_hz, depth_cents, _ = vibrato(track)
    held = staying(early, late, STEADY_HZ)
    if free_power(*held, fundamental_hz, stretched) > BELL_SHARE:  # nothing to follow a pitch with
        rate_hz, depth_cents, weight = 0.0, 0.0, np.zeros(FRAMES)
    moved_cents = min(2 * restlessness(track, weight), MATCH_CENTS) if moves(track, weight) else 0.0
    if depth_cents:  # its peaks need not lie round its pitch, nor tell of a string
        moved_cents, stretched = depth_cents, np.zeros(PARTIALS, np.float32)
        detune += middle(track)
        fundamental_hz = f0_hz * 2 ** (detune / 1200)
    spread_hz = moved_cents * fundamental_hz * np.arange(1, PARTIALS + 1) / 1731 + SIDE_BANDS * rate_hz
    found = with_struck(*held, *staying(*struck, STRUCK_STEADY_HZ))
    cents, is_harmonic, free_share = place_partials(found, fundamental_hz, stretched, spread_hz)
    if free_share > FREE_SHARE:  # its pitch is where the player hears it, and the partials lie where they lie
        return Tone((cents + np.float32(detune)).astype(np.float32), 0.0, np.zeros(FRAMES, np.float32), 0.0, 0.0, 0.0,
                    decay(audio))
    if moved_cents or not is_harmonic[:TRACK_PARTIALS].all():
        track, weight = pitch_track(spectrum, fundamental_hz, cents, is_harmonic)
    rate_hz, depth_cents, delay_s = vibrato(track)
    if depth_cents or moves(track, weight):  # what was placed were the peaks of a moving sound
        cents = stretched
        track, detune = track - middle(track), detune + middle(track)
    return Tone(cents, detune, (track + detune).astype(np.float32), rate_hz, depth_cents, delay_s, decay(audio))


class Peaks(NamedTuple):
    """The peaks of a window's spectrum."""

    hz: np.ndarray  # ascending
    db: np.ndarray  # under the strongest
    is_line: np.ndarray  # bool: a partial, and not the top of a band of noise


def stretch_cents(stiffness: float) -> np.ndarray:
    """float32 [PARTIALS]: how far a stiff string's partials lie off its first one's multiples (Fletcher, 1964)."""
    k = np.arange(1, PARTIALS + 1)
    return (600 * np.log2((1 + stiffness * k**2) / (1 + stiffness))).astype(np.float32)


@lru_cache(maxsize=2)
def _window(samples: int) -> np.ndarray:
    return np.hanning(samples).astype(np.float32)


def peaks(audio: np.ndarray) -> Peaks:
    """The partials of a window."""
    power = np.abs(np.fft.rfft(audio * _window(len(audio)), PADDED_SAMPLES)) ** 2
    db = 10 * np.log10(power + 1e-12)
    inner = db[1:-1]
    found = 1 + np.flatnonzero((inner > db[:-2]) & (inner >= db[2:]) & (inner > db.max() - PEAK_RANGE_DB)
                               & (inner > -60))
    step = round(AROUND_HZ / BIN_HZ / 4)
    coarse = np.median(db[: len(db) // step * step].reshape(-1, step), axis=1)  # of 30 Hz each
    padded = np.pad(coarse, 4, mode="edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 9), axis=1)
    found = found[db[found] > around[np.minimum(found // step, len(around) - 1)] + PEAK_RISE_DB]
    a, b, c = db[found - 1], db[found], db[found + 1]
    bend = a - 2 * b + c
    offset = np.where(bend < 0, 0.5 * (a - c) / np.where(bend < 0, bend, 1), 0)
    hz = (found + offset) * BIN_HZ
    total = np.concatenate([[0.0], np.cumsum(power, dtype=np.float64)])
    near, beside = (total[np.minimum(found + half + 1, len(power))] - total[np.maximum(found - half, 0)]
                    for half in (round(LINE_HZ / BIN_HZ), round(BESIDE_HZ / BIN_HZ)))
    heard = hz > 20
    return Peaks(hz[heard], db[found][heard] - db.max(), (near > LINE_SHARE * beside)[heard])


def harmonic_fit(found: Peaks, f0_hz: float) -> tuple[float, float]:
    """Detuning in cents and stiffness B of the partials that are near harmonics, following them upwards.

    (f_k / k)^2 of a stiff string is a line in k^2, whose slope over its value at 0 is B.
    """
    hz, db, _ = found
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


def staying(early: Peaks, late: Peaks, within_hz: tuple[float, float]) -> tuple[Peaks, np.ndarray]:
    """The peaks of a window, and which of them a later one has too: bool."""
    if not len(early.hz) or not len(late.hz):
        return early, np.zeros(len(early.hz), bool)
    moved_hz = np.abs(late.hz[nearest(late.hz, early.hz)] - early.hz)
    return early, moved_hz < np.clip(early.hz * STEADY_CENTS / 1731, *within_hz)


def free_power(held: Peaks, stays: np.ndarray, fundamental_hz: float, stretched: np.ndarray) -> float:
    """How much of the power of a window lies in steady partials that are far from harmonics."""
    if not len(held.hz):
        return 0.0
    harmonic_hz = np.arange(1, PARTIALS + 1) * fundamental_hz * 2 ** (stretched / 1200)
    off = 1200 * np.log2(held.hz / harmonic_hz[nearest(harmonic_hz, held.hz)])
    power = 10 ** (held.db / 10)
    return float(power[stays & held.is_line & (np.abs(off) > MATCH_CENTS)].sum() / power.sum())


class Found(NamedTuple):
    """Peaks, and what they are."""

    hz: np.ndarray
    db: np.ndarray
    is_steady: np.ndarray  # bool: a partial, which stays
    is_struck: np.ndarray  # bool: one that dies away at once


def with_struck(held: Peaks, held_stays: np.ndarray, struck: Peaks, struck_stays: np.ndarray) -> Found:
    """The peaks of the held sound, and the partials of its beginning that are none of them."""
    steady = held_stays & held.is_line
    is_new = struck_stays & (struck.db > -STRUCK_RANGE_DB)
    for hz in held.hz[steady]:
        is_new &= np.abs(struck.hz - hz) > STRUCK_APART_HZ
    for louder in np.argsort(-struck.db):  # side lobes and flutter
        if is_new[louder] or struck.db[louder] > -STRUCK_RANGE_DB:
            apart = np.abs(struck.hz - struck.hz[louder]) > STRUCK_APART_HZ
            is_new &= apart | (struck.db >= struck.db[louder])
    new = int(is_new.sum())
    return Found(np.concatenate([held.hz, struck.hz[is_new]]), np.concatenate([held.db, struck.db[is_new]]),
                 np.concatenate([steady, np.ones(new, bool)]), np.arange(len(held.hz) + new) >= len(held.hz))


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


def nearest(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where in `ascending`, which has members, lies what is nearest to each value."""
    if len(ascending) == 1:
        return np.zeros(len(values), np.int64)
    return np.searchsorted((ascending[1:] + ascending[:-1]) / 2, values)


def baseband(spectrum: np.ndarray, centre_hz: float, half_band_hz: float) -> tuple[np.ndarray, float]:
    """The band round a frequency, brought down to 0 Hz at 500 Hz: complex [2 FRAMES], and the exact frequency."""
    points = PADDED_SAMPLES // TRACK_FRAME_SAMPLES
    centre, half = round(centre_hz / BIN_HZ), min(int(half_band_hz / BIN_HZ), points // 2 - 1)
    inside = half + 1 - np.abs(np.arange(-half, half + 1))
    taper = 0.5 - 0.5 * np.cos(np.pi * np.minimum(inside / (0.3 * half + 1), 1))  # flat, or a vibrato would lose depth
    bins = np.arange(centre - half, centre + half + 1)
    valid = (bins >= 0) & (bins < len(spectrum))
    folded = np.zeros(points, np.complex64)
    folded[np.arange(-half, half + 1)[valid]] = spectrum[bins[valid]] * taper[valid]
    return np.fft.ifft(folded)[: NOTE_SAMPLES // TRACK_FRAME_SAMPLES], centre * BIN_HZ


def pitch_track(spectrum: np.ndarray, fundamental_hz: float, cents: np.ndarray, is_harmonic: np.ndarray,
                ) -> tuple[np.ndarray, np.ndarray]:
    """float [FRAMES]: how far the pitch is off the fundamental, in cents; 0 where there is none to follow; and how much
    there is to tell it by, 1 at most.

    From the phases of the first harmonics, of the spectrum of PADDED_SAMPLES, weighted as their frequencies can be
    known.
    """
    turned, weight = np.zeros(2 * FRAMES), np.zeros(2 * FRAMES)
    for slot in range(TRACK_PARTIALS):
        expected_hz = (slot + 1) * fundamental_hz * 2 ** (cents[slot] / 1200)
        if not is_harmonic[slot] or expected_hz > TRACK_TOP_HZ:
            continue
        half_band_hz = min(0.5 * fundamental_hz, 2 * TRACK_CENTS / 1731 * expected_hz + 20.0, TRACK_MOST_HZ)
        band, centre_hz = baseband(spectrum, expected_hz, half_band_hz)
        step = band[1:] * np.conj(band[:-1])
        off = (np.angle(step) * 2 * FRAME_HZ / (2 * np.pi) + centre_hz - expected_hz) / expected_hz
        w = np.abs(step) * (slot + 1) ** 2
        turned[1:] += w * off
        weight[1:] += w
    turned, weight = turned.reshape(FRAMES, 2).sum(axis=1), weight.reshape(FRAMES, 2).sum(axis=1)
    turned, weight = np.convolve(turned, SMOOTHING, "same"), np.convolve(weight, SMOOTHING, "same")
    top = weight.max()
    if top <= 0:
        return np.zeros(FRAMES), np.zeros(FRAMES)
    track = 1731 * turned / (weight + 1e-4 * top)
    held = weight > 1e-2 * top
    spread = np.sqrt(np.average((track[held] - np.average(track[held], weights=weight[held])) ** 2,
                                weights=weight[held]))
    if spread > TRACK_REACH_CENTS / 2:  # no one pitch
        return np.zeros(FRAMES), np.zeros(FRAMES)
    return np.clip(track, -TRACK_REACH_CENTS, TRACK_REACH_CENTS), weight / top


def vibrato(track: np.ndarray) -> tuple[float, float, float]:
    """Rate in Hz, depth in cents and delay in s of a pitch track [FRAMES]; zeros where there is none."""
    none = (0.0, 0.0, 0.0)
    begin, end = round(0.1 * FRAME_HZ), round((HELD_S - 0.05) * FRAME_HZ)
    slow = np.hanning(round(0.5 * FRAME_HZ) | 1)
    held = track - np.convolve(np.pad(track, len(slow) // 2, mode="edge"), slow / slow.sum(), "valid")
    held = held[begin:end]
    size = 16_384
    spectrum = np.abs(np.fft.rfft(held * np.hanning(len(held)), size))
    hz = np.arange(len(spectrum)) * FRAME_HZ / size
    band = (hz >= VIBRATO_HZ[0]) & (hz <= VIBRATO_HZ[1])
    rate_hz = float(hz[band][np.argmax(spectrum[band])])
    if not VIBRATO_HZ[0] + 0.1 < rate_hz < VIBRATO_HZ[1] - 0.1:
        return none
    # Its amplitude over time: brought down to 0 Hz, over two periods
    at = np.arange(len(held)) / FRAME_HZ
    smooth = np.hanning(max(3, round(2 * FRAME_HZ / rate_hz)))
    there = np.convolve(np.ones(len(held)), smooth, "same")  # of the window, near the ends
    envelope = 2 * np.abs(np.convolve(held * np.exp(-2j * np.pi * rate_hz * at), smooth, "same")) / there
    later = slice(len(held) // 3, len(held) - len(smooth) // 2)
    half = np.median(envelope[later]) / 2
    delay_s = float(np.argmax(envelope > half) / FRAME_HZ + begin / FRAME_HZ)
    settled = at + begin / FRAME_HZ > delay_s + 1 / rate_hz
    if settled.sum() < 3 * FRAME_HZ / rate_hz:
        return none
    sines = np.stack([np.sin(2 * np.pi * rate_hz * at), np.cos(2 * np.pi * rate_hz * at), np.ones_like(at)], 1)[settled]
    fit, *_ = np.linalg.lstsq(sines, held[settled], rcond=None)
    explained = 1 - np.var(held[settled] - sines @ fit) / max(np.var(held[settled]), 1e-12)
    turns = rate_hz / FRAME_HZ * np.arange(len(SMOOTHING))
    kept = float(np.abs(SMOOTHING @ np.exp(2j * np.pi * turns)) / SMOOTHING.sum())  # by the track's smoothing
    fitted = float(np.hypot(fit[0], fit[1])) / kept
    if explained < VIBRATO_SHARE or not VIBRATO_CENTS[0] <= fitted <= VIBRATO_CENTS[1]:
        return none
    return rate_hz, fitted, 0.0 if delay_s < begin / FRAME_HZ + 0.02 else delay_s


def _held() -> slice:
    """Of a track's frames those of the held sound, without its attack."""
    return slice(round(0.1 * FRAME_HZ), round(HELD_S * FRAME_HZ))


def middle(track: np.ndarray) -> float:
    """Of the pitch track [FRAMES] of the held sound, in cents."""
    return float(np.median(track[_held()]))


def restlessness(track: np.ndarray, weight: np.ndarray) -> float:
    """RMS in cents of what moves in the pitch track [FRAMES] of the held sound, as long as there is sound."""
    held, counts = track[_held()], np.minimum(weight[_held()], TRACK_COUNTS)
    if not counts.any():
        return 0.0
    return float(np.sqrt(np.average((held - np.average(held, weights=counts)) ** 2, weights=counts)))


def moves(track: np.ndarray, weight: np.ndarray) -> bool:
    """Whether the pitch track [FRAMES] of the held sound is too restless for its partials to be told apart."""
    return restlessness(track, weight) > STEADY_CENTS


def decay(audio: np.ndarray) -> float:
    """dB a second that the held sound loses from 1 s on; 0 where it grows."""
    hop = 512
    power = np.mean(audio[: len(audio) // hop * hop].reshape(-1, hop) ** 2, axis=1)
    db = 10 * np.log10(power + 1e-12)
    at = (np.arange(len(db)) + 0.5) * hop / SAMPLE_RATE_HZ
    held = (at >= DECAY_FROM_S) & (at <= DECAY_TO_S) & (db > db.max() - DECAY_FLOOR_DB)
    if held.sum() < 8:
        return GONE_DB_PER_S
    slope = np.polyfit(at[held], db[held], 1)[0]
    return float(np.clip(-slope, 0, 200))
