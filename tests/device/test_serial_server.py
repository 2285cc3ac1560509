import asyncio
import contextlib
import hashlib
import os
import threading
import time
import tty
from types import SimpleNamespace

import pytest
from cable import Cable, served
from small_presets import small_disk, small_preset
from wire import Wire

from device.box.store import Store, StoreError
from device.serial_line import server as module
from device.serial_line.commands import remote_path
from device.serial_line.file_group import FileGroup
from device.serial_line.messages import MGMT_ERR

OLD, NEW = small_preset(1), small_preset(2)


@pytest.fixture
def cable(tmp_path):
    cable = Cable(tmp_path)
    yield cable
    cable.close()


def wire(cable: Cable) -> Wire:
    return Wire(os.open(cable.client, os.O_RDWR | os.O_NOCTTY))


def test_a_preset_that_was_sent_is_there_and_the_box_is_told(tmp_path, cable):
    store = Store(tmp_path)
    with served(store, cable) as box:
        client = wire(cable)
        assert client.upload("mine", OLD) == {"off": len(OLD)}
        assert store.data("mine") == OLD
        client.upload("mine", NEW, chunk=9_000)
        assert store.data("mine") == NEW
        assert client.ask("rename", name="mine", to="yours") == {}
        assert client.ask("remove", name="yours") == {}
        assert box.told == [("mine", False), ("mine", False), ("yours", False), ("mine", True), ("yours", True)]


def test_the_list_comes_in_pages(tmp_path, cable):
    store = Store(tmp_path)
    for number in range(40):
        store.add(f"preset {number:02}", OLD)
    with served(store, cable):
        client, presets = wire(cable), []
        while True:
            page = client.ask("list", off=len(presets))
            assert page["off"] == len(presets)
            presets += page["presets"]
            if len(presets) >= page["total"]:
                break
        assert [preset["name"] for preset in presets] == store.names()
        assert presets[0] == {"name": "first", "bytes": store.path("first").stat().st_size, "shipped": True}
        assert presets[-1] == {"name": "preset 39", "bytes": len(OLD), "shipped": False}
        assert client.ask("list", off=999)["presets"] == []


def test_an_announced_upload_goes_on_where_it_was_cut(tmp_path, cable):
    store, sha = Store(tmp_path), hashlib.sha256(NEW).digest()
    with served(store, cable):
        client = wire(cable)
        assert client.ask("announce", name="a", len=len(NEW), sha=sha) == {"off": 0}
        assert client.ask("upload", off=0, data=NEW[:3_000], name=remote_path("a"), len=len(NEW)) == {"off": 3_000}
        client.ask("close")
    with served(Store(tmp_path), cable):
        client = wire(cable)
        assert client.ask("announce", name="a", len=len(NEW), sha=sha) == {"off": 3_000}
        assert client.ask("upload", off=0, data=NEW[:100], name=remote_path("a"), len=len(NEW)) == {"off": 3_000}
        assert client.ask("upload", off=3_000, data=NEW[3_000:], name=remote_path("a")) == {"off": len(NEW)}
    assert Store(tmp_path).data("a") == NEW


def test_a_part_that_turns_out_to_be_another_begins_anew(tmp_path, cable):
    store, sha = Store(tmp_path), hashlib.sha256(NEW).digest()
    store.begin("a", len(NEW), sha)
    store.append("a", 0, bytes(3_000))
    with served(store, cable):
        client = wire(cable)
        assert client.ask("announce", name="a", len=len(NEW), sha=sha) == {"off": 3_000}
        assert client.upload("a", NEW) == {"off": len(NEW)}
    assert store.data("a") == NEW


def test_a_request_that_comes_twice_is_answered_twice_and_done_once(tmp_path, cable):
    store = Store(tmp_path)
    with served(store, cable) as box:
        client, path = wire(cable), remote_path("a")
        for _ in range(2):
            assert client.ask("upload", off=0, data=NEW[:500], name=path, len=len(NEW)) == {"off": 500}
        for _ in range(2):
            assert client.ask("upload", off=500, data=NEW[500:900], name=path) == {"off": 900}
        for _ in range(2):
            assert client.ask("upload", off=900, data=NEW[900:], name=path) == {"off": len(NEW)}
        assert box.told == [("a", False)]
        assert client.ask("upload", off=900, data=NEW[900:901], name=path)["err"]["rc"] == 11


def test_the_same_preset_can_be_sent_again_after_it_was_removed(tmp_path, cable):
    store, sha, path = Store(tmp_path), hashlib.sha256(NEW).digest(), remote_path("a")
    with served(store, cable):
        client = wire(cable)
        for _ in range(2):  # in one request
            assert client.upload("a", NEW, chunk=12_000) == {"off": len(NEW)}
            assert client.ask("remove", name="a") == {}
        for _ in range(2):  # with all of it there before the first request
            store.begin("a", len(NEW), sha)
            store.append("a", 0, NEW)
            assert client.ask("announce", name="a", len=len(NEW), sha=sha) == {"off": len(NEW)}
            first = {"off": 0, "data": NEW[:900], "name": path, "len": len(NEW)}
            assert client.ask("upload", **first) == {"off": len(NEW)}
            assert client.ask("remove", name="a") == {}
        assert client.upload("a", NEW, chunk=900) == {"off": len(NEW)}
        assert store.data("a") == NEW


