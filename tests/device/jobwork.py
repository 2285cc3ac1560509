"""What the workers of test_jobs do. Each leaves a file for every chunk that it begins, so that they can be counted."""

import os
import signal
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from device.errors import TetradError


def marked(marks: Path, seconds: float, items: Sequence[int]) -> bytes:
    (marks / f"{items[0]} {uuid.uuid4()}").touch()
    time.sleep(seconds)
    return result(items)


def result(items: Sequence[int]) -> bytes:
    return ",".join(map(str, items)).encode() * 1000


def refusing(marks: Path, bad: int, items: Sequence[int]) -> bytes:
    if bad in items:
        raise TetradError(f"item {bad} is damaged: give another")
    return marked(marks, 0.02, items)


def killing_once(marks: Path, bad: int, items: Sequence[int]) -> bytes:
    """Kills its worker the first time that it sees the bad item."""
    data = marked(marks, 0.05, items)
    if bad in items and len(list(marks.glob(f"{items[0]} *"))) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return data


def killing_always(marks: Path, bad: int, items: Sequence[int]) -> bytes:
    data = marked(marks, 0.02, items)
    if bad in items:
        os.kill(os.getpid(), signal.SIGKILL)
    return data
