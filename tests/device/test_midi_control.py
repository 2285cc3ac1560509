"""What the box does with MIDI beside playing it: programs, blends, controllers, keys; and as the engine does it."""

import os
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import as_table, constant, engine_of

from device import _engine
from device.box.held_keys import Key
from device.box.midi_map import MidiMap, Target, default_target

alsa = pytest.importorskip("device._alsa", reason="needs ALSA's headers: libasound2-dev")

from device.box.midi_control import (  # noqa: E402
    BlendMoved,
    ChoosePreset,
    Learned,
    MidiControl,
    ParameterMoved,
    Plugged,
    Tempo,
    Unplugged,
)

OWN = {0xB0, 0xC0}  # statuses that are copied as the host's own, as those from 0xf0 on


def control(mapping=None, **options):
    return MidiControl(MidiMap() if mapping is None else mapping, **options)


def send(to, *messages, now_ns=0):
    """The actions for messages as lists of bytes."""
    polled = [(now_ns, alsa.HOST if data[0] >= 0xF0 or data[0] & 0xF0 in OWN else alsa.MESSAGE, bytes(data))
              for data in messages]
    return to.take(polled, now_ns)


def keys(to):
    return [key.key for key in to.held()]


# --- programs

def test_a_program_change_chooses_a_preset():
    assert send(control(), [0xC0, 0], [0xC9, 127]) == [ChoosePreset(0), ChoosePreset(127)]


def test_a_bank_counts_from_the_next_program_on_and_on_its_channel():
    to = control()
    assert send(to, [0xB2, 0, 1], [0xB2, 32, 3]) == []
    assert send(to, [0xC3, 5], [0xC2, 5]) == [ChoosePreset(5), ChoosePreset(128 * (128 + 3) + 5)]
    assert send(to, [0xB2, 0, 0], [0xC2, 5]) == [ChoosePreset(128 * 3 + 5)]
    assert send(to, [0xB2, 32, 0], [0xC2, 5]) == [ChoosePreset(5)]
    assert send(to, [0xB2, 0, 127], [0xB2, 32, 127], [0xC2, 127]) == [ChoosePreset(128 * 16_384 - 1)]


def test_program_changes_may_be_left_alone():
    assert send(control(programs=False), [0xC0, 3]) == []


# --- the blend

def test_the_blend_by_midi_moves_one_coordinate():
    to = control()
    assert send(to, [0xB0, 16, 127]) == [BlendMoved(1, 0.5)]
    assert send(to, [0xB5, 17, 0]) == [BlendMoved(1, 0)]
    to.set_blend(0.25, 0.75)
    assert send(to, [0xB0, 17, 127]) == [BlendMoved(0.25, 1)]


def test_other_controllers_may_move_the_blend():
    to = control(blend_ccs=(20, 74))
    assert send(to, [0xB0, 16, 127], [0xB0, 20, 127], [0xB0, 74, 127]) == [BlendMoved(1, 0.5), BlendMoved(1, 1)]


# --- settings

def test_a_mapped_controller_moves_its_setting():
    to = control(MidiMap({21: Target("cutoff_hz", 100, 10_000, True), 7: Target("volume", 0, 1)}))
    assert send(to, [0xB4, 21, 0], [0xB0, 7, 127]) == [ParameterMoved("cutoff_hz", 100), ParameterMoved("volume", 1)]
    assert send(to, [0xB0, 22, 5]) == []


def test_what_is_mapped_has_no_other_duty():
    to = control(MidiMap({16: default_target("resonance"), 64: default_target("volume")}))
    assert send(to, [0xB0, 16, 127], [0xB0, 64, 127]) == [ParameterMoved("resonance", 1), ParameterMoved("volume", 1)]
    send(to, [0x90, 60, 100], [0x80, 60, 0])
    assert keys(to) == []


def test_mono_poly_and_master_volume_are_told():
    to = control()
    assert send(to, [0xB0, 126, 1]) == [ParameterMoved("mode", 1)]
    assert send(to, [0xB0, 127, 0]) == [ParameterMoved("mode", 0)]
    assert send(to, [0xF0, 0x7F, 0x7F, 4, 1, 0, 0x40, 0xF7]) == [ParameterMoved("volume", pytest.approx(0.5, abs=1e-3))]


def test_a_learnt_controller_is_told_and_moves_from_the_next_message_on():
    to = control()
    to.map.learn("resonance")
    assert send(to, [0xB0, 16, 1], [0xB0, 16, 2]) == [BlendMoved(1 / 127, 0.5), BlendMoved(2 / 127, 0.5)]
    assert send(to, [0xB0, 21, 1], [0xB0, 21, 2], [0xB0, 21, 127]) == [Learned("resonance", 21),
                                                                       ParameterMoved("resonance", 1)]


def test_a_blend_controller_that_is_mapped_may_be_learnt_anew():
    to = control(MidiMap({16: default_target("resonance")}))
    to.map.learn("volume")
    assert send(to, [0xB0, 16, 0], [0xB0, 16, 127])[2:] == [Learned("volume", 16)]


