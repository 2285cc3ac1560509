"""Notes in NSynth's two formats: a jsonwav folder (`examples.json` and `audio/<note_str>.wav`) and a TFRecord.

A note is 4 s at 16 kHz mono: 3 s held, 1 s released. Audio is float32 [NOTE_SAMPLES], int16 / 32768.
Fields and ids are those of the dataset's page, https://magenta.tensorflow.org/datasets/nsynth.
"""

import functools
import json
import os
import re
import shutil
import sys
import wave
from argparse import ArgumentParser, Namespace
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device import console, files
from device.errors import TetradError
from device.preset import NOTE_SAMPLES, SAMPLE_RATE_HZ

HELD_SAMPLES = 3 * SAMPLE_RATE_HZ
FULL_SCALE = 32768  # int16 steps in 1.0: a power of two, so that int16 -> float32 -> int16 is exact

# Position in the tuple = id in the dataset.
FAMILIES = ("bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal")
SOURCES = ("acoustic", "electronic", "synthetic")
QUALITIES = ("bright", "dark", "distortion", "fast_decay", "long_release", "multiphonic", "nonlinear_env", "percussive",
             "reverb", "tempo-synced")

NOTE_STR = re.compile(rf"({'|'.join(FAMILIES)})_({'|'.join(SOURCES)})_\d{{3,}}-(\d{{3}})-(\d{{3}})")
AGAIN = "get the notes again, or leave this one out"

Audio = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Note:
    """What is known about a note. None: the record does not have it (NSynth's own reader does without, too)."""

    note_str: str
    pitch: int  # MIDI
    velocity: int  # MIDI
    instrument_family: int  # index into FAMILIES
    instrument_source: int  # index into SOURCES
    qualities: tuple[int, ...]  # 0 or 1 for each of QUALITIES
    note: int | None = None  # unique id
    instrument: int | None = None  # unique id
    sample_rate: int | None = None  # Hz
    qualities_str: tuple[str, ...] | None = None
    program: int | None = None  # ours: the SoundFont's program that was rendered, from 0
    program_name: str | None = None  # ours

    @property
    def instrument_str(self) -> str:
        return self.note_str[: -len("-PPP-VVV")]

    def record(self) -> dict[str, Any]:
        """The fields that are there by NSynth's names, and the names of the ids."""
        there = {field.name: getattr(self, field.name) for field in fields(self)}
        names = {"instrument_str": self.instrument_str, "instrument_family_str": FAMILIES[self.instrument_family],
                 "instrument_source_str": SOURCES[self.instrument_source]}
        return {key: value for key, value in (there | names).items() if value is not None}


def note_of(record: Mapping[str, Any], what: str) -> Note:
    """The note that a record of either format tells of. Raises TetradError, beginning with `what`, where it cannot be.

    Unknown fields are passed over. The names of family, source and instrument are taken from note_str.
    """
    name = record.get("note_str")
    match = NOTE_STR.fullmatch(name) if isinstance(name, str) else None
    if not match:
        raise TetradError(f"{what}: note_str {name!r} is not like bass_synthetic_068-049-025; {AGAIN}")

    def number(key: str, low: int, high: int) -> int:
        return files.whole_number(record.get(key), low, high, f"{key}")

    def optional(key: str, low: int, high: int) -> int | None:
        return None if record.get(key) is None else number(key, low, high)

    try:
        note = Note(
            note_str=match.string,
            pitch=number("pitch", 0, 127),
            velocity=number("velocity", 0, 127),
            instrument_family=number("instrument_family", 0, len(FAMILIES) - 1),
            instrument_source=number("instrument_source", 0, len(SOURCES) - 1),
            qualities=_shared(tuple(
                files.whole_number(value, 0, 1, "a quality")
                for value in files.items(record.get("qualities"), len(QUALITIES), len(QUALITIES), "qualities"))),
            note=optional("note", 0, 2**63 - 1),
            instrument=optional("instrument", 0, 2**63 - 1),
            sample_rate=optional("sample_rate", SAMPLE_RATE_HZ, SAMPLE_RATE_HZ),
            qualities_str=_texts(record.get("qualities_str"), len(QUALITIES)),
            program=optional("program", 0, 127),
            program_name=next(iter(_texts(_listed(record.get("program_name")), 1) or ()), None),
        )
    except TetradError as error:
        raise TetradError(f"{what}: {error}; {AGAIN}") from error
    told = (FAMILIES[note.instrument_family], SOURCES[note.instrument_source],
            f"{note.pitch:03}", f"{note.velocity:03}")
    if match.groups() != told:
        raise TetradError(f"{what}: its name says {' '.join(match.groups())}, its fields {' '.join(told)}; {AGAIN}")
    return note


def _listed(value: object) -> object:
    return None if value is None else [value]


def _texts(value: object, most: int) -> tuple[str, ...] | None:
    if value is None:
        return None
    return _shared(tuple(sys.intern(files.text(item, 64, "a name")) for item in files.items(value, 0, most, "names")))


@functools.lru_cache(4096)
def _shared(value: tuple) -> tuple:
    """`value`, or one like it that is there already: 300,000 notes have a few hundred sets of qualities."""
    return value


