"""Random crops of notes, for training: what is drawn depends on the seed and the step alone."""

import functools
import sys
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from device.analysis import Tone, analyse
from device.errors import TetradError
from device.preset import HOP_SAMPLES, NOTE_SAMPLES
from device.recording import NOTE_PEAK
from device.spectrum import EDGE_SAMPLES, STEP_SAMPLES, log_spectrum
from train import mulaw
from train.indexed import IndexedTfrecord
from train.instruments import test_instruments
from train.notes import Jsonwav, Note
from train.wavenet import Config

MARGIN_FRAMES = 8  # embedding frames of context on either side of a crop: what the student's filters reach over
ONSET_SHARE = 0.4  # of the crops begin with the note: most of what is heard of an instrument is there
HELD_BACK = 33  # a note in so many is never trained on


def is_held_back(note_str: str) -> bool:
    """True for one note in 33, by its name, so that every run and every evaluation agree which."""
    return zlib.crc32(note_str.encode()) % HELD_BACK == 0


@dataclass(frozen=True)
class Crop:
    note: Note
    start: int  # first sample, a multiple of HOP_SAMPLES; before the note where it is negative
    audio: np.ndarray  # (T,) float32, its note at peak NOTE_PEAK
    spectrum: np.ndarray  # (T / 256 + margins, BINS)
    recorded: bool = True  # or played by the teacher


# What the dataset's splits are called: an archive as it is named and as it unpacks, and a TFRecord.
SPLIT_SUFFIXES = (".jsonwav", "", ".tfrecord")


def published(folder: Path, split: str) -> Path | None:
    """`nsynth-train`, say, in a folder, in either format; None where it is not there."""
    return next((path for suffix in SPLIT_SUFFIXES if (path := folder / f"nsynth-{split}{suffix}").exists()), None)


def open_source(path: Path) -> Jsonwav | IndexedTfrecord:
    """The notes at `path`, of which each can be read on its own: a jsonwav folder, a TFRecord, or a folder that holds
    the dataset's train split, which is taken then. Raises TetradError where there is none of these."""
    if path.is_dir() and not (path / "examples.json").exists():
        split = published(path, "train")
        if split is None:
            raise TetradError(f"{path} holds neither examples.json nor nsynth-train.jsonwav or .tfrecord: give a whole "
                              "jsonwav folder or a .tfrecord file")
        path = split
        print(f"training on {path}", file=sys.stderr, flush=True)
    return Jsonwav(path) if path.is_dir() else IndexedTfrecord(path)


