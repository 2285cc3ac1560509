"""Files that are whole or not there, and JSON that is read with suspicion. Presets and banks are built on both."""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from device.errors import TetradError

TEMPORARY = ".tmp"  # ends the names of files that are being written; what a power cut leaves behind is found by it


@contextlib.contextmanager
def atomic(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to be written in place of `path`: it takes the name when the block ends well, else nothing is left.

    Data, name and folder are on the disk when this returns, so what is written next is never older than this file.
    Not `durable`: a power cut can leave it empty; for many files, whose writer can make them again. A link is followed.
    Raises TetradError where the disk refuses, and where `path` is there and no plain file.
    """
    if path.exists() and not path.is_file():  # a rename would put a file in a device's place
        kind = "a folder" if path.is_dir() else "no plain file"
        raise TetradError(f"cannot write {path}: it is {kind}; name another")
    target = Path(os.path.realpath(path))  # else the link itself would be replaced
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(TEMPORARY, f".{target.name}.", target.parent)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, target)
        temporary = None
        if durable:
            sync_folder(target.parent)
    except OSError as error:
        missing = "" if target.parent.is_dir() else f"; make the folder {path.parent}"
        raise TetradError(f"cannot write {path}: {error.strerror or error}{missing}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def make_folder(path: Path) -> None:
    """Makes a folder where there is none. Raises TetradError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TetradError(f"cannot make the folder {path}: {error.strerror or error}; give another") from error


def lock_folder(folder: Path, user: str) -> int:
    """A file descriptor that holds a folder for this process until it is closed. Raises TetradError where another has
    it; where the file system knows no locks, nobody is kept out."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        raise TetradError(f"{folder} is another {user}'s, which runs: end that one, or name another folder") from error
    except OSError:
        pass
    return held


def stamp(path: Path) -> str:
    """A file's size and time, which change when it does; empty where there is none, which is told by what reads it."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def refuse_twins(names: Iterable[str], what: str) -> None:
    """Raises TetradError where two of `what` would be written under one name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise TetradError(f"two {what} are called {name}: rename one, or give them another folder each")
        seen.add(name)


def _umask() -> int:
    mask = os.umask(0o077)  # it can only be read by setting it
    os.umask(mask)
    return mask


def sync_folder(folder: Path) -> None:
    """A name that was given or taken there stays so when the power goes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_whole(path: Path, limit_bytes: int) -> bytes:
    """What is in `path`. Raises TetradError where it cannot be read or is longer than `limit_bytes`."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise TetradError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > limit_bytes:
        raise TetradError(f"{path} is longer than {limit_bytes} bytes, which no such file is: give another file")
    return data


def parse_json(data: bytes, what: str) -> object:
    """`data` as JSON. Raises TetradError("`what` ...") where it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, a number or a nesting without end
        raise TetradError(f"{what} is not JSON") from error


def entries(value: object, names: Collection[str], what: str) -> dict[str, object]:
    """`value` as a JSON object that has exactly the keys `names`, else TetradError."""
    if not isinstance(value, dict):
        raise TetradError(f"{what} is not an object")
    for name in names:
        if name not in value:
            raise TetradError(f"{what} lacks `{name}`")
    if len(value) > len(names):
        raise TetradError(f"{what} has keys that are unknown")
    return value


def whole_number(value: object, low: int, high: int, what: str) -> int:
    """`value` as an int in low..high (true and 1.0 are none), else TetradError."""
    if type(value) is not int or not low <= value <= high:
        raise TetradError(f"{what} is not {f'a whole number from {low} to {high}' if low < high else low}")
    return value


def number(value: object, low: float, high: float, what: str) -> float:
    """`value` as a number in low..high (NaN is in no range), else TetradError."""
    if not (type(value) is int or type(value) is float) or not low <= value <= high:
        raise TetradError(f"{what} is not a number from {low:g} to {high:g}")
    return value


def text(value: object, longest: int, what: str) -> str:
    """`value` as text of one printable line, so that it can stand in a message and on a display, else TetradError."""
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise TetradError(f"{what} is not a line of at most {longest} characters")
    return value


def items(value: object, least: int, most: int, what: str) -> Sequence[object]:
    """`value` as a list or tuple of least..most items, else TetradError."""
    if not isinstance(value, list | tuple) or not least <= len(value) <= most:
        raise TetradError(f"{what} is not a list of {least if least == most else f'{least} to {most}'}")
    return value


def pitches(value: object, what: str) -> tuple[int, ...]:
    """`value` as MIDI pitches in ascending order, at least one, else TetradError."""
    found = tuple(whole_number(pitch, 0, 127, what) for pitch in items(value, 1, 128, what))
    if any(low >= high for low, high in pairwise(found)):
        raise TetradError(f"{what} are not in ascending order")
    return found
