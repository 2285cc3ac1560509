"""The box's end of the serial line: an SMP server on each of its ports."""

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable

import serial

from device.box.store import Store
from device.serial_line.box import Box
from device.serial_line.file_group import FileGroup
from device.serial_line.frames import Deframer, encode
from device.serial_line.line import Line
from device.serial_line.pairing import Pairing
from device.serial_line.session import Session

BUFFER_BYTES = 16_384
UART_BUFFER_BYTES = 4_096  # half a second at 115200 baud; clients wait two for an answer
MOST_BYTES_PER_S = 4 << 20  # more than USB brings; a flood of noise takes a twentieth of a core
MOST_REQUESTS_PER_S = 500
SILENCE_S = 600.0  # ends a session: not every line tells when the other end goes
RETRY_S = 1.0

log = logging.getLogger(__name__)


class SerialServer:
    """Serves a box's presets. `on_reset` is what SMP's reset does, once it is answered; without one it is refused."""

    def __init__(self, box: Box, store: Store, pairing_key: str = "",
                 on_reset: Callable[[], Awaitable[None]] | None = None) -> None:
        self._box, self._store, self._key, self._on_reset = box, store, pairing_key, on_reset
        self._senders: dict[str, FileGroup] = {}

    async def serve(self, port: str, baud_hz: int = 115_200) -> None:
        """Answers on a port until it is cancelled. A port that is not there, or goes, is waited for."""
        pairing = Pairing(self._key)
        told = ""
        while True:
            try:
                line = Line(port, baud_hz)
            except (OSError, ValueError, serial.SerialException) as error:
                if str(error) != told and isinstance(error, OSError) and error.errno == errno.ENOENT:
                    log.info("%s is not there, and is waited for", port)
                elif str(error) != told:
                    log.warning("%s cannot be opened, and is waited for: %s", port, error)
                told = str(error)
                await asyncio.sleep(RETRY_S)
                continue
            told = ""
            log.info("presets are served on %s", port)
            try:
                await self._serve_line(line, pairing)
            except OSError as error:
                log.info("%s: %s", port, error.strerror or error)
            finally:
                line.close()
            await asyncio.sleep(RETRY_S)

    async def _serve_line(self, line: Line, pairing: Pairing) -> None:
        buffer_bytes = UART_BUFFER_BYTES if line.is_uart else BUFFER_BYTES
        deframer = Deframer(buffer_bytes)
        bytes_pace, requests_pace = Pace(MOST_BYTES_PER_S), Pace(MOST_REQUESTS_PER_S)
        session = self._session(pairing, buffer_bytes)
        try:
            while True:
                try:
                    async with asyncio.timeout(SILENCE_S):
                        data = await line.read()
                except TimeoutError:
                    session.end()
                    session = self._session(pairing, buffer_bytes)
                    continue
                for message in deframer.feed(data):
                    answer = await session.answer(message)
                    if answer is not None:
                        await line.write(encode(answer))
                    if session.reset_asked and self._on_reset is not None:
                        session.end()
                        session = self._session(pairing, buffer_bytes)
                        await self._on_reset()
                    await requests_pace.take(1)
                await bytes_pace.take(len(data))
        finally:
            session.end()

    def _session(self, pairing: Pairing, buffer_bytes: int) -> Session:
        return Session(self._box, self._store, pairing, self._senders, buffer_bytes, self._on_reset is not None)


class Pace:
    """Holds a stream at so much a second, in bursts of at most a tenth of that; the loop's others come in between."""

    def __init__(self, per_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._clock_s = per_s, clock_s
        self._left, self._then_s = per_s / 10, clock_s()

    async def take(self, amount: float) -> None:
        now_s = self._clock_s()
        self._left = min(self._per_s / 10, self._left + (now_s - self._then_s) * self._per_s) - amount
        self._then_s = now_s
        await asyncio.sleep(max(0.0, -self._left / self._per_s))
