"""SMP over a serial line: messages as lines of base64 with a CRC, found again in whatever else comes down the line.

A message becomes: its length with the CRC (2 bytes), itself, CRC16-XMODEM (2 bytes), all big-endian and in base64, cut
into lines of at most 127 bytes. The first line begins with 06 09, further ones with 04 14; each ends with a newline.
"""

import binascii
import re
from collections.abc import Iterator

from smp import packet
from smp.header import Header

LINE_BYTES = 127
CRC_BYTES = 2
LENGTH_BYTES = 2

# A line, or what noise left of one: neither delimiter can stand in base64, so each begins a piece, even where the
# newline before it was lost.
_PIECE = re.compile(rb"(\x06\x09|\x04\x14)([^\x04\x06]*)")


def encode(message: bytes) -> bytes:
    """The lines of a message."""
    return b"".join(packet.encode(message, LINE_BYTES))


class Deframer:
    """Bytes in, messages out. Whatever comes, it holds at most some 3 `most_bytes`, and the next whole frame is found.

    `most_bytes` is the longest message.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._most_line = 2 * (most_bytes + 64)  # some clients put a whole frame into one line
        self._line = bytearray()
        self._frame: bytearray | None = None  # decoded so far, length first

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that these bytes complete."""
        found: list[bytes] = []
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line += line
            found += self._take(bytes(self._line))
            self._line.clear()
        self._line += rest
        if len(self._line) > self._most_line:  # no newline comes: keep what may be the beginning of a line
            start = max(self._line.rfind(packet.START_DELIMITER), self._line.rfind(packet.CONTINUE_DELIMITER))
            del self._line[:start if start > 0 else -1]
        return found

    def _take(self, line: bytes) -> Iterator[bytes]:
        for piece in _PIECE.finditer(line):
            if piece[1] == packet.START_DELIMITER:
                self._frame = bytearray()
            message = self._add(piece[2])
            if message is not None:
                yield message

    def _add(self, text: bytes) -> bytes | None:
        """One line's base64 to the frame under way; the message where that makes it whole and its CRC is right."""
        if self._frame is None:
            return None
        frame, self._frame = self._frame, None
        try:
            frame += binascii.a2b_base64(text.removesuffix(b"\r"), strict_mode=True)
        except binascii.Error:
            return None
        if len(frame) < LENGTH_BYTES:
            return None
        total = LENGTH_BYTES + int.from_bytes(frame[:LENGTH_BYTES])
        if not Header.SIZE <= total - LENGTH_BYTES - CRC_BYTES <= self._most_bytes or len(frame) > total:
            return None
        if len(frame) < total:
            self._frame = frame
            return None
        message = bytes(frame[LENGTH_BYTES:-CRC_BYTES])
        return message if binascii.crc_hqx(message, 0) == int.from_bytes(frame[-CRC_BYTES:]) else None
