"""The DIN cables: a UART at MIDI's speed, on pseudo-terminals, and what goes out again, in what order."""

import contextlib
import errno
import fcntl
import os
import struct
import time
import tty

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

alsa = pytest.importorskip("device._alsa", reason="needs ALSA's headers: libasound2-dev")

from device import _engine  # noqa: E402
from device.box import thru  # noqa: E402
from device.box.thru import Thru, open_din  # noqa: E402
from device.errors import TetradError  # noqa: E402

TCGETS2, SPEEDS_AT = 0x802C542A, 36  # of Linux' struct termios2


@pytest.fixture
def line():
    """The far end's descriptor, and the path of the near one."""
    far, near = os.openpty()
    tty.setraw(near)
    os.set_blocking(far, False)
    yield far, os.ttyname(near)
    os.close(near)
    with contextlib.suppress(OSError):  # where the test has closed it
        os.close(far)


class Cable:
    """A Thru, whose UART has sent `gone` of what was written to it, and takes no byte from the number `full_at` on."""

    def __init__(self, patch):
        self.written, self.gone, self.full_at = bytearray(), 0, 1 << 30
        patch.setattr(thru, "_under_way", lambda fd: len(self.written) - self.gone)
        patch.setattr(thru.os, "write", self.write)
        self.thru = Thru(99)

    def write(self, fd, data):
        assert fd == 99
        room = self.full_at - len(self.written)
        if room <= 0:
            raise BlockingIOError
        self.written += data[:room]
        return len(data[:room])

    def take(self, *messages):
        self.thru.take((0, alsa.MESSAGE, bytes(message)) for message in messages)

    def flush(self):
        """All that goes out, if the cable has the time."""
        while True:
            self.gone = len(self.written)
            self.thru.turn()
            if self.gone == len(self.written):
                return bytes(self.written)


@pytest.fixture
def cable(monkeypatch):
    return Cable(monkeypatch)


def messages_of(data):
    """Whole messages that stand in bytes without running status, real-time ones for themselves."""
    found, begun = [], []
    for byte in data:
        if byte >= 0xF8:
            found.append((byte,))
        elif byte == 0xF7:
            found.append((*begun, byte))
            begun = []
        else:
            assert not (byte >= 0x80 and begun), "a message was cut"
            begun.append(byte)
            wanted = 0 if begun[0] == 0xF0 else 2 if begun[0] & 0xF0 in (0xC0, 0xD0) else 3
            if len(begun) == wanted:
                found.append(tuple(begun))
                begun = []
    assert not begun
    return found


# --- the UART

