"""What a recording has beside its embedding: how its partials lie, its vibrato, and how it decays while it is held.

A decoder that is excited by harmonics at a constant pitch can have none of these. They are measured here, a preset
carries them in a few bytes, and decoder and engine put them back.
"""

from dataclasses import dataclass

import numpy as np

from device.peaks import (
    BIN_HZ,
    MATCH_CENTS,
    PADDED_SAMPLES,
    STEADY_CENTS,
    find,
    free_share,
    harmonic_fit,
    place_partials,
    stretch_cents,
)
from device.preset import NOTE_SAMPLES, PARTIALS, SAMPLE_RATE_HZ

FRAME_SAMPLES = 64  # of the pitch's track: 250 Hz
FRAMES = NOTE_SAMPLES // FRAME_SAMPLES
FRAME_HZ = SAMPLE_RATE_HZ / FRAME_SAMPLES

FREE_SHARE = 0.01  # of the power in partials far from harmonics makes a bell, whose partials are no vibrato
BELL_SHARE = 0.25  # of it makes a bell that has no pitch to follow
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
    found = find(audio)
    detune, stiffness = harmonic_fit(found, f0_hz)
    fundamental_hz = f0_hz * 2 ** (detune / 1200)
    stretched = stretch_cents(stiffness)
    spectrum = np.fft.rfft(audio, PADDED_SAMPLES)
    track, weight = pitch_track(spectrum, fundamental_hz, stretched, np.ones(PARTIALS, bool))
    rate_hz, depth_cents, _ = vibrato(track)
    if free_share(found, fundamental_hz, stretched) > BELL_SHARE:  # nothing to follow a pitch with
        rate_hz, depth_cents, weight = 0.0, 0.0, np.zeros(FRAMES)
    moved_cents = min(2 * restlessness(track, weight), MATCH_CENTS) if moves(track, weight) else 0.0
    if depth_cents:  # its peaks need not lie round its pitch, nor tell of a string
        moved_cents, stretched = depth_cents, np.zeros(PARTIALS, np.float32)
        detune += middle(track)
        fundamental_hz = f0_hz * 2 ** (detune / 1200)
    spread_hz = moved_cents * fundamental_hz * np.arange(1, PARTIALS + 1) / 1731 + SIDE_BANDS * rate_hz
    cents, is_harmonic, placed_share = place_partials(found, fundamental_hz, stretched, spread_hz)
    if placed_share > FREE_SHARE:  # its pitch is where the player hears it, and the partials lie where they lie
        return Tone((cents + np.float32(detune)).astype(np.float32), 0.0, np.zeros(FRAMES, np.float32), 0.0, 0.0, 0.0,
                    decay(audio))
    if moved_cents or not is_harmonic[:TRACK_PARTIALS].all():
        track, weight = pitch_track(spectrum, fundamental_hz, cents, is_harmonic)
    rate_hz, depth_cents, delay_s = vibrato(track)
    if depth_cents or moves(track, weight):  # what was placed were the peaks of a moving sound
        cents = stretched
        track, detune = track - middle(track), detune + middle(track)
    return Tone(cents, detune, (track + detune).astype(np.float32), rate_hz, depth_cents, delay_s, decay(audio))


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
