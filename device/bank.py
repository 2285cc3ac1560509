"""Banks: a preset decoded to wavetables that the engine maps into memory. Rebuilt from preset and decoder at any time.

A folder of bank.json and of two arrays a pitch, of [layers, grid (y), grid (x)] cells each; a layer is a velocity:
    NNN.npy         int16 [.., samples]    the sound, full scale = 32768: body, loop, release
    NNN.levels.npy  float32 [.., columns]  RMS of each 256 samples of it, 1.0 = full scale
Both take their names whole and are on the disk before bank.json says so: after a power cut the folder is a valid bank
of fewer notes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from device import files
from device.errors import TetradError
from device.preset import CORNERS, MOST_MOTION, MOTION, SAMPLE_RATE_HZ, layer_velocities
from device.synth import COLUMN_SAMPLES

FORMAT, VERSION = "tetrad-bank", 2
FULL_SCALE = 32_768  # int16 of a sample 1.0
GRIDS = (2, 33)  # cells a side: fewer are no plane, more are finer than anything heard
MAX_SAMPLES = 60 * SAMPLE_RATE_HZ  # a note of a minute
MAX_JSON_BYTES = 8 << 20  # 128 pitches of 33 x 33 cells take 1 MB
KEYS = ("format", "version", "preset", "decoder", "sample_rate_hz", "grid", "velocities", "pitches")
PITCH_KEYS = ("samples", "loop_start", "loop_samples", "motion", "valid")
AGAIN = "delete the folder and `tetrad bake` it again"


@dataclass(frozen=True, eq=False)
class Pad:
    """A pitch's whole pad, as it is decoded: `cells` and `levels` are what the two files hold.

    The loop is `loop_samples` long (0: there is none) from sample `loop_start` on; what is behind it is the release.
    `motion` is the corners', float32 [layers, 4, 4], see device.preset.MOTION.
    """

    cells: np.ndarray
    levels: np.ndarray
    loop_start: int
    loop_samples: int
    motion: np.ndarray


@dataclass(frozen=True, eq=False)
class Entry:
    """What bank.json says of a pitch; see Pad. `valid` tells which cells hold their sound, bool [grid, grid]."""

    samples: int
    loop_start: int
    loop_samples: int
    motion: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True, eq=False)
class Bank:
    """A bank as bank.json says it. `preset` is a digest, `decoder` an id, `velocities` are the layers', ascending."""

    directory: Path
    preset: str
    decoder: str
    grid: int
    velocities: tuple[int, ...]
    entries: Mapping[int, Entry] = field(default_factory=dict)

    @property
    def pitches(self) -> tuple[int, ...]:
        """MIDI pitches that have a table, ascending."""
        return tuple(sorted(self.entries))

    def is_whole(self, pitch: int) -> bool:
        """Whether every cell of a pitch holds its sound."""
        return pitch in self.entries and bool(self.entries[pitch].valid.all())

    def table(self, pitch: int, mapped: bool = True) -> np.ndarray:
        """The sound of a pitch, int16 [layers, grid (y), grid (x), samples], mapped, read-only; or read into memory,
        for who must outlive a disk that fails.

        Raises TetradError where the table is missing, cut or of another shape.
        """
        return self._array(self._path(pitch), np.dtype("<i2"), self.entries[pitch].samples, mapped)

    def levels(self, pitch: int) -> np.ndarray:
        """RMS of each column of the table, float32 [layers, grid (y), grid (x), columns]. Raises TetradError, too where
        one is no level."""
        path = self._levels_path(pitch)
        levels = self._array(path, np.dtype("<f4"), self.entries[pitch].samples // COLUMN_SAMPLES, mapped=False)
        if not ((levels >= 0) & (levels <= 1)).all():  # NaN is neither
            raise TetradError(f"the bank's {path} holds numbers that are no levels: {AGAIN}")
        return levels

    def motion(self, pitch: int) -> np.ndarray:
        """The corners' motion, float32 [layers, 4, 4], see device.preset.MOTION."""
        return self.entries[pitch].motion

    def loop(self, pitch: int) -> tuple[int, int]:
        """Where the loop starts, and how long it is, in samples."""
        return self.entries[pitch].loop_start, self.entries[pitch].loop_samples

    def _array(self, path: Path, kind: np.dtype, length: int, mapped: bool) -> np.ndarray:
        wanted = (len(self.velocities), self.grid, self.grid, length)
        try:
            array = np.lib.format.open_memmap(path, mode="r")
            if not mapped and array.shape == wanted:  # which takes no more memory than it should
                array = np.load(path, allow_pickle=False)
        except Exception as error:  # the header is a Python literal: syntax, tokenizer and other errors
            raise TetradError(f"the bank's table {path} is missing, cut or damaged: {AGAIN}") from error
        if array.dtype != kind or array.shape != wanted or not array.flags.c_contiguous:
            raise TetradError(f"the bank's table {path} is {array.dtype} {list(array.shape)}, "
                              f"not {kind.name} {list(wanted)}: {AGAIN}")
        return array

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
            bank.levels(pitch)
        return bank

    @classmethod
    def create(cls, directory: Path | str, preset: str, decoder: str, grid: int,
               velocities: tuple[int, ...]) -> "Bank":
        """An empty bank in a folder, made where it is not there, in place of the bank that it holds.

        Raises TetradError where the folder holds other things than a bank, or the disk refuses.
        """
        bank = cls(Path(directory), preset, decoder, grid, tuple(velocities))
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
        kept = {path for pitch in self.pitches for path in (self._path(pitch), self._levels_path(pitch))}
        try:
            for path in self.directory.iterdir():
                table = path.match("[0-9][0-9][0-9].npy") or path.match("[0-9][0-9][0-9].levels.npy")
                if (table and path not in kept) or path.name.endswith(files.TEMPORARY):
                    path.unlink()  # who has it mapped keeps it
        except OSError as error:
            raise TetradError(f"cannot clean the bank {self.directory}: {error.strerror or error}") from error

    def store(self, pitch: int, pad: Pad) -> "Bank":
        """The bank with a pitch's pad written, all its cells valid."""
        for path, array in ((self._path(pitch), pad.cells.astype("<i2", copy=False)),
                            (self._levels_path(pitch), pad.levels.astype("<f4", copy=False))):
            with files.atomic(path) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), (1, 0), allow_pickle=False)
        entry = Entry(pad.cells.shape[-1], pad.loop_start, pad.loop_samples, pad.motion,
                      np.ones((self.grid, self.grid), bool))
        bank = replace(self, entries={**self.entries, pitch: entry})
        bank._save()
        return bank

    def _path(self, pitch: int) -> Path:
        return self.directory / f"{pitch:03d}.npy"

    def _levels_path(self, pitch: int) -> Path:
        return self.directory / f"{pitch:03d}.levels.npy"

    def _save(self) -> None:
        pitches = {str(pitch): {
            "samples": entry.samples, "loop_start": entry.loop_start, "loop_samples": entry.loop_samples,
            "motion": entry.motion.tolist(), "valid": entry.valid.tolist(),
        } for pitch, entry in sorted(self.entries.items())}
        manifest = {
            "format": FORMAT, "version": VERSION, "preset": self.preset, "decoder": self.decoder,
            "sample_rate_hz": SAMPLE_RATE_HZ, "grid": self.grid, "velocities": list(self.velocities),
            "pitches": pitches,
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
        velocities = layer_velocities(manifest["velocities"])
        told = manifest["pitches"]
        if not isinstance(told, dict):
            raise TetradError("`pitches` is not an object")
        pitches = {pitch: told[str(pitch)] for pitch in range(128) if str(pitch) in told}
        if len(pitches) < len(told):
            raise TetradError("`pitches` has keys that are no MIDI pitch")
        entries = {pitch: _entry(about, f"pitch {pitch}", grid, len(velocities)) for pitch, about in pitches.items()}
        preset, decoder = (files.text(manifest[key], 200, f"`{key}`") for key in ("preset", "decoder"))
    except TetradError as error:
        raise _Damaged(str(error)) from error
    return Bank(directory, preset, decoder, grid, velocities, entries)


def _entry(value: object, what: str, grid: int, layers: int) -> Entry:
    about = files.entries(value, PITCH_KEYS, what)
    samples = files.whole_number(about["samples"], COLUMN_SAMPLES, MAX_SAMPLES, f"`samples` of {what}")
    if samples % COLUMN_SAMPLES:
        raise TetradError(f"`samples` of {what} are no whole number of {COLUMN_SAMPLES}")
    start = files.whole_number(about["loop_start"], 0, samples, f"`loop_start` of {what}")
    length = files.whole_number(about["loop_samples"], 0, samples - start, f"`loop_samples` of {what}")
    rows = [files.items(row, CORNERS, CORNERS, "a layer of `motion`")
            for row in files.items(about["motion"], layers, layers, f"`motion` of {what}")]
    motion = [[[files.number(number, 0, most, f"{of} of {what}") for number, most, of in
                zip(files.items(corner, len(MOTION), len(MOTION), "a motion"), MOST_MOTION, MOTION, strict=True)]
               for corner in row] for row in rows]
    return Entry(samples, start, length, np.array(motion, np.float32), _cells(about["valid"], grid))


def _cells(rows: object, grid: int) -> np.ndarray:
    """bool [grid, grid] of rows of true and false."""
    cells = [files.items(row, grid, grid, "a row of `valid`") for row in files.items(rows, grid, grid, "`valid`")]
    if any(type(cell) is not bool for row in cells for cell in row):
        raise TetradError("`valid` holds other things than true and false")
    return np.array(cells, bool)
