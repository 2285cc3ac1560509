"""The self-test's checks of the panel: each fault has a line of its own, and a good panel has none."""

import random
import time

import pytest
from panel_parts import Header, Mcp3008, Ssd1306, emptied, install
from self_testing import LONG_S, PANEL, QUIET, Answers, at, clicked, hands, played, run, turned

from device.box import self_test_panel
from device.box.self_test_bench import FAILED, NOT_HERE, OK, SKIPPED, Bench, Probe, wire
from device.panel.encoders import CLOCKWISE
from device.panel.hardware import PiPanel
from device.panel.parts import BUTTONS, ENCODERS, KNOBS, LED, PARTS

TOP_RIGHT = "encoder1 top right"


def failures(found):
    return {part: verdict.text for part, verdict in found.items() if verdict.state == FAILED}


def without(*names):
    return {name: lines for name, lines in hands().items() if name not in names}


def test_a_box_that_is_wired_well_has_nothing_but_ok(tmp_path):
    person = Answers()
    found = played(tmp_path, person=person)
    assert {verdict.state for verdict in found.values()} == {OK}, failures(found)
    assert len(found) == 2 + 8 + 4 + 1 + 1 + 8 + 8 + 1 + 1 + 1
    assert found["knob x turned"].text.startswith("from ")
    assert any(line.startswith("volume") and "to the right" in line for line in person.seen)
    assert str(found[f"{TOP_RIGHT} turned"]) == f"ok        {TOP_RIGHT} turned: right and left"


def test_quick_asks_for_nothing(tmp_path):
    person = Answers()
    found = played(tmp_path, person=person, quick=True)
    assert person.said == []
    assert len(found) == 2 + 1 + 8 + 4 + 1
    assert {verdict.state for verdict in found.values()} == {OK}


def test_what_a_script_does_not_name_is_not_here(tmp_path):
    found = played(tmp_path, without("x", "turn2", "corner2", "shutdown"), patience_s=LONG_S)
    assert {part for part, verdict in found.items() if verdict.state == NOT_HERE} == {
        "knob x at rest", "encoder2 bottom left at rest", "shutdown at rest"}
    assert not failures(found)
    assert "knob x turned" not in found
    assert "shutdown pressed" not in found


def test_every_wire_is_called_as_in_the_table():
    assert wire("encoder1", "A", "C") == "A (GPIO23, header pin 16) and C (GND)"
    assert wire("shutdown") == "1 (GPIO4, header pin 7) and 2 (GND, header pin 9)"
    for part in PARTS:
        assert all(pin.net in wire(part.name) for pin in part.pins)


# --- Knobs.

@pytest.mark.parametrize(("stands", "blamed"), [
    (0.5, "wires of the wiper (KNOB_X) at CH0 (pin 1) of the MCP3008"),
    (0, "pin 3 (3V3) of pot_x is off"), (1, "pin 1 (GND) of pot_x is off")])
def test_a_dead_knob(tmp_path, stands, blamed):
    found = failures(played(tmp_path, hands() | {"x": [f"0 x {stands}"]}))
    assert list(found) == ["knob x turned"]
    assert found["knob x turned"].startswith("no turn was seen, it reads ")
    assert blamed in found["knob x turned"]


def test_two_knobs_that_are_swapped(tmp_path):
    swapped = {"x": turned("y", 0, 1, slot="x"), "y": turned("x", 0, 1, slot="y")}
    found = failures(played(tmp_path, hands() | swapped))
    assert list(found) == ["knob x turned", "knob y turned"]
    assert found["knob x turned"].startswith("y moved instead: the wiper (KNOB_X) at CH0 (pin 1)")
    assert "the wiper (KNOB_Y) at CH1 (pin 2)" in found["knob x turned"]
    assert found["knob x turned"].endswith("are swapped, or the wrong one was turned")
    assert found["knob y turned"].startswith("x moved instead")


