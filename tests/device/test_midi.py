"""Bytes of a MIDI cable -> the engine's events, held against the specifications: MIDI 1.0, RP-015, RP-018, MPE, MTS."""

import ctypes
import math
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import mido
import numpy as np
import pytest
from native import ENGINE, library
from test_midi_parser import DELIVER, Message, Parser

ENUM = re.search(r"typedef enum \{(.*?)\} engine_event_kind;", (ENGINE / "engine.h").read_text(), re.DOTALL)[1]
KINDS = re.findall(r"^    ENGINE_(\w+),", ENUM, re.MULTILINE)
PARAMETERS = re.findall(r"^    P\((\w+),", (ENGINE / "parameters.h").read_text(), re.MULTILINE)
VOLUME, MODE, CUTOFF_HZ = (PARAMETERS.index(name) for name in ("VOLUME", "MODE", "CUTOFF_HZ"))
NONE = 0xFF
LOWER, UPPER = 0, 1
CHANNELS = range(16)


class Event(ctypes.Structure):
    _fields_ = [("frame", ctypes.c_uint32), ("kind", ctypes.c_uint8), ("channel", ctypes.c_uint8),
                ("key", ctypes.c_uint8), ("a", ctypes.c_float), ("b", ctypes.c_float)]


class Target(ctypes.Structure):
    _fields_ = [("parameter", ctypes.c_uint8), ("exponential", ctypes.c_bool), ("low", ctypes.c_float),
                ("high", ctypes.c_float)]


EMIT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(Event))


class Config(ctypes.Structure):
    _fields_ = [("emit", EMIT), ("host", DELIVER), ("to", ctypes.c_void_p), ("blend_x_cc", ctypes.c_uint8),
                ("blend_y_cc", ctypes.c_uint8), ("device_id", ctypes.c_uint8), ("volume", Target), ("mode", Target)]


class Box:
    """Parser and translation; events as (kind, channel, key, a), BLEND's with b."""

    def __init__(self, **config):
        self.library = library("midi_parser.c", "midi.c")
        self.library.midi_map.argtypes = ctypes.c_void_p, ctypes.c_int, Target
        self.library.midi_set_blend.argtypes = ctypes.c_void_p, ctypes.c_float, ctypes.c_float
        self.midi = (ctypes.c_uint64 * 8_192)()
        self.parser = Parser()
        self.events, self.told = [], []
        self.config = Config()
        self.library.midi_defaults(ctypes.byref(self.config))
        self.config.emit, self.config.host = EMIT(self._emit), DELIVER(self._tell)
        self.config.volume, self.config.mode = Target(VOLUME, False, 0, 1), Target(MODE, False, 0, 1)
        for name, value in config.items():
            setattr(self.config, name, value)
        self.library.midi_parser_init(ctypes.byref(self.parser))
        self.library.midi_init(self.midi, ctypes.byref(self.config))

    def _emit(self, _, event):
        got = event.contents
        assert got.frame == 0
        kind = KINDS[got.kind]
        self.events.append((kind, got.channel, got.key, got.a, *([got.b] if kind == "BLEND" else [])))

    def _tell(self, _, message):
        got = message.contents
        self.told.append((got.status, bytes(got.sysex[:got.sysex_bytes])) if got.sysex else (got.status, *got.data))

    def send(self, *data):
        """The events that these bytes make."""
        self.events, self.told = [], []
        receive = ctypes.cast(self.library.midi_receive, ctypes.c_void_p)
        self.library.midi_parser_bytes(ctypes.byref(self.parser), bytes(data), len(data), receive, self.midi)
        return self.events

    def cc(self, channel, *pairs):
        """Controllers and their values, by turns."""
        return self.send(0xB0 | channel, *pairs)

    def rpn(self, channel, number, *data):
        """Selects a registered parameter, enters one or two bytes, and selects none."""
        entered = [byte for pair in zip((6, 38), data, strict=False) for byte in pair]
        return self.cc(channel, 101, 0, 100, number, *entered, 101, 127, 100, 127)

    def bend(self, channel, value):
        """value -8192..8191; the semitones that each channel hears then."""
        raw = value + 8192
        events = self.send(0xE0 | channel, raw & 127, raw >> 7)
        assert {event[0] for event in events} == {"BEND"}
        return {event[1]: event[3] for event in events}

    def sysex(self, *data):
        return self.send(0xF0, *data, 0xF7)

    def map(self, controller, parameter, low=0.0, high=1.0, exponential=False):
        self.library.midi_map(self.midi, controller, Target(parameter, exponential, low, high))

    def zones(self):
        """Members of both zones, as the pressure of their managers shows them."""
        heard = [{event[1] for event in self.send(0xD0 | manager, 0)} - {manager} for manager in (0, 15)]
        assert heard[0] == set(range(1, 1 + len(heard[0])))
        assert heard[1] == set(range(15 - len(heard[1]), 15))
        return len(heard[0]), len(heard[1])


