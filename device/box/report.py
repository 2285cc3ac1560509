"""What the box tells of itself: to the serial line, the display and systemd."""

import shutil
import time
from importlib import metadata
from pathlib import Path

from device.box.decoding import Decoding
from device.box.instrument import Instrument
from device.box.sound import Sound

THERMOMETER = Path("/sys/class/thermal/thermal_zone0/temp")


class Report:
    """Of a box whose state lies in `folder`."""

    def __init__(self, folder: Path, sound: Sound, instrument: Instrument, decoding: Decoding) -> None:
        self._folder, self._sound, self._instrument, self._decoding = folder, sound, instrument, decoding
        self._started_s = time.monotonic()
        self._then = time.monotonic(), time.process_time()

    def uptime_s(self) -> float:
        return time.monotonic() - self._started_s

    def progress(self) -> dict[str, object]:
        decoded, cells = self._instrument.progress()
        return {"preset": self._instrument.name, "decoded": decoded, "cells": cells}

    def status(self, faults: list[str]) -> dict[str, object]:
        """docs/serial.md tells what stands in it."""
        card, engine, keyboard = self._sound.meters(), self._sound.engine.meters(), self._sound.keyboard.meters()
        return {
            "preset": self._instrument.name, "tempo_bpm": round(self._instrument.settings.get("tempo_bpm", 0.0), 1),
            "voices": engine["voices"], "limit": card["voices"],
            "xruns": card["xruns"], "audio": card["state"], "load_percent": round(100 * card["load"]),
            "cpu_percent": self._cpu_percent(), "temperature_c": temperature_c(),
            "free_bytes": self._free_bytes(), "keyboards": keyboard["sources"],
            "decoder": self._instrument.decoder, "runs_on": self.runs_on(), "restarts": self._decoding.restarts,
            "faults": "; ".join(faults), "version": version(), "uptime_s": round(self.uptime_s())}

    def about(self) -> str:
        """For the display."""
        return f"Tetrad {version()}, {self.runs_on() or 'no decoder'}, {self._sound.meters()['xruns']} xruns"

    def runs_on(self) -> str:
        """What decodes; empty where nothing does yet."""
        return self._decoding.about.runs_on if self._decoding.about else ""

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._folder).free
        except OSError:  # somebody took the folder away
            return 0

    def _cpu_percent(self) -> int:
        """Of one core, by this process, since it was last asked."""
        before, self._then = self._then, (time.monotonic(), time.process_time())
        return round(100 * (self._then[1] - before[1]) / max(self._then[0] - before[0], 1e-3))


def temperature_c() -> float:
    """The processor's; 0 where there is no thermometer."""
    try:
        return int(THERMOMETER.read_text()) / 1000
    except (OSError, ValueError):
        return 0.0


def version() -> str:
    try:
        return metadata.version("tetrad")
    except metadata.PackageNotFoundError:  # from a checkout
        return "unknown"
