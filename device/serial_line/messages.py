"""SMP messages: a header of 8 bytes and a CBOR map; and how a request that fails is answered.

What comes is read with suspicion: no tags (they can stand for regular expressions, dates, shared values), and each
value that is used is of the type that is wanted. Keys that nobody wants are left alone, as the protocol has it.
"""

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple, NoReturn

import cbor2
from smp.error import MGMT_ERR
from smp.header import OP, Version

_HEADER = struct.Struct("!BBHHBB")  # the library's Header refuses commands that it does not know; they get an answer
_MOST_DEPTH = 4
_MOST_NUMBER = (1 << 32) - 1  # lengths and offsets
_TAGS = (*range(6), 25, 28, 29, 30, 35, 36, 37, 100, 256, 258, 260, 261, 1004, 43000, 55799)  # that cbor2 would decode

Body = Mapping[str, object]


class SmpError(Exception):
    """Why a request fails: with a number of its group's, or with one of the protocol's own, where `group` is None.

    `before` is the protocol's number that stands for it in version 1, which has no others.
    """

    def __init__(self, code: IntEnum, reason: str, group: int | None = None, before: MGMT_ERR = MGMT_ERR.EUNKNOWN):
        super().__init__(reason)
        self.code, self.reason, self.group, self.before = code, reason, group, before

    def body(self, version: int) -> Body:
        if self.group is None:
            return {"rc": int(self.code), "rsn": self.reason}
        if version == Version.V1:
            return {"rc": int(self.before), "rsn": self.reason}
        return {"err": {"group": self.group, "rc": int(self.code)}}


class Header(NamedTuple):
    op: int
    version: int
    flags: int
    length: int
    group: int
    sequence: int
    command: int

    @classmethod
    def read(cls, data: bytes) -> "Header":
        """The first 8 bytes of a message."""
        first, flags, length, group, sequence, command = _HEADER.unpack_from(data)
        return cls(first & 0b111, first >> 3 & 0b11, flags, length, group, sequence, command)

    def message(self, body: Body) -> bytes:
        content = cbor2.dumps(body)
        return _HEADER.pack(self.version << 3 | self.op, 0, len(content), self.group, self.sequence,
                            self.command) + content

    def answer(self, body: Body) -> bytes:
        """The response to a request with this header."""
        return self._replace(op=OP.READ_RSP if self.op == OP.READ else OP.WRITE_RSP).message(body)


def read_body(data: bytes, header: Header) -> Body:
    """A message's map. Raises SmpError where it is none."""
    content = data[_HEADER.size:]
    if len(content) != header.length:
        raise SmpError(MGMT_ERR.ECORRUPT, f"the header tells {header.length} bytes and {len(content)} follow")
    if not content:
        return {}
    try:
        body = cbor2.loads(content, max_depth=_MOST_DEPTH, semantic_decoders=_REFUSED)
    except Exception as error:  # cbor2's own, and those of Unicode, hashing, numbers
        raise SmpError(MGMT_ERR.ECORRUPT, "the request is not CBOR") from error
    if not isinstance(body, dict):
        raise SmpError(MGMT_ERR.EINVAL, "the request is not a map")
    return body


def values(body: Body, needs: Mapping[str, type], may: Mapping[str, type]) -> list[object]:
    """The wanted values of a request's map, in the order of the keys; None for one of `may` that is not there.

    Raises SmpError where a key is missing or its value is of another type.
    """
    found = []
    for key, kind in {**needs, **may}.items():
        value = body.get(key)
        wrong = type(value) is not kind or (type(value) is int and not 0 <= value <= _MOST_NUMBER)
        if wrong and not (value is None and key in may):
            raise SmpError(MGMT_ERR.EINVAL, f"the request wants `{key}`, {_KINDS[kind]}")
        found.append(value)
    return found


def _refuse(*_: object) -> NoReturn:
    raise ValueError("a tag")


_REFUSED = dict.fromkeys(_TAGS, _refuse)
_KINDS = {int: "a whole number", str: "text", bytes: "bytes", list: "a list"}
