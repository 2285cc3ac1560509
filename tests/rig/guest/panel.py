"""The panel's contacts, as hands move them; without bounce, whose milliseconds an emulated processor cannot keep."""

import os
import time
from typing import Any

import devices

from device.panel import buttons, parts

LIKE_A_PI = {"RPI_LGPIO_REVISION": "c03111", "RPI_LGPIO_CHIP": "0"}  # which rpi-lgpio would ask the kernel


def turn(encoder: int, detents: int, each_s: float) -> None:
    """Clockwise, or (below 0) against it: four changes a detent."""
    a, b = parts.ENCODERS[encoder]
    first, second = (a, b) if detents > 0 else (b, a)
    for _ in range(abs(detents)):
        for bcm, closed in ((first, True), (second, True), (first, False), (second, False)):
            devices.close_contact(bcm, closed)
            time.sleep(each_s / 4)


def press(button: str, seconds: float) -> None:
    devices.close_contact(parts.BUTTONS[button], True)
    time.sleep(seconds)
    devices.close_contact(parts.BUTTONS[button], False)


def hands(turns: list[list[int]], each_s: float) -> dict[str, Any]:
    """Every encoder is turned so far, every button pressed shortly and long: what the real panel makes of it."""
    from device.panel.events import Light, Pressed, Turned
    from device.panel.hardware import PiPanel

    os.environ |= LIKE_A_PI
    panel = PiPanel()
    told: list[list[object]] = []

    def poll(seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            for event in panel.poll():
                if isinstance(event, Turned):
                    told.append(["turned", event.encoder, event.steps])
                elif isinstance(event, Pressed):
                    told.append(["pressed", event.button, event.long])
                else:
                    told.append([type(event).__name__])
            time.sleep(0.005)

    poll(0.5)
    for encoder, detents in turns:
        for _ in range(abs(detents)):
            turn(encoder, 1 if detents > 0 else -1, each_s)
            poll(0.1)
    for button in parts.BUTTONS:
        press(button, 0.3)
        poll(0.3)
        devices.close_contact(parts.BUTTONS[button], True)
        poll(buttons.LONG_S.get(button, buttons.OTHERS_LONG_S) + 0.5)
        devices.close_contact(parts.BUTTONS[button], False)
        poll(0.3)
    lamp = []
    for light in (Light.READY, Light.OFF):
        panel.light(light)
        poll(0.2)
        lamp.append(devices.output(parts.LED))
    problems = panel.problems()
    panel.close()
    return {"told": told, "lamp": lamp, "problems": problems}
