import hashlib
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_presets import small_disk, small_preset

from device.box import store as module
from device.box.store import FACTORY, Store, StoreError, Trouble
from device.errors import TetradError
from device.library import read_library
from device.preset import MAX_FILE_BYTES

OLD, NEW = small_preset(1), small_preset(2)
SHIPPED = [entry.file.removesuffix(".tetrad") for entry in read_library(FACTORY / "library.json").presets]


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def fails(trouble: Trouble):
    return pytest.raises(StoreError, check=lambda error: error.trouble is trouble)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def send(store: Store, name: str, data: bytes, sha: bytes | None = None, chunk: int = 4_000) -> None:
    there = store.begin(name, len(data), sha)
    while there < len(data):
        there = store.append(name, there, data[there:there + chunk])
    store.finish(name)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_shipped_presets_come_first_in_their_order_then_the_own_ones_sorted(store):
    for name in ("zebra", "Alp 2", "winds", "m", "b", "k", "c"):
        store.add(name, OLD)
    assert store.names() == [*SHIPPED, "Alp 2", "b", "c", "k", "m", "zebra"]


def test_every_shipped_preset_is_whole_and_in_the_library(store):
    assert sorted(SHIPPED) == sorted(path.stem for path in FACTORY.glob("*.tetrad"))
    assert all(store.is_shipped(name) and store.read(name).corners for name in store.names())


def test_an_own_preset_stands_before_the_shipped_one_until_it_is_removed(store):
    shipped = store.data("first")
    store.add("first", OLD)
    assert store.data("first") == OLD
    assert not store.is_shipped("first")
    store.remove("first")
    assert store.data("first") == shipped
    assert store.is_shipped("first")


def test_a_shipped_preset_can_be_neither_removed_nor_renamed(store):
    with fails(Trouble.SHIPPED):
        store.remove("first")
    with fails(Trouble.SHIPPED):
        store.rename("first", "second")
    assert store.path("first").exists()


def test_a_rename_overwrites_nothing(store):
    store.add("a", OLD)
    store.add("b", NEW)
    for taken in ("b", "first", "a"):
        with fails(Trouble.TAKEN):
            store.rename("a", taken)
    store.rename("a", "c")
    assert (store.data("c"), store.data("b")) == (OLD, NEW)
    assert "a" not in store.names()


def test_what_is_not_there_is_neither_read_renamed_nor_removed(store):
    for attempt in (store.path, store.data, store.read, store.remove, lambda name: store.rename(name, "other")):
        with fails(Trouble.MISSING):
            attempt("none")


@pytest.mark.parametrize("name", ["", " a", "a ", "a/b", "../a", "..", ".", ".a", "a.b", "a\0", "ä", "a\n", "x" * 49,
                                  "/etc/passwd", "a\\b", "٣"])
def test_a_name_cannot_leave_the_folder(store, tmp_path, name):
    store.add("here", OLD)
    before = files_in(tmp_path)
    for attempt in (lambda: store.add(name, OLD), lambda: store.rename("here", name), lambda: store.remove(name),
                    lambda: store.begin(name, 9), lambda: store.append(name, 0, b"x"), lambda: store.finish(name),
                    lambda: store.drop(name), lambda: store.path(name), lambda: store.data(name)):
        with fails(Trouble.NAME):
            attempt()
    assert files_in(tmp_path) == before


def test_files_that_are_no_presets_of_ours_are_not_listed(store, tmp_path):
    (tmp_path / "presets" / "bad.name.tetrad").write_bytes(OLD)
    (tmp_path / "presets" / "folder.tetrad").mkdir()
    (tmp_path / "presets" / "link.tetrad").symlink_to("/etc/passwd")
    assert Store(tmp_path).names() == SHIPPED


