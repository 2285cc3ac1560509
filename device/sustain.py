"""How a note of four seconds sounds for as long as a key is held: its body, the loop at its end, and its release.

All of it happens to the latent track, a column each 256 samples, before anything is decoded, and with frequencies that
have whole cycles in a loop: what is decoded then repeats itself exactly, and there is no seam to hide.

    column of the note   0 ............ 113 to 125 ............. 183 ........ 250
    body                 attack, steady part | CONTEXT | loop of n columns |
    release                                                       4 columns | 1 s

The CONTEXT holds the loop's end, so that the decoder's filters find before the loop what they find within it. A body is
three segments of the decoder's tensor and a release is one (device/conditioning.py).
"""

import math

import numpy as np

from device.conditioning import MARGIN_COLUMNS
from device.preset import FRAMES, HOP_SAMPLES, SAMPLE_RATE_HZ
from device.synth import COLUMN_SAMPLES

NOTE_COLUMNS = FRAMES * HOP_SAMPLES // COLUMN_SAMPLES  # 250
HELD_COLUMNS = 187  # the key goes up in the next one
LOOP_COLUMN = 125  # 2.0 s: attack and swell are over; where the longest loops begin a little earlier
LOOP_COLUMNS = range(46, 75)  # 0.74 to 1.18 s: fewer would be heard as a rhythm, or be out of tune
FINE_CENTS = 1.0  # of its frequency: nobody hears
CONTEXT = 16  # columns, more than the decoder's filters reach over
SEAM = 1  # column behind the loop, to whose levels those of the loop's end run
XFADE = 15  # columns, 0.24 s
AROUND = 4  # columns on either side, of which the level that a decay begins at is the mean
RELEASE_COLUMN = 183  # 4 columns of the held sound, in which the engine looks for the phase to change over at
RELEASE_COLUMNS = NOTE_COLUMNS - RELEASE_COLUMN
DECAYING_DB_PER_S = 2.0  # what loses less is held by blowing, bowing or a current

# Recordings that are shorter than a note's hold
HOLD_SAMPLES = 3 * SAMPLE_RATE_HZ
HOP = SAMPLE_RATE_HZ // 100
SOUND_RATIO = 1e-2  # -40 dB of the peak: what is softer, at the end, is no sound
RELEASE_DB = 2.0  # under the steady level, and not back again: the sound has been let go
STEADY_DB_PER_S = 6.0  # what falls faster was struck or plucked
SHORTEST_SAMPLES = SAMPLE_RATE_HZ // 8  # of steady sound, to go on with
OVERLAP_SAMPLES = SAMPLE_RATE_HZ // 40
FIT_SAMPLES = SAMPLE_RATE_HZ // 25  # either way: a cycle of the lowest pitch


def loop_columns(pitch: float) -> int:
    """The length of the loop of a MIDI pitch: in tune, begun late, then the one that is the least off."""
    def badness(columns: int) -> tuple[float, float, float]:
        off = abs(off_cents(pitch, columns))
        return max(0.0, off - FINE_CENTS), -loop_column(columns), off

    return min(LOOP_COLUMNS, key=badness)


def loop_column(columns: int) -> int:
    """The column of the note at which a loop of so many is taken."""
    return min(LOOP_COLUMN, HELD_COLUMNS - columns)


def loop_start_samples(columns: int) -> int:
    """Where a loop of so many columns starts in the body."""
    return (loop_column(columns) + CONTEXT) * COLUMN_SAMPLES


def off_cents(pitch: float, columns: int) -> float:
    """How far the frequency of a MIDI pitch moves when it is rounded to whole cycles in so many columns."""
    cycles = 440.0 * 2.0 ** ((pitch - 69) / 12) * columns * COLUMN_SAMPLES / SAMPLE_RATE_HZ
    return 1200 * math.log2(max(1, round(cycles)) / cycles)


def is_decaying(decay_db_per_s: np.ndarray) -> np.ndarray:
    return np.asarray(decay_db_per_s) >= DECAYING_DB_PER_S


def body(tracks: np.ndarray, decay_db_per_s: np.ndarray, columns: int) -> np.ndarray:
    """The bodies' latent tracks, float32 [..., loop_column + CONTEXT + columns + SEAM + MARGIN_COLUMNS, 16].

    Of notes' tracks float32 [..., NOTE_COLUMNS, 16] and their decays [...], for a loop of so many columns. What follows
    the loop tells the decoder how it goes on: SEAM is decoded and cut off, MARGIN_COLUMNS are only heard. A sound
    that is held loops as it was, its end faded into what comes before its start; one that decays stands still, and
    the engine goes on with its decay.
    """
    start = loop_column(columns)
    head, loop = tracks[..., :start, :], tracks[..., start : start + columns, :].copy()
    rise = (np.arange(1, XFADE + 1, dtype=np.float32) / (XFADE + 1))[:, None]
    before = head[..., -XFADE:, :]
    loop[..., -XFADE:, :] += rise * (before - loop[..., -XFADE:, :])
    still = tracks[..., start - AROUND : start + AROUND, :].mean(axis=-2, keepdims=True)
    falling = is_decaying(decay_db_per_s)[..., None, None]
    head = np.concatenate([head[..., :-XFADE, :], before + falling * rise * (still - before)], axis=-2)
    loop = np.where(falling, still, loop)
    return np.concatenate([head, loop, loop[..., : CONTEXT + SEAM + MARGIN_COLUMNS, :]], axis=-2).astype(np.float32)


