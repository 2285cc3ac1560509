"""The DIN cables: a UART at MIDI's speed, and MIDI thru, by which all that keyboards say goes out again.

A keyboard by USB so plays what hangs on the DIN socket, too. Inputs are merged message by message; what does not fit
down the slow cable is dropped by whole messages, and of notes never the end alone.
"""

import errno
import fcntl
import grp
import os
import pwd
import struct
import termios
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import serial

from device._alsa import HOST, MESSAGE
from device.box.midi_map import PEDALS
from device.errors import TetradError

DIN_BAUD_HZ = 31_250
AHEAD_BYTES = 32  # that the UART's driver is given: 10 ms of cable, twice what goes out between two turns at 200 Hz
MOST_BYTES = 1_024  # that wait: a third of a second of cable; what is later than that is no music
MOST_RESET_BYTES = 2 * MOST_BYTES  # for what ends notes or lifts pedals of a whole channel
MOST_REAL_TIME = 32
NOTE_OFF, NOTE_ON, CONTROLLER, REAL_TIME, ACTIVE_SENSING = 0x80, 0x90, 0xB0, 0xF8, 0xFE  # statuses
MODES = 120  # controllers from here on
CONSOLES = Path("/sys/class/tty/console/active")


def open_din(path: str) -> serial.Serial:
    """A UART such as /dev/serial0, raw, 8 bits, no parity, 31250 baud, without waiting, for this process alone.

    Its fileno() is for Keyboard.start and for Thru. Raises TetradError where it cannot be had.
    """
    device = os.path.realpath(path)
    try:
        status = os.stat(device)
    except OSError as error:
        raise TetradError(f"cannot open the MIDI port {path}: {error.strerror}; name one that there is, or switch the "
                          "UART on: enable_uart=1 in /boot/firmware/config.txt") from error
    if os.path.basename(device) in _consoles():
        raise TetradError(f"the MIDI port {path} is the system's console: take console=… of it out of "
                          "/boot/firmware/cmdline.txt, or have raspi-config do it (Interface Options, Serial Port), "
                          "and restart")
    try:
        # inter_byte_timeout: so that read() of nothing is EAGAIN; 0 bytes are a cable that is gone (keyboard.c)
        return serial.Serial(path, DIN_BAUD_HZ, timeout=0, write_timeout=0, inter_byte_timeout=0, exclusive=True)
    except (OSError, termios.error, ValueError) as error:  # SerialException is an OSError
        raise TetradError(f"cannot open the MIDI port {path}: {_why(error, status)}") from error


class Thru:
    """Messages to a UART's file descriptor, which is raw and does not wait, and stays the caller's."""

    def __init__(self, fd: int) -> None:
        self.dropped = 0  # messages
        self.problem = ""  # why nothing goes out any more, as where a USB adapter was pulled out
        self._fd = fd
        self._real_time: deque[bytes] = deque(maxlen=MOST_REAL_TIME)  # they may go between the bytes of others
        self._begun = b""  # the rest of a message
        self._waiting: deque[bytes] = deque()
        self._bytes = 0  # of those that wait
        self._open: set[tuple[int, int]] = set()  # notes and pedals that went down, by status and number

    def take(self, polled: Iterable[tuple[int, int, bytes]]) -> None:
        """What Keyboard.poll gave. Active sensing stays here: it is a promise of one keyboard, not of this cable."""
        for _, kind, data in polled:
            if kind in (MESSAGE, HOST) and data and data[0] != ACTIVE_SENSING:
                if data[0] >= REAL_TIME:
                    self._real_time.append(data)
                else:
                    self._add(data)

    def turn(self) -> None:
        """Gives the UART what it can take now; to be called every few milliseconds. Waits for nothing."""
        try:
            room = AHEAD_BYTES - _under_way(self._fd)
            while room > 0:
                if self._real_time:
                    room -= os.write(self._fd, self._real_time[0])
                    self._real_time.popleft()
                elif self._begun:
                    written = os.write(self._fd, self._begun[:room])
                    room -= written
                    self._begun = self._begun[written:]
                elif self._waiting:
                    self._begun = self._waiting.popleft()
                    self._bytes -= len(self._begun)
                else:
                    break
        except BlockingIOError:
            pass
        except OSError as error:
            self.problem = error.strerror or str(error)
            self._real_time.clear()
            self._waiting.clear()
            self._begun, self._bytes = b"", 0

    def _add(self, data: bytes) -> None:
        part, down = _held_part(data)
        closes = part in self._open and not down
        resets = len(data) == 3 and data[0] & 0xF0 == CONTROLLER and data[1] >= MODES
        if not closes and self._bytes + len(data) > (MOST_RESET_BYTES if resets else MOST_BYTES):
            self.dropped += 1
            return
        if down and part:
            self._open.add(part)
        elif part:
            self._open.discard(part)
        self._waiting.append(data)
        self._bytes += len(data)


def _held_part(data: bytes) -> tuple[tuple[int, int] | None, bool]:
    """What a message holds or lets go, as status and number, and whether it goes down; else None."""
    status = data[0] & 0xF0
    if len(data) == 3 and status in (NOTE_ON, NOTE_OFF):
        return (data[0] | NOTE_ON, data[1]), status == NOTE_ON and data[2] > 0
    if len(data) == 3 and status == CONTROLLER and data[1] in PEDALS:
        return (data[0], data[1]), data[2] >= 64
    return None, False


def _under_way(fd: int) -> int:
    """Bytes that the UART's driver has not sent yet."""
    count: int = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0]
    return count


def _consoles() -> list[str]:
    try:
        return CONSOLES.read_text().split()
    except OSError:
        return []  # as in a container


def _why(error: Exception, status: os.stat_result) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EACCES:
        try:
            group, user = grp.getgrgid(status.st_gid).gr_name, pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return f"it belongs to the group {status.st_gid}, which has no name here, or this user has none"
        return f"it belongs to the group {group}: sudo usermod -aG {group} {user}, and log in anew"
    if number in (errno.EAGAIN, errno.EBUSY):
        return "another program has it: stop that one first, or name another port"
    if number is None or number == errno.ENOTTY:
        return f"it is no serial port that goes at {DIN_BAUD_HZ} baud: name another"
    return os.strerror(number)
