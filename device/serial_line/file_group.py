"""SMP's group 8: presets as files."""

import asyncio
import hashlib
import zlib
from collections.abc import Callable

from smp.error import MGMT_ERR
from smp.file_management import FS_MGMT_ERR, HashChecksumFormat

from device.box.store import Store, StoreError, Trouble
from device.serial_line.box import Box
from device.serial_line.commands import FILE, SHA256_BYTES, preset_name
from device.serial_line.messages import Body, SmpError

RESPONSE_OVERHEAD_BYTES = 64  # header, keys and numbers beside a download's data


class FileGroup:
    """One session's uploads and downloads. `senders` is shared by all sessions: who is sending which preset."""

    def __init__(self, box: Box, store: Store, senders: dict[str, "FileGroup"], buffer_bytes: int) -> None:
        self._box, self._store, self._senders = box, store, senders
        self._download_bytes = buffer_bytes - RESPONSE_OVERHEAD_BYTES
        self._announced: tuple[str, int, bytes] | None = None  # name, length, SHA-256
        self._sending: tuple[str, int] | None = None  # name, length
        self._last: tuple[str, int, bytes] | None = None  # what completed an upload, should it come once more
        self._reading: tuple[str, bytes] | None = None  # what is downloaded stays the same to its end

    async def announce(self, name: str, total_bytes: int, sha256: bytes) -> Body:
        """What the next upload brings: it is held against the SHA-256, and goes on where it was cut."""
        if len(sha256) != SHA256_BYTES:
            raise SmpError(MGMT_ERR.EINVAL, f"`sha` is {SHA256_BYTES} bytes")
        self._announced = name, total_bytes, sha256
        return {"off": await asyncio.to_thread(self._store.begin, *self._announced)}

    async def upload(self, offset: int, data: bytes, path: str, total_bytes: int | None) -> Body:
        name = preset_name(path)
        if offset > 0 and self._last == (name, offset, data):  # its answer was lost; byte 0 begins anew
            return {"off": offset + len(data)}
        if offset == 0:
            there = await self._first(name, data, total_bytes)
        elif self._sending is not None and self._sending[0] == name and self._senders.get(name) is self:
            there = await asyncio.to_thread(self._store.append, name, offset, data)
        else:
            raise StoreError(Trouble.OFFSET, f"no upload of {name} has begun here: begin at byte 0")
        if self._sending is not None and there == self._sending[1]:
            self.end()
            await asyncio.to_thread(self._store.finish, name)
            self._last = name, offset, data
            await self._box.changed(name, False)
        return {"off": there}

    async def _first(self, name: str, data: bytes, total_bytes: int | None) -> int:
        if total_bytes is None:
            raise SmpError(MGMT_ERR.EINVAL, "the first request of an upload wants `len`")
        promise: tuple[str, int, bytes | None] = name, total_bytes, None
        if self._announced is not None and self._announced[:2] == promise[:2]:
            promise = self._announced
        self._last = None
        self._sending, self._senders[name] = (name, total_bytes), self
        await asyncio.to_thread(self._store.begin, *promise)
        try:
            return await asyncio.to_thread(self._store.append, name, 0, data)
        except StoreError as error:
            if error.trouble is not Trouble.OFFSET:
                raise
            await asyncio.to_thread(self._store.drop, name)  # the part was not what it was taken for
            await asyncio.to_thread(self._store.begin, *promise)
            return await asyncio.to_thread(self._store.append, name, 0, data)

    async def close(self) -> Body:
        self.end()
        return {}

    def end(self) -> None:
        """Ends what is under way. A part that was announced is kept for the next session."""
        if self._sending is not None and self._senders.get(self._sending[0]) is self:
            del self._senders[self._sending[0]]
        self._announced = self._sending = self._last = self._reading = None

    async def download(self, offset: int, path: str) -> Body:
        name = preset_name(path)
        if offset == 0 or self._reading is None or self._reading[0] != name:
            self._reading = name, await asyncio.to_thread(self._store.data, name)
        data = self._reading[1]
        _check_offset(offset, data, name)
        found = data[offset:offset + self._download_bytes]
        return {"off": offset, "data": found, **({"len": len(data)} if offset == 0 else {})}

    async def file_status(self, path: str) -> Body:
        return {"len": len(await asyncio.to_thread(self._store.data, preset_name(path)))}

    async def file_hash(self, path: str, kind: str | None, offset: int | None, most: int | None) -> Body:
        name, start, chosen = preset_name(path), offset or 0, HASHES.get(kind or "sha256")
        if chosen is None:
            raise SmpError(FS_MGMT_ERR.CHECKSUM_HASH_NOT_FOUND, f"there are the hashes {' and '.join(HASHES)}", FILE,
                           MGMT_ERR.EINVAL)
        data = await asyncio.to_thread(self._store.data, name)
        _check_offset(start, data, name)
        part = data[start:] if most is None else data[start:start + most]
        told = {"type": kind or "sha256", "len": len(part), "output": chosen[0](part)}
        return {**told, "off": start} if start else told

    async def hash_types(self) -> Body:
        return {"types": {name: {"format": int(form), "size": size} for name, (_, form, size) in HASHES.items()}}


# What is computed over a file: how, and as what it is answered.
HASHES: dict[str, tuple[Callable[[bytes], int | bytes], HashChecksumFormat, int]] = {
    "crc32":  (zlib.crc32,                                 HashChecksumFormat.NUMERICAL,  4),
    "sha256": (lambda data: hashlib.sha256(data).digest(), HashChecksumFormat.BYTE_ARRAY, SHA256_BYTES),
}


def _check_offset(offset: int, data: bytes, name: str) -> None:
    if offset > len(data):
        raise SmpError(FS_MGMT_ERR.FILE_OFFSET_LARGER_THAN_FILE, f"{name} has {len(data)} bytes", FILE, MGMT_ERR.EINVAL)
