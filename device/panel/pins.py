"""Encoders, buttons and lamp on the GPIO header, by RPi.GPIO's interface; what works on all Pis is rpi-lgpio.

Edges wake, levels count: RPi.GPIO says only that a contact changed, so an edge has its control's contacts read anew.
Reading all 13 a thousand times a second instead would take a third of a Pi's core. Edges that are told late, together,
have the levels of the last; Encoder makes that up. An edge that never came is found by `check`.
"""

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from types import ModuleType

from device.errors import TetradError
from device.panel.parts import BUTTONS, ENCODERS, LED

MOST_CHANGES = 1_000  # that wait for the next poll: a contact that has gone mad takes no memory
CONTROLS: dict[int | str, tuple[int, ...]] = {**dict(enumerate(ENCODERS)), **{n: (pin,) for n, pin in BUTTONS.items()}}
HELP = {  # words of an error -> what to do
    "busy": "another program holds it: stop that",
    "edge detection": "RPi.GPIO cannot on this kernel: pip uninstall RPi.GPIO, then pip install rpi-lgpio",
    "permission": "sudo adduser $USER gpio, and log in again",
    "open gpiochip": "see that /dev/gpiochip* is there and that you are in the group gpio",
    "raspberry pi": "choose another panel where there is no Pi",
}

Change = tuple[float, int | str, int, int | None]  # time, encoder or button, levels (1: open), A's or B's edge


class Pins:
    """Fills `changes`; what cannot be had stands in `problems`. Raises TetradError where nothing can."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._gpio = _load()
        self.problems: list[str] = []
        self.changes: deque[Change] = deque(maxlen=MOST_CHANGES)
        self._lock = threading.Lock()  # from reading to appending, else an old level could follow a new one
        self._controls: list[int | str] = []
        self._turn = 0
        self._lit: bool | None = None
        for control, pins in CONTROLS.items():
            try:
                self._open(control, pins)
                self._controls.append(control)
            except Exception as error:  # lgpio has a class of errors that RPi.GPIO does not name
                name = control if isinstance(control, str) else f"encoder {control}"
                self.problems.append(f"{name}, GPIO {' and '.join(map(str, pins))}: {_said(error)}")
        try:
            self._gpio.setup(LED, self._gpio.OUT, initial=0)
            self._lit = False
        except Exception as error:
            self.problems.append(f"lamp, GPIO {LED}: {_said(error)}")

    def _open(self, control: int | str, pins: tuple[int, ...]) -> None:
        gpio = self._gpio
        for pin in pins:
            gpio.setup(pin, gpio.IN, pull_up_down=gpio.PUD_UP)
        self._read(control, None)

        def changed(pin: int) -> None:
            with contextlib.suppress(Exception):  # it is another library's thread; `check` reads again
                self._read(control, None if len(pins) == 1 else 0b10 if pin == pins[0] else 0b01)

        for pin in pins:
            gpio.add_event_detect(pin, gpio.BOTH, callback=changed)

    def _read(self, control: int | str, edge: int | None) -> None:
        with self._lock:
            levels = 0
            for pin in CONTROLS[control]:
                levels = levels << 1 | self._gpio.input(pin)
            self.changes.append((self._clock(), control, levels, edge))

    def check(self) -> None:
        """Reads one control, another each time. Called 200 times a second, it finds a lost edge within 45 ms."""
        if self._controls:
            self._turn = (self._turn + 1) % len(self._controls)
            with contextlib.suppress(Exception):  # it has been read before, so it can be again
                self._read(self._controls[self._turn], None)

    def lamp(self, lit: bool) -> None:
        if self._lit is not None and lit != self._lit:
            self._lit = lit
            with contextlib.suppress(Exception):
                self._gpio.output(LED, int(lit))

    def close(self) -> None:
        self.lamp(False)
        with contextlib.suppress(Exception):
            self._gpio.cleanup([LED, *(pin for pins in CONTROLS.values() for pin in pins)])


def _said(error: Exception) -> str:
    text = str(error).strip("'\"") or type(error).__name__
    return next((f"{text}; {help}" for words, help in HELP.items() if words in text.lower()), text)


def _load() -> ModuleType:
    """RPi.GPIO, ready. lgpio puts a FIFO into the working folder, or goes to $LG_WD and stays there: neither is wanted,
    as the working folder may be read-only and paths may be relative to it."""
    here, folder = -1, None
    try:
        here = os.open(".", os.O_RDONLY)
        if "LG_WD" not in os.environ:
            os.environ["LG_WD"] = folder = tempfile.mkdtemp(prefix="tetrad-gpio-")
        from RPi import GPIO

        GPIO.setwarnings(False)
        GPIO.setmode(GPIO.BCM)
    except ModuleNotFoundError as error:
        raise TetradError(f"no encoders, buttons and lamp: {error.name} is missing; pip install '.[pi]'") from error
    except Exception as error:
        raise TetradError(f"no encoders, buttons and lamp: {_said(error)}") from error
    finally:
        if here >= 0:
            os.fchdir(here)
            os.close(here)
        if folder is not None:
            del os.environ["LG_WD"]
            shutil.rmtree(folder, ignore_errors=True)  # the FIFO is open, its name needed no more
    found: ModuleType = GPIO
    return found
