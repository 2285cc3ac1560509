"""Stand-ins for the panel's parts at the modules' borders: GPIO header, MCP3008, SSD1306, as their datasheets say."""

import sys
import types
from collections import Counter

from PIL import Image

WITH_ARGUMENTS = {0x20: 1, 0x21: 2, 0x22: 2, 0x81: 1, 0x8D: 1, 0xA8: 1, 0xD3: 1, 0xD5: 1, 0xD9: 1, 0xDA: 1, 0xDB: 1}


class Header:
    """RPi.GPIO: inputs pulled up, callbacks at edges."""

    IN, OUT, PUD_UP, BOTH, BCM = 1, 0, 22, 33, 11

    def __init__(self):
        self.levels, self.callbacks, self.outputs, self.refused = {}, {}, {}, {}
        self.reads, self.cleaned = Counter(), set()

    def setwarnings(self, value):
        pass

    def setmode(self, mode):
        assert mode == self.BCM

    def setup(self, pin, direction, pull_up_down=None, initial=None):
        if pin in self.refused:
            raise self.refused[pin]
        if direction == self.IN:
            assert pull_up_down == self.PUD_UP
            self.levels.setdefault(pin, 1)
        else:
            self.outputs[pin] = [initial]

    def input(self, pin):
        self.reads[pin] += 1
        return self.levels[pin]

    def output(self, pin, value):
        self.outputs[pin].append(value)

    def add_event_detect(self, pin, edge, callback):
        assert edge == self.BOTH
        self.callbacks[pin] = callback

    def cleanup(self, pins):
        self.cleaned |= set(pins)

    def drive(self, pin, level, told=True):
        """A contact changes; not `told` is an edge that was lost."""
        self.levels[pin] = level
        if told:
            self.callbacks[pin](pin)


class Mcp3008:
    """spidev: a bus with a converter; `there` says whether it is on it, else the pull-up answers."""

    def __init__(self):
        self.readings, self.there, self.closed = [512] * 8, True, False
        self.failure = None
        self.max_speed_hz = 0

    def open(self, bus, device):
        assert (bus, device) == (0, 0)
        if self.failure:
            raise self.failure

    def xfer2(self, question):
        assert 0 < self.max_speed_hz <= 1_350_000
        assert len(question) == 3
        assert question[0] == 1  # the start bit, at the end of a byte
        assert question[1] & 0x80  # single-ended
        if self.failure:
            raise self.failure
        if not self.there:
            return [0xFF, 0xFF, 0xFF]
        reading = self.readings[question[1] >> 4 & 7]
        return [0xFF, 0xF8 | reading >> 8, reading & 0xFF]  # before the null bit it does not drive the line

    def close(self):
        self.closed = True


class Ssd1306:
    """smbus2: a bus with a display at 0x3C in horizontal addressing mode; keeps what it shows and how often it was sent
    a picture."""

    def __init__(self):
        self.memory = bytearray(1_024)
        self.on, self.there, self.frames = False, True, 0
        self._columns, self._pages, self._at = (0, 127), (0, 7), (0, 0)

    def write_i2c_block_data(self, address, mode, values):
        self._check(address)
        assert mode == 0x00
        values = list(values)
        while values:
            command = values.pop(0)
            arguments = [values.pop(0) for _ in range(WITH_ARGUMENTS.get(command, 0))]
            if command == 0x21:
                self._columns = (arguments[0], arguments[1])
            elif command == 0x22:
                self._pages = (arguments[0], arguments[1])
            elif command in (0xAE, 0xAF):
                self.on = command == 0xAF
            if command in (0x21, 0x22):
                self._at = (self._columns[0], self._pages[0])

    def i2c_rdwr(self, message):
        address, (mode, *values) = message
        self._check(address)
        assert mode == 0x40
        assert len(values) <= 4_096
        column, page = self._at
        for value in values:
            self.memory[page * 128 + column] = value
            column += 1
            if column > self._columns[1]:
                column, page = self._columns[0], page + 1
            if page > self._pages[1]:
                page = self._pages[0]
        self._at = column, page
        self.frames += len(values) >= 1_024

    def _check(self, address):
        if not self.there:
            raise OSError(121, "Remote I/O error")
        assert address == 0x3C

    def close(self):
        pass

    @property
    def picture(self):
        """What it shows, page by page and column by column."""
        image = Image.new("1", (128, 64))
        for n, column in enumerate(self.memory):
            for bit in range(8):
                image.putpixel((n % 128, n // 128 * 8 + bit), column >> bit & 1)
        return image


def install(monkeypatch, header, converter, display):
    """Puts them in the place of the modules."""
    rpi = types.ModuleType("RPi")
    rpi.GPIO = header
    spidev = types.ModuleType("spidev")
    spidev.SpiDev = lambda: converter
    smbus2 = types.ModuleType("smbus2")
    smbus2.SMBus = lambda port: {1: display}[port]
    smbus2.i2c_msg = types.SimpleNamespace(write=lambda address, values: (address, values))
    for name, module in {"RPi": rpi, "RPi.GPIO": header, "spidev": spidev, "smbus2": smbus2}.items():
        monkeypatch.setitem(sys.modules, name, module)


def emptied(monkeypatch, *names):
    """As where a module is not installed."""
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)
