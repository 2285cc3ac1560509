"""The SSD1306 display over I2C. A frame takes 25 ms to send, so that a thread of its own draws and sends.

That thread also imports what draws: the box sounds sooner, and does so where that is not installed.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from device.panel.parts import I2C_ADDRESS, I2C_BUS
from device.panel.view import SIZE, View

FRAME_S = 1 / 15  # between frames; I2C at 400 kHz would do 40 a second
RETRY_S = 2.0  # until a display that does not answer is asked again
CLOSE_S = 1.0  # a display that hangs holds nobody up for longer
COLUMN_ADDRESS, PAGE_ADDRESS = 0x21, 0x22  # commands (datasheet, table 10-3.1)


def pages(image: Any) -> bytes:
    """A picture, of PIL, as the SSD1306 wants it: pages of eight rows, a byte each column, the lowest bit on top.

    luma.oled does so pixel by pixel, in 10 ms of a Pi, during which nothing else of Python runs.
    """
    return np.packbits(np.asarray(image).reshape(SIZE[1] // 8, 8, SIZE[0]), axis=1, bitorder="little").tobytes()


def connect() -> Any:
    """luma.oled's device, with `pages` for its own way of packing."""
    from luma.core.interface.serial import i2c
    from luma.oled.device import ssd1306

    class Display(ssd1306):
        def display(self, image: Any) -> None:
            self.command(COLUMN_ADDRESS, 0, SIZE[0] - 1, PAGE_ADDRESS, 0, SIZE[1] // 8 - 1)
            self.data(list(pages(image)))

    return Display(i2c(port=I2C_BUS, address=I2C_ADDRESS), width=SIZE[0], height=SIZE[1])


class Oled:
    """Shows views, the newest at most FRAME_S after the one before. A display that goes is sought again and again.

    `problem` says in one line why there is none, empty where it answers; `shown`: it has taken a picture.
    """

    def __init__(self, connect: Callable[[], Any] = connect) -> None:
        self.problem = ""
        self.shown = False
        self._connect = connect
        self._view = View()
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="display", daemon=True)
        self._thread.start()

    def show(self, view: View) -> None:
        self._view = view
        self._news.set()

    def close(self) -> None:
        """Leaves the display dark."""
        self._closing.set()
        self._news.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._show_all(self._connect())
            except ModuleNotFoundError as error:
                self.problem = f"no display: {error.name} is missing; pip install '.[pi]'"
                return
            except Exception as error:  # luma's, smbus2's and the kernel's have no class in common
                self.problem, self.shown = _problem(error), False
                self._closing.wait(RETRY_S)

    def _show_all(self, device: Any) -> None:
        """Sends what is new until it is to close. Raises what the device raises."""
        from device.panel.display import draw

        self.problem = ""
        sent = b""
        while not self._closing.is_set():
            self._news.clear()
            image = draw(self._view)
            if image.tobytes() != sent:
                device.display(image)
                sent = image.tobytes()
                self.shown = True
            self._closing.wait(FRAME_S)
            self._news.wait()
        with contextlib.suppress(Exception):
            device.hide()


def _problem(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if "permission" in text.lower():
        text += "; sudo adduser $USER i2c, and log in again"
    elif "file" in text.lower() or "/dev/" in text:
        text += "; switch I2C on: sudo raspi-config nonint do_i2c 0"
    else:
        text += "; check its wiring"
    return f"no display: {text}"