def test_a_download_stays_one_preset_though_it_is_replaced_meanwhile(tmp_path, cable):
    store, big = Store(tmp_path), small_preset(3, notes=3)
    store.add("a", big)
    with served(store, cable):
        client, path = wire(cable), remote_path("a")
        part = client.ask("download", off=0, name=path)
        assert part["len"] == len(big)
        store.add("a", OLD)
        data = part["data"]
        while len(data) < len(big):
            part = client.ask("download", off=len(data), name=path)
            assert "len" not in part
            data += part["data"]
        assert data == big
        assert client.ask("download", off=0, name=path)["len"] == len(OLD)
        assert client.ask("download", off=len(OLD), name=path)["data"] == b""
        assert client.ask("download", off=len(OLD) + 1, name=path)["err"]["rc"] == 12
        store.add("b", NEW)
        assert client.ask("download", off=9_000, name=remote_path("b"))["data"] == NEW[9_000:]


def test_hashes_are_of_the_file_or_of_a_part_of_it(tmp_path, cable):
    store = Store(tmp_path)
    store.add("a", OLD)
    with served(store, cable):
        client, path = wire(cable), remote_path("a")
        assert client.ask("file_hash", name=path) == {
            "type": "sha256", "len": len(OLD), "output": hashlib.sha256(OLD).digest()}
        assert client.ask("file_hash", name=path, type="crc32", off=4, len=10) == {
            "type": "crc32", "off": 4, "len": 10, "output": crc32(OLD[4:14])}
        assert client.ask("file_hash", name=path, type="md5")["err"]["rc"] == 13
        assert client.ask("file_hash", name=path, off=len(OLD) + 1)["err"]["rc"] == 12


