"""Controllers that set the sound: what they span, how they are learnt, and that the engine hears the same numbers."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_midi import PARAMETERS as ENGINE_NAMES
from test_midi import Box
from test_midi import Target as CTarget

from device.box.midi_map import CONTROLLERS, RESERVED, WHOLE, MidiMap, Target, default_target, read_map
from device.errors import TetradError
from device.synth_settings import PARAMETERS, RANGES, WORDS

FREE = sorted(set(range(CONTROLLERS)) - RESERVED)


class Keyboard:
    """What a keyboard was told."""

    def __init__(self):
        self.told = {}

    def map(self, controller, parameter, low=0.0, high=1.0, exponential=False):
        self.told[controller] = (parameter, low, high, exponential)


def moved(mapping, controller, *positions, channel=0):
    return [mapping.hear(channel, controller, position) for position in positions][-1]


# --- what a controller spans

def test_a_setting_is_reached_from_end_to_end_in_useful_steps():
    cutoff, attack = default_target("cutoff_hz"), default_target("attack_ms")
    assert (cutoff.value(0), cutoff.value(127), cutoff.exponential) == (20, pytest.approx(20_000), True)
    assert cutoff.value(64) == pytest.approx(math.sqrt(20 * 20_000), rel=0.05)
    assert (attack.value(0), attack.value(127)) == (1, pytest.approx(10_000))
    assert default_target("resonance").value(127) == default_target("volume").value(127) == 1
    assert default_target("glide_ms") == Target("glide_ms", 0, 2_000)  # it has to reach 0, so it is not exponential


@pytest.mark.parametrize("name", [name for name, (_, least, _) in RANGES.items() if least < 0])
def test_the_middle_of_a_controller_is_the_middle_of_what_goes_both_ways(name):
    target = default_target(name)
    assert target.value(64) == pytest.approx(0, abs=1e-9)
    assert target.value(0) == RANGES[name][1]
    assert target.value(127) > 0.95 * RANGES[name][2]


def test_transposing_goes_by_semitones():
    target = default_target("transpose_semitones")
    assert [round(target.value(position), 9) for position in (0, 52, 63, 64, 65, 127)] == [-48, -12, -1, 0, 1, 48]


@pytest.mark.parametrize(("name", "values"), [("mode", 3), ("priority", 3), ("unison", 8), ("filter_mode", 4),
                                              ("lfo_shape", 4), ("keep_blend", 2)])
def test_each_of_some_choices_has_as_many_positions(name, values):
    target = default_target(name)
    found = [target.value(position) for position in range(128)]
    least = RANGES[name][1]
    assert sorted(found) == found
    assert set(found) == {least + choice for choice in range(values)}
    assert max(map(found.count, found)) - min(map(found.count, found)) <= 1


def test_what_has_words_is_a_whole_number():
    assert set(WORDS) <= set(WHOLE)
    assert default_target("keep_blend").value(63) == 0
    assert default_target("keep_blend").value(64) == 1


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_engine_hears_what_the_host_believes(name):
    target = default_target(name)
    box = Box()
    assert ENGINE_NAMES[PARAMETERS[name]].lower() in (name, f"{name}_level")
    box.library.midi_map(box.midi, 20, CTarget(PARAMETERS[name], target.exponential, target.low, target.high))
    _, least, most = RANGES[name]
    for position in range(128):
        (kind, _, number, value), = box.send(0xB0, 20, position)
        heard = min(max(value, least), most)
        if name in WHOLE:
            heard = math.floor(heard + WHOLE[name])
        assert (kind, number) == ("PARAMETER", PARAMETERS[name])
        assert heard == pytest.approx(target.value(position), rel=2e-5, abs=2e-5 * (most - least))


@pytest.mark.parametrize(("target", "why"), [
    (("cutoff", 0, 1), "there is no setting 'cutoff'; there are attack_ms,"),
    (("cutoff_hz", 0, 1, True), "`low` of cutoff_hz is not above 0"),
    (("cutoff_hz", 1, float("nan")), "`high` of cutoff_hz is not a number"),
    (("cutoff_hz", 1, "2"), "`high` of cutoff_hz is not a number"),
    (("cutoff_hz", 1, 2, 1), "`exponential` of cutoff_hz is neither true nor false")])
def test_a_target_that_the_engine_could_not_follow_is_refused(target, why):
    with pytest.raises(TetradError, match=why):
        Target(*target)


# --- learning

def test_the_next_controller_that_moves_is_learnt():
    mapping = MidiMap()
    mapping.learn("cutoff_hz")
    assert moved(mapping, 21, 64) is None  # it may stand there
    assert moved(mapping, 22, 10) is None
    assert moved(mapping, 21, 65) == default_target("cutoff_hz")
    assert dict(mapping) == {21: default_target("cutoff_hz")}
    assert mapping.learning is None
    assert moved(mapping, 22, 11) is None
    assert len(mapping) == 1


def test_a_controller_that_was_seen_before_is_learnt_by_one_message():
    mapping = MidiMap()
    moved(mapping, 21, 64)
    mapping.learn("cutoff_hz")
    assert moved(mapping, 21, 64) is None
    assert moved(mapping, 21, 99, channel=3) is None  # another knob
    assert moved(mapping, 21, 63) is not None


@pytest.mark.parametrize("controller", [0, 32, 6, 38, 64, 65, 66, 67, 96, 98, 99, 100, 101, 120, 121, 123, 127])
def test_what_has_a_duty_in_midi_and_pedals_are_not_learnt(controller):
    mapping = MidiMap()
    mapping.learn("cutoff_hz")
    assert moved(mapping, controller, 0, 127, 0, 127) is None
    assert mapping.learning == "cutoff_hz"


def test_the_second_byte_of_a_fine_controller_is_not_learnt_but_one_that_stands_alone_is():
    mapping = MidiMap()
    mapping.learn("cutoff_hz")
    assert moved(mapping, 7, 100) is None
    assert moved(mapping, 39, 1, 2, 3) is None
    assert moved(mapping, 7, 101) is not None
    mapping.learn("resonance")
    assert moved(mapping, 40, 1, 2) is not None  # there was no controller 8
    assert sorted(mapping) == [7, 40]


def test_a_controller_that_is_busy_is_not_learnt_nor_its_second_byte():
    mapping = MidiMap()
    mapping.learn("cutoff_hz")
    assert [mapping.hear(0, 16, position, busy=True) for position in (1, 2)] == [None, None]
    assert moved(mapping, 48, 1, 2) is None


def test_a_setting_has_one_controller_and_a_controller_one_setting():
    mapping = MidiMap()
    for name, controller in (("cutoff_hz", 21), ("cutoff_hz", 22), ("resonance", 22)):
        mapping.learn(name)
        moved(mapping, controller, 1, 2)
    assert {controller: target.parameter for controller, target in mapping.items()} == {22: "resonance"}
    mapping.forget("cutoff_hz")
    mapping.forget("resonance")
    assert not mapping


def test_learning_can_be_left():
    mapping = MidiMap()
    mapping.learn("cutoff_hz")
    mapping.stop_learning()
    assert moved(mapping, 21, 1, 2) is None
    with pytest.raises(TetradError, match="there is no setting 'x'"):
        mapping.learn("x")


def test_a_pedal_may_be_chosen_deliberately_but_no_bank_select():
    mapping = MidiMap()
    mapping.assign(64, default_target("resonance"))
    assert 64 in mapping
    for controller in sorted(RESERVED):
        with pytest.raises(TetradError, match="has a duty of its own"):
            mapping.assign(controller, default_target("resonance"))
    with pytest.raises(TetradError, match="a controller is not"):
        mapping.assign(128, default_target("resonance"))
    assert dict(mapping) == {64: default_target("resonance")}


# --- keyboards and files

def test_a_keyboard_is_told_all_of_it_and_forgets_the_rest():
    keyboard = Keyboard()
    mapping = MidiMap({21: Target("cutoff_hz", 100, 200, True), 22: Target("resonance", 1, 0)})
    mapping.apply(keyboard)
    assert keyboard.told.pop(21) == (PARAMETERS["cutoff_hz"], 100, 200, True)
    assert keyboard.told.pop(22) == (PARAMETERS["resonance"], 1, 0, False)
    assert len(keyboard.told) == 126
    assert {told[0] for told in keyboard.told.values()} == {None}


targets = st.one_of(
    st.builds(default_target, st.sampled_from(sorted(PARAMETERS))),
    st.builds(Target, st.sampled_from(sorted(PARAMETERS)), st.floats(1e-3, 1e6), st.floats(1e-3, 1e6), st.booleans()),
    st.builds(Target, st.sampled_from(sorted(PARAMETERS)), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)))
maps = st.dictionaries(st.sampled_from(FREE), targets, max_size=20).map(MidiMap)


@settings(deadline=None)
@given(maps)
def test_any_map_comes_back_from_json(mapping):
    assert read_map(json.loads(json.dumps(mapping.to_json())), "it") == mapping


@given(st.sampled_from(sorted(PARAMETERS)), st.floats(1e-3, 1e6), st.floats(-1e6, 1e6), st.integers(0, 127))
def test_a_value_is_in_the_engines_range(name, low, high, position):
    target = Target(name, low, high, high > 1e-3)
    assert RANGES[name][1] <= target.value(position) <= RANGES[name][2]


@pytest.mark.parametrize(("value", "why"), [
    ([], "it is not an object"), ({"x": {}}, "it: 'x' is no controller's number"), ({"٣": {}}, "'٣' is no controller"),
    ({"1" * 5_000: {}}, "no controller's number"), ({"200": default_target("mode").__dict__}, "a controller is not"),
    ({"7": {"parameter": "mode"}}, "it: controller 7 lacks `low`"), ({"7": None}, "it: controller 7 is not an object"),
    ({"7": {"parameter": [], "low": 0, "high": 1, "exponential": False}}, "it: there is no setting"),
    ({"0": default_target("mode").__dict__}, "it: controller 0 has a duty")])
def test_what_is_no_map_is_refused_in_a_line(value, why):
    with pytest.raises(TetradError, match=why):
        read_map(value, "it")
