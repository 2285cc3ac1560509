"""Bytes of a MIDI cable held against messages that a generator meant, which knows what a cable may do to them."""

import ctypes

import numpy as np
import pytest
from native import library

SYSEX_BYTES = 520
ONE_DATA_BYTE = (0xC0, 0xD0)
REAL_TIME = (0xF8, 0xFA, 0xFB, 0xFC, 0xFE, 0xFF)
UNDEFINED_REAL_TIME = (0xF9, 0xFD)


class Message(ctypes.Structure):
    _fields_ = [("status", ctypes.c_uint8), ("data", ctypes.c_uint8 * 2), ("sysex_bytes", ctypes.c_int),
                ("sysex", ctypes.POINTER(ctypes.c_uint8))]


class Parser(ctypes.Structure):
    _fields_ = [("orphans", ctypes.c_uint32), ("cut", ctypes.c_uint32), ("too_long", ctypes.c_uint32),
                ("own", ctypes.c_uint8 * 4096)]


DELIVER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(Message))


class Cable:
    """A parser, and the messages that came out of it: (status, data, data), a SysEx as (0xf0, its bytes)."""

    def __init__(self):
        self.library = library("midi_parser.c")
        self.parser = Parser()
        self.messages = []
        self.deliver = DELIVER(self._take)
        self.library.midi_parser_init(ctypes.byref(self.parser))

    def _take(self, _, message):
        got = message.contents
        if got.status == 0xF0:
            self.messages.append((0xF0, bytes(got.sysex[:got.sysex_bytes])))
        else:
            assert not got.sysex
            self.messages.append((got.status, *got.data))

    def send(self, *data, run=1 << 30):
        data = bytes(data)
        for at in range(0, len(data), run):
            part = data[at:at + run]
            self.library.midi_parser_bytes(ctypes.byref(self.parser), part, len(part), self.deliver, None)
        return self.messages

    @property
    def counted(self):
        return self.parser.orphans, self.parser.cut, self.parser.too_long


def parsed(*data):
    return Cable().send(*data)


# --- what the specification says

@pytest.mark.parametrize("message", [(0x80, 60, 64), (0x9F, 0, 127), (0xA3, 60, 1), (0xB0, 7, 100), (0xC5, 127),
                                     (0xD0, 3), (0xE0, 0, 64), (0xF1, 0x71), (0xF2, 1, 2), (0xF3, 9), (0xF6,),
                                     *((status,) for status in REAL_TIME)])
def test_every_message_has_its_length(message):
    padded = (*message, 0, 0)[:3]
    assert parsed(*message) == [padded]
    assert parsed(*message, *message) == [padded, padded]


def test_running_status_serves_any_number_of_messages():
    assert parsed(0x93, 60, 100, 64, 101, 60, 0) == [(0x93, 60, 100), (0x93, 64, 101), (0x93, 60, 0)]
    assert parsed(0xC0, 1, 2, 3) == [(0xC0, 1, 0), (0xC0, 2, 0), (0xC0, 3, 0)]


def test_real_time_bytes_go_before_the_message_that_they_interrupt():
    assert parsed(0x90, 0xF8, 60, 0xFE, 100, 0xFA, 62, 0xF8, 1) == [
        (0xF8, 0, 0), (0xFE, 0, 0), (0x90, 60, 100), (0xFA, 0, 0), (0xF8, 0, 0), (0x90, 62, 1)]
    assert parsed(0xF0, 1, 0xF8, 2, 0xFC, 0xF7) == [(0xF8, 0, 0), (0xFC, 0, 0), (0xF0, b"\1\2")]
    assert parsed(0xF2, 0xF8, 1, 0xF8, 2)[2] == (0xF2, 1, 2)


@pytest.mark.parametrize("undefined", UNDEFINED_REAL_TIME)
def test_an_undefined_real_time_byte_is_as_if_it_were_not_there(undefined):
    assert parsed(0x90, undefined, 60, undefined, 100, undefined, 61, 1) == [(0x90, 60, 100), (0x90, 61, 1)]
    assert parsed(0xF0, undefined, 5, 0xF7) == [(0xF0, b"\5")]