def test_a_wrong_knob_is_told_before_the_time_is_over(tmp_path):
    person = Answers()
    played(tmp_path, {"x": ["0 x 0.5"], "y": turned("y", 0, 1, slot="x")}, person, parts=("knob x",))
    assert len(person.seen) * 0.005 < 5  # of six seconds, three of which go by before a hand moves


def test_a_knob_whose_ends_are_swapped(tmp_path):
    found = failures(played(tmp_path, hands() | {"x": turned("x", 1, 0)}))
    assert list(found) == ["knob x turned"]
    assert "turning left came as right: pins 1 (GND) and 3 (3V3) of pot_x are swapped" in found["knob x turned"]


def test_a_knob_that_stands_at_its_right_end_first_is_none_of_them(tmp_path):
    steps = {"x": ["0 x 1", "2 x 0 over 0.5", "5 x 1 over 0.5"]}
    assert not failures(played(tmp_path, steps, parts=("knob x",)))


def test_a_hand_may_be_slow_to_begin(tmp_path):
    steps = {"x": ["0 x 1", "9 x 0 over 0.5", "12 x 1 over 0.5"]}
    assert not failures(played(tmp_path, steps, parts=("knob x",), patience_s=LONG_S))


def test_a_knob_that_was_noisy_at_rest_is_not_said_to_move_along(tmp_path):
    floating = [f"{n * 0.1:.1f} y {0.2 + 0.3 * (n % 2)}" for n in range(60)]
    found = failures(played(tmp_path, {"x": turned("x", 0, 1), "y": floating}, parts=("knob x", "knob y at")))
    assert list(found) == ["knob y at rest"]


def test_a_knob_that_stands_at_its_left_end_need_only_be_turned_right(tmp_path):
    assert not failures(played(tmp_path, {"x": ["0 x 0", "2 x 1 over 0.5"]}, parts=("knob x",)))


def test_a_knob_that_does_not_reach_its_ends(tmp_path):
    found = failures(played(tmp_path, hands() | {"x": turned("x", 0.1, 1)}))
    assert list(found) == ["knob x turned"]
    assert found["knob x turned"].startswith("went from 10")
    assert "not to both ends" in found["knob x turned"]


def test_a_knob_that_breaks_off_while_it_is_turned(tmp_path):
    broken = ["2 x 0 over 0.5", "2.7 x 0.6 over 0.3", "3.1 x 0.1", "3.14 x 0.6", "3.3 x 1 over 0.3"]
    found = failures(played(tmp_path, hands() | {"x": broken}))
    assert list(found) == ["knob x turned"]
    assert found["knob x turned"].startswith("broke off 2 times")


def test_a_knob_that_moves_along(tmp_path):
    along = ["4.05 y 0.2 over 0.4", *turned("y", 0, 1)]
    found = failures(played(tmp_path, hands() | {"y": along}))
    assert list(found) == ["knob x turned"]
    assert found["knob x turned"].startswith("y moved along")


def noisy(probability, size, until_s=1.5):
    rng = random.Random(1)
    return [f"{n * 0.005:.3f} x {0.5 + rng.uniform(-size, size) * (rng.random() < probability):.3f}"
            for n in range(int(until_s / 0.005))]


def test_a_noisy_knob(tmp_path):
    found = failures(played(tmp_path, hands() | {"x": [*noisy(1, 0.015), *turned("x", 0, 1)]}))
    assert list(found) == ["knob x at rest"]
    assert "though nobody turns it" in found["knob x at rest"]


def test_a_knob_with_many_spikes(tmp_path):
    found = failures(played(tmp_path, hands() | {"x": [*noisy(0.2, 0.4), *turned("x", 0, 1)]}))
    assert "readings are far off" in found["knob x at rest"]


# --- Encoders and buttons.

def test_an_encoder_whose_contacts_are_swapped(tmp_path):
    found = failures(played(tmp_path, hands() | {"turn1": clicked(1, -3, 3)}))
    assert found == {f"{TOP_RIGHT} turned": "turning right came as left: A (GPIO23, header pin 16) and B (GPIO24, "
                                            "header pin 18) are swapped"}


