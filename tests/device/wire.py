"""A client of a few lines for tests: it says exactly what it is told to, and needs nothing of smpclient."""

import os
import select
import time
from collections.abc import Callable

import cbor2

from device.serial_line.commands import BY_NAME, remote_path
from device.serial_line.frames import Deframer, encode
from device.serial_line.messages import Header


class Wire:
    """Talks over a descriptor. `alive` tells whether an answer may still come."""

    def __init__(self, descriptor: int, alive: Callable[[], bool] = lambda: True) -> None:
        self._descriptor, self._alive, self._sequence = descriptor, alive, 0
        self._deframer = Deframer(16_384)
        self.drain()

    def drain(self) -> None:
        """Lets go what came too late for who asked, as clients do when they open a port."""
        while self._descriptor >= 0 and select.select([self._descriptor], [], [], 0)[0]:
            os.read(self._descriptor, 65_536)

    def ask(self, called: str, /, timeout_s: float = 3.0, **body: object) -> dict:
        """The body of the answer. Raises TimeoutError."""
        line, end_s = self.request(called, **body), time.monotonic() + timeout_s
        while time.monotonic() < end_s and self._alive():
            readable, writable, _ = select.select([self._descriptor], [self._descriptor] if line else [], [], 0.02)
            if writable:
                line = line[os.write(self._descriptor, line[:1_024]):]
            for message in self._deframer.feed(os.read(self._descriptor, 65_536)) if readable else ():
                if Header.read(message).sequence == self._sequence:
                    return cbor2.loads(message[8:])
        raise TimeoutError(called)

    def request(self, called: str, /, **body: object) -> bytes:
        """The lines of the next request."""
        command = BY_NAME[called]
        self._sequence = (self._sequence + 1) % 256
        return encode(Header(command.op, 1, 0, 0, command.group, self._sequence, command.id).message(body))

    def upload(self, name: str, data: bytes, chunk: int = 2_000) -> dict:
        """Sends a preset; the last answer."""
        told, there = {}, 0
        while there < len(data):
            more = {"len": len(data)} if there == 0 else {}
            told = self.ask("upload", off=there, data=data[there:there + chunk], name=remote_path(name), **more)
            if "off" not in told:
                return told
            there = told["off"]
        return told
