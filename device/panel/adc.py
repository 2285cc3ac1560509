"""The MCP3008 that reads the knobs, over SPI."""

import errno

from device.errors import TetradError
from device.panel.parts import KNOBS, SPI_BUS, SPI_DEVICE

CLOCK_HZ = 1_000_000  # at 2.7 V the MCP3008 takes 1.35 MHz, at 5 V 3.6 MHz
START, SINGLE = 1, 8  # bits of the question (datasheet, figure 6-1): one channel against ground
NULL_BIT = 4  # of the answer's second byte: a converter that is there pulls it low


class Adc:
    """Raises TetradError where the bus cannot be opened."""

    def __init__(self) -> None:
        node = f"/dev/spidev{SPI_BUS}.{SPI_DEVICE}"
        try:
            import spidev

            self._bus = spidev.SpiDev()
            self._bus.open(SPI_BUS, SPI_DEVICE)
            self._bus.max_speed_hz = CLOCK_HZ
        except ModuleNotFoundError as error:
            raise TetradError(f"no knobs: {error.name} is missing; pip install '.[pi]'") from error
        except OSError as error:
            todo = {errno.ENOENT: "; switch SPI on: sudo raspi-config nonint do_spi 0",
                    errno.EACCES: "; sudo adduser $USER spi, and log in again"}.get(error.errno or 0, "")
            raise TetradError(f"no knobs: {node}: {error.strerror or error}{todo}") from error

    def read(self) -> tuple[int, ...] | None:
        """All knobs in the order of KNOBS, 0..1023, or None where no converter answers. Some 0.4 ms."""
        readings = []
        try:
            for channel in range(len(KNOBS)):
                _, high, low = self._bus.xfer2([START, SINGLE + channel << 4, 0])
                if high & NULL_BIT:
                    return None
                readings.append((high & 3) << 8 | low)
        except OSError:
            return None
        return tuple(readings)

    def close(self) -> None:
        self._bus.close()