def test_two_encoders_that_are_swapped(tmp_path):
    steps = hands() | {"turn0": clicked(3, 3, -3, slot=0), "turn3": clicked(0, 3, -3, slot=3)}
    found = failures(played(tmp_path, steps))
    assert list(found) == ["encoder0 top left turned", "encoder3 bottom right turned"]
    assert found["encoder0 top left turned"].startswith("encoder3 turned instead: A (GPIO17, header pin 11)")
    assert found["encoder0 top left turned"].endswith("are swapped, or the wrong one was turned")


def test_an_encoder_that_nobody_turns(tmp_path):
    found = failures(played(tmp_path, {"turn1": ["500 corner1 +1"]}, parts=("encoder",)))
    assert found == {f"{TOP_RIGHT} turned": "no turn was seen: wires of A (GPIO23, header pin 16), B (GPIO24, header "
                                            "pin 18) and C (GND)"}


@pytest.mark.parametrize("turns", [["2 corner1 +1"], ["2 corner1 +3", "3 corner1 -1"]])
def test_an_encoder_with_too_few_clicks(tmp_path, turns):
    found = failures(played(tmp_path, {"turn1": turns}, parts=("encoder",)))
    assert found == {f"{TOP_RIGHT} turned": "only 1 steps were seen: turn it farther, or a bad joint of A (GPIO23, "
                                            "header pin 16), B (GPIO24, header pin 18) and C (GND)"}


def test_an_encoder_that_only_goes_right(tmp_path):
    found = failures(played(tmp_path, {"turn1": ["2 corner1 +3", "3 corner1 +3"]}, parts=("encoder",)))
    assert found[f"{TOP_RIGHT} turned"].startswith("turning left came as right, too")


def test_clicks_that_go_on_to_the_right_are_no_fault(tmp_path):
    found = played(tmp_path, {"turn1": ["2 corner1 +6", "3.5 corner1 -3"]}, parts=("encoder",))
    assert not failures(found)


def test_a_push_that_nobody_presses(tmp_path):
    found = failures(played(tmp_path, hands() | {"corner1": ["500 corner1 press"]}))
    assert found == {f"{TOP_RIGHT} pressed": "no press was seen: wires of D (GPIO25, header pin 22) and E (GND)"}


def test_a_stuck_button(tmp_path):
    stuck = {"corner1": ["0 corner1 hold 999"], "shutdown": ["0 shutdown hold 999"]}
    found = failures(played(tmp_path, hands() | stuck, patience_s=LONG_S))
    assert found[f"{TOP_RIGHT} at rest"].startswith("pressed though nobody presses it: D (GPIO25, header pin 22)")
    assert found["shutdown at rest"].startswith("pressed though nobody presses it: 1 (GPIO4, header pin 7)")
    assert len(found) == 2


def test_a_push_that_is_another_s(tmp_path):
    steps = hands() | {"corner1": [f"{at('corner1')} corner2 press"],
                       "corner2": [f"{at('corner2')} corner1 press"]}
    found = failures(played(tmp_path, steps))
    assert found[f"{TOP_RIGHT} pressed"] == ("corner2 was pressed instead: D (GPIO25, header pin 22) and D (GPIO13, "
                                            "header pin 33) are swapped, or the wrong one was pressed")
    assert list(found) == [f"{TOP_RIGHT} pressed", "encoder2 bottom left pressed"]


def test_a_push_that_does_not_open(tmp_path):
    found = failures(played(tmp_path, hands() | {"shutdown": [f"{at('shutdown')} shutdown hold 999"]}))
    assert list(found) == []  # a long press is told while it is held
    found = failures(played(tmp_path, {"shutdown": ["5.5 shutdown hold 999"]}, parts=("shutdown",)))
    assert found["shutdown pressed"].startswith("closes, but does not open again")


# --- Who is asked.

def test_who_says_no_is_told_what_to_do(tmp_path):
    found = failures(played(tmp_path, person=Answers({"display": "n", "lamp": "NO"})))
    assert list(found) == ["display picture", "lamp"]
    assert "1 (GPIO26, header pin 37)" in found["lamp"]
    assert "SH1106" in found["display picture"]


