"""The real panel on a Raspberry Pi: device.panel.parts tells what is wired where.

    panel = PiPanel()
    print(panel.problems())    # [] when everything answers; what does not is left out
    panel.poll()               # [KnobMoved("x", 0.5), ...]

poll() touches no device. A thread reads the converter 200 times a second, RPi.GPIO's tells of edges, and the display
has one of its own; they leave what they found in queues.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from device.errors import TetradError
from device.panel.adc import Adc
from device.panel.controls import READ_PERIOD_S, Controls
from device.panel.events import Event, Light
from device.panel.oled import Oled
from device.panel.parts import KNOBS
from device.panel.pins import Pins
from device.panel.view import View

MOST_READINGS = 16  # that wait for the next poll; older ones tell nothing
SILENT_READINGS = 20  # in a row, 0.1 s: then the converter is said not to answer
LATE_S = 0.05  # the thread does not make up for more

Part = TypeVar("Part")


class PiPanel:
    """Knobs, encoders, buttons, lamp and display. What is missing is told by problems() and raises no error."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, controls: Controls | None = None) -> None:
        self._clock = clock
        self._problems: list[str] = []
        self._adc = self._try(Adc)
        self._pins = self._try(lambda: Pins(clock))
        self._oled = Oled()
        self._controls = controls or Controls()
        self._readings: deque[tuple[int, ...]] = deque(maxlen=MOST_READINGS)
        self._silent = 0
        self._light = Light.OFF
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="panel", daemon=True)
        self._thread.start()

    def _try(self, part: Callable[[], Part]) -> Part | None:
        try:
            return part()
        except TetradError as error:
            self._problems.append(str(error))
            return None

    def poll(self) -> list[Event]:
        while self._readings:
            for name, reading in zip(KNOBS, self._readings.popleft(), strict=True):
                self._controls.knob(name, reading)
        while self._pins and self._pins.changes:
            time_s, control, levels, edge = self._pins.changes.popleft()
            if isinstance(control, int):
                self._controls.encoder(control, levels, time_s, edge)
            else:
                self._controls.button(control, not levels, time_s)
        return self._controls.take(self._clock())

    def show(self, view: View) -> None:
        self._oled.show(view)

    def light(self, state: Light) -> None:
        self._light = state

    def shows(self) -> bool:
        return self._oled.shown

    def problems(self) -> list[str]:
        lines = self._problems + (self._pins.problems if self._pins else [])
        if self._silent >= SILENT_READINGS:
            lines.append("no knobs: the MCP3008 on SPI0 CE0 does not answer; check its wiring")
        return lines + [self._oled.problem] * bool(self._oled.problem)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._oled.close()
        for part in (self._adc, self._pins):
            if part:
                part.close()

    def _run(self) -> None:
        due_s = self._clock()
        while not self._stop.wait(max(due_s - self._clock(), 0)):
            due_s = max(due_s + READ_PERIOD_S, self._clock() - LATE_S)
            if self._adc:
                readings = self._adc.read()
                if readings:
                    self._readings.append(readings)
                self._silent = 0 if readings else self._silent + 1
            if self._pins:
                self._pins.check()
                self._pins.lamp(self._light.lit(self._clock()))
