"""Whole presets of some KB, for tests that carry them about."""

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from device.corner import Note, make_preset
from device.preset import FRAMES

CORNERS = ("bass", "flute", "organ", "glockenspiel")


@cache
def small_preset(seed: int = 0, notes: int = 1) -> bytes:
    """A preset's file: of one note 10 KB, of `notes` pitches so much more."""
    rng = np.random.default_rng(seed)
    pitches = tuple(range(60, 60 + notes))
    corners = {name: [{pitch: Note(rng.uniform(-2, 2, (FRAMES, 16))) for pitch in pitches}] for name in CORNERS}
    return make_preset(corners, name=f"small {seed}", pitches=pitches, velocities=(100,)).to_bytes()


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    """While it lasts, nothing longer than this can be written to the folder: a file system of that size where one may
    be mounted, else by the process' limit on files."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0:
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
