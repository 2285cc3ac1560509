"""A process that serves a store on a port until it is killed, again and again: for each port, a line on stdin, it forks
one, and prints its number once it serves. Forking spares each of them the imports."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from cable import SomeBox

from device.box.store import Store
from device.serial_line.server import SerialServer


class Ready(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if "served" in record.msg:
            print(os.getpid(), flush=True)


def serve(folder: Path, port: str) -> None:
    logger = logging.getLogger("device.serial_line.server")
    logger.addHandler(Ready())
    logger.setLevel(logging.INFO)
    store = Store(folder)
    asyncio.run(SerialServer(SomeBox(store), store).serve(port))


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are nobody's care
    for port in sys.stdin:
        if os.fork() == 0:
            serve(Path(sys.argv[1]), port.strip())
