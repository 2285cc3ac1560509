"""Disks that are made from a log: what was flushed is there, of what came after it anything may be."""

import random
from pathlib import Path

import pytest
from disk import ENTRY, FLUSH, MAGIC, PAGE_BYTES, SECTOR_BYTES, SUPER, Disk


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    made = Disk(tmp_path)
    made.before.write_bytes(bytes(16 * PAGE_BYTES))
    return made


def page(number: int) -> bytes:
    return bytes([number]) * PAGE_BYTES


def log(*entries: tuple[int, bytes], told: int = 0) -> bytes:
    """Of writes (sector, data) and flushes (0, nothing); `told` is what the head says of their number."""
    lines = [SUPER.pack(MAGIC, 1, told, SECTOR_BYTES).ljust(SECTOR_BYTES, b"\0")]
    for sector, data in entries:
        head = ENTRY.pack(sector, len(data) // SECTOR_BYTES, 0 if data else FLUSH, 0)
        lines.append(head.ljust(SECTOR_BYTES, b"\0") + data)
    return b"".join(lines)


def pages(path: Path) -> list[int]:
    data = path.read_bytes()
    return [data[n] for n in range(0, len(data), PAGE_BYTES) if len(set(data[n:n + PAGE_BYTES])) == 1]


def test_what_was_flushed_is_there_and_the_rest_perhaps_in_part(disk: Disk, tmp_path: Path) -> None:
    flush = (0, b"")
    disk.log.write_bytes(log((0, page(1)), (8, page(2)), flush, (0, page(3)), (16, page(4) + page(5))))
    seen, rng = set(), random.Random(1)
    for _ in range(100):
        assert disk.cut(disk.logged_bytes(), rng, tmp_path / "cut") == 2
        found = pages(tmp_path / "cut")
        assert len(found) == 16
        seen.add(tuple(found[:4]))
    assert seen == {(first, 2, *last) for first in (1, 3) for last in ((0, 0), (4, 0), (4, 5))}


def test_a_cut_in_the_middle_has_nothing_of_what_came_later(disk: Disk, tmp_path: Path) -> None:
    disk.log.write_bytes(log((0, page(1)), (0, b""), (8, page(2)), (0, b"")))
    until = SECTOR_BYTES + (SECTOR_BYTES + PAGE_BYTES) + SECTOR_BYTES
    assert disk.cut(until, random.Random(1), tmp_path / "cut") == 0
    assert pages(tmp_path / "cut")[:2] == [1, 0]


def test_small_writes_are_made_whole(disk: Disk, tmp_path: Path) -> None:
    disk.log.write_bytes(log((2, b"\7" * 1_024), (0, b"")))
    disk.cut(disk.logged_bytes(), random.Random(1), tmp_path / "cut")
    assert (tmp_path / "cut").read_bytes()[:3_072] == bytes(1_024) + b"\7" * 1_024 + bytes(1_024)


def test_an_entry_that_was_cut_off_is_none_unless_it_was_flushed(disk: Disk) -> None:
    whole = log((0, page(1)), (8, page(2)), told=1)
    disk.log.write_bytes(whole[:-1])
    assert [write.data[0] for write in disk.writes()] == [1]
    disk.log.write_bytes(log((0, page(1)), (8, page(2)), told=2)[:-1])
    with pytest.raises(AssertionError, match="hole"):
        disk.writes()
