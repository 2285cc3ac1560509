"""What a recording has beside its embedding: how its partials lie, its vibrato, and how it decays while it is held.

A decoder that is excited by harmonics at a constant pitch can have none of these. They are measured here, a preset
carries them in a few bytes, and decoder and engine put them back.
"""

from dataclasses import dataclass
from functools import lru_cache

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
STEADY_CENTS = 4.0  # a partial further off its harmonic than this is heard as off, and one that moves less stays
MATCH_CENTS = 35.0  # within which a partial is the harmonic of a note that is a little out of tune
FREE_SHARE = 0.01  # of the power in partials far from harmonics makes a bell, whose partials are no vibrato
MOST_FREE = 24  # partials of their own, of the strongest
SLOT_REACH = 6  # slots away from its own that a partial may be put
STIFFEST = 3e-3  # B of the stiffest strings

TRACK_PARTIALS = 12
TRACK_TOP_HZ = 5_000.0
TRACK_HALF_BAND_HZ = 110.0
TRACK_SMOOTH_FRAMES = 11  # 44 ms: a sixth of the fastest vibrato's period and more
TRACK_REACH_CENTS = 120.0
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
    detune, stiffness = harmonic_fit(early, f0_hz)
    fundamental_hz = f0_hz * 2 ** (detune / 1200)
    stretched = stretch_cents(stiffness)
    cents, is_harmonic, free_share = place_partials(early, late, fundamental_hz, stretched)
    if free_share > FREE_SHARE:  # its pitch is where the player hears it, and the partials lie where they lie
        return Tone((cents + np.float32(detune)).astype(np.float32), 0.0, np.zeros(FRAMES, np.float32), 0.0, 0.0, 0.0,
                    decay(audio))
    track = pitch_track(audio, fundamental_hz, cents, is_harmonic)
    rate_hz, depth_cents, delay_s = vibrato(track)
    if depth_cents or moves(track):  # what was placed were the peaks of a moving sound
        cents = stretched
    return Tone(cents, detune, (track + detune).astype(np.float32), rate_hz, depth_cents, delay_s, decay(audio))


def stretch_cents(stiffness: float) -> np.ndarray:
    """float32 [PARTIALS]: how far a stiff string's partials lie off its first one's multiples (Fletcher, 1964)."""
    k = np.arange(1, PARTIALS + 1)
    return (600 * np.log2((1 + stiffness * k**2) / (1 + stiffness))).astype(np.float32)


@lru_cache(maxsize=1)
def _window() -> np.ndarray:
    return np.hanning(PEAK_WINDOW_SAMPLES).astype(np.float32)