KIND = (1, 2, SAMPLE_RATE_HZ, NOTE_SAMPLES)  # of a note's WAV: channels, bytes a sample, rate, samples
LISTS = ("qualities", "qualities_str", "audio")  # fields of a record; the others are one number or text


class Jsonwav:
    """A jsonwav folder. What it says about the notes is in memory, their sound is read when it is asked for.

    Raises TetradError where `examples.json` is missing, is no JSON, or tells of a note that cannot be.
    """

    def __init__(self, folder: Path) -> None:
        self.path = self.folder = Path(folder)
        self.notes = _read_examples(self.folder / "examples.json")

    def __len__(self) -> int:
        return len(self.notes)

    def __iter__(self) -> Iterator[tuple[Note, Audio]]:
        return ((note, self.audio(note.note_str)) for note in self.notes)

    def audio(self, note_str: str) -> Audio:
        return read_audio(audio_path(self.folder, note_str))


def read_audio(path: Path) -> Audio:
    """A note's WAV as float32 [NOTE_SAMPLES]. Raises TetradError where it is missing, damaged, or of another kind or
    length."""
    try:
        with wave.open(str(path)) as file:
            kind = file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()
            data = file.readframes(NOTE_SAMPLES)
    except (OSError, EOFError, wave.Error, RuntimeError) as error:  # the last for a chunk beyond the end
        reason = "there is no such file" if not path.exists() else "it is no PCM WAV, or damaged"
        raise TetradError(f"cannot read {path}: {reason}; {AGAIN}") from error
    if kind != KIND:
        raise TetradError(f"{path} has {kind[0]} channels of {8 * kind[1]} bits at {kind[2]} Hz and {kind[3]} "
                          f"samples, not 1 of 16 bits at {SAMPLE_RATE_HZ} Hz and {NOTE_SAMPLES}; {AGAIN}")
    if len(data) != 2 * NOTE_SAMPLES:
        raise TetradError(f"{path} is cut: it has {len(data) // 2} of {NOTE_SAMPLES} samples; {AGAIN}")
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(FULL_SCALE)


def _read_examples(index: Path) -> list[Note]:
    """The notes of an `examples.json`. Each is made as it is parsed: all their records at once would take 1 GB."""

    def note_in(record: dict[str, Any]) -> Note | dict[str, Any]:
        # Called from the innermost object outwards: one with a name of its own is a record, else it is seen to below.
        name = record.get("note_str")
        return note_of(record, f"{index}, {name}") if isinstance(name, str) else record

    try:
        with index.open(encoding="utf-8") as file:
            examples = json.load(file, object_hook=note_in)
    except OSError as error:
        raise TetradError(f"cannot read {index}: give a whole jsonwav folder; if `tetrad notes render` was making "
                          "it, run that again, it goes on") from error
    except (ValueError, RecursionError) as error:
        raise TetradError(f"{index} is not JSON: get the folder again") from error
    if not isinstance(examples, dict) or not all(isinstance(item, Note | dict) for item in examples.values()):
        raise TetradError(f"{index} is not an object of notes: get the folder again")
    if not examples:
        raise TetradError(f"{index} lists no notes: get the folder again")
    return [_named(name, item, f"{index}, {name}") for name, item in examples.items()]


def _named(name: str, item: Note | dict[str, Any], what: str) -> Note:
    if isinstance(item, dict):  # its name is its key alone
        return note_of(item | {"note_str": name}, what)
    if item.note_str != name:
        raise TetradError(f"{what}: its note_str is {item.note_str}; {AGAIN}")
    return item


class Tfrecord:
    """A TFRecord of NSynth notes, read one after another; it is never in memory as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise TetradError(f"{path} is not there: give a .tfrecord file or a jsonwav folder")

    def __len__(self) -> int:
        """About how many notes: records are little more than their samples."""
        return self.path.stat().st_size // (NOTE_SAMPLES * np.dtype(np.float32).itemsize)

    @property
    def notes(self) -> Iterator[Note]:
        """What is told about the notes, without their sound."""
        return (note_of(record, what) for record, what in self._records())

    def __iter__(self) -> Iterator[tuple[Note, Audio]]:
        """Raises TetradError naming the record that is cut, damaged, lacks a field, or is no note."""
        return (sounding_note(record, what) for record, what in self._records())

    def _records(self) -> Iterator[tuple[dict[str, Any], str]]:
        """Each record's fields, and what to call it in a message."""
        from train import tfrecord  # protobuf is needed for these files alone

        number = -1
        for number, payload in enumerate(tfrecord.read_frames(self.path)):
            what = f"{self.path}, record {number}"
            yield record_of(payload, what), what
        if number < 0:
            raise TetradError(f"{self.path} is empty: get the file again")


def record_of(payload: bytes, what: str) -> dict[str, Any]:
    """The fields of a TFRecord's payload. Raises TetradError, beginning with `what`, where it is no `Example`."""
    from train import tfrecord

    try:
        record = tfrecord.decode(payload)
    except ValueError as error:
        raise TetradError(f"{what} is not an example of NSynth: get the file again") from error
    return record | {key: value[0] for key, value in record.items() if key not in LISTS and len(value) == 1}


