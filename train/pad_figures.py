"""Presets for `tetrad bench sound`, on a worker: what is heard between their corners, and of their loops' seams."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from device.bake import bake
from device.bench_bake import loudest_layer
from device.decoder import Decoder
from device.preset import SAMPLE_RATE_HZ as RATE_HZ
from device.preset import Preset, corner_weights
from device.synth import COLUMN_SAMPLES, Excitation
from train.measure import FLOOR_DB, heard_pitch, mel_db
from train.note_figures import played
from train.reconstruct import load_decoder

Point = tuple[float, float]

POINTS = 9  # of a straight path
HEARD_S = 2.0  # of a held note
LEFT_TOP, RIGHT_TOP, LEFT_BOTTOM, RIGHT_BOTTOM = CORNERS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
PATHS = ((LEFT_TOP, RIGHT_TOP), (LEFT_BOTTOM, RIGHT_BOTTOM), (LEFT_TOP, LEFT_BOTTOM), (RIGHT_TOP, RIGHT_BOTTOM),
         (LEFT_TOP, RIGHT_BOTTOM), (LEFT_BOTTOM, RIGHT_TOP))
MIDDLES = ((0.5, 0.0), (0.5, 1.0), (0.0, 0.5), (1.0, 0.5), (0.5, 0.5))
PITCHED_SEMITONES = 0.25  # corners that are heard so near to the asked pitch have one, and what is between them, too
BEYOND_OCTAVES = 0.05  # the corners' centroids: no other sound
STEP_SAMPLES, MOVING_FROM_S = RATE_HZ // 100, 0.3  # of an envelope, and from where: before it is the attack
MODULATION_HZ = (2.0, 15.0)  # what is heard as beating or flutter
STILL_DB = 0.1  # of modulation: less is none
SEAM_SAMPLES = COLUMN_SAMPLES * 3 // 4  # behind the wrap, that a decoder with MARGIN_COLUMNS of context knows
SILENT_DB = -200.0


class Place(NamedTuple):
    """A preset's file and a MIDI pitch."""

    preset: Path
    pitch: int


def level_db(audio: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(audio.astype(np.float64) ** 2) + 1e-12))


def between_db(corners_db: Sequence[float], x: float, y: float) -> float:
    """The level that lies bilinearly between those of the corners."""
    return float(corner_weights(x, y) @ np.asarray(corners_db))


def centroid_octaves(audio: np.ndarray) -> float:
    """Where the middle of a sound's power lies, in octaves over 1 Hz."""
    power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
    hz = np.fft.rfftfreq(len(audio), 1 / RATE_HZ)
    return float(np.log2((power @ hz + 1e-9) / (power.sum() + 1e-9)))


def outside_db(audio: np.ndarray, corners: Sequence[np.ndarray]) -> float:
    """By how much the mel bands' levels over the whole sound lie outside of those of some corners, on average; the
    floor is 60 dB under the loudest."""
    bands = [10 * np.log10(np.mean(10 ** (mel_db(sound) / 10), axis=1)) for sound in (audio, *corners)]
    floor = max(band.max() for band in bands) - FLOOR_DB
    own, *others = (np.maximum(band, floor) for band in bands)
    return float(np.mean(np.maximum(0, own - np.max(others, axis=0)) + np.maximum(0, np.min(others, axis=0) - own)))