def peaks(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The partials of a window: frequencies in Hz, ascending, and levels in dB under the strongest."""
    power = np.abs(np.fft.rfft(audio * _window(), PADDED_SAMPLES)) ** 2
    db = 10 * np.log10(power + 1e-12)
    inner = db[1:-1]
    found = 1 + np.flatnonzero((inner > db[:-2]) & (inner >= db[2:]) & (inner > db.max() - PEAK_RANGE_DB)
                               & (inner > -60))
    if not len(found):
        return np.zeros(0), np.zeros(0)
    step = round(AROUND_HZ / BIN_HZ / 4)
    coarse = np.median(db[: len(db) // step * step].reshape(-1, step), axis=1)  # of 30 Hz each
    padded = np.pad(coarse, 4, mode="edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 9), axis=1)
    found = found[db[found] > around[np.minimum(found // step, len(around) - 1)] + PEAK_RISE_DB]
    a, b, c = db[found - 1], db[found], db[found + 1]
    bend = a - 2 * b + c
    offset = np.where(bend < 0, 0.5 * (a - c) / np.where(bend < 0, bend, 1), 0)
    hz = (found + offset) * BIN_HZ
    heard = hz > 20
    return hz[heard], db[found][heard] - db.max()


def harmonic_fit(found: tuple[np.ndarray, np.ndarray], f0_hz: float) -> tuple[float, float]:
    """Detuning in cents and stiffness B of the partials that are near harmonics, following them upwards."""
    hz, db = found
    detune, stiffness = 0.0, 0.0
    ks, deviations, weights = [], [], []
    for k in range(1, 31):
        expected = k * f0_hz * 2 ** (detune / 1200) * np.sqrt((1 + stiffness * k * k) / (1 + stiffness))
        near = np.abs(hz - expected) < expected * MATCH_CENTS / 1731
        if not near.any():
            continue
        best = np.flatnonzero(near)[np.argmax(db[near])]
        ks.append(k)
        deviations.append(1200 * np.log2(hz[best] / (k * f0_hz)))
        weights.append(10 ** (db[best] / 20) / k)  # the low ones are what is heard as the pitch
        n, d, w = np.array(ks, float), np.array(deviations), np.array(weights)
        if len(ks) >= 5:
            # 600 log2(1 + B k^2) is about 866 B k^2: a line in k^2
            slope, detune = line(n**2, d, w + 0.01)
            stiffness = float(np.clip(slope / 866, 0, STIFFEST))
            if stiffness == 0:
                detune = weighted_median(d, w)
            else:
                detune += 866 * stiffness  # of the first partial, not of the string without stiffness
        else:
            detune = weighted_median(d, w)
    stray = np.abs(d - detune - 866 * stiffness * (n**2 - 1)) if ks else np.zeros(1)
    if 866 * stiffness * 100 < STEADY_CENTS or np.median(stray) > STEADY_CENTS:  # not heard in the tenth, or no string
        return (float(weighted_median(np.array(deviations), np.array(weights))) if ks else 0.0), 0.0
    return float(detune), stiffness


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


def place_partials(early: tuple[np.ndarray, np.ndarray], late: tuple[np.ndarray, np.ndarray], fundamental_hz: float,
                   stretched: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Puts steady partials that are no harmonics into the slots of the harmonics next to them.

    Returns cents float32 [PARTIALS]; bool [PARTIALS], which slots hold a harmonic still; and how much of the power lies
    in partials that are far from any.
    """
    hz, db = early
    k = np.arange(1, PARTIALS + 1)
    harmonic_hz = k * fundamental_hz * 2 ** (stretched / 1200)
    cents, taken, is_harmonic = stretched.copy(), np.zeros(PARTIALS, bool), np.ones(PARTIALS, bool)
    placed, free_power = 0, 0.0
    for i in np.argsort(-db):
        near = int(np.argmin(np.abs(harmonic_hz - hz[i])))
        off = 1200 * np.log2(hz[i] / harmonic_hz[near])
        if abs(off) <= STEADY_CENTS:
            taken[near] = True
            continue
        steady = len(late[0]) and np.min(np.abs(1200 * np.log2(late[0] / hz[i]))) < STEADY_CENTS
        beside = taken & (np.abs(harmonic_hz * 2 ** ((cents - stretched) / 1200) - hz[i]) < 0.1 * fundamental_hz)
        if not steady or beside.any() or placed == MOST_FREE:  # noise, or a side-band of a stronger one
            continue
        free = np.flatnonzero(~taken & (np.abs(k - 1 - near) <= SLOT_REACH))
        if not len(free):
            continue
        slot = int(free[np.argmin(np.abs(free - near))])
        deviation = 1200 * np.log2(hz[i] / (k[slot] * fundamental_hz))
        if abs(deviation) > 3_276:
            continue
        cents[slot], taken[slot], is_harmonic[slot], placed = deviation, True, False, placed + 1
        free_power += 10 ** (db[i] / 10) if abs(off) > MATCH_CENTS else 0.0
    return cents.astype(np.float32), is_harmonic, free_power / max(float(np.sum(10 ** (db / 10))), 1e-12)


def baseband(spectrum: np.ndarray, centre_hz: float, half_band_hz: float) -> tuple[np.ndarray, float]:
    """The band round a frequency, brought down to 0 Hz at 250 Hz: complex [FRAMES], and the exact frequency."""
    points = PADDED_SAMPLES // FRAME_SAMPLES
    centre, half = round(centre_hz / BIN_HZ), min(int(half_band_hz / BIN_HZ), points // 2 - 1)
    taper = 0.5 + 0.5 * np.cos(np.pi * np.arange(-half, half + 1) / (half + 1))
    bins = np.arange(centre - half, centre + half + 1)
    valid = (bins >= 0) & (bins < len(spectrum))
    folded = np.zeros(points, np.complex128)
    folded[np.arange(-half, half + 1)[valid]] = spectrum[bins[valid]] * taper[valid]
    return np.fft.ifft(folded)[:FRAMES], centre * BIN_HZ


def pitch_track(audio: np.ndarray, fundamental_hz: float, cents: np.ndarray, is_harmonic: np.ndarray) -> np.ndarray:
    """float [FRAMES]: how far the pitch is off its mean, in cents; 0 where there is none to follow.

    From the phases of the first harmonics, weighted as their frequencies can be known.
    """
    spectrum = np.fft.rfft(audio, PADDED_SAMPLES)
    half_band_hz = min(0.5 * fundamental_hz, TRACK_HALF_BAND_HZ)
    turned, weight = np.zeros(FRAMES), np.zeros(FRAMES)
    for slot in range(TRACK_PARTIALS):
        expected_hz = (slot + 1) * fundamental_hz * 2 ** (cents[slot] / 1200)
        if not is_harmonic[slot] or expected_hz > TRACK_TOP_HZ:
            continue
        band, centre_hz = baseband(spectrum, expected_hz, half_band_hz)
        step = band[1:] * np.conj(band[:-1])
        off = (np.angle(step) * FRAME_HZ / (2 * np.pi) + centre_hz - expected_hz) / expected_hz
        w = np.abs(step) * (slot + 1) ** 2
        turned[1:] += w * off
        weight[1:] += w
    smooth = np.hanning(TRACK_SMOOTH_FRAMES + 2)[1:-1]
    turned, weight = np.convolve(turned, smooth, "same"), np.convolve(weight, smooth, "same")
    top = weight.max()
    if top <= 0:
        return np.zeros(FRAMES)
    track = 1731 * turned / (weight + 1e-4 * top)
    held = weight > 1e-2 * top
    spread = np.sqrt(np.average((track[held] - np.average(track[held], weights=weight[held])) ** 2,
                                weights=weight[held]))
    if spread > TRACK_REACH_CENTS / 2:  # no one pitch
        return np.zeros(FRAMES)
    return np.clip(track, -TRACK_REACH_CENTS, TRACK_REACH_CENTS)


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
    fitted = float(np.hypot(fit[0], fit[1]))
    if explained < VIBRATO_SHARE or not VIBRATO_CENTS[0] <= fitted <= VIBRATO_CENTS[1]:
        return none
    return rate_hz, fitted, 0.0 if delay_s < begin / FRAME_HZ + 0.02 else delay_s


def moves(track: np.ndarray) -> bool:
    """Whether the pitch track [FRAMES] of the held sound is too restless for its partials to be told apart."""
    held = track[round(0.1 * FRAME_HZ) : round(HELD_S * FRAME_HZ)]
    return bool(np.std(held) > STEADY_CENTS)


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