def near(value):
    return pytest.approx(value, abs=1e-5)


def kinds_of(events):
    return {event[0] for event in events}


# --- messages of a channel

def test_notes_have_a_velocity_and_none_is_a_note_off():
    box = Box()
    assert box.send(0x93, 60, 127, 61, 1, 60, 0, 0x83, 61, 64) == [
        ("NOTE_ON", 3, 60, 1.0), ("NOTE_ON", 3, 61, near(1 / 127)), ("NOTE_OFF", 3, 60, 0.0), ("NOTE_OFF", 3, 61, 0.0)]


@pytest.mark.parametrize(("data", "event"), [
    ((0xA5, 60, 127), ("KEY_PRESSURE", 5, 60, 1.0)), ((0xD5, 64), ("PRESSURE", 5, 0, 64 / 127)),
    ((0xB5, 1, 127), ("MOD_WHEEL", 5, 0, 1.0)), ((0xB5, 11, 32), ("EXPRESSION", 5, 0, 32 / 127)),
    ((0xB5, 64, 127), ("SUSTAIN", 5, 0, 1.0)), ((0xB5, 66, 64), ("SOSTENUTO", 5, 0, 64 / 127)),
    ((0xB5, 67, 0), ("SOFT", 5, 0, 0.0)), ((0xB5, 120, 0), ("ALL_SOUND_OFF", 5, 0, 0.0)),
    ((0xB5, 123, 0), ("ALL_NOTES_OFF", 5, 0, 0.0)), ((0xB5, 124, 0), ("ALL_NOTES_OFF", 5, 0, 0.0)),
    ((0xB5, 125, 0), ("ALL_NOTES_OFF", 5, 0, 0.0)),
])
def test_a_message_to_a_channel_is_one_event(data, event):
    assert Box().send(*data) == [pytest.approx(event, abs=1e-5)]


def test_a_pedal_is_down_from_64_on():
    box = Box()
    assert [box.cc(0, 64, value)[0][3] >= 0.5 for value in (0, 63, 64, 127)] == [False, False, True, True]


def test_mono_and_poly_end_the_notes_and_set_the_mode():
    box = Box(mode=Target(MODE, False, 0, 2))
    assert box.cc(2, 126, 1) == [("ALL_NOTES_OFF", 2, 0, 0.0), ("PARAMETER", 2, MODE, 2.0)]
    assert box.cc(2, 127, 0) == [("ALL_NOTES_OFF", 2, 0, 0.0), ("PARAMETER", 2, MODE, 0.0)]
    assert Box(mode=Target(NONE, False, 0, 1)).cc(2, 126, 1) == [("ALL_NOTES_OFF", 2, 0, 0.0)]


def test_what_mido_writes_is_what_the_engine_gets():
    box, rng = Box(), np.random.default_rng(3)
    for _ in range(2_000):
        channel, note, value = (int(rng.integers(16)), int(rng.integers(128)), int(rng.integers(128)))
        pitch = int(rng.integers(-8192, 8192))
        message, event = [
            (mido.Message("note_on", channel=channel, note=note, velocity=value),
             ("NOTE_ON" if value else "NOTE_OFF", channel, note, value / 127)),
            (mido.Message("note_off", channel=channel, note=note), ("NOTE_OFF", channel, note, 0)),
            (mido.Message("polytouch", channel=channel, note=note, value=value),
             ("KEY_PRESSURE", channel, note, value / 127)),
            (mido.Message("aftertouch", channel=channel, value=value), ("PRESSURE", channel, 0, value / 127)),
            (mido.Message("pitchwheel", channel=channel, pitch=pitch), ("BEND", channel, 0, pitch / 8192 * 2)),
        ][rng.integers(5)]
        assert box.send(*message.bytes()) == [pytest.approx(event, abs=1e-6)]


# --- bend and registered parameters

def test_the_wheel_bends_two_semitones_until_told_otherwise():
    box = Box()
    assert box.bend(4, 0) == {4: 0.0}
    assert box.bend(4, -8192) == {4: -2.0}
    assert box.bend(4, 4096) == {4: 1.0}
    assert box.bend(4, 8191) == {4: near(2 * 8191 / 8192)}