def modulation_db(audio: np.ndarray) -> float:
    """RMS of what moves in a held sound's level between 2 and 15 Hz, in dB, its own slow course taken away."""
    steps = audio[round(MOVING_FROM_S * RATE_HZ) :].astype(np.float64)
    steps = steps[: len(steps) // STEP_SAMPLES * STEP_SAMPLES].reshape(-1, STEP_SAMPLES)
    power = np.mean(steps**2, axis=1)
    course_db = 10 * np.log10(np.maximum(power, power.max() * 10 ** (-FLOOR_DB / 10)) + 1e-12)
    at = np.linspace(-1, 1, len(course_db))
    course_db = (course_db - np.polyval(np.polyfit(at, course_db, 2), at)) * np.hanning(len(at))
    spectrum = np.fft.rfft(course_db)
    hz = np.fft.rfftfreq(len(at), STEP_SAMPLES / RATE_HZ)
    spectrum[(hz < MODULATION_HZ[0]) | (hz > MODULATION_HZ[1])] = 0
    return float(np.sqrt(np.mean(np.fft.irfft(spectrum, len(at)) ** 2) / np.mean(np.hanning(len(at)) ** 2)))


def beating_db(audio: np.ndarray, corners: Sequence[np.ndarray]) -> float:
    """By how much the level of a sound moves more than that of the most restless of its corners."""
    most = max(STILL_DB, *(modulation_db(corner) for corner in corners))
    return float(20 * np.log10(max(modulation_db(audio), STILL_DB) / most))


def seam_db(sound: np.ndarray, loop_start: int, loop_samples: int) -> float:
    """Energy of the click where a loop begins again, against the sound there.

    `sound` float32 [samples] goes on behind the loop's end, as the decoder would without a loop: what differs from the
    loop's start is the click.
    """
    end = loop_start + loop_samples
    on, again = (sound[at : at + SEAM_SAMPLES].astype(np.float64) for at in (end, loop_start))
    if len(on) < SEAM_SAMPLES:
        raise ValueError(f"{len(on)} samples behind the loop, and {SEAM_SAMPLES} are compared")
    energy = np.sum(on**2)
    if energy < 1e-12:
        return SILENT_DB
    return float(max(SILENT_DB, 10 * np.log10(np.sum((on - again) ** 2) / energy + 1e-20)))


class Listening:
    """A decoder for `bake` that measures the seam of each body that it is asked for, before it is rounded to 16 bits:
    it decodes what comes after, too."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder, self.id, self.seams_db = decoder, decoder.id, list[float]()

    def decode_columns(self, tracks: np.ndarray, pitch: float, excitation: Excitation, cycle_samples: int = 0,
                       loop_start: int = 0, before: int = 0, after: int = 0) -> np.ndarray:
        end = tracks.shape[1] * COLUMN_SAMPLES
        if not after or loop_start + cycle_samples >= end - before * COLUMN_SAMPLES:  # no body
            return self.decoder.decode_columns(tracks, pitch, excitation, cycle_samples, loop_start, before, after)
        whole = self.decoder.decode_columns(tracks, pitch, excitation, cycle_samples, loop_start, before)
        self.seams_db += [seam_db(sound, loop_start, cycle_samples) for sound in whole]
        return whole[:, : end - (before + after) * COLUMN_SAMPLES]


def morph_figures(sounds: dict[Point, np.ndarray], pitch: int) -> list[dict[str, Any]]:
    """For the middle of each edge and for the centre: cents off the pitch, None where a corner has none; and whether
    the sound lies between its corners', see `centroid_octaves`, `outside_db` and `beating_db`."""
    heard = {corner: heard_pitch(sounds[corner]) for corner in CORNERS}
    rows = []
    for x, y in MIDDLES:
        near = [corner for corner in CORNERS if abs(corner[0] - x) < 1 and abs(corner[1] - y) < 1]
        own, others = sounds[x, y], [sounds[corner] for corner in near]
        pitches = [heard[corner] for corner in near]
        is_pitched = all(told is not None and abs(told - pitch) < PITCHED_SEMITONES for told in pitches)
        told = heard_pitch(own) if is_pitched else None
        centroids = [centroid_octaves(sound) for sound in others]
        at = centroid_octaves(own)
        rows.append({
            "x": x, "y": y, "is_pitched": is_pitched, "cents": None if told is None else 100 * (told - pitch),
            "is_between": min(centroids) - BEYOND_OCTAVES <= at <= max(centroids) + BEYOND_OCTAVES,
            "outside_db": outside_db(own, others), "beating_db": beating_db(own, others)})
    return rows


def path_errors_db(sounds: dict[Point, np.ndarray]) -> list[float]:
    """How far the level at each point lies off what lies bilinearly between the corners'."""
    corners_db = [level_db(sounds[corner]) for corner in CORNERS]
    return [level_db(sound) - between_db(corners_db, x, y) for (x, y), sound in sounds.items()]


def path_points() -> list[Point]:
    """Each point of PATHS once, the corners among them; MIDDLES lie on paths."""
    return sorted({((1 - t) * x0 + t * x1, (1 - t) * y0 + t * y1)
                   for (x0, y0), (x1, y1) in PATHS for t in np.linspace(0, 1, POINTS).tolist()})


def pad_figures(place: Place, decoder: Decoder) -> dict[str, Any]:
    listening, samples = Listening(decoder), round(HEARD_S * RATE_HZ)
    preset = Preset.read(place.preset)
    with TemporaryDirectory(prefix="tetrad-") as folder:
        bank = bake(loudest_layer(preset), listening, folder, [place.pitch])
        sounds = {(x, y): played(bank, place.pitch, x, y, HEARD_S)[:samples] for x, y in path_points()}
    return {"preset": preset.name, "pitch": place.pitch, "path_errors_db": path_errors_db(sounds),
            "seams_db": listening.seams_db, "morphs": morph_figures(sounds, place.pitch)}


def pad_chunk(decoder: Path, items: Sequence[Place]) -> bytes:
    """JSON: `pad_figures` of each, by the loudest layer."""
    return json.dumps([pad_figures(item, load_decoder(decoder)) for item in items]).encode()