@pytest.mark.parametrize("data", [b"", b"PK", OLD[:-1], OLD[:40] + b"X" + OLD[41:], bytes(MAX_FILE_BYTES + 1)])
def test_what_is_no_whole_preset_does_not_come_in(store, tmp_path, data):
    store.add("a", OLD)
    with fails(Trouble.DAMAGED):
        store.add("a", data)
    assert store.data("a") == OLD
    assert files_in(tmp_path) == ["presets/a.tetrad"]


def test_there_are_as_many_presets_as_may_be(tmp_path):
    store = Store(tmp_path, most_presets=2)
    store.add("a", OLD)
    store.add("b", OLD)
    for attempt in (lambda: store.add("c", OLD), lambda: store.begin("c", len(OLD)), lambda: store.add("first", OLD)):
        with fails(Trouble.FULL):
            attempt()
    store.add("b", NEW)
    store.remove("a")
    store.add("c", OLD)
    assert store.names() == [*SHIPPED, "b", "c"]


def test_they_take_as_much_as_may_be(tmp_path):
    store = Store(tmp_path, most_bytes=2 * len(OLD) + len(NEW) // 2)
    store.add("a", OLD)
    store.add("b", OLD)
    store.add("b", OLD)  # in its own place
    for attempt in (lambda: store.add("c", NEW), lambda: store.begin("c", len(NEW))):
        with fails(Trouble.FULL):
            attempt()


def test_an_upload_appears_when_it_is_finished_and_not_before(store, tmp_path):
    store.add("a", OLD)
    there = store.begin("a", len(NEW), sha256(NEW))
    assert there == 0
    assert store.append("a", 0, NEW[:-1]) == len(NEW) - 1
    assert store.data("a") == OLD
    with fails(Trouble.OFFSET):
        store.append("a", len(NEW) - 1, NEW[-1:] + b"x")
    assert store.append("a", len(NEW) - 1, NEW[-1:]) == len(NEW)
    assert store.data("a") == OLD
    store.finish("a")
    assert store.data("a") == NEW
    assert files_in(tmp_path) == ["presets/a.tetrad"]


def test_an_announced_upload_goes_on_in_another_process(store, tmp_path):
    store.begin("a", len(NEW), sha256(NEW))
    store.append("a", 0, NEW[:1_000])
    other = Store(tmp_path)
    assert other.begin("a", len(NEW), sha256(NEW)) == 1_000
    assert other.append("a", 1_000, NEW[1_000:]) == len(NEW)
    other.finish("a")
    assert other.data("a") == NEW


def test_without_its_sha256_or_with_another_an_upload_begins_anew(store):
    for first, then, size in ((None, None, len(NEW)), (sha256(NEW), None, len(NEW)), (None, sha256(NEW), len(NEW)),
                              (sha256(NEW), sha256(OLD), len(NEW)), (sha256(NEW), sha256(NEW), len(NEW) + 1)):
        store.begin("a", len(NEW), first)
        store.append("a", 0, NEW[:1_000])
        assert store.begin("a", size, then) == 0


def test_bytes_that_come_twice_are_the_same_or_refused(store):
    store.begin("a", len(NEW))
    assert store.append("a", 0, NEW[:100]) == 100
    assert store.append("a", 50, NEW[50:150]) == 150
    assert store.append("a", 0, NEW[:100]) == 150
    with fails(Trouble.OFFSET):
        store.append("a", 149, b"\xff\xff" if NEW[149] != 255 else b"\0\0")
    with fails(Trouble.OFFSET):
        store.append("a", 151, NEW[151:160])
    assert store.append("a", 150, NEW[150:]) == len(NEW)
    store.finish("a")
    assert store.data("a") == NEW


@given(st.lists(st.tuples(st.integers(0, len(NEW)), st.integers(0, 3_000)), max_size=20))
def test_a_part_is_always_the_beginning_of_the_preset(tmp_path_factory, pieces):
    folder = tmp_path_factory.getbasetemp() / "beginning"
    store = Store(folder)
    there = store.begin("a", len(NEW))
    for start, size in pieces:
        piece = NEW[start:start + size]
        if start <= there:
            there = max(there, start + len(piece))
            assert store.append("a", start, piece) == there
        else:
            with fails(Trouble.OFFSET):
                store.append("a", start, piece)
    assert store.append("a", there, NEW[there:]) == len(NEW)
    store.finish("a")
    assert store.data("a") == NEW


def test_what_came_short_or_damaged_or_is_no_preset_is_thrown_away(store, tmp_path):
    store.add("a", OLD)
    other = bytearray(NEW)
    other[500] ^= 1
    for data, sha, trouble in ((NEW[:-1], sha256(NEW), Trouble.OFFSET), (bytes(other), sha256(NEW), Trouble.DAMAGED),
                               (bytes(other), None, Trouble.DAMAGED), (small_preset(3), sha256(NEW), Trouble.DAMAGED)):
        store.begin("a", len(data) + (trouble is Trouble.OFFSET), sha)
        store.append("a", 0, data)
        with fails(trouble):
            store.finish("a")
        assert store.data("a") == OLD
        assert files_in(tmp_path) == ["presets/a.tetrad"]


def test_a_part_whose_bytes_a_power_cut_took_is_found_out(store, tmp_path):
    store.begin("a", len(NEW), sha256(NEW))
    store.append("a", 0, NEW[:2_000])
    part = tmp_path / "uploads" / "a.part"
    part.write_bytes(part.read_bytes()[:-1_500] + bytes(1_500))  # the length was written, the bytes were not
    there = store.begin("a", len(NEW), sha256(NEW))
    store.append("a", there, NEW[there:])
    with fails(Trouble.DAMAGED):
        store.finish("a")
    send(store, "a", NEW, sha256(NEW))
    assert store.data("a") == NEW


@pytest.mark.parametrize("damage", [b"", b"\0" * 300, b"{}\n", b'{"bytes": -1, "sha256": null}\n', b"[" * 10_000,
                                    b'{"bytes": 1, "sha256": null}\nlonger', b'{"bytes": 1e99, "sha256": 7}\n'])
def test_a_part_with_a_damaged_head_begins_anew(store, tmp_path, damage):
    (tmp_path / "uploads" / "a.part").write_bytes(damage)
    with fails(Trouble.OFFSET):
        store.append("a", 0, b"x")
    send(store, "a", NEW, sha256(NEW))
    assert store.data("a") == NEW


def test_a_part_that_is_longer_than_announced_begins_anew(store, tmp_path):
    store.begin("a", len(NEW), sha256(NEW))
    store.append("a", 0, NEW)
    with open(tmp_path / "uploads" / "a.part", "ab") as file:
        file.write(b"more")
    assert store.begin("a", len(NEW), sha256(NEW)) == 0


def test_nothing_is_appended_to_or_finished_that_was_not_begun(store):
    with fails(Trouble.OFFSET):
        store.append("a", 0, b"x")
    with fails(Trouble.OFFSET):
        store.finish("a")


@pytest.mark.parametrize("total", [0, -1, MAX_FILE_BYTES + 1, 1 << 40])
def test_an_upload_is_no_longer_than_a_preset_can_be(store, total):
    with fails(Trouble.FULL):
        store.begin("a", total)


def test_what_a_killed_process_left_is_swept_and_old_parts_too(store, tmp_path):
    store.add("a", OLD)
    (tmp_path / "presets" / ".a.tetrad.x1y2.tmp").write_bytes(b"half")
    for name, age_s in (("new", 60), ("old", 90_000)):
        store.begin(name, len(NEW), sha256(NEW))
        then = time.time() - age_s
        os.utime(tmp_path / "uploads" / f"{name}.part", (then, then))
    Store(tmp_path)
    assert files_in(tmp_path) == ["presets/a.tetrad", "uploads/new.part"]


def test_parts_that_were_given_up_make_room_for_new_ones(store, tmp_path):
    for number in range(7):
        store.begin(f"p{number}", len(NEW), sha256(NEW))
        then = time.time() - 100 + number
        os.utime(tmp_path / "uploads" / f"p{number}.part", (then, then))
    assert files_in(tmp_path / "uploads") == [f"p{number}.part" for number in range(3, 7)]


def test_on_a_full_disk_the_old_preset_stays_and_the_line_says_so(tmp_path):
    with small_disk(tmp_path, 40 << 10):
        store = Store(tmp_path)
        store.add("a", OLD)
        big = small_preset(9, notes=12)
        with fails(Trouble.DISK) as caught:
            store.add("a", big)
        assert "No space left" in str(caught.value) or "too large" in str(caught.value)
        assert store.data("a") == OLD
        assert files_in(tmp_path) == ["presets/a.tetrad"]
        there = store.begin("b", len(big), sha256(big))
        with fails(Trouble.DISK):
            while there < len(big):
                there = store.append("b", there, big[there:there + 3_000])
        assert store.begin("b", len(big), sha256(big)) == there  # what did not fit is not there half
        assert store.names() == [*SHIPPED, "a"]
        store.drop("b")
        store.add("b", NEW)
        assert (store.data("a"), store.data("b")) == (OLD, NEW)


def test_where_nothing_can_be_written_the_shipped_presets_are_there_and_the_folder_is_named(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    store = Store(tmp_path / "file" / "state")
    assert "cannot write" in caplog.text
    assert str(tmp_path / "file") in caplog.text
    assert store.read(store.names()[0])
    with pytest.raises(TetradError, match="file"):
        store.add("a", OLD)


def test_renames_and_removals_are_on_the_disk_when_they_return(store, tmp_path, monkeypatch):
    store.add("a", OLD)
    synced = []
    sync = os.fsync

    def record(descriptor):
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), files_in(tmp_path)))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    store.rename("a", "b")
    store.remove("b")
    folder = str(tmp_path / "presets")
    assert synced == [(folder, ["presets/b.tetrad"]), (folder, [])]