def test_the_range_is_semitones_and_cents_of_one_channel():
    box = Box()
    box.rpn(4, 0, 7, 50)
    assert box.bend(4, -8192) == {4: near(-7.5)}
    assert box.bend(5, -8192) == {5: near(-2)}
    box.rpn(4, 0, 12)  # the coarse byte clears the fine one
    assert box.bend(4, -8192) == {4: near(-12)}
    assert box.rpn(4, 0, 24) == [("BEND", 4, 0, near(-24))]  # a wheel that is turned hears it at once
    box.rpn(4, 0, 127, 127)
    assert box.bend(4, -8192) == {4: near(-96)}
    assert box.bend(4, -4096) == {4: near(-48)}
    box.rpn(4, 0, 0, 0)
    assert box.bend(4, -8192) == {4: 0.0}


def test_increment_and_decrement_step_the_cents_of_the_range():
    box = Box()
    box.bend(0, -8192)
    box.cc(0, 101, 0, 100, 0)
    assert box.cc(0, 97, 0) == [("BEND", 0, 0, near(-1.99))]
    assert box.cc(0, 96, 0, 96, 0) == [("BEND", 0, 0, near(-2)), ("BEND", 0, 0, near(-2.01))]


def test_data_goes_nowhere_without_a_registered_parameter():
    for select in ((), (101, 127, 100, 127), (101, 0, 100, 0, 101, 127, 100, 127), (99, 0, 98, 0),
                   (101, 0, 100, 0, 99, 0), (101, 0, 100, 0, 98, 0), (100, 0), (101, 0), (101, 0, 100, 9),
                   (101, 1, 100, 0), (99, 0, 98, 0, 101, 0), (101, 0, 100, 3), (101, 0, 100, 4)):
        box = Box()
        assert box.cc(0, *select, 6, 12, 38, 1, 96, 0, 97, 0) == [], select
        assert box.bend(0, -8192) == {0: -2.0}
    box = Box()
    assert box.cc(0, 99, 0, 98, 0, 101, 0, 100, 0, 6, 12) == [("BEND", 0, 0, 0.0)]
    assert box.cc(1, 6, 12) == []  # selected on another channel


def test_a_parameter_stays_selected():
    box = Box()
    box.bend(0, -8192)
    box.cc(0, 101, 0, 100, 0, 6, 5)
    assert box.cc(0, 6, 6) == [("BEND", 0, 0, near(-6))]
    assert box.cc(0, 38, 25) == [("BEND", 0, 0, near(-6.25))]


def test_tuning_moves_the_channel_and_adds_to_the_wheel():
    box = Box()
    assert box.rpn(7, 2, 64 + 5) == [("BEND", 7, 0, near(5))]
    assert box.rpn(7, 1, 96, 0)[-1] == ("BEND", 7, 0, near(5.5))
    assert box.rpn(7, 1, 0, 0)[-1] == ("BEND", 7, 0, near(4))
    assert box.rpn(7, 1, 127, 127)[-1] == ("BEND", 7, 0, near(5 + 8191 / 8192))
    box.rpn(7, 1, 64)  # the coarse byte clears the fine one
    assert box.bend(7, -8192) == {7: near(3)}
    assert box.bend(6, -8192) == {6: near(-2)}
    box.cc(7, 101, 0, 100, 2)
    assert box.cc(7, 96, 0)[0][3] == near(4)


def test_reset_all_controllers_does_what_rp_015_says():
    box = Box()
    box.map(7, VOLUME)
    box.rpn(3, 0, 12)
    box.rpn(3, 2, 70)
    box.bend(3, 8191)
    box.cc(3, 7, 20, 64, 127, 66, 127, 67, 127, 1, 127, 11, 5, 101, 0, 100, 0)
    box.send(0xD3, 99)
    events = box.cc(3, 121, 0)
    assert {event[0]: event[3] for event in events} == {
        "SUSTAIN": 0, "SOSTENUTO": 0, "SOFT": 0, "MOD_WHEEL": 0, "PRESSURE": 0, "EXPRESSION": 1, "TIMBRE": 0.5,
        "BEND": near(6)}  # the wheel is back, the tuning stays; there is no volume and no pan among them
    assert {event[1] for event in events} == {3}
    assert len(events) == 8
    assert box.cc(3, 6, 1) == []  # no parameter is selected
    assert box.bend(3, -8192) == {3: near(6 - 12)}


# --- controllers that set parameters