def test_who_says_nothing_has_failed_when_the_time_is_over(tmp_path):
    found = failures(played(tmp_path, person=Answers({}), parts=("lamp",)))
    assert found == {"lamp": "nobody answered within 6 s: run it again, or --quick"}


def test_what_is_no_answer_is_asked_again(tmp_path):
    person = Answers({"not 'maybe'": "y", "lamp": "maybe", "display": "y"})
    assert not failures(played(tmp_path, person=person))
    assert any("y or n, not 'maybe'" in text for text in person.said)


def test_enter_skips_a_step_and_fails_nothing(tmp_path):
    person = Answers({"": ""})
    found = played(tmp_path, person=person)
    assert {part for part, verdict in found.items() if verdict.state == SKIPPED} == {
        part for part in found if part.endswith(("picture", "lamp", "turned", "pressed"))}
    assert len([part for part in found if part.endswith(("turned", "pressed"))]) == 8 + 4 + 4 + 1
    assert not failures(found)


def test_the_lamp_blinks_while_it_is_asked_for_and_is_dark_behind(tmp_path, monkeypatch):
    lights = []
    monkeypatch.setattr("device.panel.fake.FakePanel.light", lambda self, state: lights.append(state.name))
    played(tmp_path)
    assert lights == ["BUSY", "OFF"]


# --- The Pi's own panel, with stand-ins for its parts.

@pytest.fixture
def parts(monkeypatch):
    header, converter, display = Header(), Mcp3008(), Ssd1306()
    install(monkeypatch, header, converter, display)
    monkeypatch.setattr(self_test_panel, "REST_S", 0.3)
    return header, converter, display


def on_pi(tmp_path, person=None, quick=True, chosen=PANEL, patience_s=0.5):
    probe = Probe()
    bench = Bench(QUIET, tmp_path, PiPanel(controls=probe), probe, person or Answers(), patience_s=patience_s)
    return run(bench, quick, chosen)


def test_a_pi_that_is_wired_well(parts, tmp_path):
    found = on_pi(tmp_path)
    assert {verdict.state for verdict in found.values()} == {OK}, failures(found)
    assert len(found) == 2 + 1 + 8 + 4 + 1
    assert parts[2].frames > 0


def test_the_display_shows_the_test_picture(parts, tmp_path):
    pictures = []

    def look():
        time.sleep(0.5)  # a picture may be on its way
        pictures.append(parts[2].picture)

    on_pi(tmp_path, Answers({"display": "y"}, {"display": look}), quick=False, chosen=("display",))
    shown = pictures[0]
    assert all(shown.getpixel((column, row)) for column in (0, 127) for row in (0, 30, 55))


def test_a_display_that_is_not_there(parts, tmp_path):
    parts[2].there = False
    began_s = time.monotonic()
    found = failures(on_pi(tmp_path, Answers(), quick=False, chosen=("display",)))
    assert list(found) == ["display"]
    assert "0x3C" in found["display"]
    assert "SCK (GPIO3, header pin 5), SDA (GPIO2, header pin 3)" in found["display"]
    assert time.monotonic() - began_s < self_test_panel.DISPLAY_S / 2


def test_a_converter_that_is_not_there(parts, tmp_path):
    parts[1].there = False
    found = on_pi(tmp_path)
    assert list(failures(found)) == ["converter"]
    assert "DOUT (GPIO9, header pin 21)" in found["converter"].text
    assert not any(part.startswith("knob") for part in found)


def test_bare_system_says_what_to_install(parts, monkeypatch, tmp_path):
    emptied(monkeypatch, "RPi", "RPi.GPIO", "spidev", "luma.oled.device")
    found = failures(on_pi(tmp_path, quick=False))
    assert list(found) == ["display", "pins", "converter"]
    assert all("pip install '.[pi]'" in text for text in found.values())