@pytest.mark.parametrize("common", [(0xF1, 0), (0xF2, 0, 0), (0xF3, 0), (0xF4,), (0xF5,), (0xF6,), (0xF7,),
                                    (0xF0, 1, 0xF7)])
def test_system_common_ends_running_status(common):
    cable = Cable()
    notes = [message for message in cable.send(0x90, 60, 1, *common, 61, 2, 62, 3) if message[0] == 0x90]
    assert notes == [(0x90, 60, 1)]
    assert cable.counted == (4, 0, 0)


def test_system_common_has_no_running_status_itself():
    cable = Cable()
    assert cable.send(0xF1, 5, 6, 0xF2, 1, 2, 3, 4) == [(0xF1, 5, 0), (0xF2, 1, 2)]
    assert cable.counted == (3, 0, 0)


def test_data_without_a_message_is_dropped_and_counted():
    cable = Cable()
    assert cable.send(1, 2, 3, 0x90, 60, 100) == [(0x90, 60, 100)]
    assert cable.counted == (3, 0, 0)


def test_a_message_cut_short_is_dropped_and_the_next_is_whole():
    assert parsed(0x90, 60, 0x80, 61, 5) == [(0x80, 61, 5)]
    assert parsed(0x90, 60, 0x90, 61, 5) == [(0x90, 61, 5)]
    assert parsed(0xF2, 60, 0x90, 61, 5) == [(0x90, 61, 5)]
    assert parsed(0x90, 60, 0xF6, 61, 5) == [(0xF6, 0, 0)]


@pytest.mark.parametrize("status", [(0x90, 60, 1), (0xF1, 3, 0), (0xF6, 0, 0)])
def test_a_sysex_cut_short_is_dropped_and_what_cut_it_counts(status):
    cable = Cable()
    assert cable.send(0xF0, 0x7F, 0x7F, 4, *status, 0xF7) == [status]
    assert cable.counted[1:] == (1, 0)


def test_a_sysex_cut_short_by_another_leaves_nothing_in_it():
    cable = Cable()
    assert cable.send(0xF0, 1, 2, 0xF0, 3, 0xF7) == [(0xF0, b"\3")]
    assert cable.counted == (0, 1, 0)


@pytest.mark.parametrize("size", [0, 1, 515, SYSEX_BYTES])
def test_a_sysex_that_fits_is_whole(size):
    body = bytes(n % 128 for n in range(size))
    assert parsed(0xF0, *body, 0xF7) == [(0xF0, body)]


@pytest.mark.parametrize("size", [SYSEX_BYTES + 1, SYSEX_BYTES + 2, 5_000])
def test_a_sysex_that_does_not_fit_is_dropped_whole_and_counted_once(size):
    cable = Cable()
    assert cable.send(0xF0, *bytes(size), 0xF7, 0xF0, 7, 0xF7, 0x90, 1, 2) == [(0xF0, b"\7"), (0x90, 1, 2)]
    assert cable.counted == (0, 0, 1)
    cable.send(0xF0, *bytes(size), 0x90, 1, 2)
    assert cable.counted == (0, 0, 2)


# --- a generator that knows what it means

