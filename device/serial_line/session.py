"""One client's session: each request is checked, carried out and answered."""

import logging
from collections.abc import Awaitable, Callable

from smp.error import MGMT_ERR
from smp.header import OP, Version

from device.box.store import Store, StoreError
from device.errors import TetradError
from device.serial_line.box import Box
from device.serial_line.commands import BY_NUMBER, COMMANDS, smp_error
from device.serial_line.file_group import FileGroup
from device.serial_line.messages import Body, Header, SmpError, read_body, values
from device.serial_line.pairing import Pairing
from device.serial_line.standard_groups import EnumGroup, OsGroup
from device.serial_line.tetrad_group import TetradGroup

MOST_REASON = 400  # characters

log = logging.getLogger(__name__)


class Session:
    """Gives each message its response. `senders` is shared by all sessions, `pairing` by those of a port;
    `buffer_bytes` is the longest message, either way."""

    def __init__(self, box: Box, store: Store, pairing: Pairing, senders: dict[str, FileGroup], buffer_bytes: int,
                 can_reset: bool) -> None:
        self._pairing, self._paired = pairing, False
        self._buffer_bytes = buffer_bytes
        self._reason = ""
        self._os, self._files = OsGroup(buffer_bytes, can_reset), FileGroup(box, store, senders, buffer_bytes)
        parts = (self._os, EnumGroup(), self._files, TetradGroup(box, store), self)
        self._handlers: dict[str, Callable[..., Awaitable[Body]]] = {
            command.name: next(getattr(part, command.name) for part in parts if hasattr(part, command.name))
            for command in COMMANDS}

    @property
    def reset_asked(self) -> bool:
        """To be done when the response is sent."""
        return self._os.reset_asked

    def end(self) -> None:
        self._files.end()

    async def pair(self, key: str) -> Body:
        self._pairing.check(key)
        self._paired = True
        return {}

    async def reason(self) -> Body:
        """Why the last request failed, in words: version 2 of the protocol has no place for them beside its numbers."""
        return {"reason": self._reason}

    async def answer(self, message: bytes) -> bytes | None:
        """The response; None to what is no request."""
        header = Header.read(message)
        if header.op not in (OP.READ, OP.WRITE):  # such as our own answers, on a line that gives them back
            return None
        try:
            body = await self._carry_out(header, message)
            if len(found := header.answer(body)) <= self._buffer_bytes:
                return found
            error = SmpError(MGMT_ERR.EMSGSIZE, "the answer is longer than the line's buffer")
        except SmpError as failed:
            error = failed
        except StoreError as failed:
            error = smp_error(failed, header.group)
        except TetradError as failed:
            error = SmpError(MGMT_ERR.EUNKNOWN, str(failed))
        except Exception as failed:  # what went wrong inside ends no session
            log.exception("a request of group %d, command %d", header.group, header.command)
            error = SmpError(MGMT_ERR.EUNKNOWN, f"{type(failed).__name__}, see the box's log")
        self._reason = error.reason[:MOST_REASON]
        return header.answer(error.body(header.version))

    async def _carry_out(self, header: Header, message: bytes) -> Body:
        if header.version not in (Version.V1, Version.V2):
            raise SmpError(MGMT_ERR.UNSUPPORTED_TOO_NEW, "SMP's versions 1 and 2 are known")
        command = BY_NUMBER.get((header.group, header.command, OP(header.op)))
        if command is None:
            raise SmpError(MGMT_ERR.ENOTSUP, "there is no such request")
        if command.writes and self._pairing.needed and not self._paired:
            raise SmpError(MGMT_ERR.EACCESSDENIED, "the box wants its key first: pair")
        wanted = values(read_body(message, header), command.needs, command.may)
        return await self._handlers[command.name](*wanted)
