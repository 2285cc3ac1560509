"""What the player's hands do: each control of the panel, and what is read on the display then."""

import pytest

from device.box.hands import SETTLE_S, Choice, Hands, share_of, words
from device.box.midi_map import default_target
from device.box.settings import Knobs, Panel, Settings
from device.box.state import CornerChoice
from device.panel.events import KnobMoved, Pressed, Turned
from device.synth_settings import PARAMETERS, RANGES


class Box:
    """Notes what is done to it."""

    def __init__(self) -> None:
        self.settings = {name: RANGES[name][0] for name in PARAMETERS}
        self.at = (0.5, 0.5)
        self.done: list[tuple] = []
        self.all = ["first", "keys", "mallets"]
        self.playing = "keys"

    def set(self, name, value):
        self.settings[name] = value
        self.done.append(("set", name, value))

    def blend(self, x, y):
        self.at = x, y

    def value(self, name):
        return self.settings[name]

    def point(self):
        return self.at

    def names(self):
        return self.all

    def selected(self):
        return self.playing

    def choices(self):
        return [Choice(name, CornerChoice("p", number)) for number, name in enumerate(("bass", "flute", "organ"))]

    def corners(self):
        return ("flute", "bass", "organ", "bell")

    def choose(self, name):
        self.done.append(("choose", name))

    def choose_corner(self, number, choice):
        self.done.append(("corner", number, choice))

    def save(self):
        self.done.append(("save",))
        return "Saved as keys 2"

    def learn(self, parameter):
        self.done.append(("learn", parameter))

    def panic(self):
        self.done.append(("panic",))

    def power_off(self):
        self.done.append(("off",))

    def about(self):
        return "Tetrad"


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def hands(box) -> Hands:
    hands = Hands(box, Settings(panel=Panel(takeover="jump")))
    hands.placed()
    return hands


def test_the_blend_follows_its_knobs_one_by_one(box, hands):
    hands.take([KnobMoved("x", 0.25)], 1.0)
    hands.take([KnobMoved("y", 0.75)], 1.0)
    assert box.at == (0.25, 0.75)
    assert hands.message(1.0) == ""  # the display shows it anyhow


@pytest.mark.parametrize("knob", ["attack", "decay", "sustain", "release", "volume"])
def test_a_pot_sets_its_setting_from_end_to_end_and_says_so(box, hands, knob):
    parameter = getattr(Knobs(), knob)
    target = default_target(parameter)
    for at, value in ((0.0, target.low), (1.0, target.high)):
        hands.take([KnobMoved(knob, at)], 1.0)
        assert box.settings[parameter] == pytest.approx(value)
    assert hands.message(1.0).startswith(words(parameter))
    assert hands.message(10.0) == ""


def test_the_filter_pot_switches_the_filter_on_for_else_it_would_do_nothing(box, hands):
    hands.take([KnobMoved("filter", 0.5)], 1.0)
    assert box.settings["filter_mode"] == 1
    assert 100 < box.settings["cutoff_hz"] < 5_000
    box.settings["filter_mode"] = 3.0
    hands.take([KnobMoved("filter", 0.6)], 1.0)
    assert box.settings["filter_mode"] == 3


def test_after_another_preset_a_pot_does_nothing_until_it_meets_its_value(box):
    hands = Hands(box, Settings())
    hands.take([KnobMoved("attack", 0.9)], 1.0)
    box.settings["attack_ms"] = default_target("attack_ms").value(0.3 * 127)
    hands.placed()
    box.done.clear()
    hands.take([KnobMoved("attack", 0.7)], 1.0)
    assert box.done == []
    assert hands.message(1.0).endswith(" <")  # which way to turn it
    hands.take([KnobMoved("attack", 0.2)], 1.0)
    assert [what for what, *_ in box.done] == ["set"]
    assert not hands.message(1.0).endswith("<")


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_where_a_knob_stands_is_where_it_would_set_that_value(name):
    target = default_target(name)
    for share in (0.0, 0.3, 1.0):
        value = target.value(share * 127)
        if target.low <= value <= target.high and name not in ("mode", "priority", "filter_mode", "lfo_shape"):
            again = target.value(share_of(target, value) * 127)
            assert again == pytest.approx(value, rel=1e-6, abs=1e-6)
        assert 0 <= share_of(target, value) <= 1


