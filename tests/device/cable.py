"""A serial cable between two pseudo-terminals, on which bytes can be lost, and a box that is served at one end."""

import asyncio
import contextlib
import logging
import os
import random
import select
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

from device.box.store import Store
from device.errors import TetradError


class Cable:
    """`box` and `client` are the paths of its ends. `noise` is given what goes through, and returns what arrives."""

    def __init__(self, folder: Path, noise: Callable[[bytes], bytes] = bytes) -> None:
        self.noise = noise
        self.box, self.client = folder / "ttyBox", folder / "ttyClient"
        self._stopped = threading.Event()
        self._masters, self._slaves = [], []
        for link in (self.box, self.client):
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            link.unlink(missing_ok=True)
            link.symlink_to(os.ttyname(slave))
            self._masters.append(master)
            self._slaves.append(slave)  # held open, so that a client that leaves hangs nothing up
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Bytes to the box, as they are."""
        self._put(self._masters[0], data)

    def close(self) -> None:
        """The cable is pulled: both ends hang up, and their names are gone."""
        self._stopped.set()
        self._thread.join()
        for link in (self.box, self.client):
            link.unlink()
        for descriptor in (*self._masters, *self._slaves):
            os.close(descriptor)

    def _pump(self) -> None:
        others = dict(zip(self._masters, reversed(self._masters), strict=True))
        while not self._stopped.is_set():
            for master in select.select(self._masters, [], [], 0.02)[0]:
                with contextlib.suppress(BlockingIOError):
                    self._put(others[master], self.noise(os.read(master, 65536)))

    def _put(self, master: int, data: bytes) -> None:
        while data and not self._stopped.is_set():
            if select.select([], [master], [], 0.02)[1]:
                with contextlib.suppress(BlockingIOError):
                    data = data[os.write(master, data):]


def noisy(rate: float, seed: int) -> Callable[[bytes], bytes]:
    """Of all bytes this share is flipped in a bit, dropped or doubled."""
    rng = random.Random(seed)

    def noise(data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            if rng.random() >= rate:
                out.append(byte)
                continue
            what = rng.randrange(3)
            out += (bytes([byte ^ 1 << rng.randrange(8)]), b"", bytes([byte, byte]))[what]
        return bytes(out)

    return noise


class SomeBox:
    """Keeps what it is told."""

    def __init__(self, store: Store) -> None:
        self._store, self._selected = store, "first"
        self.told: list[tuple[str, bool]] = []
        self.resets = 0
        self.senders: dict = {}  # the server's: who is sending which preset

    async def select(self, name: str) -> None:
        if name == "winds":
            raise TetradError("winds is for another decoder")
        self._selected = name

    async def changed(self, name: str, removed: bool) -> None:
        self.told.append((name, removed))

    async def renamed(self, old: str, new: str) -> None:
        self.told += [(new, False), (old, True)]

    def selected(self) -> str:
        return self._selected

    def status(self) -> dict[str, object]:
        return {"voices": 3, "cpu_percent": 12.5, "version": "0.1.0", "decoder": None, "state": Path("/state")}

    def progress(self) -> dict[str, object]:
        return {"preset": self._selected, "decoded": 7, "cells": 25}

    async def reset(self) -> None:
        self.resets += 1


@contextlib.contextmanager
def served(store: Store, *cables: Cable, key: str = "") -> Iterator[SomeBox]:
    """A server on the cables' ends, on a loop in a thread of its own."""
    from device.serial_line.server import SerialServer

    box = SomeBox(store)
    loop = asyncio.new_event_loop()
    opened = threading.Semaphore(0)

    class Opened(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "served" in record.msg:
                opened.release()

    handler, logger = Opened(), logging.getLogger("device.serial_line.server")

    async def serve() -> None:
        server = SerialServer(box, store, key, box.reset)
        box.senders = server._senders
        await asyncio.gather(*(server.serve(str(cable.box)) for cable in cables))

    task = loop.create_task(serve())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    thread.start()
    try:
        for _ in cables:
            assert opened.acquire(timeout=10)
        yield box
    finally:
        logger.removeHandler(handler)
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()
