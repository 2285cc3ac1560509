"""A computer's end of the serial line: requests to a box, by smpclient, tried again where a line loses something."""

import contextlib
import itertools
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

import cbor2
import serial
from smp.error import MGMT_ERR
from smp.exceptions import SMPException
from smp.file_management import FS_MGMT_ERR
from smp.header import Version
from smp.message import ResponseType
from smpclient import SMPClient
from smpclient.exceptions import SMPClientException, SMPUploadError
from smpclient.transport import SMPTransportDisconnected
from smpclient.transport.serial import Auto, BufferSize, SMPSerialTransport

from device import console, files
from device.errors import TetradError
from device.preset import MAX_FILE_BYTES
from device.serial_line.commands import BY_NAME, FILE, TETRAD, TetradCode, remote_path
from device.serial_line.messages import Body, Header

TIMEOUT_S = 2.5  # for an answer, and for bytes that the line does not take
TRIES = 3
MOST_TRIES_IN_VAIN = 5  # of an upload, without a byte more on the box
# Bytes of a message, by the try: what the box allows, then less and less, as a noisy line lets pass.
BUFFERS = (None, 4_096, 1_024, 384)
LOST = (TimeoutError, OSError, SMPClientException, SMPException, SMPTransportDisconnected, cbor2.CBORError,
        ValueError, struct.error)  # the last two: smp's decoder, of a line of an answer that noise has changed

Result = TypeVar("Result")
_sequence = itertools.count()


class Refused(TetradError):
    """The box answered, and said no: with a number of a group, or of the protocol (`group` None)."""

    def __init__(self, group: object, code: object, text: str) -> None:
        super().__init__(text)
        self.group, self.code = group, code


@dataclass(frozen=True)
class _Answer:
    """Any response, as smpclient wants it read."""

    RESPONSE_TYPE = ResponseType.SUCCESS
    body: Body

    @classmethod
    def loads(cls, data: bytes) -> "_Answer":
        body = cbor2.loads(data[len(data) - Header.read(data).length:])
        if not isinstance(body, dict):
            raise SMPException("the answer is not a map")
        return cls(body)


class _Request:
    """A request of the table of commands, as smpclient sends it."""

    _Response = _ErrorV1 = _ErrorV2 = _Answer

    def __init__(self, name: str, body: Body) -> None:
        command = BY_NAME[name]
        self.header = Header(command.op, Version.V2, 0, 0, command.group, next(_sequence) % 256, command.id)
        self.BYTES = self.header.message(body)


class Link:
    """An open line to a box."""

    def __init__(self, client: SMPClient) -> None:
        self._client = client

    async def ask(self, command: str, /, **body: object) -> Body:
        """The answer to a command of the table. Raises Refused, or one of LOST where none came."""
        found = await self._answer(command, body)
        if isinstance(err := found.get("err"), dict):
            raise Refused(err.get("group"), err.get("rc"), await self._reason())
        if code := found.get("rc"):
            hint = "; give it with --key-file, or in TETRAD_KEY" if code == MGMT_ERR.EACCESSDENIED else ""
            raise Refused(None, code, f"{found.get('rsn', f'the box says error {code}')}{hint}")
        return found

    async def _answer(self, command: str, body: Body) -> Body:
        answer: _Answer = await self._client.request(_Request(command, body))
        return answer.body

    async def _reason(self) -> str:
        return str((await self._answer("reason", {})).get("reason", "the box refuses, and tells no reason"))

    async def has(self, name: str, data: bytes) -> bool:
        """Whether the box has this preset already."""
        try:
            told = await self.ask("file_hash", name=remote_path(name), type="sha256")
        except Refused:
            return False
        return told.get("output") == sha256(data).digest()

    async def upload(self, name: str, data: bytes) -> AsyncIterator[int]:
        """Sends a preset's file; yields how many bytes are there. Raises as `ask` does."""
        try:
            async for there in self._client.upload_file(data, remote_path(name)):
                yield there
        except SMPUploadError as error:
            told = getattr(getattr(error.args[0], "err", None), "rc", None)
            raise Refused(FILE, told, await self._reason()) from error