def test_a_finished_upload_is_on_the_disk_before_it_takes_the_old_one_s_place(store, monkeypatch):
    store.add("a", OLD)
    seen = []
    sync = os.fsync

    def record(descriptor):
        seen.append((os.fstat(descriptor).st_size, store.path("a").read_bytes()))
        sync(descriptor)

    store.begin("a", len(NEW))
    store.append("a", 0, NEW)
    monkeypatch.setattr(os, "fsync", record)
    store.finish("a")
    assert seen[0] == (len(NEW), OLD)
    assert [data for _, data in seen[1:]] == [NEW]


def test_two_threads_do_one_thing_at_a_time(store):
    presets = [small_preset(seed) for seed in range(4)]
    failed = []

    def work(seed: int) -> None:
        try:
            for turn in range(15):
                send(store, f"p{seed}", presets[(seed + turn) % 4])
                store.add("shared", presets[seed])
                assert store.data("shared") in presets
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert [store.data(f"p{seed}") for seed in range(4)] == [presets[(seed + 14) % 4] for seed in range(4)]


def test_the_list_is_not_read_from_the_disk_each_time(store, monkeypatch):
    store.add("a", OLD)
    store.names()
    monkeypatch.setattr(module.os, "scandir", lambda *_: pytest.fail("looked up again"))
    assert "a" in store.names()
    assert store.path("a").name == "a.tetrad"


def test_what_somebody_else_takes_out_of_the_folder_is_not_there_and_the_folder_is_made_again(store, tmp_path):
    store.add("one", OLD)
    store.add("two", NEW)
    assert "one" in store.names()
    (tmp_path / "presets" / "one.tetrad").unlink()
    assert "one" in [name for name, _, _ in store.page(0, 99)[1]]  # nobody has looked
    with fails(Trouble.MISSING):
        store.read("one")
    assert "one" not in store.names()
    shutil.rmtree(tmp_path / "presets")
    shutil.rmtree(tmp_path / "uploads")
    send(store, "three", OLD)
    assert store.data("three") == OLD