def test_pins_that_another_program_has(parts, tmp_path):
    parts[0].refused = {24: RuntimeError("GPIO busy"), LED: RuntimeError("GPIO busy"), 4: RuntimeError("GPIO busy")}
    found = failures(on_pi(tmp_path, quick=False, chosen=("pins", "encoder1", "shutdown", "lamp")))
    assert set(found) == {"pins", f"{TOP_RIGHT} at rest", "shutdown at rest", f"{TOP_RIGHT} pressed"}
    assert "stop that" in found["pins"]


@pytest.mark.parametrize(("pin", "name", "net"), [(0, "A", "GPIO23"), (1, "B", "GPIO24")])
def test_a_contact_that_touches_ground(parts, tmp_path, pin, name, net):
    parts[0].levels[ENCODERS[1][pin]] = 0
    found = failures(on_pi(tmp_path))
    assert list(found) == [f"{TOP_RIGHT} at rest"]
    assert found[f"{TOP_RIGHT} at rest"].startswith(f"{name} ({net}, header pin ")


def turning(header, *pins, detents=3, encoder=1, instead=None):
    """Turns an encoder of which these contacts work; one contact may come at another's pin."""
    def turn():
        place = 0
        for _ in range(4 * abs(detents)):
            place = (place + (1 if detents > 0 else -1)) % 4
            for pin, level in zip(ENCODERS[encoder], (CLOCKWISE[place] >> 1, CLOCKWISE[place] & 1), strict=True):
                goes_to = (instead or {}).get(pin, pin)
                if pin in pins and header.levels[goes_to] != level:
                    header.drive(goes_to, level)
            time.sleep(0.015)
    return turn


@pytest.mark.parametrize(("works", "blamed"), [(23, "B (GPIO24, header pin 18) is off"),
                                               (24, "A (GPIO23, header pin 16) is off")])
def test_a_contact_that_is_off(parts, tmp_path, works, blamed):
    person = Answers({}, {"right": turning(parts[0], works)})
    found = failures(on_pi(tmp_path, person, False, ("encoder1 top right t",)))
    assert found == {f"{TOP_RIGHT} turned": f"of its contacts only one changed: {blamed}"}


def test_a_push_that_was_stuck_before_is_not_blamed_for_a_contact(parts, tmp_path):
    parts[0].levels[BUTTONS["corner1"]] = 0
    person = Answers({}, {"right": turning(parts[0], 23)})
    found = failures(on_pi(tmp_path, person, False, ("encoder1 top right t",)))
    assert found[f"{TOP_RIGHT} turned"].endswith("only one changed: B (GPIO24, header pin 18) is off")


def test_a_contact_that_is_swapped_with_the_push(parts, tmp_path):
    act = turning(parts[0], 23, 24, instead={24: BUTTONS["corner1"]})
    found = failures(on_pi(tmp_path, Answers({}, {"right": act}), False, ("encoder1 top right t",)))
    assert found == {f"{TOP_RIGHT} turned": "its push closed while it was turned: B (GPIO24, header pin 18) and D "
                                            "(GPIO25, header pin 22) are swapped"}


def test_contacts_of_two_encoders_that_are_swapped(parts, tmp_path):
    act = turning(parts[0], 23, 24, instead={24: ENCODERS[2][0]})
    found = failures(on_pi(tmp_path, Answers({}, {"right": act}), False, ("encoder1 top right t",)))
    assert found[f"{TOP_RIGHT} turned"].startswith("B (GPIO24, header pin 18) is swapped with one of A (GPIO5")


def test_an_encoder_turns_on_the_pi(parts, tmp_path):
    person = Answers({}, {"right": turning(parts[0], 23, 24), "left": turning(parts[0], 23, 24, detents=-3)})
    found = on_pi(tmp_path, person, False, ("encoder1 top right t",))
    assert found[f"{TOP_RIGHT} turned"].state == OK


def test_the_knobs_keep_their_names(parts, tmp_path):
    parts[1].readings = [100 * n + 50 for n in range(8)]
    found = on_pi(tmp_path)
    for n, name in enumerate(KNOBS):
        assert found[f"knob {name} at rest"].text.startswith(f"stands at {100 * n + 50} of 1023")