def sounding_note(record: Mapping[str, Any], what: str) -> tuple[Note, Audio]:
    """A record's note and its sound. Raises TetradError, beginning with `what`, where either cannot be."""
    note, audio = note_of(record, what), record.get("audio")
    if not isinstance(audio, np.ndarray) or len(audio) != NOTE_SAMPLES:
        raise TetradError(f"{what} ({note.note_str}) has no audio of {NOTE_SAMPLES} samples; {AGAIN}")
    if not np.abs(audio).max() <= 1:  # false for NaN, too
        raise TetradError(f"{what} ({note.note_str}) has samples that are NaN or beyond 1; {AGAIN}")
    return note, audio


def open_notes(path: Path) -> Jsonwav | Tfrecord:
    """The notes at `path`: a folder is a jsonwav, a file a TFRecord."""
    return Jsonwav(path) if path.is_dir() else Tfrecord(path)


def audio_path(folder: Path, note_str: str) -> Path:
    return folder / "audio" / f"{note_str}.wav"


def to_int16(audio: Audio) -> NDArray[np.int16]:
    """[-1, 1] to the nearest of int16's steps; +1, which is one step too far, to the last."""
    return np.clip(np.rint(audio * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def write_wav(path: Path, samples: NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((*KIND[:3], len(samples), "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


def write_examples(folder: Path, notes: Iterable[Note]) -> None:
    """`examples.json`, a note a line; it is whole or not there."""
    lines = ",\n".join(f"{json.dumps(note.note_str)}: {json.dumps(note.record())}" for note in notes)
    with files.atomic(folder / "examples.json") as file:
        file.write(f"{{\n{lines}\n}}\n".encode())


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to be filled in place of `path`: it takes the name when the block ends well, else nothing is left."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # what a kill has left
        temporary.mkdir(parents=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise TetradError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_jsonwav(folder: Path, sounding: Iterable[tuple[Note, Audio]]) -> int:
    """Writes a jsonwav folder, which must not be there, and returns the count of notes. Sound is rounded to 16 bits."""
    notes: dict[str, Note] = {}
    with whole_folder(folder) as temporary:
        (temporary / "audio").mkdir()
        for note, audio in sounding:
            if notes.setdefault(note.note_str, note) is not note:
                raise TetradError(f"{note.note_str} is there twice: a folder has one note of a name; {AGAIN}")
            write_wav(audio_path(temporary, note.note_str), to_int16(audio))
        write_examples(temporary, notes.values())
    return len(notes)


def write_tfrecord(path: Path, sounding: Iterable[tuple[Note, Audio]]) -> int:
    """Writes a TFRecord with NSynth's fields (and `program`, `program_name`) and returns the count of notes."""
    from train import tfrecord

    count = 0
    with files.atomic(path) as file:
        for note, audio in sounding:
            file.write(tfrecord.frame(tfrecord.encode(note.record() | {"audio": audio})))
            count += 1
    return count


def count_by(notes: Iterable[Note]) -> dict[str, dict[str | int, int]]:
    """How many notes there are of each family, source, pitch, velocity and instrument."""
    counts: dict[str, Counter[str | int]] = defaultdict(Counter)
    for note in notes:
        counts["family"][FAMILIES[note.instrument_family]] += 1
        counts["source"][SOURCES[note.instrument_source]] += 1
        counts["pitch"][note.pitch] += 1
        counts["velocity"][note.velocity] += 1
        counts["instrument"][note.instrument_str] += 1
    return {key: dict(sorted(counter.items())) for key, counter in counts.items()}


def info_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("path", type=Path, metavar="PATH", help="a jsonwav folder, or a .tfrecord file")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        from train.indexed import IndexedTfrecord  # which imports this module

        is_record = args.path.suffix.lower() == ".tfrecord" and args.path.is_file()
        counts = count_by(IndexedTfrecord(args.path).notes if is_record else open_notes(args.path).notes)
        result: dict[str, object] = {"notes": sum(counts["source"].values()),
                                     "instruments": len(counts.pop("instrument"))}
        for key, counter in counts.items():
            result[key] = counter if args.json else ", ".join(f"{name} ({count})" for name, count in counter.items())
        console.report(args, result)

    return run


def convert_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("source", type=Path, metavar="SRC", help="a jsonwav folder, or a .tfrecord file")
    parser.add_argument("target", type=Path, metavar="DST", help="the file, or the folder, to make of it")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        if args.target.exists():
            raise TetradError(f"{args.target} is there already: remove it, or give another name")
        source = open_notes(args.source)
        write: Callable[..., int] = write_tfrecord if isinstance(source, Jsonwav) else write_jsonwav
        with console.progress("notes", len(source)) as bar:
            console.report(args, {"notes": write(args.target, counted(source, bar))})

    return run


def counted(sounding: Iterable[tuple[Note, Audio]], bar: console.Bar) -> Iterator[tuple[Note, Audio]]:
    """Moves the bar as notes go through."""
    for pair in sounding:
        yield pair
        bar.advance()