@contextlib.asynccontextmanager
async def connected(port: str, key: str, baud_hz: int, buffer_bytes: int | None) -> AsyncIterator[Link]:
    """A line to the box, with the key given where there is one."""
    logging.getLogger("smpclient").setLevel(logging.CRITICAL + 1)  # what it would tell is told in one line
    try:
        serial.Serial(port, baud_hz, exclusive=True).close()
    except serial.SerialException as error:
        raise TetradError(f"cannot open {port}: {error.strerror or error}; is the box connected, the port no other "
                          "program's, and are you in the group dialout?") from error
    strategy = Auto() if buffer_bytes is None else BufferSize(buffer_bytes)
    transport = SMPSerialTransport(strategy, baudrate=baud_hz, write_timeout=TIMEOUT_S, exclusive=True)
    client = SMPClient(transport, port, TIMEOUT_S)
    try:
        await client.connect()
        link = Link(client)
        if key:
            await link.ask("pair", key=key)
        yield link
    finally:
        await client.disconnect()


class Caller:
    """Carries out what is wanted of the box at a port, on a new line after each loss."""

    def __init__(self, port: str, key: str, baud_hz: int) -> None:
        self._port, self._key, self._baud_hz = port, key, baud_hz

    async def call(self, action: Callable[[Link], Awaitable[Result]], tries: int = TRIES) -> Result:
        """`action`'s result. With several tries it must not matter that it was done already. Raises TetradError."""
        for number, buffer_bytes in enumerate(BUFFERS[:tries]):
            self._tell_of_wait(number)
            with contextlib.suppress(*LOST):
                async with connected(self._port, self._key, self._baud_hz, buffer_bytes) as link:
                    return await action(link)
        raise self._no_answer()

    def _tell_of_wait(self, vain: int) -> None:
        if vain == 1:
            console.note(f"no answer yet at {self._port}; trying again")

    async def push(self, name: str, data: bytes, tell: Callable[[int], None]) -> None:
        """Sends a preset, going on where it was cut. `tell` is given the bytes that are there now, as steps.

        Raises TetradError.
        """
        there = vain = losses = 0
        restarts = 1  # where the box finds the part that it had damaged, or the line was somebody else's in between
        while vain < MOST_TRIES_IN_VAIN:
            before = there
            self._tell_of_wait(vain)
            buffer_bytes = BUFFERS[min(losses, len(BUFFERS) - 1)]
            try:
                async with connected(self._port, self._key, self._baud_hz, buffer_bytes) as link:
                    if losses and await link.has(name, data):  # all that was lost is the last answer
                        return
                    await link.ask("announce", name=name, len=len(data), sha=sha256(data).digest())
                    async for now in link.upload(name, data):
                        tell(now - there)
                        there = now
                    return
            except Refused as error:
                again = (error.group, error.code) in ((FILE, FS_MGMT_ERR.FILE_OFFSET_NOT_VALID),
                                                      (FILE, FS_MGMT_ERR.FILE_WRITE_FAILED),
                                                      (TETRAD, TetradCode.BAD_OFFSET))
                if not (again and restarts):
                    raise
                restarts -= 1
            except LOST:
                losses += 1
                vain = 0 if there > before else vain + 1
        raise self._no_answer()

    async def size(self, name: str) -> int:
        """How many bytes a preset's file has. Raises TetradError."""
        found = await self.call(lambda link: link.ask("file_status", name=remote_path(name)))
        return files.whole_number(found.get("len"), 1, MAX_FILE_BYTES, f"the length of {name}")

    async def pull(self, name: str, total_bytes: int, tell: Callable[[int], None]) -> bytes:
        """A preset's file. `tell` is given the bytes that have come, as steps. Raises TetradError."""
        path, data, vain = remote_path(name), b"", 0
        while vain < MOST_TRIES_IN_VAIN:
            before = len(data)
            with contextlib.suppress(*LOST):
                async with connected(self._port, self._key, self._baud_hz, None) as link:
                    while len(data) < total_bytes:
                        part = (await link.ask("download", off=len(data), name=path)).get("data")
                        if not isinstance(part, bytes) or not part:
                            raise TetradError(f"{name} changed on the box while it was read: try again")
                        data += part
                        tell(len(part))
                    if await link.has(name, data):
                        return data
                raise TetradError(f"{name} changed on the box while it was read: try again")
            vain = 0 if len(data) > before else vain + 1
        raise self._no_answer()

    def _no_answer(self) -> TetradError:
        return TetradError(f"no answer on {self._port}: is it a Tetrad, and switched on?")