def release(tracks: np.ndarray) -> np.ndarray:
    """The releases' latent tracks, float32 [..., MARGIN_COLUMNS + RELEASE_COLUMNS, 16], of tracks [..., NOTE_COLUMNS,
    16]. The first MARGIN_COLUMNS only tell the decoder what was before."""
    return tracks[..., RELEASE_COLUMN - MARGIN_COLUMNS :, :]


def fall(decay_db_per_s: np.ndarray, columns: int) -> np.ndarray:
    """The gain, float32 [..., samples of a body], of bodies with these decays [...].

    A body stands still from loop_column on, and the engine's decay begins with the loop: this is the decay between.
    """
    start, loop_start = loop_column(columns) * COLUMN_SAMPLES, loop_start_samples(columns)
    at = np.arange(loop_start + columns * COLUMN_SAMPLES)
    fallen_s = np.clip(at - start, 0, loop_start - start) / SAMPLE_RATE_HZ
    return (10 ** (-np.asarray(decay_db_per_s)[..., None] * fallen_s / 20)).astype(np.float32)


def held(note: np.ndarray) -> np.ndarray:
    """A note, float32 [samples], as if its key had been held for 3 s, where the recording is of a shorter one.

    Its steady part is repeated, where the wave fits best, and its own end follows. A sound that dies away by itself,
    or has no steady part, is given back as it is.
    """
    loud = np.flatnonzero(np.abs(note) > SOUND_RATIO * np.abs(note).max())
    end = int(loud[-1]) + 1 if len(loud) else 0
    steady = steady_part(note[:end])
    if end >= HOLD_SAMPLES or steady is None:
        return note
    first, last = steady
    missing, longest = HOLD_SAMPLES - last, last - first - OVERLAP_SAMPLES
    sound = note[:last]
    up = np.linspace(0, 1, OVERLAP_SAMPLES, dtype=np.float32)
    while missing > FIT_SAMPLES:
        again = best_fit(note, first, last, missing // -(-missing // longest))
        blended = (1 - up) * note[last - OVERLAP_SAMPLES : last] + up * note[again - OVERLAP_SAMPLES : again]
        sound = np.concatenate([sound[:-OVERLAP_SAMPLES], blended, note[again:last]])
        missing -= last - again
    return np.concatenate([sound, note[last:], np.zeros(len(note), np.float32)])[: len(note)]


def steady_part(sound: np.ndarray) -> tuple[int, int] | None:
    """Where a sound [samples] stands, from sample to sample, or None where it falls all the time."""
    levels = sound[: len(sound) // HOP * HOP].reshape(-1, HOP)
    if len(sound) < SHORTEST_SAMPLES + OVERLAP_SAMPLES:
        return None
    db = 10 * np.log10(np.mean(levels**2, axis=1) + 1e-12)
    middle = np.median(db[len(db) // 4 : -(len(db) // 4)])
    up = np.flatnonzero(db > middle - RELEASE_DB)
    first, last = int(up[0]) + (int(up[-1]) - int(up[0])) // 4, int(up[-1])  # a quarter for the attack
    if (last - first) * HOP < SHORTEST_SAMPLES + OVERLAP_SAMPLES:
        return None
    slope = np.polyfit(np.arange(last - first) * HOP / SAMPLE_RATE_HZ, db[first:last], 1)[0]
    return (first * HOP, last * HOP) if slope > -STEADY_DB_PER_S else None


def best_fit(note: np.ndarray, first: int, last: int, period: int) -> int:
    """The sample from which a note sounds again most smoothly when it has come to `last`: about a period before it."""
    wanted = last - period - OVERLAP_SAMPLES
    starts = np.arange(max(first, wanted - FIT_SAMPLES), min(last - 2 * OVERLAP_SAMPLES, wanted + FIT_SAMPLES) + 1)
    windows = np.lib.stride_tricks.sliding_window_view(note, OVERLAP_SAMPLES)[starts]
    fit = windows @ note[last - OVERLAP_SAMPLES : last] / np.sqrt(np.sum(windows**2, axis=1) + 1e-9)
    return int(starts[np.argmax(fit)]) + OVERLAP_SAMPLES