class Notes:
    """The trained-on notes of a jsonwav folder or a TFRecord, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.source = open_source(Path(path))
        unseen = test_instruments(self.source.path)
        self.notes = [note for note in self.source.notes
                      if not is_held_back(note.note_str) and note.instrument_str not in unseen]
        if not self.notes:
            raise TetradError(f"{path}: its few notes are all held back from training, or for tests; give more of them")
        self._tones: dict[str, Tone] = {}  # 1 KB each

    @functools.cached_property
    def _index(self) -> dict[tuple[str, int, int], int]:
        return {(n.instrument_str, n.velocity, n.pitch): i for i, n in enumerate(self.notes)}

    @functools.cached_property
    def _ladders(self) -> dict[tuple[str, str, int], list[int]]:
        """An instrument's pitches at a velocity, and its velocities at a pitch, ascending."""
        ladders: dict[tuple[str, str, int], list[int]] = {}
        for name, velocity, pitch in sorted(self._index):
            ladders.setdefault((name, "velocity", velocity), []).append(pitch)
            ladders.setdefault((name, "pitch", pitch), []).append(velocity)
        return ladders

    def audio(self, note: Note) -> np.ndarray:
        """(NOTE_SAMPLES,) float32 at peak NOTE_PEAK."""
        audio = self.source.audio(note.note_str)
        return (audio * (NOTE_PEAK / max(float(np.abs(audio).max()), 1e-4))).astype(np.float32)

    def tone(self, note: Note) -> Tone:
        """Where its partials and its pitch lie; measured once."""
        found = self._tones.get(note.note_str)
        if found is None:
            found = self._tones[note.note_str] = analyse(self.audio(note), note.pitch)
        return found

    def alike(self) -> list[list[int]]:
        """Indices of the notes of one pitch and velocity, a list each: an instrument is in it once."""
        groups: dict[tuple[int, int], list[int]] = {}
        for (_, velocity, pitch), i in self._index.items():
            groups.setdefault((velocity, pitch), []).append(i)
        return list(groups.values())

    def neighbours(self, note: Note, louder: bool = False) -> list[int]:
        """Indices of the same instrument's next lower and next higher note at the same velocity; or, `louder`, of its
        next softer and next louder note at the same pitch. None where it is an end."""
        name, velocity, pitch = note.instrument_str, note.velocity, note.pitch
        ladder = self._ladders[(name, "pitch", pitch) if louder else (name, "velocity", velocity)]
        at = ladder.index(velocity if louder else pitch)
        if not 0 < at < len(ladder) - 1:
            return []
        steps = (ladder[at - 1], ladder[at + 1])
        return [self._index[(name, step, pitch) if louder else (name, velocity, step)] for step in steps]

    def draw_start(self, samples: int, random: np.random.Generator, lead_samples: int = 0) -> int:
        """Where a crop begins; those of the onset so long before it."""
        if random.random() < ONSET_SHARE:
            return -lead_samples
        return int(random.integers(0, (NOTE_SAMPLES - samples) // HOP_SAMPLES + 1)) * HOP_SAMPLES

    def crop(self, note: Note, start: int, samples: int) -> Crop:
        audio = self.audio(note)
        heard = np.pad(audio[max(start, 0) : start + samples], (max(-start, 0), 0))
        return Crop(note, start, heard, spectrum_of(audio, start, samples))


def spectrum_of(audio: np.ndarray, start: int, samples: int) -> np.ndarray:
    """Spectrum frames of audio[start:start + samples] and MARGIN_FRAMES embedding frames of what lies around it."""
    margin = MARGIN_FRAMES * HOP_SAMPLES + EDGE_SAMPLES
    before = max(-start, 0)
    padded = np.pad(audio, (margin + before, margin))
    frames = log_spectrum(padded[start + before : start + before + samples + 2 * margin])
    return frames[EDGE_SAMPLES // STEP_SAMPLES : -(EDGE_SAMPLES // STEP_SAMPLES)]


def encoder_frames(config: Config, audio: np.ndarray) -> np.ndarray:
    """What the encoder of `config` is given of audio (T,): (T / step, channels)."""
    if config.encoder_input == "samples":
        return (mulaw.encode(audio) / 128).astype(np.float32)[:, None]
    return log_spectrum(audio)


class Batches(keras.utils.PyDataset):
    """The batches from `first_step` to `steps`, prepared by threads beside the training: what `draw` makes of a random
    generator. One training is one pass, so that a resumed one draws what it would have drawn.

    The threads are our own: those of Keras lose the order where an epoch is a part of the pass, and where a
    distribution reads from two iterators.
    """

    def __init__(self, draw: Callable[[np.random.Generator], dict[str, np.ndarray]], batch: int, seed: int,
                 steps: int, workers: int = 1) -> None:
        super().__init__()
        self.draw, self.batch, self.seed, self.steps, self.first_step = draw, batch, seed, steps, 0
        self.failure: TetradError | None = None  # why a batch could not be drawn, which a backend's error hides
        self._threads, self._lock = ThreadPoolExecutor(workers), threading.Lock()
        self._ahead: dict[int, Future] = {}  # by step, what is being prepared
        self._most_ahead = 2 * workers
        self._expected = -1  # the step after the last one that was asked for: only batches in turn are prepared ahead

    def __len__(self) -> int:
        return self.steps - self.first_step

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        step = self.first_step + index
        with self._lock:
            in_turn, self._expected = step == self._expected, step + 1
            end = min(step + self._most_ahead, self.steps) if in_turn else step + 1
            self._ahead = {later: self._ahead.get(later) or self._threads.submit(self._prepare, later)
                           for later in range(step, max(step + 1, end))}
            prepared = self._ahead[step]
        try:
            inputs = prepared.result()
        except TetradError as error:
            self.failure = error
            raise
        return inputs, np.zeros(self.batch, np.float32)  # no targets: a trainer's output is its loss

    def _prepare(self, step: int) -> dict[str, np.ndarray]:
        return self.draw(np.random.default_rng((self.seed, step)))
