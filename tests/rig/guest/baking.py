"""Baking as fast as the disk takes it, by what the daemon keeps its banks with: without a decoder, which would leave
the disk idle for most of the time. What a pitch's table holds follows from its name, so that it can be checked."""

import itertools
import random
import subprocess
import sys
from pathlib import Path

import devices
import numpy as np

from device import _engine
from device.bank import Pad
from device.box.bank_cache import BankCache
from device.preset import Preset

FOLDER = devices.STATE / "baking"
LIMIT_BYTES = 4 << 20  # less than all banks, so that old ones make room
GRID, COLUMNS = 3, 40
DECODER = "rig"


def pad(layers: int, pitch: int) -> Pad:
    shape = (layers, GRID, GRID, COLUMNS * _engine.COLUMN_SAMPLES)
    levels = np.full((*shape[:3], COLUMNS), pitch / 128, np.float32)
    return Pad(np.full(shape, pitch * 100, np.int16), levels, 0, shape[-1], np.zeros((layers, 4, 4), np.float32))


def start() -> None:
    """Has it go on beside other calls; returns when a bank is there."""
    subprocess.run(["systemd-run", "-q", "-p", f"WorkingDirectory={Path(__file__).parent}", sys.executable, "-c",
                    "import baking; baking.go_on()"], check=True)
    devices.wait_for(lambda: list(FOLDER.glob("*/*.npy")), "a bank", 300)


def go_on() -> None:
    """Until the power fails."""
    cache, rng = BankCache(FOLDER, LIMIT_BYTES), random.Random()
    presets = [Preset.read(path) for path in Path("/rig/out").glob("small*.tetrad")]
    for pitch in itertools.cycle(range(30, 90)):
        preset = rng.choice(presets)
        cache.store(preset, DECODER, pitch, pad(preset.layers, pitch))