def test_a_mapped_controller_sets_its_parameter_in_its_range():
    box = Box()
    box.map(71, 21, -10, 30)
    box.map(74, CUTOFF_HZ, 20, 20_000, exponential=True)
    box.map(75, 4, 1, 0)
    assert box.cc(2, 71, 0) == [("PARAMETER", 2, 21, -10.0)]
    assert box.cc(2, 71, 127) == [("PARAMETER", 2, 21, 30.0)]
    assert box.cc(2, 71, 64) == [("PARAMETER", 2, 21, near(-10 + 40 * 64 / 127))]
    assert box.cc(2, 75, 127, 75, 0) == [("PARAMETER", 2, 4, 0.0), ("PARAMETER", 2, 4, 1.0)]
    for value in (0, 1, 64, 126, 127):
        assert box.cc(2, 74, value)[0][3] == pytest.approx(20 * 1000 ** (value / 127), rel=1e-5)
        assert 20 <= box.events[0][3] <= 20_000
    assert box.cc(2, 72, 5) == []
    box.map(70, 3, 0.1234567, 0.7654321)
    assert [event[3] for event in box.cc(2, 70, 0, 70, 127)] == pytest.approx([0.1234567, 0.7654321], rel=1e-5)
    box.map(71, NONE)
    assert box.cc(2, 71, 5) == []


def test_a_mapped_controller_leaves_its_own_meaning_but_not_what_the_rest_hangs_on():
    box = Box()
    for controller in range(128):
        box.map(controller, 9)
    made = {controller: kinds_of(box.cc(0, controller, 1)) for controller in range(128)}
    fixed = {controller for controller in range(128) if made[controller] != {"PARAMETER"}}
    assert fixed == {6, 38, *range(96, 102), *range(120, 128)}


@pytest.mark.parametrize("target", [(9, math.nan, 1), (9, 0, math.nan), (9, -math.inf, 1), (9, 0, 1e30),
                                    (9, 0, 1, True), (9, -1, 1, True)])
def test_a_target_that_is_no_range_changes_nothing(target):
    box = Box()
    box.map(70, 8, 0, 2)
    box.map(70, *target)
    assert box.cc(0, 70, 127) == [("PARAMETER", 0, 8, 2.0)]
    for controller in (-1, 128, 1 << 20):
        box.map(controller, 8)


def test_a_target_changes_as_a_whole_while_messages_come():
    box, done = Box(), threading.Event()

    def turn():
        while not done.is_set():
            box.map(70, 1, 1, 2)
            box.map(70, 2, -64, -32)

    other = threading.Thread(target=turn)
    box.map(70, 1, 1, 2)
    other.start()
    heard, until = set(), time.monotonic() + 10
    while len(heard) < 4 and time.monotonic() < until:
        heard |= {(event[2], event[3]) for event in box.send(0xB0, *[70, 0, 70, 127] * 400)}
    done.set()
    other.join()
    assert heard == {(1, 1.0), (1, 2.0), (2, -64.0), (2, -32.0)}


def test_the_blend_keeps_the_coordinate_that_is_not_turned():
    box = Box()
    assert box.cc(3, 16, 127) == [("BLEND", 0, 0, 1.0, 0.5)]
    assert box.cc(4, 17, 0) == [("BLEND", 0, 0, 1.0, 0.0)]
    box.library.midi_set_blend(box.midi, 0.25, 2.0)
    assert box.cc(4, 17, 127) == [("BLEND", 0, 0, 0.25, 1.0)]
    box.library.midi_set_blend(box.midi, 0.75, math.nan)
    assert box.cc(4, 16, 127) == [("BLEND", 0, 0, 1.0, 1.0)]
    box = Box(blend_x_cc=20, blend_y_cc=21)
    assert box.cc(0, 16, 127, 17, 127) == []
    assert box.cc(0, 21, 127) == [("BLEND", 0, 0, 0.5, 1.0)]


# --- the host's business

@pytest.mark.parametrize("data", [(0xC3, 5), (0xF8,), (0xFA,), (0xFB,), (0xFC,), (0xFE,), (0xFF,), (0xF1, 3),
                                  (0xF2, 1, 2), (0xF3, 4), (0xF6,), (0xB3, 0, 1), (0xB3, 32, 1), (0xB3, 122, 0),
                                  (0xB3, 50, 1)])
def test_what_the_engine_does_not_need_goes_to_the_host_as_it_is(data):
    box = Box()
    assert box.send(*data) == []
    assert box.told == [(*data, 0, 0)[:3]]


def test_the_host_sees_every_controller_and_sysex_that_is_not_understood():
    box = Box()
    box.cc(1, 64, 127, 101, 0, 6, 2)
    assert box.told == [(0xB1, 64, 127), (0xB1, 101, 0), (0xB1, 6, 2)]
    for body in ((), (0x43, 1, 2), (0x7E, 0x7F, 6, 1), (0x7F, 0x7F, 8, 2, 0, 1, 60), (0x7E, 0x7F, 8, 2, 0, 0)):
        assert box.sysex(*body) == []
        assert box.told == [(0xF0, bytes(body))]
    box.send(0x90, 60, 1, 0xE0, 0, 0, 0xD0, 1, 0xA0, 1, 1)
    assert box.told == []


