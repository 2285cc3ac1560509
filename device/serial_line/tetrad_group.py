"""SMP's group 64, Tetrad's own: the list of presets, and what the box does with them."""

import asyncio

from smp.error import MGMT_ERR

from device.box.store import Store
from device.errors import TetradError
from device.serial_line.box import Box
from device.serial_line.commands import TETRAD, TetradCode
from device.serial_line.messages import Body, SmpError

PAGE_PRESETS = 32  # of names of 48 characters: 3 KB


class TetradGroup:
    def __init__(self, box: Box, store: Store) -> None:
        self._box, self._store = box, store

    async def list(self, offset: int | None) -> Body:
        start = offset or 0
        total, found = await asyncio.to_thread(self._store.page, start, PAGE_PRESETS)
        presets = [{"name": name, "bytes": size, "shipped": shipped} for name, size, shipped in found]
        return {"off": start, "total": total, "presets": presets, "selected": self._box.selected()}

    async def select(self, name: str) -> Body:
        await asyncio.to_thread(self._store.path, name)  # says what is wrong with a name
        try:
            await self._box.select(name)
        except TetradError as error:
            raise SmpError(TetradCode.NOT_LOADED, str(error), TETRAD, MGMT_ERR.EUNKNOWN) from error
        return {}

    async def rename(self, old: str, new: str) -> Body:
        await asyncio.to_thread(self._store.rename, old, new)
        await self._box.renamed(old, new)
        return {}

    async def remove(self, name: str) -> Body:
        await asyncio.to_thread(self._store.remove, name)
        await self._box.changed(name, True)
        return {}

    async def status(self) -> Body:
        return {key: _plain(value) for key, value in self._box.status().items()}

    async def progress(self) -> Body:
        return {key: _plain(value) for key, value in self._box.progress().items()}


def _plain(value: object) -> object:
    """What CBOR has a type for; anything else as text."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
