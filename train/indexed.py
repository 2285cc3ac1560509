"""A TFRecord of NSynth notes whose sounds are read in any order, for training: the file is never in memory.

One pass over the file finds where each record is and what it tells of its note; it seeks over the sounds. What it finds
is kept in `<file>.index` beside the file, and found again while the file keeps its size and time.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from device import console, files
from device.errors import TetradError
from device.preset import NOTE_SAMPLES
from train import tfrecord
from train.notes import AGAIN, Audio, Note, note_of, record_of, sounding_note

FORMAT = "tetrad index of notes, 1"
AUDIO_BYTES = 4 * NOTE_SAMPLES + 7 + 3 * 4  # of the feature: its floats, its name, and three lengths with their tags

Entry = tuple[int, int, Note]  # first byte of the payload, its length, its note


class IndexedTfrecord:
    """The notes of a TFRecord; `notes` is in memory, a sound is read, and its checksum compared, when it is asked for.

    Raises TetradError naming the record where the file is cut, damaged, or holds a note that cannot be or is there
    twice. What is damaged inside of a sound is found when it is read.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise TetradError(f"cannot read {path}: {error.strerror}; give a .tfrecord file or a jsonwav "
                              "folder") from error
        entries = read_index(self.path)
        if entries is None:
            entries = list(scan(self.path))
            with contextlib.suppress(TetradError):  # a folder that may not be written to: found again each time
                write_index(self.path, entries)
        if not entries:
            raise TetradError(f"{self.path} is empty: get the file again")
        self.notes = [note for _, _, note in entries]
        self._starts = np.array([start for start, _, _ in entries])
        self._lengths = np.array([length for _, length, _ in entries])
        self._numbers: dict[str, int] = {}
        for number, note in enumerate(self.notes):
            if self._numbers.setdefault(note.note_str, number) != number:
                raise TetradError(f"{self.path}, record {number}: {note.note_str} is there twice; {AGAIN}")

    def __len__(self) -> int:
        return len(self.notes)

    def __iter__(self) -> Iterator[tuple[Note, Audio]]:
        return ((note, self.audio(note.note_str)) for note in self.notes)

    def audio(self, note_str: str) -> Audio:
        """float32 [NOTE_SAMPLES]. Raises TetradError where the record is damaged or its sound is none of a note."""
        number = self._numbers[note_str]
        length, what = int(self._lengths[number]), f"{self.path}, record {number}"
        try:  # at a place of its own, so that several threads may read at once
            framed = os.pread(self._file.fileno(), length + tfrecord.CHECKSUM.size, int(self._starts[number]))
        except OSError as error:
            raise TetradError(f"cannot read {what}: {error.strerror}") from error
        note, audio = sounding_note(record_of(tfrecord.checked(framed, length, what), what), what)
        if note != self.notes[number]:
            raise TetradError(f"{what} is now {note.note_str}, where {note_str} was: the file was changed; start again")
        return audio


def scan(path: Path) -> Iterator[Entry]:
    """Where each note is, by one pass over the file."""
    with console.progress("looking through the notes", path.stat().st_size) as bar, path.open("rb") as file:
        for number, (start, length) in enumerate(tfrecord.read_spans(path)):
            yield start, length, _described(file, start, length, f"{path}, record {number}")
            bar.advance(length)


def _described(file: BinaryIO, start: int, length: int, what: str) -> Note:
    """The note of a record whose sound is passed over where it is seen to be one; else all of the record is read."""
    with contextlib.suppress(ValueError):
        payload, skipped = tfrecord.read_short(file, start, length)
        if skipped == [AUDIO_BYTES]:
            return note_of(record_of(payload, what), what)
    file.seek(start)
    payload = tfrecord.checked(file.read(length + tfrecord.CHECKSUM.size), length, what)
    return sounding_note(record_of(payload, what), what)[0]


def _index_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.index")


def _header(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"format": FORMAT, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def write_index(path: Path, entries: Iterable[Entry]) -> None:
    """A line of JSON about the file, then one a note, then their number. Raises TetradError where it cannot be written.
    """
    count = 0
    with files.atomic(_index_path(path)) as file:
        file.write(json.dumps(_header(path)).encode() + b"\n")
        for start, length, note in entries:
            there = {field.name: getattr(note, field.name) for field in fields(note)}
            told = {key: value for key, value in there.items() if value is not None}
            file.write(json.dumps([start, length, told]).encode() + b"\n")
            count += 1
        file.write(b"%d\n" % count)


def read_index(path: Path) -> list[Entry] | None:
    """What `write_index` wrote; None where that is missing, damaged, or of a file that has changed since."""
    try:
        with _index_path(path).open(encoding="utf-8") as file:
            if json.loads(file.readline()) != _header(path):
                return None
            entries: list[Entry] = []
            for line in file:
                parsed = json.loads(line)
                if parsed == len(entries) and not file.read(1):
                    return entries
                start, length, record = parsed
                entries.append((int(start), int(length), note_of(record, "index")))
    except (OSError, ValueError, TypeError, AttributeError, TetradError):
        return None  # it is made again
    return None
