"""The disk that outlives a power cut, with what a cut does to it.

When QEMU is killed the guest's own cache is lost, which is most of what a power cut takes; but all that reached QEMU is
on our disk, in order. A card's own cache loses more: whatever was not flushed may be there, be missing, or be there in
part, in any order. So QEMU logs each write and flush (its driver blklogwrites, the kernel's dm-log-writes format), and
the disk is made anew from the log, up to any point of it, with the luck of a random number generator.
"""

import random
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECTOR_BYTES = 512
PAGE_BYTES = 4_096  # no card writes less of what it has begun to write
SIZE_MB = 192
MAGIC = 0x6A736677736872
SUPER, ENTRY = struct.Struct("<QQQI"), struct.Struct("<QQQQ")  # magic version entries sector; sector sectors flags data
FLUSH, FUA, DISCARD = 1, 2, 4


@dataclass(frozen=True)
class Write:
    """A request that reached the disk: `end` is where the log went on, `data` what was written; a flush has none."""

    end: int
    sector: int
    flush: bool
    data: bytes


class Disk:
    """An ext4 file system. When its machine has lost its power `cut` tells what may then be on it."""

    def __init__(self, folder: Path) -> None:
        self.image, self.log, self.before = folder / "disk", folder / "log", folder / "before"
        self.log.touch()
        made_at_once = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", str(PAGE_BYTES), "-E", made_at_once, self.image,
                        f"{SIZE_MB}m"], check=True, stdout=subprocess.DEVNULL)

    def arguments(self) -> tuple[str, ...]:
        """For QEMU; from then on it writes. What was logged before is forgotten."""
        _copy(self.image, self.before)
        self.log.write_bytes(b"")
        return ("-blockdev", f"driver=file,node-name=image,filename={self.image}",
                "-blockdev", f"driver=file,node-name=log,filename={self.log}",
                "-blockdev", "driver=blklogwrites,node-name=state,file=image,log=log",
                "-device", "virtio-blk-pci,drive=state")

    def logged_bytes(self) -> int:
        """How far the log goes: what was flushed until now lies before."""
        return self.log.stat().st_size

    def writes(self) -> list[Write]:
        return list(_writes(self.log))

    def cut(self, until: int, rng: random.Random, to: Path) -> int:
        """A disk that lost its power when the log was so long, into the file `to`: of what was written after the last
        flush each piece is there or not, or in part. How many pieces were at stake."""
        writes = [write for write in self.writes() if write.end <= until]
        flushed = max((n for n, write in enumerate(writes) if write.flush), default=-1)
        _copy(self.before, to)
        with open(to, "r+b") as disk:
            for n, write in enumerate(writes):
                pages = -(-len(write.data) // PAGE_BYTES)
                kept = pages if n <= flushed else rng.choice((0, rng.randint(0, pages), pages))
                disk.seek(write.sector * SECTOR_BYTES)
                disk.write(write.data[:kept * PAGE_BYTES])
        return len(writes) - flushed - 1


def _writes(log: Path) -> Iterator[Write]:
    """Those that are whole: QEMU may have been killed in the middle of one."""
    with open(log, "rb") as file:
        head = file.read(SECTOR_BYTES)
        if len(head) < SECTOR_BYTES:
            return
        magic, _, told, sector_bytes = SUPER.unpack_from(head)
        assert (magic, sector_bytes) == (MAGIC, SECTOR_BYTES)
        count = 0
        while len(entry := file.read(SECTOR_BYTES)) == SECTOR_BYTES:
            sector, sectors, flags, _ = ENTRY.unpack_from(entry)
            data = b"" if flags & DISCARD else file.read(sectors * SECTOR_BYTES)
            if entry == bytes(SECTOR_BYTES) or (not flags & DISCARD and len(data) < sectors * SECTOR_BYTES):
                break
            count += 1
            yield Write(file.tell(), sector, bool(flags & (FLUSH | FUA)), data)
        assert count >= told, "the log has a hole before its last flush"


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=always", source, target], check=True)
