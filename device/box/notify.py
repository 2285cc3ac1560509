"""What systemd is told of the box: that it plays, what it does, and that its sound goes on (sd_notify(3)).

A datagram to the socket that $NOTIFY_SOCKET names; without it nothing is sent, as on a laptop.
"""

import os
import socket
from collections.abc import Callable

FEEDS = 3  # within the watchdog's time, so that two may be late


def ready() -> bool:
    """The box plays: units that wait for it may start."""
    return _send("READY=1")


def status(text: str) -> bool:
    """One line for `systemctl status`."""
    return _send("STATUS=" + " ".join(text.split()))


def stopping() -> bool:
    return _send("STOPPING=1")


def watchdog() -> bool:
    """Puts off the restart for one interval more; see Watchdog, which knows when."""
    return _send("WATCHDOG=1")


def _send(message: str) -> bool:
    """Whether there was somebody to send it to. Never raises, never waits: sound matters more than who hears of it."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return False
    address = b"\0" + os.fsencode(name[1:]) if name[0] == "@" else os.fsencode(name)  # @: an abstract name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(message.encode(errors="replace"), address)
    except OSError:
        return False
    return True


def watchdog_interval_s() -> float | None:
    """How long systemd waits between two signs of life; None where it does not watch this process."""
    text, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or int(text) == 0 or process not in ("", str(os.getpid())):
        return None
    return int(text) / 1e6


class Watchdog:
    """Feeds systemd's watchdog for as long as the engine renders; where it stands still, systemd begins anew.

    blocks: the counter of rendered blocks (CardMeters["blocks"]).
    """

    def __init__(self, blocks: Callable[[], int]) -> None:
        interval_s = watchdog_interval_s()
        self._every_s = None if interval_s is None else interval_s / FEEDS
        self._blocks = blocks
        self._seen = blocks()
        self._due_s = 0.0

    def tick(self, now_s: float) -> bool:
        """To be called often, with a clock that never goes back. Whether it fed."""
        if self._every_s is None or now_s < self._due_s:
            return False
        blocks = self._blocks()
        if blocks == self._seen:
            return False  # and the next tick looks again
        self._seen, self._due_s = blocks, now_s + self._every_s
        return watchdog()