def test_neither_callback_has_to_be_there():
    box = Box(emit=EMIT(), host=DELIVER())
    assert box.send(0x90, 60, 1, 0xF8, 0xC0, 1, 0xB0, 121, 0) == []


def test_a_message_that_is_none_is_ignored():
    box = Box()
    for status, first, second in ((0, 1, 2), (0x7F, 1, 2), (0xF0, 0, 0)):
        message = Message(status, (ctypes.c_uint8 * 2)(first, second), 100, None)
        box.library.midi_receive(box.midi, ctypes.byref(message))
    assert box.events == []
    body = (ctypes.c_uint8 * 9)(0x7F, 0x7F, 8, 2, 0, 1, 188, 60, 0)
    for count in (-1, 8, 9):
        box.library.midi_receive(box.midi, ctypes.byref(Message(0xF0, (ctypes.c_uint8 * 2)(), count, body)))
    body = (ctypes.c_uint8 * 10)(0x7F, 0x7F, 8, 2, 0, 1, 188, 60, 0, 0)
    box.library.midi_receive(box.midi, ctypes.byref(Message(0xF0, (ctypes.c_uint8 * 2)(), 10, body)))
    assert box.events == []
    box.library.midi_receive(box.midi, ctypes.byref(Message(0x90, (ctypes.c_uint8 * 2)(188, 255), 0, None)))
    assert box.events == [("NOTE_ON", 0, 60, 1.0)]


# --- MPE (RP-053); channels are counted from 0 here, from 1 in the specification

@pytest.mark.parametrize(("messages", "zones"), [
    ([], (0, 0)),
    ([(0, 7)], (7, 0)), ([(0, 15)], (15, 0)), ([(15, 15)], (0, 15)),
    ([(0, 7), (15, 7)], (7, 7)),                # both, with no channel left over
    ([(0, 10), (15, 4)], (10, 4)),
    ([(0, 10), (15, 7)], (7, 7)),               # the later message takes what it names from the earlier zone
    ([(15, 7), (0, 10)], (10, 4)),
    ([(0, 5), (15, 14)], (0, 14)), ([(15, 5), (0, 14)], (14, 0)), ([(15, 5), (0, 15)], (15, 0)),
    ([(0, 15), (15, 3)], (11, 3)),              # the upper manager was a member of the lower zone
    ([(0, 7), (15, 7), (0, 0)], (0, 7)), ([(0, 7), (15, 7), (15, 0)], (7, 0)), ([(0, 7), (0, 0)], (0, 0)),
    ([(0, 7), (0, 3)], (3, 0)), ([(15, 15), (0, 0)], (0, 15)),
    ([(0, 7), (3, 5), (14, 2)], (7, 0)),        # only managers configure
    ([(0, 7), (0, 16)], (7, 0)), ([(0, 127)], (0, 0)),
])
def test_the_configuration_message_makes_zones(messages, zones):
    box = Box()
    for manager, members in messages:
        box.rpn(manager, 6, members)
    assert box.zones() == zones


def test_a_zone_starts_with_the_ranges_of_the_specification():
    box = Box()
    box.rpn(0, 0, 12)
    box.rpn(3, 0, 12)
    box.rpn(0, 6, 7)
    assert box.bend(3, -4096) == {3: near(-24)}
    assert box.bend(0, 8191)[0] == near(2 * 8191 / 8192)
    assert box.bend(8, -8192) == {8: near(-2)}  # the first that is no member
    assert box.bend(15, -8192) == {15: near(-2)}
    box.rpn(3, 0, 24)
    box.rpn(0, 0, 7)
    box.rpn(0, 6, 7)  # again: the ranges are the specification's again
    box.bend(0, 0)
    assert box.bend(3, -8192) == {3: near(-48)}


def test_a_members_bend_adds_to_its_managers():
    box = Box()
    box.rpn(15, 6, 4)
    assert box.bend(12, 1024) == {12: near(6)}
    assert box.bend(15, -4096) == {11: near(-1), 12: near(5), 13: near(-1), 14: near(-1), 15: near(-1)}
    assert box.bend(12, -1024) == {12: near(-7)}
    assert box.bend(2, 4096) == {2: near(1)}
    box.rpn(15, 0, 96)
    box.rpn(12, 0, 96)
    box.bend(12, -8192)
    assert box.bend(15, -8192)[12] == -96.0


