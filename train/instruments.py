"""Which instruments of a folder of notes are for tests: no training hears them, and evaluations are made with them."""

import zlib
from collections.abc import Iterable
from pathlib import Path

from device import files
from device.errors import TetradError

LIST = "test-instruments.txt"  # beside examples.json: an instrument_str a line; `tetrad notes render` writes it
SHARE = 8  # an instrument in so many, where nothing says which
MAX_LIST_BYTES = 16 << 20


def is_test_instrument(instrument_str: str) -> bool:
    """True for one instrument in eight, by its name, so that every evaluation agrees which."""
    return zlib.crc32(instrument_str.encode()) % SHARE == 0


def write_test_instruments(folder: Path, instruments: Iterable[str]) -> int:
    """Writes the list of those of a folder that are for tests; none where all would be. Returns how many."""
    every = set(instruments)
    chosen = sorted(filter(is_test_instrument, every))
    if len(chosen) == len(every):
        chosen = []
    path = folder / LIST
    try:
        with files.atomic(path) as file:
            file.write("".join(f"{name}\n" for name in chosen).encode())
    except OSError as error:
        raise TetradError(f"cannot write {path}: {error.strerror}; make room, and run this again") from error
    return len(chosen)


def test_instruments(folder: Path) -> frozenset[str]:
    """Those that the list in a folder of notes names; none where there is no list, or `folder` is a file.

    Raises TetradError for a list that cannot be read.
    """
    path = folder / LIST
    if not path.is_file():
        return frozenset()
    try:
        return frozenset(files.read_whole(path, MAX_LIST_BYTES).decode().split())
    except UnicodeDecodeError as error:
        raise TetradError(f"{path} is no text: an instrument a line belongs there; render the notes again") from error