def test_an_encoder_chooses_its_corners_instrument_when_it_has_come_to_rest(box, hands):
    hands.take([Turned(0, 1)], 1.0)
    assert hands.message(1.0) == "organ (p)"  # after the flute that is there
    hands.take([Turned(0, 1)], 1.1)
    hands.take([], 1.1 + SETTLE_S - 0.01)
    assert box.done == []
    hands.take([], 1.1 + SETTLE_S)
    assert box.done == [("corner", 0, CornerChoice("p", 0))]
    hands.take([], 9.0)
    assert len(box.done) == 1


def test_two_encoders_are_two_wishes(box, hands):
    hands.take([Turned(0, -1), Turned(1, 1)], 1.0)
    hands.take([], 2.0)
    assert box.done == [("corner", 0, CornerChoice("p", 0)), ("corner", 1, CornerChoice("p", 1))]


def test_the_list_of_presets_opens_moves_and_loads(box, hands):
    hands.take([Pressed("corner0", False)], 1.0)
    assert hands.menu is not None
    assert (hands.menu.names, hands.menu.selected) == (["first", "keys", "mallets"], 1)
    hands.take([Turned(2, 2)], 1.0)
    assert hands.menu.selected == 0  # round and round
    hands.take([Pressed("corner0", False)], 1.0)
    assert box.done == [("choose", "first")]
    assert hands.menu is None
    hands.take([Pressed("corner0", False), Pressed("corner0", False)], 1.0)
    assert box.done == [("choose", "first")]  # that which plays is not loaded again


@pytest.mark.parametrize(("button", "long", "done", "said"), [
    ("corner1", False, ("learn", "release_ms"), "Move a controller for Release"),
    ("corner2", False, ("save",), "Saved as keys 2"),
    ("corner3", False, ("panic",), "All sound off"),
    ("corner2", True, ("corner", 2, None), "The preset's own"),
    ("shutdown", True, ("off",), ""),
    ("shutdown", False, None, "Tetrad"),
])
def test_buttons(box, hands, button, long, done, said):
    hands.take([KnobMoved("release", 0.5)], 0.0)
    box.done.clear()
    hands.take([Pressed(button, long)], 5.0)
    assert box.done == ([done] if done else [])
    assert hands.message(5.0) == said


@pytest.mark.parametrize(("name", "value", "text"), [
    ("cutoff_hz", 1200.4, "Cutoff 1200 Hz"), ("attack_ms", 2.5, "Attack 2.5 ms"), ("attack_ms", 25.4, "Attack 25 ms"),
    ("sustain", 0.5, "Sustain 0.5"), ("filter_mode", 1.0, "Filter mode low"), ("reverb_decay_s", 2, "Reverb decay 2 s"),
    ("lfo_pitch_cents", 12.0, "LFO pitch 12 cents"), ("lfo_wheel", None, "LFO wheel")])
def test_settings_in_words(name, value, text):
    assert words(name, value) == text


def test_the_volume_is_where_its_knob_is_at_once(box):
    hands = Hands(box, Settings())
    box.settings["volume"] = 1.0
    hands.placed()
    hands.take([KnobMoved("volume", 0.2)], 0.0)
    assert box.settings["volume"] == pytest.approx(0.2)


def test_where_the_blend_was_restored_its_knobs_say_which_way_it_is(box):
    hands = Hands(box, Settings())
    hands.take([KnobMoved("x", 0.9)], 0.0)
    assert box.at[0] == 0.9  # a new box is where its knobs are
    box.at = (0.2, 0.5)
    hands.moved_elsewhere()
    hands.take([KnobMoved("x", 0.8)], 1.0)
    assert box.at == (0.2, 0.5)
    assert hands.message(1.0) == "Blend x <"
    hands.take([KnobMoved("x", 0.1)], 2.0)
    assert box.at[0] == 0.1