def test_the_range_of_one_member_is_that_of_all_and_not_their_managers():
    box = Box()
    box.rpn(0, 6, 5)
    box.rpn(15, 6, 3)
    box.rpn(4, 0, 24)
    for channel in range(1, 6):
        assert box.bend(channel, -8192) == {channel: near(-24)}
    assert box.bend(0, -8192)[0] == near(-2)
    assert box.bend(13, -8192) == {13: near(-48)}
    assert box.bend(7, -8192) == {7: near(-2)}
    box.rpn(0, 0, 12)
    box.bend(0, 0)
    assert box.bend(2, -8192) == {2: near(-24)}
    assert box.bend(0, -8192)[0] == near(-12)


def test_what_a_manager_says_holds_for_its_zone():
    box = Box()
    box.rpn(0, 6, 3)
    for controller, kind in ((64, "SUSTAIN"), (66, "SOSTENUTO"), (67, "SOFT"), (1, "MOD_WHEEL"), (11, "EXPRESSION")):
        assert box.cc(0, controller, 127) == [(kind, channel, 0, 1.0) for channel in range(4)]
    assert box.send(0xD0, 127) == [("PRESSURE", channel, 0, 1.0) for channel in range(4)]
    assert box.cc(0, 120, 0) == [("ALL_SOUND_OFF", channel, 0, 0.0) for channel in range(4)]
    assert box.cc(0, 123, 0) == [("ALL_NOTES_OFF", channel, 0, 0.0) for channel in range(4)]
    assert box.cc(2, 120, 0) == [("ALL_SOUND_OFF", 2, 0, 0.0)]
    assert box.cc(0, 126, 0) == [("ALL_NOTES_OFF", channel, 0, 0.0) for channel in range(4)]  # and stays polyphonic
    assert box.send(0x90, 60, 127) == [("NOTE_ON", 0, 60, 1.0)]  # a manager's own notes are allowed


def test_a_members_value_is_joined_with_its_managers():
    box = Box()
    box.rpn(0, 6, 2)
    box.send(0xD1, 100)
    assert box.send(0xD0, 50) == [("PRESSURE", 0, 0, near(50 / 127)), ("PRESSURE", 1, 0, near(100 / 127)),
                                  ("PRESSURE", 2, 0, near(50 / 127))]
    box.cc(1, 11, 64)
    assert [event[3] for event in box.cc(0, 11, 64)] == [near(64 / 127), near((64 / 127) ** 2), near(64 / 127)]
    box.cc(1, 74, 127)
    assert [event[3] for event in box.cc(0, 74, 0)] == [0.0, near(0.5), 0.0]
    assert [event[3] for event in box.cc(0, 74, 127)] == [1.0, 1.0, 1.0]
    box.cc(0, 64, 127)
    assert box.cc(1, 64, 0) == [("SUSTAIN", 1, 0, 1.0)]


def test_controller_74_is_timbre_in_a_zone_alone():
    box = Box()
    box.map(74, CUTOFF_HZ, 0, 1)
    assert box.cc(1, 74, 127) == [("PARAMETER", 1, CUTOFF_HZ, 1.0)]
    box.rpn(0, 6, 2)
    assert box.cc(1, 74, 127) == [("TIMBRE", 1, 0, 1.0)]
    assert box.cc(3, 74, 127) == [("PARAMETER", 3, CUTOFF_HZ, 1.0)]
    assert [event[:2] for event in box.cc(0, 74, 127)] == [("TIMBRE", 0), ("TIMBRE", 1), ("TIMBRE", 2)]
    assert Box().cc(1, 74, 127) == []


def test_channels_that_enter_or_leave_a_zone_end_their_notes_and_rest():
    box = Box()
    for channel in CHANNELS:
        box.cc(channel, 64, 127, 11, 3)
        box.bend(channel, 8191)
    events = box.rpn(0, 6, 3)
    assert [event[1] for event in events if event[0] == "ALL_NOTES_OFF"] == [0, 1, 2, 3]
    before_the_end = events[:next(at for at, event in enumerate(events) if event[0] == "ALL_NOTES_OFF")]
    assert ("SUSTAIN", 0, 0, 0.0) in before_the_end
    last = {event[:2]: event[3] for event in events}
    for channel in range(4):
        assert [last[kind, channel] for kind in ("SUSTAIN", "EXPRESSION", "TIMBRE", "BEND", "PRESSURE")] == [
            0, 1, 0.5, 0, 0]
    assert not any(channel > 3 for _, channel in last)

    events = box.rpn(0, 6, 5)  # those that stay go on
    assert [event[1] for event in events if event[0] == "ALL_NOTES_OFF"] == [4, 5]
    events = box.rpn(0, 6, 5)
    assert kinds_of(events) == {"BEND"}
    events = box.rpn(15, 6, 11)  # takes 4 and 5, and all up to 15
    assert [event[1] for event in events if event[0] == "ALL_NOTES_OFF"] == list(range(4, 16))
    events = box.rpn(0, 6, 0)
    assert [event[1] for event in events if event[0] == "ALL_NOTES_OFF"] == [0, 1, 2, 3]
    assert box.bend(2, -8192) == {2: near(-2)}


