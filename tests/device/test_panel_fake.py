"""The fake panel: scripts become events by the rules of the real one."""

import itertools
import random
import time
from pathlib import Path

import pytest

from device.errors import TetradError
from device.panel.controls import Controls
from device.panel.display import View, draw
from device.panel.events import Ended, KnobMoved, Light, Pressed, Turned
from device.panel.fake import FakePanel
from device.panel.script import read_script

DOCS = Path(__file__).parents[2] / "docs" / "panel.md"
POLL_S = 0.005


@pytest.fixture
def play(tmp_path):
    """Plays a script: (time, event) of everything polled in `until_s`."""

    def run(text, until_s, poll_s=POLL_S, seed=0):
        script = tmp_path / "hands.txt"
        script.write_text(text)
        now = [1_000.0]
        panel = FakePanel(script, clock=lambda: now[0], seed=seed)
        told = []
        while now[0] <= 1_000 + until_s:
            told += [(now[0] - 1_000, event) for event in panel.poll()]
            now[0] += poll_s
        return told

    return run


def of(told, kind):
    return [event for _, event in told if isinstance(event, kind)]


def test_without_a_script_nothing_happens():
    now = [0.0]
    panel = FakePanel(clock=lambda: now[0])
    for _ in range(1_000):
        assert panel.poll() == []
        now[0] += POLL_S
    assert panel.problems() == []


def test_a_knob_stands_where_it_is_put_and_nowhere_else(play):
    told = play("0.5 x 0.75\n", 3.0)
    assert {event.name for event in of(told, KnobMoved)} == {"x"}
    assert told[0] == (pytest.approx(0.0225, abs=0.003), KnobMoved("x", pytest.approx(0.5, abs=0.01)))
    assert told[-1][1] == KnobMoved("x", pytest.approx(0.75, abs=0.01))
    assert 0.5 < told[-1][0] < 0.7


def test_a_knob_turned_over_half_a_second_takes_that_long(play):
    told = play("1.0 y 0.0 over 0.5\n2.0 y 1.0", 4.0)
    values = of(told, KnobMoved)
    assert values[-1] == KnobMoved("y", 1.0)
    assert KnobMoved("y", 0.0) in values
    between = [(time_s, event.value) for time_s, event in told if 1.0 < time_s < 1.6]
    assert len(between) > 40
    for time_s, value in between:
        assert value == pytest.approx(max(0.5 - (time_s - 1.0), 0), abs=0.03)


def test_detents_are_counted_each_slow_one_a_step(play):
    told = play("0.1 corner0 +3\n0.1 corner3 -5\n", 1.0)
    assert of(told, Turned).count(Turned(0, 1)) == 3
    assert of(told, Turned).count(Turned(3, -1)) == 5
    assert len(told) == 8


def test_a_quick_turn_counts_more(play):
    quick = of(play("0.1 corner1 +24 over 0.3", 1.0), Turned)
    assert sum(event.steps for event in quick) > 80
    assert all(event.encoder == 1 and event.steps > 0 for event in quick)


def test_presses_are_short_or_long(play):
    told = play("0.5 corner1 press\n1 corner2 hold 1.5\n2 shutdown hold 2.5\n4.6 shutdown hold 1.5\n", 7.0)
    assert told == [(pytest.approx(0.62, abs=0.011), Pressed("corner1", False)),
                    (pytest.approx(1.8, abs=0.011), Pressed("corner2", True)),
                    (pytest.approx(4.0, abs=0.011), Pressed("shutdown", True)),
                    (pytest.approx(6.12, abs=0.011), Pressed("shutdown", False))]


def test_the_end_asks_once(play):
    told = play("0.2 x 0.1\n0.5 end", 2.0)
    assert of(told, Ended) == [Ended()]
    assert told[-1] == (pytest.approx(0.5, abs=0.006), Ended())