def test_a_keys_third_dimension_is_no_controller():
    to = control(MidiMap({74: default_target("resonance")}))
    assert send(to, [0xB1, 74, 127]) == [ParameterMoved("resonance", 1)]
    to.set_zone(alsa.LOWER, 4)
    to.map.learn("volume")
    assert send(to, [0xB1, 74, 127], [0xB1, 74, 1], [0xB0, 74, 0], [0xB0, 74, 9]) == []
    assert send(to, [0xB5, 74, 0]) == [ParameterMoved("resonance", 0)]
    assert send(to, [0xB5, 74, 127]) == [ParameterMoved("resonance", 1), Learned("volume", 74)]
    send(to, [0xB0, 6, 0])  # data for no parameter
    assert send(to, [0xB1, 74, 127]) == []
    to.set_zone(alsa.LOWER, 0)
    to.set_zone(alsa.UPPER, 3)
    assert send(to, [0xBE, 74, 127], [0xBF, 74, 127]) == []
    assert send(to, [0xB0, 74, 0], [0xB1, 74, 127]) == [ParameterMoved("volume", 0), ParameterMoved("volume", 1)]
    to.set_zone(alsa.UPPER, 0)
    assert send(to, [0xBE, 74, 127]) == [ParameterMoved("volume", 1)]


# --- keys

def test_held_keys_come_latest_first_with_velocity_and_channel():
    to = control()
    assert send(to, [0x90, 60, 100], [0x91, 64, 1], [0x90, 67, 127], [0x80, 64, 9]) == []  # another channel's
    assert to.held() == [Key(67, 127, 0), Key(64, 1, 1), Key(60, 100, 0)]
    send(to, [0x91, 64, 0], [0x90, 60, 90])
    assert to.held() == [Key(60, 90, 0), Key(67, 127, 0)]
    send(to, [0x80, 60, 0], [0x80, 67, 0])
    assert to.held() == []


def test_the_sustain_pedal_holds_keys():
    to = control()
    send(to, [0x90, 60, 100], [0xB0, 64, 127], [0x90, 62, 100], [0x80, 60, 0], [0x80, 62, 0], [0x91, 64, 9],
         [0x81, 64, 0])  # the last on another channel
    assert keys(to) == [62, 60]
    send(to, [0x90, 62, 100], [0xB0, 64, 63])
    assert keys(to) == [62]


def test_sostenuto_holds_what_is_down_when_it_is_pressed():
    to = control()
    send(to, [0x90, 60, 100], [0xB0, 66, 127], [0x90, 62, 100], [0xB0, 66, 100], [0x80, 60, 0], [0x80, 62, 0])
    assert keys(to) == [60]
    send(to, [0xB0, 66, 0])
    assert keys(to) == []


@pytest.mark.parametrize(("controller", "left", "later"), [(120, [], []), (121, [62], [62]), (123, [62, 60], []),
                                                           (124, [62, 60], []), (126, [62, 60], [])])
def test_modes_end_a_channels_notes(controller, left, later):
    """All sound off ends all; reset lifts the pedal, which the other modes leave to hold what fingers held."""
    to = control()
    send(to, [0x91, 70, 1], [0x90, 60, 100], [0xB0, 64, 127], [0x80, 60, 0], [0x90, 62, 100])
    send(to, [0xB0, controller, 0])
    assert keys(to) == [*left, 70]
    send(to, [0xB0, 64, 0])
    assert keys(to) == [*later, 70]


def test_a_zones_pedal_and_modes_are_its_managers():
    to = control()
    to.set_zone(alsa.LOWER, 3)
    send(to, [0x91, 60, 100], [0x92, 62, 100], [0x95, 70, 1], [0xB0, 64, 127], [0x81, 60, 0], [0x85, 70, 0])
    assert keys(to) == [62, 60]
    send(to, [0xB0, 120, 0])
    assert keys(to) == []


def test_a_system_reset_ends_all():
    to = control()
    send(to, [0x90, 60, 100], [0x9F, 62, 100], [0xB0, 64, 127], [0xF0, 0x7E, 0x7F, 9, 1, 0xF7])
    assert keys(to) == []
    send(to, [0x90, 60, 100], [0x80, 60, 0])
    assert keys(to) == []


def test_recent_keys_are_the_last_sixteen_each_once():
    to = control()
    send(to, *[[0x90, key, 9] for key in range(40, 60)], [0x92, 50, 7], [0x90, 41, 0])
    assert [key.key for key in to.recent()] == [50, *(key for key in range(59, 43, -1) if key != 50)]
    assert to.recent()[0] == Key(50, 7, 2)


def test_what_was_lost_is_not_held():
    to = control()
    send(to, [0x90, 60, 100], [0xB0, 64, 127])
    to.forget_held()
    assert to.held() == []
    assert to.recent() == [Key(60, 100, 0)]


# --- plugs and clocks

