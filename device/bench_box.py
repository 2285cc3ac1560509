"""How long a player waits: from the box's start to its first note, and from a preset's last byte to its sound.

It runs `tetrad box` as it is, without a sound card, with a pseudo-terminal for the serial line.
"""

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from device import console
from device.errors import TetradError
from device.preset import FACTORY_PRESET, Preset
from device.serial_line.link import Link, connected

PATIENCE_S = 600.0  # for a whole pad
STOP_S = 20.0
SETTINGS = "[panel]\nkind = \"none\"\n"


@contextlib.contextmanager
def null_modem() -> Iterator[tuple[str, str]]:
    """Two serial ports that are joined: what goes into one comes out of the other. A thread carries it, for a client
    waits where its line is full."""
    masters, slaves = zip(*(os.openpty() for _ in range(2)), strict=True)
    for end in slaves:
        tty.setraw(end)
    stopped = threading.Event()

    def carry() -> None:
        while not stopped.is_set():
            for master in select.select(masters, [], [], 0.1)[0]:
                data = os.read(master, 65_536)
                while data:
                    data = data[os.write(masters[1 - masters.index(master)], data):]

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield os.ttyname(slaves[0]), os.ttyname(slaves[1])
    finally:
        stopped.set()
        thread.join()
        for end in (*masters, *slaves):
            os.close(end)


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[float, str]]:
    """A box, with how long it took from its start until a note could be played, and the serial port it serves."""
    loop = asyncio.get_running_loop()
    (folder / "settings.toml").write_text(SETTINGS)
    with null_modem() as (far, near), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(folder / "notify"))
        told.setblocking(False)
        start_s = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, Path(__file__).parents[1] / "tetrad.py", "box", "--audio", "null", "--state",
             folder / "state", "--settings", folder / "settings.toml", "--serial", far],
            stderr=subprocess.DEVNULL, env=os.environ | {"NOTIFY_SOCKET": str(folder / "notify")})
        try:
            async with asyncio.timeout(PATIENCE_S):
                while b"READY=1" not in await loop.sock_recv(told, 1_000):
                    pass
            ready_s = time.perf_counter() - start_s
            async with connected(near, "", 115_200, None) as link:
                await link.ask("progress")  # it is served: a client that comes now learns how much it takes at once
            yield ready_s, near
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, STOP_S)
            (folder / "notify").unlink()


async def until(link: Link, happens: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    """How far decoding is, when it is so far."""
    async with asyncio.timeout(PATIENCE_S):
        while not happens(progress := await link.ask("progress")):  # type: ignore[arg-type]
            await asyncio.sleep(0.005)
    return progress  # type: ignore[return-value]


async def measure(preset: Preset, folder: Path) -> dict[str, object]:
    """Times in s: of a start with nothing decoded; of a push, to the first sound and to the whole pad; of a start when
    all is on the disk."""
    name, data = "bench", replace(preset, name="bench").to_bytes()
    async with running(folder) as (start_s, port), connected(port, "", 115_200, None) as link:
        begun_s = time.perf_counter()
        async for _ in link.upload(name, data):
            pass
        pushed_s = time.perf_counter()
        await link.ask("select", name=name)
        await until(link, lambda progress: progress["decoded"] > 0)
        first_s = time.perf_counter() - pushed_s
        progress = await until(link, lambda progress: progress["decoded"] == progress["cells"])
        whole_s = time.perf_counter() - pushed_s
        await asyncio.sleep(5.0)  # the last pitches go to the disk
    async with running(folder) as (again_s, port), connected(port, "", 115_200, None) as link:
        again = time.perf_counter()
        await until(link, lambda progress: progress["decoded"] == progress["cells"])
        return {"start_to_note_s": start_s, "bytes": len(data), "push_s": pushed_s - begun_s,
                "push_to_sound_s": first_s, "push_to_whole_pad_s": whole_s, "cells": progress["cells"],
                "cells_per_s": progress["cells"] / whole_s, "start_to_note_from_disk_s": again_s,
                "whole_pad_from_disk_s": again_s + time.perf_counter() - again}


def bench_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--preset", type=Path, default=FACTORY_PRESET, metavar="P.tetrad",
                        help="a preset instead of a shipped one")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        preset = Preset.read(args.preset)
        with TemporaryDirectory(prefix="tetrad-") as folder:
            try:
                result = asyncio.run(measure(preset, Path(folder)))
            except TimeoutError as error:
                raise TetradError("the box does not get ready: try `tetrad box --audio null`") from error
        console.report(args, result)

    return run
