"""The daemon as a process, with a cable of MIDI and a serial line in a test's hands, and no sound card."""

import os
import select
import signal
import subprocess
import sys
import time
import tty
from collections.abc import Callable
from pathlib import Path

from wire import Wire

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0
SETTINGS = """
[midi]
din = "{din}"
thru = {thru}
[panel]
kind = "none"
takeover = "jump"
[decoding]
pitch_step = 6
"""


class RunningBox:
    """`tetrad box`, its folder of state in `folder`, so that another one can go on where it ended."""

    def __init__(self, folder: Path, *arguments: str, thru: str = "false", **environment: str) -> None:
        self.folder = folder
        self._ends = []
        names = []
        for _ in range(2):
            ours, theirs = os.openpty()
            for end in (ours, theirs):
                tty.setraw(end)
            self._ends += [ours, theirs]
            names.append(os.ttyname(theirs))
        file = folder.parent / f"{folder.name}.toml"
        file.write_text(SETTINGS.format(din=names[0], thru=thru))
        command = [sys.executable, ROOT / "tetrad.py", "box", "--audio", "null", "--settings", file, "--state", folder,
                   "--serial", names[1], *arguments]
        self.log = open(folder.parent / f"{folder.name}.log", "w+")  # noqa: SIM115
        self.process = subprocess.Popen(command, stderr=self.log, env=os.environ | environment)
        self.wire = Wire(self._ends[2], lambda: self.process.poll() is None)

    def midi(self, *message: int) -> None:
        """Bytes of a keyboard."""
        os.write(self._ends[0], bytes(message))

    def thru(self, count: int, within_s: float = 5.0) -> bytes:
        """So many bytes out of the DIN socket, or those that come in time."""
        found, latest_s = b"", time.monotonic() + within_s
        while len(found) < count and (left_s := latest_s - time.monotonic()) > 0:
            if select.select([self._ends[0]], [], [], left_s)[0]:
                found += os.read(self._ends[0], count)
        return found

    def status(self) -> dict:
        return self.wire.ask("status") | self.wire.ask("progress")

    def until(self, happens: Callable[[dict], bool], within_s: float = PATIENCE_S) -> dict:
        """The first status of which it is so."""
        latest_s = time.monotonic() + within_s
        status: dict = {}
        while time.monotonic() < latest_s and self.process.poll() is None:
            try:
                status = self.status()
            except TimeoutError:  # it does not answer yet
                continue
            if happens(status):
                return status
            time.sleep(0.02)
        raise AssertionError(f"it did not happen: {status}\n{self.said()}")

    def plays(self) -> dict:
        return self.until(lambda status: status["decoded"] > 0)

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def children(self) -> list[int]:
        return [int(child) for child in
                Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        for end in self._ends:
            os.close(end)
        self._ends = []
        self.log.close()
        return code

    def __enter__(self) -> "RunningBox":
        return self

    def __exit__(self, *_: object) -> None:
        if self._ends:
            self.stop(signal.SIGKILL)