def test_a_managers_reset_is_its_zones():
    box = Box()
    box.rpn(0, 6, 2)
    box.bend(1, 4096)
    box.bend(0, 4096)
    box.cc(1, 11, 3, 74, 127)
    events = box.cc(0, 121, 0)
    assert {event[1] for event in events} == {0, 1, 2}
    last = {event[:2]: event[3] for event in events}
    assert [last["BEND", channel] for channel in range(3)] == [0, 0, 0]
    assert [last["EXPRESSION", channel] for channel in range(3)] == [1, 1, 1]
    assert [last["TIMBRE", channel] for channel in range(3)] == [0.5, 1, 0.5]  # RP-015 leaves the sound controllers
    assert box.bend(1, -8192) == {1: near(-48)}
    assert {event[1] for event in box.cc(1, 121, 0)} == {1}


def test_a_zone_can_be_set_without_a_message():
    box = Box()
    for zone, members in ((LOWER, 4), (UPPER, 3), (2, 5), (-1, 5), (LOWER, 16), (UPPER, -1)):
        box.library.midi_set_zone(box.midi, zone, members)
    assert box.zones() == (4, 3)


# --- tuning, volume and reset by SysEx

def tuned(events):
    assert kinds_of(events) <= {"TUNE_KEY"}
    return {event[2]: event[3] for event in events}


@pytest.mark.parametrize(("frequency", "hz"), [
    ((0x00, 0x00, 0x00), 8.1758), ((0x3C, 0x00, 0x00), 261.6256), ((0x45, 0x00, 0x00), 440.0),
    ((0x45, 0x00, 0x01), 440.0016), ((0x78, 0x00, 0x00), 8372.0181), ((0x78, 0x00, 0x01), 8372.0476),
    ((0x7F, 0x00, 0x00), 12543.8539),
])
def test_single_notes_take_the_frequencies_of_the_tuning_standards_table(frequency, hz):
    for key in (0, 60, 127):
        offset = tuned(Box().sysex(0x7F, 0x7F, 8, 2, 0, 1, key, *frequency))[key]
        assert 440 * 2 ** ((key + offset - 69) / 12) == pytest.approx(hz, rel=1e-6)


def test_single_notes_come_in_three_messages_and_many_at_once():
    box = Box()
    notes = (60, 61, 0x40, 0, 61, 127, 127, 127, 62, 62, 0, 0)  # a half up; no change; none
    for head in ((0x7F, 0x7F, 8, 2, 0), (0x7F, 0x7F, 8, 7, 3, 9), (0x7E, 0x7F, 8, 7, 3, 9), (0x7F, 0, 8, 2, 0)):
        assert tuned(box.sysex(*head, 3, *notes)) == {60: near(1.5), 62: 0.0}
        assert box.told == []
    every = [byte for key in range(127) for byte in (key, 127 - key, 0, 0)]
    assert tuned(box.sysex(0x7E, 0x7F, 8, 7, 0, 0, 127, *every)) == {key: 127 - 2 * key for key in range(127)}


@pytest.mark.parametrize("body", [
    (0x7F, 0x7F, 8, 2, 0), (0x7F, 0x7F, 8, 2, 0, 2, 60, 60, 0, 0), (0x7F, 0x7F, 8, 2, 0, 1, 60, 60, 0, 0, 0),
    (0x7F, 0x7F, 8, 7, 0, 0), (0x7F, 0x05, 8, 2, 0, 1, 60, 61, 0, 0), (0x7F, 0x7F, 8, 8, 3, 127, 127, *[64] * 11),
    (0x7F, 0x7F, 8, 9, 3, 127, 127, *[64] * 12), (0x7F, 0x7F, 4, 1, 5), (0x7F, 0x7F, 4, 1, 5, 5, 5), (0x7E, 0x7F, 9),
    (0x7E, 0x7F, 9, 2), (0x7E, 0x05, 9, 1), (0x7F, 0x7F, 9, 1), (0x7E, 0x7F, 4, 1, 5, 5),
])
def test_sysex_of_a_wrong_length_device_or_kind_does_nothing(body):
    box = Box(device_id=4)
    assert box.sysex(*body) == []
    assert box.told == [(0xF0, bytes(body))]


