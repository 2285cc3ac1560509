"""A serial port on the event loop's thread: opened raw, read and written without ever blocking."""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
import threading
from collections.abc import Callable

import serial

READ_BYTES = 16_384
WRITE_TIMEOUT_S = 2.0  # for who does not take an answer in: as long as clients wait for one
PORT_UNKNOWN = 0  # of <linux/serial.h>


class Line:
    """Raises OSError where it cannot be opened, and where it goes: its cable is pulled, the other end hangs up."""

    def __init__(self, port: str, baud_hz: int) -> None:
        self._serial = serial.Serial(port, baud_hz, timeout=0, exclusive=True)
        self._descriptor = self._serial.fileno()
        try:
            settings = termios.tcgetattr(self._descriptor)
            settings[6][termios.VMIN] = 1  # else nothing to read looks like a hang-up
            termios.tcsetattr(self._descriptor, termios.TCSANOW, settings)
        except termios.error as error:
            self.close()
            raise OSError(*error.args) from error

    @property
    def is_uart(self) -> bool:
        """Whether bytes go at the speed of the port's setting: not so on USB and pseudo-terminals."""
        told = bytearray(128)  # struct serial_struct: its type comes first
        try:
            fcntl.ioctl(self._descriptor, termios.TIOCGSERIAL, told)
        except OSError:
            return False
        return bool(struct.unpack_from("i", told)[0] != PORT_UNKNOWN)

    async def read(self) -> bytes:
        """The bytes that have come, at least one."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                await self._wait(loop.add_reader, loop.remove_reader)
                continue
            if not data:
                raise ConnectionError("the other end hung up")
            return data

    async def write(self, data: bytes) -> None:
        """Writes all, or gives up where nobody reads; what is left is thrown away then."""
        loop = asyncio.get_running_loop()
        left = memoryview(data)
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                while left:
                    try:
                        left = left[os.write(self._descriptor, left):]
                    except BlockingIOError:
                        await self._wait(loop.add_writer, loop.remove_writer)
        except TimeoutError:
            with contextlib.suppress(termios.error):
                termios.tcflush(self._descriptor, termios.TCOFLUSH)

    def close(self) -> None:
        """In a thread of its own: the kernel may wait for what nobody reads."""
        with contextlib.suppress(termios.error):
            termios.tcflush(self._descriptor, termios.TCIOFLUSH)
        threading.Thread(target=self._serial.close, name="serial-close", daemon=True).start()

    async def _wait(self, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
        ready = asyncio.get_running_loop().create_future()
        add(self._descriptor, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            remove(self._descriptor)