def test_a_cable_is_raw_at_midis_speed_and_waits_for_nothing(line):
    far, near = line
    with open(near, "rb+", buffering=0) as terminal:  # as another program has left it
        tty.setcbreak(terminal)
    with open_din(near) as port:
        settings2 = fcntl.ioctl(port.fileno(), TCGETS2, bytes(44))
        assert struct.unpack_from("II", settings2, SPEEDS_AT) == (31_250, 31_250)
        assert fcntl.fcntl(port.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK
        every = bytes(range(256))
        os.write(far, every)
        assert read_all(port.fileno(), 256) == every
        os.write(port.fileno(), every)
        assert read_all(far, 256) == every
        with pytest.raises(BlockingIOError):
            os.read(port.fileno(), 1)


def read_all(fd, count):
    data, until_s = b"", time.monotonic() + 5
    while len(data) < count and time.monotonic() < until_s:
        try:
            data += os.read(fd, count)
        except BlockingIOError:
            time.sleep(0.001)
    return data


def test_a_port_that_is_taken_is_told(line):
    with open_din(line[1]), pytest.raises(TetradError, match=r"port /dev/pts/[0-9]+: another program has it"):
        open_din(line[1])


@pytest.mark.parametrize(("path", "why"), [
    ("/dev/nowhere", "No such file or directory; name one that there is, or switch the UART on: enable_uart=1 in"),
    ("/dev/null", "it is no serial port that goes at 31250 baud"), ("/etc/passwd", "it is no serial port"),
    ("/tmp", "Is a directory")])
def test_what_is_no_port_is_told(path, why):
    with pytest.raises(TetradError, match=why):
        open_din(path)


def test_a_port_of_another_group_says_which(line, monkeypatch):
    def refuse(*_, **__):
        raise thru.serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr(thru.serial, "Serial", refuse)
    group = os.stat(line[1]).st_gid
    name = thru.grp.getgrgid(group).gr_name
    with pytest.raises(TetradError, match=f"it belongs to the group {name}: sudo usermod -aG {name} "):
        open_din(line[1])


def test_a_console_is_not_taken(line, monkeypatch, tmp_path):
    link = tmp_path / "serial0"
    link.symlink_to(line[1])
    monkeypatch.setattr(thru, "CONSOLES", tmp_path / "active")
    (tmp_path / "active").write_text(f"tty0 {os.path.basename(line[1])}\n")
    with pytest.raises(TetradError, match=r"serial0 is the system's console: take console=.*cmdline\.txt"):
        open_din(str(link))
    (tmp_path / "active").write_text("tty0\n")
    open_din(str(link)).close()


def test_the_keyboard_hears_the_cable(line):
    far, near = line
    card = alsa.Card(_engine.Engine())
    card.start(None, priority=0, lock_memory=False)
    keyboard = alsa.Keyboard(card)
    with open_din(near) as port:
        keyboard.start(connect=False, din_fd=port.fileno(), priority=0)
        os.write(far, bytes([0x90, 13, 17, 10, 19, 0xF8]))  # what a terminal would take for its own
        found, until_s = [], time.monotonic() + 5
        while len(found) < 4 and time.monotonic() < until_s:
            found += [data for _, _, data in keyboard.poll()]
        assert found == [b"DIN", b"\x90\x0d\x11", b"\x90\x0a\x13", b"\xf8"]
        keyboard.stop()
    card.stop()


# --- thru

def test_what_is_played_goes_out_as_whole_messages(line):
    far, near = line
    with open_din(near) as port:
        out = Thru(port.fileno())
        out.take([(1, alsa.PLUGGED, b"Keys"), (2, alsa.MESSAGE, b"\x90\x3c\x40"), (3, alsa.MESSAGE, b"\x90\x3e\x40"),
                  (4, alsa.HOST, b"\xc0\x05"), (5, alsa.HOST, b"\xfe"), (6, alsa.UNPLUGGED, b"\x90\x3c\x40")])
        out.turn()
        assert read_all(far, 8) == b"\x90\x3c\x40\x90\x3e\x40\xc0\x05"
        assert (out.dropped, out.problem) == (0, "")


def test_a_reader_that_does_not_read_holds_nothing_up(line):
    far, near = line
    with open_din(near) as port:
        out = Thru(port.fileno())
        began_s = time.monotonic()
        for key in range(50_000):
            out.take([(0, alsa.MESSAGE, bytes([0x90, key % 128, 1]))])
            out.turn()
        assert time.monotonic() - began_s < 10
        assert out.dropped > 1_000
        found = b""
        while chunk := read_all_now(far):
            found += chunk
            for _ in range(100):
                out.turn()
        notes = messages_of(found)
        assert len(notes) + out.dropped == 50_000


def read_all_now(fd):
    try:
        return os.read(fd, 65_536)
    except BlockingIOError:
        return b""


def test_the_uart_is_given_no_more_than_it_soon_sends(cable):
    cable.take(*[[0x90, key, 1] for key in range(100)])
    cable.thru.turn()
    assert len(cable.written) == 32
    cable.thru.turn()
    assert len(cable.written) == 32
    cable.gone = 10
    cable.thru.turn()
    assert len(cable.written) == 42
    assert messages_of(cable.flush()) == [(0x90, key, 1) for key in range(100)]


def test_the_clock_overtakes_notes_that_wait(cable):
    cable.take(*[[0x90, key, 1] for key in range(100)])
    cable.thru.turn()
    cable.take([0xF8], [0xFA])
    cable.gone = 16
    cable.thru.turn()
    assert bytes(cable.written[32:34]) == b"\xf8\xfa"
    assert len(cable.written) == 32 + 16
    assert messages_of(cable.flush())[10:13] == [(0xF8,), (0xFA,), (0x90, 10, 1)]


def test_a_full_cable_drops_whole_messages(cable):
    sysex = [0xF0, *[1] * 500, 0xF7]
    cable.take(sysex, sysex, sysex, [0x90, 60, 1])
    assert cable.thru.dropped == 1
    assert messages_of(cable.flush()) == [tuple(sysex)] * 2 + [(0x90, 60, 1)]
    cable.take(sysex, sysex)
    assert cable.thru.dropped == 1


def test_of_notes_and_pedals_that_went_out_the_ends_go_out_too(cable):
    notes = [(0x90 | channel, key, 1) for channel in range(4) for key in range(128)]
    cable.take((0xB0, 64, 127), *notes, (0xB1, 64, 127))
    ends = [(status - 0x10, key, 64) if key % 2 else (status, key, 0) for status, key, _ in notes]
    cable.take(*ends, (0xB1, 64, 63), (0xB0, 64, 63))
    assert messages_of(cable.flush()) == [(0xB0, 64, 127), *notes[:340], *ends[:340], (0xB0, 64, 63)]


def test_an_end_that_is_repeated_does_not_pile_up(cable):
    cable.take([0x90, 60, 1], *[[0x80, 60, 0]] * 10_000)
    assert len(cable.flush()) <= thru.MOST_BYTES


def test_a_reset_goes_out_where_notes_do_not_any_more(cable):
    cable.take(*[[0xB0, 7, value % 128] for value in range(400)], [0xB0, 123, 0], [0xB0, 121, 0])
    assert messages_of(cable.flush())[-2:] == [(0xB0, 123, 0), (0xB0, 121, 0)]
    cable.take(*[[0xB0, 123, 0]] * 10_000)
    assert len(cable.flush()) < 5_000


def test_a_clock_at_a_dead_cable_does_not_pile_up(cable):
    cable.full_at = 0
    cable.take(*[[0xF8]] * 1_000)
    cable.thru.turn()
    cable.full_at = 1 << 30
    assert len(cable.flush()) == thru.MOST_REAL_TIME


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_whatever_the_uart_takes_no_message_is_cut(seed):
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        cable = Cable(patch)
        sent = []
        for _ in range(60):
            cable.full_at = len(cable.written) + int(rng.integers(0, 9))
            cable.gone = int(rng.integers(cable.gone, len(cable.written) + 1))
            for _ in range(rng.integers(0, 4)):
                key, value = map(int, rng.integers(0, 128, 2))
                message = [(0x90, key, value), (0xF8,), (0xC3, key), (0xF0, *[key] * (value % 20), 0xF7),
                           (0x80, key, value)][rng.integers(0, 5)]
                sent.append(message)
                cable.take(message)
            cable.thru.turn()
        cable.full_at = 1 << 30
        found = messages_of(cable.flush())
    assert cable.thru.dropped == 0
    assert [message for message in found if message != (0xF8,)] == [message for message in sent if message != (0xF8,)]
    assert len(found) == len(sent)


def test_a_cable_that_is_gone_is_told_and_costs_nothing_more(line):
    far, near = line
    with open_din(near) as port:
        out = Thru(port.fileno())
        os.close(far)
        out.take([(0, alsa.MESSAGE, b"\x90\x3c\x40")])
        out.turn()
        assert out.problem == "Input/output error"
        out.take([(0, alsa.MESSAGE, b"\x90\x3c\x40"), (0, alsa.HOST, b"\xf8")])
        out.turn()
        assert not out._waiting
        assert not out._real_time