def test_a_box_that_polls_seldom_misses_nothing(play):
    script = "0.1 corner0 +3\n0.5 corner1 press\n0.6 corner2 press\n0.7 x 0.2\n2 end"
    told = [event for _, event in play(script, 3.0, poll_s=0.7)]
    assert {type(event) for event in told} == {Turned, Pressed, KnobMoved, Ended}
    assert sum(event.steps for event in told if isinstance(event, Turned)) == 3
    assert [event.button for event in told if isinstance(event, Pressed)] == ["corner1", "corner2"]
    assert told[-1] == Ended()


@pytest.fixture
def told(monkeypatch):
    """What a fake's controls are fed with: (control, what)."""
    told = []

    class Told(Controls):
        def knob(self, name, reading):
            told.append((name, reading))

        def encoder(self, number, levels, now_s, edge=None):
            told.append((number, levels))

        def button(self, name, closed, now_s):
            told.append((name, closed))

    monkeypatch.setattr("device.panel.fake.Controls", Told)
    return told


def test_its_readings_are_noisy_and_its_contacts_bounce(told, play):
    play("0 x 0.5\n1 corner0 +1\n2 corner1 press", 20.0)
    readings = [what for control, what in told if control == "x"]
    assert len(readings) == pytest.approx(4_000, abs=2)
    near = [reading for reading in readings if abs(reading - 511) <= 2]
    assert set(near) == set(range(509, 514))
    assert 0.99 < len(near) / len(readings) < 1  # the others are spikes
    for control in (0, "corner1"):
        contacts = [what for which, what in told if which == control]
        changes = sum(before != after for before, after in itertools.pairwise(contacts))
        assert changes == {0: 4, "corner1": 2}[control] * 7


def test_a_box_that_slept_for_an_hour_reads_on_from_now(told, play):
    play("0 x 0.5", 7_200, poll_s=3_600)
    assert len(told) <= 3 * 201


def test_the_same_seed_gives_the_same_events(play):
    script = "0.1 x 0.9 over 0.5\n0.3 corner0 +9\n"
    assert play(script, 2.0) == play(script, 2.0)
    assert play(script, 2.0) != play(script, 2.0, seed=1)


