"""Playing the keyboard, from its own side of the cable, and what the box's side of it knows."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import devices

NAME = "Rig Keyboard"
CARD = Path("/proc/asound") / devices.KEYBOARD
BOXES_CARD = Path("/proc/asound/Keyboard")  # the last word of its name is ALSA's for it
ON, OFF = 0x90, 0x80


@contextmanager
def keyboard() -> Iterator[int]:
    """A file descriptor that takes what the keyboard says."""
    devices.wait_for(CARD.exists, "the keyboard")
    number = CARD.resolve().name.removeprefix("card")
    port = Path(f"/dev/snd/midiC{number}D0")
    devices.wait_for(port.exists, str(port))
    descriptor = os.open(port, os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def play(keys: list[int], held_s: float, gap_s: float, velocity: int = 100) -> list[float]:
    """A key after the other; gives when each was pressed, by time.monotonic."""
    pressed_s, due_s = [], time.monotonic()
    with keyboard() as out:
        for key in keys:
            pressed_s.append(time.monotonic())
            os.write(out, bytes([ON, key, velocity]))
            time.sleep(max(due_s + held_s - time.monotonic(), 0))
            os.write(out, bytes([OFF, key, 64]))
            due_s += held_s + gap_s
            time.sleep(max(due_s - time.monotonic(), 0))
    return pressed_s


def hold(keys: list[int], velocity: int = 100) -> float:
    """Presses keys, which nobody lets go; gives when."""
    with keyboard() as out:
        pressed_s = time.monotonic()
        os.write(out, b"".join(bytes([ON, key, velocity]) for key in keys))
        time.sleep(0.2)  # until it is sent
    return pressed_s


def pull() -> float:
    """Gives when it was pulled out; returns when its card is gone."""
    pulled_s = time.monotonic()
    devices.pull("keyboard")
    devices.wait_for(lambda: not BOXES_CARD.exists(), "the keyboard to be gone")
    return pulled_s


def plug() -> None:
    devices.plug("keyboard", devices.KEYBOARDS_CONTROLLER)
    devices.wait_for(BOXES_CARD.exists, "the keyboard's card")
