"""Banks: a preset decoded to wavetables that the engine maps into memory. Rebuilt from preset and decoder at any time.

A folder of bank.json and one NNN.npy a pitch, int16 [grid (y), grid (x), samples], full scale = 32768. A table takes
its name whole and is on the disk before bank.json says so: after a power cut the folder is a valid bank of fewer notes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from device import files
from device.errors import TetradError
from device.preset import SAMPLE_RATE_HZ

FORMAT, VERSION = "tetrad-bank", 1
FULL_SCALE = 32_768  # int16 of a sample 1.0
GRIDS = (2, 33)  # cells a side: fewer are no plane, more are finer than anything heard
MAX_SAMPLES = 60 * SAMPLE_RATE_HZ  # a note of a minute
MAX_JSON_BYTES = 8 << 20  # 128 pitches of 33 x 33 cells take 1 MB
KEYS = ("format", "version", "preset", "decoder", "sample_rate_hz", "grid", "samples", "pitches", "valid")
AGAIN = "delete the folder and `tetrad bake` it again"


@dataclass(frozen=True, eq=False)
class Bank:
    """A bank as bank.json says it.

    `preset` is a digest, `decoder` an id; `valid` tells of each pitch which cells hold their sound, bool [grid, grid].
    """

    directory: Path
    preset: str
    decoder: str
    grid: int
    samples: int
    valid: Mapping[int, np.ndarray] = field(default_factory=dict)

    @property
    def pitches(self) -> tuple[int, ...]:
        """MIDI pitches that have a table, ascending."""
        return tuple(sorted(self.valid))

    def table(self, pitch: int) -> np.ndarray:
        """The sound of a pitch, int16 [grid (y), grid (x), samples], mapped, read-only.

        Raises TetradError where the table is missing, cut or of another shape.
        """
        path = self._path(pitch)
        wanted = (self.grid, self.grid, self.samples)
        try:
            table = np.lib.format.open_memmap(path, mode="r")
        except Exception as error:  # the header is a Python literal: syntax, tokenizer and other errors
            raise TetradError(f"the bank's table {path} is missing, cut or damaged: {AGAIN}") from error
        if table.dtype != np.int16 or table.shape != wanted or not table.flags.c_contiguous:
            raise TetradError(f"the bank's table {path} is {table.dtype} {list(table.shape)}, "
                              f"not int16 {list(wanted)}: {AGAIN}")
        return table

    @classmethod
    def open(cls, directory: Path | str) -> "Bank":
        """The bank in a folder. Raises TetradError naming the file where it is of another version, cut or damaged."""
        path = Path(directory) / "bank.json"
        try:
            bank = _parse(files.read_whole(path, MAX_JSON_BYTES), Path(directory))
        except _Damaged as error:
            raise TetradError(f"{path}: {error}; {AGAIN}") from error
        for pitch in bank.pitches:
            bank.table(pitch)
        return bank

    @classmethod
    def create(cls, directory: Path | str, preset: str, decoder: str, grid: int, samples: int) -> "Bank":
        """An empty bank in a folder, made where it is not there, in place of the bank that it holds.

        Raises TetradError where the folder holds other things than a bank, or the disk refuses.
        """
        bank = cls(Path(directory), preset, decoder, grid, samples)
        try:
            bank.directory.mkdir(parents=True, exist_ok=True)
            there = list(bank.directory.iterdir())
            foreign = [path.name for path in there if not path.name.endswith(files.TEMPORARY)]
            if foreign and "bank.json" not in foreign:
                raise TetradError(f"{directory} is no bank, yet holds {foreign[0]}: "
                                  "name a new folder, or delete this one")
        except OSError as error:
            raise TetradError(f"cannot write the bank {directory}: {error.strerror or error}") from error
        bank._save()  # first: from here on no old table counts
        bank.clean()
        return bank

    def clean(self) -> None:
        """Removes the tables that bank.json does not list, and what a power cut left half-written.

        For the one process that writes the bank. Raises TetradError where the disk refuses.
        """
        kept = {self._path(pitch) for pitch in self.pitches}
        try:
            for path in self.directory.iterdir():
                table = path.match("[0-9][0-9][0-9].npy") and path not in kept
                if table or path.name.endswith(files.TEMPORARY):
                    path.unlink()  # who has it mapped keeps it
        except OSError as error:
            raise TetradError(f"cannot clean the bank {self.directory}: {error.strerror or error}") from error

    def store(self, pitch: int, table: np.ndarray) -> "Bank":
        """The bank with the table of a pitch, int16 [grid, grid, samples], written and all its cells valid."""
        with files.atomic(self._path(pitch)) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(table, np.int16), (1, 0), allow_pickle=False)
        cells = np.ones((self.grid, self.grid), bool)
        bank = replace(self, valid={**self.valid, pitch: cells})
        bank._save()
        return bank

    def _path(self, pitch: int) -> Path:
        return self.directory / f"{pitch:03d}.npy"

    def _save(self) -> None:
        manifest = {
            "format": FORMAT, "version": VERSION, "preset": self.preset, "decoder": self.decoder,
            "sample_rate_hz": SAMPLE_RATE_HZ, "grid": self.grid, "samples": self.samples,
            "pitches": list(self.pitches), "valid": {str(pitch): self.valid[pitch].tolist() for pitch in self.pitches},
        }
        with files.atomic(self.directory / "bank.json") as file:
            file.write((json.dumps(manifest) + "\n").encode())


class _Damaged(TetradError):
    """bank.json is not what this program reads."""


def _parse(data: bytes, directory: Path) -> Bank:
    try:
        head = files.parse_json(data, "it")
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise TetradError("it is not a bank's")
        if head.get("version") != VERSION:
            raise TetradError(f"it is of version {head.get('version')!r:.20}, and this tetrad reads {VERSION}")
        manifest = files.entries(head, KEYS, "it")
        files.whole_number(manifest["sample_rate_hz"], SAMPLE_RATE_HZ, SAMPLE_RATE_HZ, "its sample rate")
        grid = files.whole_number(manifest["grid"], *GRIDS, "its grid")
        samples = files.whole_number(manifest["samples"], 1, MAX_SAMPLES, "`samples`")
        listed = files.items(manifest["pitches"], 0, 128, "`pitches`")
        pitches = files.pitches(listed, "`pitches`") if listed else ()
        rows = files.entries(manifest["valid"], [str(pitch) for pitch in pitches], "`valid`")
        valid = {pitch: _cells(rows[str(pitch)], grid) for pitch in pitches}
        preset, decoder = (files.text(manifest[key], 200, f"`{key}`") for key in ("preset", "decoder"))
    except TetradError as error:
        raise _Damaged(str(error)) from error
    return Bank(directory, preset, decoder, grid, samples, valid)


def _cells(rows: object, grid: int) -> np.ndarray:
    """bool [grid, grid] of rows of true and false."""
    cells = [files.items(row, grid, grid, "a row of `valid`") for row in files.items(rows, grid, grid, "`valid`")]
    if any(type(cell) is not bool for row in cells for cell in row):
        raise TetradError("`valid` holds other things than true and false")
    return np.array(cells, bool)