def test_ports_that_come_and_go_are_told():
    to = control()
    assert to.take([(1, alsa.PLUGGED, b"Keys: 1"), (2, alsa.UNPLUGGED, b"\xffK")], 3) == [Plugged("Keys: 1"),
                                                                                            Unplugged("\ufffdK")]


def tick(to, beats, bpm=120, start_ns=0):
    period_ns = 60e9 / bpm / 24
    found = []
    for number in range(beats * 24):
        now_ns = round(start_ns + number * period_ns)
        found += send(to, [0xF8], now_ns=now_ns)
    return found


def test_a_clock_gives_the_tempo_and_silence_takes_it_back():
    to = control()
    assert tick(to, 4) == [Tempo(pytest.approx(120))]
    assert to.take([], 2_900_000_000) == []
    assert to.take([], 3_100_000_000) == [Tempo(None)]
    assert to.take([], 4_100_000_000) == []


def test_the_clock_may_be_left_alone():
    to = control(clock=False)
    assert tick(to, 4) == []
    assert to.take([], 10**12) == []


# --- as the engine does it

def test_random_playing_leaves_held_what_the_engine_sounds():
    """An engine whose notes go on for ever and end at once has as many voices as there are keys held."""
    table = as_table(60, constant([[0.5] * 2] * 2)[None], 16_000, 16_000)  # it goes round for ever
    engine = engine_of([table], parameters={_engine.RELEASE_MS: 1.0, _engine.ATTACK_MS: 1.0}, polyphony=256)
    rng, midi, to = np.random.default_rng(1), _engine.Midi(), control()
    out = np.empty((480, 2), np.float32)
    most = 0
    for step in range(1_500):
        channel = int(rng.integers(0, 3))
        data = [(0x90 | channel, int(rng.integers(40, 46)), int(rng.integers(0, 128))),
                (0x80 | channel, int(rng.integers(40, 46)), 0),
                (0xB0 | channel, int(rng.choice([64, 64, 66])), int(rng.integers(0, 128))),
                (0xB0 | channel, int(rng.choice([120, 121, 123])), 0)][rng.choice(4, p=[0.5, 0.3, 0.17, 0.03])]
        send(to, data)
        for event in midi.receive(bytes(data)):
            engine.send(0, *event)
        for _ in range(3):
            engine.render(out)
        assert engine.meters()["voices"] == len(to.held()), step
        most = max(most, len(to.held()))
    assert most > 12


message = st.one_of(
    st.tuples(st.integers(0x80, 0xBF) | st.integers(0xE0, 0xEF), st.integers(0, 127), st.integers(0, 127)),
    st.tuples(st.integers(0xC0, 0xDF), st.integers(0, 127)), st.tuples(st.integers(0xF4, 0xFF)),
    st.binary(max_size=40).map(lambda data: (0xF0, *(byte & 127 for byte in data), 0xF7)))


@settings(deadline=None)
@given(st.lists(message, max_size=60), st.integers(0, 15))
def test_whatever_is_played_a_panic_ends_it(messages, members):
    to = control(MidiMap({21: default_target("cutoff_hz")}))
    to.set_zone(alsa.LOWER, members)
    to.map.learn("resonance")
    send(to, *messages)
    assert len(to.recent()) <= 16
    assert len(set(to.held())) == len(to.held())
    send(to, *([0xB0 | channel, 120, 0] for channel in range(16)))
    assert to.held() == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(-1, 5), st.binary(max_size=8)), max_size=30))
def test_nothing_that_is_polled_stops_the_box(polled):
    to = control()
    to.take(polled, 0)
    to.held()


def polled_until(over, keyboard, to):
    """The actions until it is over, or for 5 s."""
    found, until_s = [], time.monotonic() + 5
    while not over(found) and time.monotonic() < until_s:
        found += to.take(keyboard.poll(), time.monotonic_ns())
        time.sleep(0.005)
    return found


def test_the_keyboard_itself_does_as_the_map_and_its_copies_say():
    engine = _engine.Engine()
    card = alsa.Card(engine)
    card.start(None, priority=0, lock_memory=False)
    keyboard = alsa.Keyboard(card)
    reads, writes = os.pipe()
    keyboard.start(connect=False, din_fd=reads, priority=0)
    mapping = MidiMap({21: default_target("filter_mode"), 64: default_target("attack_ms")})
    mapping.apply(keyboard)
    to = control(mapping)
    try:
        os.write(writes, bytes([0x90, 60, 100, 62, 90, 0xB0, 21, 127, 16, 127, 0xC0, 4, 0xF8, 0x80, 62, 0]))
        found = polled_until(lambda found: ChoosePreset(4) in found and len(to.held()) == 1, keyboard, to)
        assert found == [Plugged("DIN"), ParameterMoved("filter_mode", 3), BlendMoved(1, 0.5), ChoosePreset(4)]
        assert to.held() == [Key(60, 100, 0)]
        os.close(writes)  # the cable is pulled out
        assert polled_until(lambda found: found != [], keyboard, to) == [Unplugged("DIN")]
        assert to.held() == []
    finally:
        keyboard.stop()
        card.stop()
        os.close(reads)
