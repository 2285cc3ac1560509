"""The presets of a box: the shipped ones, read-only, and beneath one folder its own, whole whenever the power goes.

    presets/<name>.tetrad  an own preset; it stands before a shipped one of the same name
    uploads/<name>.part    what has come of one so far: a line of JSON (length, SHA-256), then the bytes
A part may outlive the process, and what is announced again with the same SHA-256 goes on where it was. Of a part's
bytes nothing is believed before its end: then the whole is held against the SHA-256 and a preset's rules.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path

from device import files
from device.errors import TetradError
from device.library import SUFFIX, read_library
from device.preset import MAX_FILE_BYTES, Preset

FACTORY = Path(__file__).parents[1] / "factory"
NAME = re.compile(r"(?! )[A-Za-z0-9 _-]{1,48}(?<! )")
NAME_RULE = "1 to 48 letters, digits, spaces, - and _, with no space at an end"
PART = ".part"
MAX_HEAD_BYTES = 256  # of a part: its line takes 100
MOST_PARTS = 4  # two ports, and one each that was given up
OLD_PART_S = 24 * 3600

log = logging.getLogger(__name__)


class Trouble(Enum):
    """Of which kind a StoreError is, for who answers in numbers."""

    NAME = auto()  # no name for a preset
    MISSING = auto()  # there is none of that name
    SHIPPED = auto()  # it is a shipped one
    TAKEN = auto()  # the name is another preset's
    FULL = auto()  # as many or as much as may be, or no room on the disk
    OFFSET = auto()  # these bytes do not go on where the part ends
    DAMAGED = auto()  # no whole preset, or not the one that was announced
    DISK = auto()  # it refuses


class StoreError(TetradError):
    def __init__(self, trouble: Trouble, text: str) -> None:
        super().__init__(text)
        self.trouble = trouble


class Store:
    """Every method may be called from any thread, and does one thing at a time. Raises StoreError."""

    def __init__(self, folder: Path, most_presets: int = 500, most_bytes: int = 256 << 20) -> None:
        self._presets, self._uploads = folder / "presets", folder / "uploads"
        self._most_presets, self._most_bytes = most_presets, most_bytes
        self._lock = threading.RLock()
        self._shipped = {entry.file.removesuffix(SUFFIX): FACTORY / entry.file
                         for entry in read_library(FACTORY / "library.json").presets}
        self._own: dict[str, int] | None = None  # bytes by name; None: to be looked up
        for here in (self._presets, self._uploads):
            try:  # on a disk that takes nothing any more it still has what is there
                here.mkdir(parents=True, exist_ok=True)
                for path in here.iterdir():
                    if path.name.endswith(files.TEMPORARY) or (path.suffix == PART and _age_s(path) > OLD_PART_S):
                        path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("cannot write %s: %s", error.filename or here, error.strerror or error)

    def names(self) -> list[str]:
        """The shipped presets in their library's order, then the own ones, sorted; each name once."""
        with self._lock:
            return [*self._shipped, *sorted(self._sizes().keys() - self._shipped.keys())]

    def page(self, start: int, most: int) -> tuple[int, list[tuple[str, int, bool]]]:
        """How many presets there are, and of at most so many from `start` on: name, bytes, whether it is shipped."""
        with self._lock:
            names = self.names()
            own = self._sizes()
            return len(names), [(name, own[name] if name in own else self._shipped[name].stat().st_size,
                                 name not in own) for name in names[start:start + most]]

    def is_shipped(self, name: str) -> bool:
        """Whether the preset of this name is the shipped one: it can be neither renamed nor removed."""
        with self._lock:
            return name in self._shipped and name not in self._sizes()

    def path(self, name: str) -> Path:
        with self._lock:
            if name in self._sizes():
                return self._own_path(name)
            if name in self._shipped:
                return self._shipped[name]
        _check_name(name)
        raise StoreError(Trouble.MISSING, f"there is no preset {name}: see the list of presets")

    def data(self, name: str) -> bytes:
        """The bytes of a preset's file."""
        with self._lock:
            return files.read_whole(self._there(name), MAX_FILE_BYTES)

    def read(self, name: str) -> Preset:
        with self._lock:
            return Preset.read(self._there(name))

    def _there(self, name: str) -> Path:
        """As `path`; the folder is looked through again where somebody else has taken the file away."""
        if not self.path(name).exists():
            self._own = None
        return self.path(name)

    def add(self, name: str, data: bytes) -> None:
        """Takes a preset in, in the place of an own one of the same name; it is on the disk when this returns."""
        with self._lock:
            self._check_room(name, len(data))
            self._check(name, data)
            self._write(name, data)

    def rename(self, old: str, new: str) -> None:
        """Gives an own preset a name that no other has."""
        with self._lock:
            self._check_own(old, "renamed")
            _check_name(new)
            if new in self._sizes() or new in self._shipped:
                raise StoreError(Trouble.TAKEN, f"there is a preset {new} already: remove it, or take another name")
            with _disk(self._own_path(new)):
                os.rename(self._own_path(old), self._own_path(new))
                self._own = None
                files.sync_folder(self._presets)

    def remove(self, name: str) -> None:
        """Removes an own preset; a shipped one that it stood before is there again."""
        with self._lock:
            self._check_own(name, "removed")
            with _disk(self._own_path(name)):
                self._own_path(name).unlink()
                self._own = None
                files.sync_folder(self._presets)

    def begin(self, name: str, total_bytes: int, sha256: bytes | None = None) -> int:
        """Begins to receive a preset's file, and returns how many of its bytes are here.

        With the SHA-256 of a part that is here, they are those of the part, which may be all; else none.
        """
        with self._lock:
            _check_name(name)
            if not 0 < total_bytes <= MAX_FILE_BYTES:
                raise StoreError(Trouble.FULL, f"{name} has {total_bytes} bytes, and a preset 1 to {MAX_FILE_BYTES}")
            self._check_room(name, total_bytes)
            part = self._part(name)
            with _disk(part):
                if sha256 is not None and (there := _Part.open(part)) and there.promise == (total_bytes, sha256.hex()):
                    return there.here
                part.parent.mkdir(parents=True, exist_ok=True)  # somebody may have emptied the folder
                self._make_room_for(part)
                part.write_bytes(_head(total_bytes, sha256))
                return 0

    def append(self, name: str, offset: int, data: bytes) -> int:
        """Adds bytes to a part and returns where the next ones go. Bytes that are here must be the same again."""
        with self._lock:
            _check_name(name)
            with _disk(self._part(name)):
                part = self._begun(name)
                again = part.read(offset, len(data))
                if offset > part.here or offset < 0 or again != data[:len(again)]:
                    raise StoreError(Trouble.OFFSET, f"the upload of {name} goes on at byte {part.here}, not {offset}")
                if offset + len(data) > part.total_bytes:
                    raise StoreError(Trouble.OFFSET, f"{name} is longer than the {part.total_bytes} bytes announced")
                return part.write(data[len(again):])

    def drop(self, name: str) -> None:
        """Throws a part away."""
        with self._lock:
            _check_name(name)
            with _disk(self._part(name)):
                self._part(name).unlink(missing_ok=True)

    def finish(self, name: str) -> None:
        """Takes in what `append` brought. What is not whole, or not what was announced, is thrown away."""
        with self._lock:
            _check_name(name)
            with _disk(self._part(name)):
                part = self._begun(name)
                data = part.read(0, part.total_bytes)
            try:
                if len(data) < part.total_bytes:
                    raise StoreError(Trouble.OFFSET, f"of {name} {len(data)} bytes of {part.total_bytes} have come")
                if part.sha256 is not None and hashlib.sha256(data).hexdigest() != part.sha256:
                    raise StoreError(Trouble.DAMAGED, f"{name} came damaged: its SHA-256 is another; send it again")
                self._check(name, data)
                self._check_room(name, len(data))
            except StoreError:
                part.path.unlink(missing_ok=True)
                raise
            self._write(name, data)  # where the disk is full the part stays, to be finished when there is room
            part.path.unlink(missing_ok=True)

    def _own_path(self, name: str) -> Path:
        return self._presets / f"{name}{SUFFIX}"

    def _part(self, name: str) -> Path:
        return self._uploads / f"{name}{PART}"

    def _sizes(self) -> dict[str, int]:
        """The own presets' sizes in bytes."""
        if self._own is None:
            if not self._presets.is_dir():
                return {}
            with _disk(self._presets), os.scandir(self._presets) as entries:
                found = ((entry.name.removesuffix(SUFFIX), entry) for entry in entries if entry.name.endswith(SUFFIX))
                self._own = {name: entry.stat().st_size for name, entry in found
                             if NAME.fullmatch(name) and entry.is_file(follow_symlinks=False)}
        return self._own

    def _check_own(self, name: str, what: str) -> None:
        _check_name(name)
        if self.is_shipped(name):
            raise StoreError(Trouble.SHIPPED, f"{name} is a shipped preset, which is not {what}")
        self.path(name)

    def _check_room(self, name: str, size_bytes: int) -> None:
        _check_name(name)
        others = {other: size for other, size in self._sizes().items() if other != name}
        if len(others) >= self._most_presets:
            raise StoreError(Trouble.FULL, f"there are {len(others)} presets, as many as may be: remove one first")
        if sum(others.values()) + size_bytes > self._most_bytes:
            raise StoreError(Trouble.FULL, f"with {name} the presets would take more than {self._most_bytes} bytes: "
                                           "remove one first")

    @staticmethod
    def _check(name: str, data: bytes) -> None:
        try:
            if len(data) > MAX_FILE_BYTES:
                raise TetradError(f"{name} is longer than {MAX_FILE_BYTES} bytes, which no preset is")
            Preset.from_bytes(data, name)
        except TetradError as error:
            raise StoreError(Trouble.DAMAGED, str(error)) from error

    def _write(self, name: str, data: bytes) -> None:
        try:
            files.make_folder(self._presets)
            with files.atomic(self._own_path(name)) as file:
                file.write(data)
        except TetradError as error:
            raise StoreError(Trouble.DISK, str(error)) from error
        finally:
            self._own = None

    def _begun(self, name: str) -> "_Part":
        part = _Part.open(self._part(name))
        if part is None:
            raise StoreError(Trouble.OFFSET, f"no upload of {name} has begun: begin at byte 0")
        return part

    def _make_room_for(self, part: Path) -> None:
        others = sorted((path for path in self._uploads.glob(f"*{PART}") if path != part), key=_age_s)
        for path in others[MOST_PARTS - 1:]:
            path.unlink(missing_ok=True)