@pytest.mark.parametrize("universal", [0x7E, 0x7F])
def test_an_octave_is_tuned_in_all_octaves(universal):
    cents = [-64, 0, 63, 1, -1, 10, -10, 50, -50, 2, 3, 4]
    expected = {key: near(cents[key % 12] / 100) for key in range(128)}
    box = Box()
    assert tuned(box.sysex(universal, 0x7F, 8, 8, 3, 127, 127, *(64 + value for value in cents))) == expected
    raw = [0, 8192, 16383, 4096, 12288, 8193, 8191, 1, 2, 3, 4, 5]
    expected = {key: near((raw[key % 12] - 8192) / 8192) for key in range(128)}
    two = [byte for value in raw for byte in (value >> 7, value & 127)]
    assert tuned(box.sysex(universal, 0x7F, 8, 9, 3, 127, 127, *two)) == expected


@pytest.mark.parametrize(("mask", "meant"), [((0, 0, 1), True), ((1, 0, 0), True), ((0, 64, 0), True),
                                             ((0, 0, 0), False), ((0x7C, 0, 0), False)])
def test_an_octave_for_any_channel_is_for_the_instrument(mask, meant):
    box = Box()
    assert bool(box.sysex(0x7F, 0x7F, 8, 8, *mask, *[65] * 12)) == meant


def test_the_master_volume_has_14_bits():
    box = Box()
    assert box.sysex(0x7F, 0x7F, 4, 1, 127, 127) == [("PARAMETER", 0, VOLUME, 1.0)]
    assert box.sysex(0x7F, 0x7F, 4, 1, 0, 64) == [("PARAMETER", 0, VOLUME, near(8192 / 16383))]
    assert Box(volume=Target(NONE, False, 0, 1)).sysex(0x7F, 0x7F, 4, 1, 0, 64) == []
    assert Box(volume=Target(VOLUME, False, 0, math.nan)).sysex(0x7F, 0x7F, 4, 1, 0, 64) == []


@pytest.mark.parametrize("which", [1, 3])
def test_general_midi_on_is_the_state_of_power_on(which):
    box = Box(device_id=4)
    box.sysex(0x7F, 0x7F, 8, 2, 0, 2, 60, 61, 0, 0, 70, 70, 0, 0)
    for channel in CHANNELS:
        box.rpn(channel, 0, 12)
        box.rpn(channel, 2, 70)
        box.cc(channel, 64, 127, 11, 3, 101, 0, 100, 0)
    events = box.sysex(0x7E, 4, 9, which)
    assert events[:16] == [("ALL_SOUND_OFF", channel, 0, 0.0) for channel in CHANNELS]
    last = {event[:3]: event[3] for event in events}
    at_rest = {"SUSTAIN": 0, "SOSTENUTO": 0, "SOFT": 0, "MOD_WHEEL": 0, "PRESSURE": 0, "EXPRESSION": 1, "TIMBRE": 0.5,
               "BEND": 0, "ALL_SOUND_OFF": 0}
    assert last == {(kind, channel, 0): value for kind, value in at_rest.items() for channel in CHANNELS} | {
        ("TUNE_KEY", 0, 60): 0}  # a key that no message tuned keeps the scale that it has
    assert len(events) == len(last)
    assert box.cc(3, 6, 1) == []
    assert box.bend(3, -8192) == {3: near(-2)}


def test_general_midi_on_leaves_zones_to_their_own_message():
    box = Box()
    box.rpn(0, 6, 5)
    box.rpn(1, 0, 7)
    box.sysex(0x7E, 0x7F, 9, 1)
    assert box.zones() == (5, 0)
    assert box.bend(1, -8192) == {1: near(-48)}


# --- storms

STORM = Path(__file__).with_name("midi_storm.c")
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


def storm(folder, compiler, flags, count, seed):
    program = folder / f"storm-{compiler}"
    sources = [STORM, ENGINE / "midi.c", ENGINE / "midi_parser.c"]
    subprocess.run([compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", *flags, f"-I{ENGINE}", "-o", program,
                    *sources, "-lm"], check=True)
    done = subprocess.run([program, str(count), str(seed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def test_a_million_bytes_of_garbage_make_events_in_range_and_trip_no_sanitizer(tmp_path):
    storm(tmp_path, COMPILERS[0], SANITIZED, 1_000_000, 1)


@pytest.mark.full
def test_ten_million_bytes_of_garbage_do_so_too_and_the_same_by_any_compiler(tmp_path):
    assert storm(tmp_path, COMPILERS[0], SANITIZED, 10_000_000, 2)
    assert len({storm(tmp_path, compiler, ["-O2"], 10_000_000, 3) for compiler in COMPILERS}) == 1
