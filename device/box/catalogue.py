"""The presets' names and all their instruments, known without waiting for a disk."""

import asyncio
import logging
from pathlib import Path

from device.box.hands import Choice
from device.box.state import CornerChoice
from device.box.store import Store
from device.errors import TetradError
from device.files import stamp

log = logging.getLogger("tetrad.catalogue")


class Catalogue:
    """Of a store; as it was when `run` looked last, which it does when something `changed`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.names = store.names()
        self.choices: list[Choice] = []  # of the corners' instruments, each once
        self._corners: dict[tuple[Path, str], list[tuple[str, bytes]]] = {}  # by file and its stamp
        self._told: set[str] = set()  # of presets that cannot be read
        self._news = asyncio.Event()
        self._news.set()

    def changed(self) -> None:
        """A preset came or went."""
        self._news.set()

    async def run(self) -> None:
        """Looks, and looks again, until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                self.names = await asyncio.to_thread(self._store.names)
                self.choices = await asyncio.to_thread(self._list)
            except TetradError as error:
                log.warning("%s", error)

    def _list(self) -> list[Choice]:
        """Only what is new is read."""
        found: dict[tuple[str, bytes], Choice] = {}
        corners, told = {}, set()
        for name in self._store.names():
            try:
                path = self._store.path(name)
                key = path, stamp(path)
                corners[key] = self._corners.get(key) or [
                    (corner.name, corner.values.tobytes()[:256]) for corner in self._store.read(name).corners]
            except TetradError as error:
                if str(error) not in self._told:
                    log.warning("%s", error)
                told.add(str(error))
                continue
            for number, corner in enumerate(corners[key]):
                found.setdefault(corner, Choice(corner[0], CornerChoice(name, number)))
        self._told = told
        self._corners = corners
        return list(found.values())