class _Part:
    """A part's file: what was announced, and how much is here."""

    def __init__(self, path: Path, total_bytes: int, sha256: str | None, start: int) -> None:
        self.path, self.total_bytes, self.sha256, self._start = path, total_bytes, sha256, start

    @classmethod
    def open(cls, path: Path) -> "_Part | None":
        """None where there is none, or one whose head a power cut has taken."""
        try:
            with open(path, "rb") as file:
                head = file.readline(MAX_HEAD_BYTES)
            told = files.entries(files.parse_json(head, "it"), ("bytes", "sha256"), "it")
            total = files.whole_number(told["bytes"], 1, MAX_FILE_BYTES, "it")
        except (FileNotFoundError, TetradError):
            return None
        part = cls(path, total, told["sha256"] if isinstance(told["sha256"], str) else None, len(head))
        return part if part.here <= total else None

    @property
    def promise(self) -> tuple[int, str | None]:
        return self.total_bytes, self.sha256

    @property
    def here(self) -> int:
        return max(0, self.path.stat().st_size - self._start)

    def read(self, offset: int, size: int) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(self._start + max(0, offset))
            return file.read(size)

    def write(self, data: bytes) -> int:
        """Adds to the end: all, or nothing where the disk refuses. Returns where the end is then."""
        before = self.path.stat().st_size
        try:
            with open(self.path, "ab", buffering=0) as file:
                if file.write(data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # told only by the next write
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self.path, before)
            raise
        return self.here


def _head(total_bytes: int, sha256: bytes | None) -> bytes:
    return json.dumps({"bytes": total_bytes, "sha256": sha256.hex() if sha256 else None}).encode() + b"\n"


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise StoreError(Trouble.NAME, f"{name[:64]!r} is no name for a preset: it has {NAME_RULE}")


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    """OSError as StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(Trouble.DISK, f"cannot write {path}: {error.strerror or error}") from error