def test_a_poll_takes_less_than_a_millisecond(tmp_path):
    script = tmp_path / "all.txt"
    script.write_text("\n".join(f"0 {name} 1 over 5" for name in ("x", "y", "attack", "decay", "sustain", "release",
                                                                   "filter", "volume")) + "\n0 corner0 +90 over 5")
    now = [0.0]
    panel = FakePanel(script, clock=lambda: now[0])
    spent_s = []
    for _ in range(500):
        now[0] += POLL_S
        began_s = time.perf_counter()
        panel.poll()
        spent_s.append(time.perf_counter() - began_s)
    assert sorted(spent_s)[len(spent_s) // 2] < 0.001


def test_what_it_would_show_is_kept():
    panel, view = FakePanel(), View("First", x=0.1)
    panel.show(view)
    panel.light(Light.BUSY)
    assert panel.picture().tobytes() == draw(view).tobytes()
    assert panel.lamp is Light.BUSY
    panel.close()
    assert panel.picture().getbbox() is None
    assert panel.lamp is Light.OFF


@pytest.mark.parametrize(("light", "starts_lit", "changes"), [
    (Light.OFF, False, 0), (Light.READY, True, 0), (Light.BUSY, True, 7), (Light.FAULT, True, 31),
    (Light.STOPPING, True, 7)])
def test_the_lamp_blinks_slow_when_busy_and_fast_at_a_fault(light, starts_lit, changes):
    lit = [light.lit(n / 1_000) for n in range(4_000)]
    assert lit[0] is starts_lit
    assert sum(a != b for a, b in itertools.pairwise(lit)) == changes


@pytest.mark.parametrize(("text", "line"), [
    ("0.5 x", "line 1: say where x is turned to, such as `0.5 x 0.5`"),
    ("\n# a\n0.5 z 0.1", "line 3: there is no control 'z'; there are x, y, attack, decay, sustain, release, filter, "
                         "volume, corner0 to corner3, shutdown and end"),
    ("x 0.5", "line 1: the time, 'x', is no number"),
    ("0.5", "line 1: say `time_s control value`, such as `0.5 x 0.75`"),
    ("nan x 0.5", "line 1: the time is not a number from 0 to 86400"),
    ("-1 x 0.5", "line 1: the time is not a number from 0 to 86400"),
    ("1 x 1.5", "line 1: what x is turned to is not a number from 0 to 1"),
    ("1 x a", "line 1: what x is turned to, 'a', is no number"),
    ("1 x 0.5 within 2", "line 1: 'within 2' is not understood: say `over 0.5` or nothing"),
    ("1 x 0.5 over -2", "line 1: how long it takes is not a number from 0 to 86400"),
    ("1 x 0.5\n0.5 y 0.5", "line 2: 0.5 s is before the line above, 1 s"),
    ("1 x 0.5 over 2\n2 x 0.1", "line 2: x is still moving until 3 s"),
    ("1 corner0 +3\n1.1 corner0 -3", "line 2: corner0 is still moving until 1.24 s"),
    ("1 end\n2 x 0.5", "line 2: nothing comes behind `end`"),
    ("1 corner0 3", "line 1: '3' is nothing that corner0 does: say press, hold 2.5, or a number of detents such as +3"),
    ("1 corner0", "line 1: '' is nothing that corner0 does: say press, hold 2.5, or a number of detents such "
                  "as +3"),
    ("1 corner0 +2000", "line 1: the number of detents is not a number from -1000 to 1000"),
    ("1 corner0 +100 over 0.1", "line 1: 100 detents take 0.2 s at least"),
    ("1 shutdown +3", "line 1: '+3' is nothing that shutdown does: say press, hold 2.5"),
    ("1 shutdown hold", "line 1: 'hold' is nothing that shutdown does: say press, hold 2.5"),
])
def test_a_wrong_script_names_file_and_line(tmp_path, text, line):
    script = tmp_path / "hands.txt"
    script.write_text(text)
    with pytest.raises(TetradError) as error:
        FakePanel(script)
    assert str(error.value) == f"{script}, {line}"


def test_a_script_that_is_not_there_or_no_text_is_an_error(tmp_path):
    with pytest.raises(TetradError, match=r"cannot read .*hands\.txt: No such file"):
        FakePanel(tmp_path / "hands.txt")
    (tmp_path / "hands.txt").write_bytes(b"\xff\xfe0")
    with pytest.raises(TetradError, match="is no text"):
        FakePanel(tmp_path / "hands.txt")


def test_what_the_document_shows_is_a_script(tmp_path, play):
    script = DOCS.read_text().split("```")[1]
    (tmp_path / "shown.txt").write_text(script)
    assert len(read_script(tmp_path / "shown.txt")) >= 7
    assert of(play(script, 10.0), Ended) == [Ended()]


def test_any_words_are_a_script_or_one_line_of_an_error(tmp_path):
    rng = random.Random(7)
    words = ["0", "1", "1e9", "nan", "inf", "-1", "+3", "-0", "x", "volume", "corner0", "corner9", "shutdown", "press",
             "hold", "over", "end", "#", "²", "٣", "+٣", "\t", "0x1", "1_0", "ä", "\x00", "\x85"]
    script, fine = tmp_path / "hands.txt", 0
    for _ in range(1_000):
        text = "\n".join(" ".join(rng.choices(words, k=rng.randint(0, 5))) for _ in range(rng.randint(0, 3)))
        script.write_text(text)
        try:
            FakePanel(script).poll()
            said = f"{script}, line 0"
        except TetradError as error:
            said = str(error)
        fine += said.endswith("line 0")
        assert said.startswith(f"{script}, line ")
        assert said.isprintable()
    assert fine > 20
