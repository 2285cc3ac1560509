import contextlib
import os
import socket
import threading
import time

import pytest

from device.box import notify


@pytest.fixture(params=["file", "abstract"])
def systemd(request, tmp_path, monkeypatch):
    """A socket as systemd has one; what it was sent is in recv()."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        name = str(tmp_path / "notify") if request.param == "file" else f"@tetrad-{os.getpid()}-{time.monotonic_ns()}"
        listener.bind(name.replace("@", "\0", 1) if name[0] == "@" else name)
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listener


def waiting(listener: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(listener.recv(4096))
    return found


def test_systemd_is_told_what_the_box_does(systemd):
    assert notify.ready()
    assert notify.status("plays\n  first ü ")
    assert notify.watchdog()
    assert notify.stopping()
    assert waiting(systemd) == [b"READY=1", "STATUS=plays first ü".encode(), b"WATCHDOG=1", b"STOPPING=1"]


def test_without_systemd_nothing_is_sent(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.ready()
    monkeypatch.setenv("NOTIFY_SOCKET", "vsock:2:1")
    assert not notify.ready()


def test_a_socket_that_nobody_reads_stops_nothing(systemd, tmp_path, monkeypatch):
    sent: list[bool] = []
    box = threading.Thread(target=lambda: sent.extend(notify.status("x" * 1_000) for _ in range(10_000)), daemon=True)
    box.start()
    box.join(20)
    assert len(sent) == 10_000  # else it waits
    assert sent[0]
    assert not sent[-1]  # its queue is full
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify.ready()


@pytest.mark.parametrize(("usec", "pid", "expected"), [
    ("10000000", None, 10.0), ("10000000", "own", 10.0), ("10000000", "1", None), (None, None, None), ("", None, None),
    ("0", None, None), ("-5", None, None), ("ten", None, None)])
def test_the_interval_is_what_systemd_says_of_this_process(monkeypatch, usec, pid, expected):
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_interval_s() == expected


def test_the_watchdog_is_fed_while_blocks_are_rendered_and_not_when_they_stand_still(systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    blocks = 100
    dog = notify.Watchdog(lambda: blocks)
    assert not dog.tick(0.0)  # nothing was rendered yet
    fed_s = []
    for step in range(1_000):  # 5 s at 200 Hz
        blocks += step < 600
        if dog.tick(step / 200):
            fed_s.append(step / 200)
    assert waiting(systemd) == [b"WATCHDOG=1"] * len(fed_s)
    assert fed_s[0] == 0
    assert fed_s[-1] <= 3
    assert max(b - a for a, b in zip(fed_s, [*fed_s[1:], 3.0], strict=True)) <= 1.01  # thrice an interval
    assert len(fed_s) <= 4
    blocks += 1
    assert dog.tick(5.0)


def test_where_nobody_watches_the_engine_is_not_asked(systemd, monkeypatch):
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    dog = notify.Watchdog(iter(range(1)).__next__)  # once, when it is made
    assert not dog.tick(1.0)
    assert waiting(systemd) == []