def crc32(data: bytes) -> int:
    """IEEE's, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_two_clients_on_two_ports_do_not_disturb_each_other(tmp_path, cable):
    store = Store(tmp_path)
    (tmp_path / "2").mkdir()
    other = Cable(tmp_path / "2")
    presets, failed = [small_preset(seed) for seed in range(4)], []

    def work(client: Wire, own: str, data: bytes) -> None:
        try:
            for turn in range(6):
                assert client.upload(f"{own} {turn}", data) == {"off": len(data)}
                told = client.upload("shared", data)  # the other's may come in between: then it is refused
                assert told.get("off") == len(data) or "err" in told
        except Exception as error:
            failed.append(error)

    with served(store, cable, other):
        threads = [threading.Thread(target=work, args=(wire(end), own, data))
                   for end, own, data in ((cable, "one", presets[0]), (other, "two", presets[1]))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    other.close()
    assert not failed
    assert all(store.data(f"{own} {turn}") == presets[number]
               for number, own in enumerate(("one", "two")) for turn in range(6))
    assert store.data("shared") in presets[:2]


def test_a_session_that_ends_sends_nothing_more(tmp_path):
    senders: dict = {}
    group = FileGroup(None, Store(tmp_path), senders, 4_096)
    asyncio.run(group.upload(0, NEW[:100], remote_path("a"), len(NEW)))
    assert senders == {"a": group}
    group.end()
    assert senders == {}
    with pytest.raises(StoreError, match="begin at byte 0"):
        asyncio.run(group.upload(100, NEW[100:], remote_path("a"), None))


def test_a_part_is_filled_by_the_port_that_began_it_last(tmp_path, cable):
    (tmp_path / "2").mkdir()
    other = Cable(tmp_path / "2")
    store, path = Store(tmp_path), remote_path("a")
    with served(store, cable, other):
        one, two = wire(cable), wire(other)
        assert one.ask("upload", off=0, data=OLD[:500], name=path, len=len(OLD)) == {"off": 500}
        assert two.ask("upload", off=0, data=NEW[:500], name=path, len=len(NEW)) == {"off": 500}
        assert one.ask("upload", off=500, data=OLD[500:], name=path)["err"]["rc"] == 11
        assert two.ask("upload", off=500, data=NEW[500:], name=path) == {"off": len(NEW)}
    other.close()
    assert store.data("a") == NEW


def test_a_port_that_is_pulled_is_served_again_when_it_is_back_in_a_new_session(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    cable, store = Cable(tmp_path), Store(tmp_path)
    with served(store, cable, key="k3y") as box:
        client = wire(cable)
        assert client.ask("pair", key="k3y") == {}
        assert client.ask("upload", off=0, data=NEW[:500], name=remote_path("a"), len=len(NEW)) == {"off": 500}
        assert list(box.senders) == ["a"]
        cable.close()
        time.sleep(0.2)
        assert not box.senders
        again = Cable(tmp_path)
        end_s = time.monotonic() + 5
        client, told = wire(again), {}
        while not told and time.monotonic() < end_s:
            try:
                told = client.ask("select", timeout_s=0.2, name="keys")
            except TimeoutError:
                continue
        assert told["rc"] == MGMT_ERR.EACCESSDENIED
        assert client.ask("pair", key="k3y") == {}
        assert client.ask("select", name="keys") == {}
    again.close()


def test_silence_ends_a_session(tmp_path, cable, monkeypatch):
    monkeypatch.setattr(module, "SILENCE_S", 0.3)
    with served(Store(tmp_path), cable, key="k3y"):
        client = wire(cable)
        client.ask("pair", key="k3y")
        for _ in range(4):
            time.sleep(0.15)
            assert client.ask("select", name="keys") == {}
        time.sleep(0.5)
        assert client.ask("select", name="keys")["rc"] == MGMT_ERR.EACCESSDENIED


def test_a_reset_is_answered_then_done_once(tmp_path, cable):
    with served(Store(tmp_path), cable) as box:
        client = wire(cable)
        assert client.ask("reset", force=1) == {}
        client.ask("echo", d="")
        client.ask("echo", d="")
        assert box.resets == 1


def test_who_does_not_read_the_answers_holds_nobody_up(tmp_path, cable, monkeypatch):
    monkeypatch.setattr("device.serial_line.line.WRITE_TIMEOUT_S", 0.2)
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    with served(Store(tmp_path), cable, SimpleNamespace(box=os.ttyname(slave))):
        deaf, client, longest_s, sent = Wire(master), wire(cable), 0.0, 0
        end_s = time.monotonic() + 1
        while time.monotonic() < end_s:
            with contextlib.suppress(BlockingIOError):
                sent += os.write(master, deaf.request("list"))
            before_s = time.monotonic()
            client.ask("echo", d="x")
            longest_s = max(longest_s, time.monotonic() - before_s)
        assert longest_s < 0.15
        assert sent > 500  # of answers that would be 20 times as much
        end_s = time.monotonic() + 5
        while "voices" not in deaf.ask("status", timeout_s=5):  # answers to what went before come first
            assert time.monotonic() < end_s
    os.close(master)
    os.close(slave)


def test_a_flood_starves_nobody(tmp_path, cable):
    (tmp_path / "2").mkdir()
    other, stop, poured = Cable(tmp_path / "2"), threading.Event(), [0]
    flood = os.urandom(1 << 16) + b"\x06\x09AAAA" * 1_000 + Wire(-1).request("status") * 100

    def pour() -> None:
        while not stop.is_set():
            other.send(flood)
            poured[0] += len(flood)

    with served(Store(tmp_path), cable, other):
        thread = threading.Thread(target=pour)
        thread.start()
        client, taken_s = wire(cable), []
        end_s = time.monotonic() + 1
        while time.monotonic() < end_s:
            before_s = time.monotonic()
            client.ask("echo", d="x")
            taken_s.append(time.monotonic() - before_s)
        stop.set()
        thread.join()
    other.close()
    assert poured[0] > 300_000
    assert sorted(taken_s)[len(taken_s) // 2] < 0.1


@pytest.mark.parametrize("limit", [("MOST_REQUESTS_PER_S", 50), ("MOST_BYTES_PER_S", 100_000)])
def test_each_port_is_held_at_its_pace(tmp_path, cable, monkeypatch, limit):
    monkeypatch.setattr(module, *limit)
    with served(Store(tmp_path), cable):
        client, before_s = wire(cable), time.monotonic()
        cable.send(bytes(60_000))
        for _ in range(30):
            client.ask("echo", d="x")
        assert 0.45 < time.monotonic() - before_s < 2


def test_a_pace_lets_so_much_through_a_second(monkeypatch):
    now, slept = [0.0], []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)
        now[0] += delay_s

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    pace = module.Pace(1_000, lambda: now[0])
    for _ in range(500):
        try:
            pace.take(10).send(None)
        except StopIteration:
            continue
    assert slept[:10] == [0.0] * 10  # a tenth of a second's worth at once
    assert 4.85 < now[0] < 4.95


def test_a_full_disk_is_told_and_the_old_preset_stays(tmp_path, cable):
    state = tmp_path / "state"
    state.mkdir()
    with small_disk(state, 40 << 10):
        store = Store(state)
        store.add("a", OLD)
        with served(store, cable):
            client = wire(cable)
            assert client.upload("a", small_preset(3, notes=12))["err"] == {"group": 8, "rc": 10}
            assert "cannot write" in client.ask("reason")["reason"]
            assert store.data("a") == OLD


def test_a_port_that_is_not_there_is_told_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    server = module.SerialServer(None, Store(tmp_path))

    async def serve() -> None:
        async with asyncio.timeout(0.3):
            await server.serve(str(tmp_path / "ttyNone"))

    with pytest.raises(TimeoutError):
        asyncio.run(serve())
    assert caplog.text.count("ttyNone is not there") == 1