class Player:
    """Writes messages as bytes of a cable, and keeps what a parser must make of them."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.bytes, self.meant = bytearray(), []
        self.running = None  # the status that may be left out
        self.orphans = self.cut = self.too_long = 0

    def write(self, *data):
        """Bytes, with real-time ones before and between them."""
        for byte in data:
            while self.rng.random() < 0.1:
                status = int(self.rng.choice(REAL_TIME + UNDEFINED_REAL_TIME))
                self.bytes.append(status)
                if status not in UNDEFINED_REAL_TIME:
                    self.meant.append((status, 0, 0))
            self.bytes.append(byte)

    def data(self, count):
        return [int(byte) for byte in self.rng.integers(0, 128, count)]

    def channel_message(self):
        status = int(self.rng.integers(0x80, 0xF0))
        if self.running and self.rng.random() < 0.5:
            status = self.running
        data = self.data(1 if status & 0xF0 in ONE_DATA_BYTE else 2)
        leave_out = status == self.running and self.rng.random() < 0.8
        self.write(*([] if leave_out else [status]), *data)
        self.meant.append((status, *data, 0)[:3])
        self.running = status

    def unfinished(self):
        """A message that ends early, which a status byte of the next has to show."""
        status = int(self.rng.choice([0x80, 0x91, 0xA2, 0xB3, 0xE4, 0xF2]))
        self.write(status, *self.data(self.rng.integers(0, 2)))
        self.with_status()

    def common(self):
        status, count = [(0xF1, 1), (0xF2, 2), (0xF3, 1), (0xF6, 0)][self.rng.integers(4)]
        data = self.data(count)
        self.write(status, *data)
        self.meant.append((status, *data, 0, 0)[:3])
        self.running = None

    def undefined(self):
        self.write(int(self.rng.choice([0xF4, 0xF5, 0xF7])))
        self.running = None

    def stray_data(self):
        if self.running is None:
            data = self.data(self.rng.integers(1, 5))
            self.write(*data)
            self.orphans += len(data)

    def sysex(self):
        size = int(self.rng.choice([0, 1, 7, 30, SYSEX_BYTES - 1, SYSEX_BYTES, SYSEX_BYTES + 1, SYSEX_BYTES + 300]))
        data = self.data(size)
        self.write(0xF0, *data)
        whole = self.rng.random() < 0.7
        if size > SYSEX_BYTES:
            self.too_long += 1
        elif whole:
            self.write(0xF7)
            self.meant.append((0xF0, bytes(data)))
        else:
            self.cut += 1
        if not whole:
            self.with_status()
        elif size > SYSEX_BYTES:
            self.write(0xF7)
        self.running = None if whole else self.running

    def with_status(self):
        """Any message that begins with a status byte which does not end a SysEx well."""
        self.running = None
        [self.channel_message, self.common, self.unfinished, self.sysex][self.rng.integers(4)]()

    def play(self, acts):
        chances = [0.55, 0.08, 0.1, 0.05, 0.1, 0.12]
        kinds = [self.channel_message, self.unfinished, self.common, self.undefined, self.stray_data, self.sysex]
        for act in self.rng.choice(len(kinds), acts, p=chances):
            kinds[act]()
        return self


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("run", [1, 7, 1 << 30])
def test_what_was_meant_is_what_is_heard(seed, run):
    player = Player(seed).play(1_500)
    cable = Cable()
    heard = cable.send(*player.bytes, run=run)
    first = next((at for at, pair in enumerate(zip(heard, player.meant, strict=False)) if pair[0] != pair[1]), None)
    assert first is None, f"message {first}: heard {heard[first]}, meant {player.meant[first]}"
    assert len(heard) == len(player.meant) > 1_000
    assert cable.counted == (player.orphans, player.cut, player.too_long)
    assert all(cable.counted)


def test_garbage_makes_well_formed_messages():
    cable = Cable()
    lengths = dict.fromkeys(range(0x80, 0xF0), 2) | dict.fromkeys(range(0xC0, 0xE0), 1)
    lengths |= {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0} | dict.fromkeys(REAL_TIME, 0)
    garbage = np.random.default_rng(9).integers(0, 256, 100_000).astype(np.uint8).tobytes()
    for message in cable.send(*garbage):
        if message[0] == 0xF0:
            assert len(message[1]) <= SYSEX_BYTES
            assert max(message[1], default=0) < 128
        else:
            used = lengths[message[0]]
            assert max(message[1:]) < 128
            assert not any(message[1 + used:])
    assert len(cable.messages) > 20_000
