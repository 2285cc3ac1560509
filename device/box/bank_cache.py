"""What was decoded before, on the disk: a bank a preset, decoder and grid, within a limit. It is never needed."""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from device import files
from device.bake import PitchShape
from device.bank import Bank, Pad
from device.errors import TetradError
from device.preset import Preset

NAME_DIGITS = 16  # of a preset's digest


class BankCache:
    """Banks in a folder, of `limit_bytes` together: the one that was not used for the longest time goes first.

    Its methods wait for the disk, and for each other: for threads that may. The folder is this process's alone.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit_bytes = folder, limit_bytes
        self._bank: Bank | None = None  # that was opened last
        self._lock = threading.Lock()

    def open(self, preset: Preset, decoder: str, grid: int) -> Bank:
        """The bank of a preset, with what of it is there; what is damaged, or half-written, is not. Raises TetradError
        where the disk refuses."""
        with self._alone():
            return self._open(preset, decoder, grid)

    def read(self, bank: Bank, pitch: int) -> tuple[np.ndarray, np.ndarray]:
        """Cells and levels of a pitch, in memory: a disk that fails would end a process that has them mapped.

        Raises TetradError where they are not there, or damaged.
        """
        with self._alone():
            return bank.table(pitch, mapped=False), bank.levels(pitch)

    def store(self, preset: Preset, decoder: str, pitch: int, pad: Pad) -> bool:
        """Keeps a pitch more; other banks make room for it. False where there is none. Raises TetradError where the
        disk refuses."""
        with self._alone():
            bank = self._open(preset, decoder, pad.cells.shape[1])
            if bank.is_whole(pitch) or not self._make_room(bank.directory, pad.cells.nbytes + pad.levels.nbytes):
                return False
            self._bank = bank.store(pitch, pad)
            return True

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except OSError as error:
                raise TetradError(f"cannot use {error.filename or self._folder}: {error.strerror or error}") from error

    def _open(self, preset: Preset, decoder: str, grid: int) -> Bank:
        path = self._folder / f"{preset.digest[:NAME_DIGITS]}-{decoder}-{grid}"
        if self._bank and self._bank.directory == path and path.is_dir():
            return self._bank
        files.make_folder(self._folder)
        try:
            bank = Bank.open(path)
            if (bank.preset, bank.decoder, bank.grid) != (preset.digest, decoder, grid) or not fits(bank, preset):
                raise TetradError("it is another's")
            bank.clean()
        except TetradError:
            shutil.rmtree(path, ignore_errors=True)
            bank = Bank.create(path, preset.digest, decoder, grid, preset.velocities)
        with contextlib.suppress(OSError):
            os.utime(path)  # used now
        self._bank = bank
        return bank

    def _make_room(self, keep: Path, needed_bytes: int) -> bool:
        """Whether so much more is within the limit, and on the disk, when the others have gone that must."""
        sizes = {path: _bytes(path) for path in self._folder.iterdir() if path.is_dir()}
        oldest = sorted((path for path in sizes if path != keep), key=lambda path: path.stat().st_mtime)
        while True:
            free = shutil.disk_usage(self._folder).free // 2  # the other half is for presets
            if sum(sizes.values()) + needed_bytes <= self._limit_bytes and needed_bytes <= free:
                return True
            if not oldest:
                return False
            with contextlib.suppress(OSError):
                (oldest[0] / "bank.json").unlink()  # first, so that a bank half deleted is none
            shutil.rmtree(oldest[0], ignore_errors=True)
            del sizes[oldest.pop(0)]


def fits(bank: Bank, preset: Preset) -> bool:
    """Whether its cells are as long as the preset's are now, and loop where those do."""
    shapes = {pitch: PitchShape.of(preset, pitch) for pitch in bank.pitches}
    return bank.velocities == preset.velocities and all(
        (entry.samples, entry.loop_start, entry.loop_samples)
        == (shapes[pitch].samples, shapes[pitch].loop_start, shapes[pitch].loop_samples)
        for pitch, entry in bank.entries.items())


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
