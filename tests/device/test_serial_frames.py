import base64
import binascii
import random
import tracemalloc

import pytest
from cable import noisy
from hypothesis import given
from hypothesis import strategies as st

from device.serial_line.frames import Deframer, encode

MOST = 1_024
MESSAGE = bytes(range(200))
messages = st.binary(min_size=8, max_size=MOST)


def found(data: bytes, most_bytes: int = MOST) -> list[bytes]:
    return Deframer(most_bytes).feed(data)


def framed(content: bytes, start: bytes = b"\x06\x09") -> bytes:
    """One line with any content."""
    return start + base64.b64encode(content) + b"\n"


def whole(message: bytes, length: int | None = None, crc: int = 0) -> bytes:
    """A message with its length and CRC, or with others."""
    told = len(message) + 2 if length is None else length
    return told.to_bytes(2) + message + (binascii.crc_hqx(message, 0) ^ crc).to_bytes(2)


def test_a_frame_is_as_the_standard_writes_it():
    assert encode(b"Hello, world!") == b"\x06\tAA9IZWxsbywgd29ybGQhet4=\n"
    lines = encode(bytes(1_000)).splitlines(keepends=True)
    assert max(map(len, lines)) <= 127
    assert [line[:2] for line in lines] == [b"\x06\x09"] + [b"\x04\x14"] * (len(lines) - 1)


@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_messages_come_out_as_they_went_in_however_the_line_cuts_them(sent, cuts):
    line, deframer, got = b"".join(map(encode, sent)), Deframer(MOST), []
    while line:
        cut = cuts[len(line) % len(cuts)]
        got += deframer.feed(line[:cut])
        line = line[cut:]
    assert got == sent


@given(messages, st.integers(8, 2_000))
def test_lines_of_any_length_are_read_and_a_return_before_the_newline(message, size):
    text = base64.b64encode(whole(message))
    size -= size % 4
    pieces = [text[at:at + size] for at in range(0, len(text), size)]
    line = b"".join((b"\x04\x14" if at else b"\x06\x09") + piece + b"\r\n" for at, piece in enumerate(pieces))
    assert found(line) == [message]


@given(st.binary(max_size=3_000), messages)
def test_whatever_came_before_the_next_whole_frame_is_found(noise, message):
    assert found(noise + encode(message))[-1] == message


def test_a_frame_after_a_line_without_end_is_found_wherever_the_line_is_cut():
    deframer = Deframer(MOST)
    for cut in range(1, 120):
        assert not deframer.feed(b"A" * 4 * MOST + encode(MESSAGE)[:cut])
        assert deframer.feed(encode(MESSAGE)[cut:]) == [MESSAGE]


@given(messages, messages, st.data())
def test_a_frame_that_is_cut_takes_none_with_it(first, second, data):
    line = encode(first)
    kept = line[:data.draw(st.integers(0, len(line) - 1))]
    assert found(kept + encode(second)) == [second] or kept == line[:-1]


@pytest.mark.parametrize("data", [
    framed(whole(MESSAGE, crc=1)),
    framed(whole(MESSAGE, length=201)),
    framed(whole(MESSAGE, length=203)),
    framed(whole(MESSAGE)[:-1]),
    framed(whole(MESSAGE) + b"\0"),
    framed(whole(MESSAGE[:7])),
    framed(whole(b"")),
    framed(b""),
    framed(b"\0"),
    framed(whole(bytes(MOST + 1))),
    framed(whole(MESSAGE), b"\x04\x14"),
    encode(MESSAGE).replace(b"\x04\x14", b"\x04\x15"),
    encode(MESSAGE).replace(b"A", b"*", 1),
    encode(MESSAGE).replace(b"A", b"A*", 1),
    encode(MESSAGE)[:-2],
])
def test_what_is_not_whole_or_too_long_is_no_message(data):
    assert found(data) == []
    assert found(data + b"\n" + encode(MESSAGE)) == [MESSAGE]


def test_a_lost_newline_loses_nothing():
    assert found(encode(MESSAGE).replace(b"\n", b"") + b"\n") == [MESSAGE]


@pytest.mark.parametrize("piece", [b"A", b"\x06\x09", b"\x06\x09AAAA", b"\x06", b"\x04\x14AAAA\n", b"\x06\x09BAAA\n",
                                   b"\x06\x09////\n" + b"\x04\x14////\n" * 20])
def test_lines_and_frames_without_end_take_bounded_memory(piece):
    deframer, data = Deframer(MOST), piece * (65_536 // len(piece))
    tracemalloc.start()
    for _ in range(3):
        assert not deframer.feed(data)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10 * MOST
    assert peak < 60 * len(data)
    assert deframer.feed(b"\n" + encode(MESSAGE)) == [MESSAGE]


@pytest.mark.parametrize("rate", [0.0003, 0.001, 0.01])
def test_through_noise_come_whole_messages_or_none(rate):
    rng, noise, deframer, got = random.Random(7), noisy(rate, 8), Deframer(MOST), []
    sent = [rng.randbytes(rng.randrange(8, MOST)) for _ in range(400)]
    for message in sent:
        got += deframer.feed(noise(encode(message)))
    assert set(got) <= set(sent)
    assert len(got) > 400 * (1 - rate) ** 1_500 * 0.5
