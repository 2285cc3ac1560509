"""Knobs through noise, spikes and at their ends; soft takeover."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.panel.controls import READ_PERIOD_S, Controls
from device.panel.knobs import CAUGHT, END_READINGS, FULL_SCALE, Knob, Takeover

SETTLED = 60  # readings, 0.3 s


def noisy(rng, reading, spikes=0.0):
    if rng.random() < spikes:
        return rng.randint(0, FULL_SCALE)
    return min(max(round(reading) + rng.randint(-2, 2), 0), FULL_SCALE)


def values(knob, readings):
    return [value for value in map(knob.feed, readings) if value is not None]


def turned(rng, knob, start, end, count):
    return values(knob, (noisy(rng, start + (end - start) * n / count) for n in range(count + 1)))


def test_a_knob_at_rest_says_nothing_whatever_noise_and_spikes():
    rng = random.Random(1)
    for _ in range(40):
        knob, place = Knob(), rng.uniform(0, FULL_SCALE)
        turned(rng, knob, rng.uniform(0, FULL_SCALE), place, 60)
        values(knob, (noisy(rng, place) for _ in range(SETTLED)))
        assert values(knob, (noisy(rng, place, spikes=0.002) for _ in range(5_000))) == []


def test_noise_of_two_readings_moves_no_knob_at_rest_however_it_comes():
    rng = random.Random(8)
    for place in range(20, 1_000, 7):
        for start in (place - 15, place + 15):
            knob = Knob()
            values(knob, [start] * SETTLED + [place + rng.choice((-2, 2))] * SETTLED)
            for _ in range(20):
                assert values(knob, [place + rng.randint(-2, 2)] * rng.randint(1, 60)) == []


def test_two_spikes_in_a_row_are_not_seen():
    knob = Knob()
    values(knob, [500] * SETTLED)
    for spike in (0, FULL_SCALE):
        assert values(knob, [500, spike, spike, 500, 500, 500, 500, 500]) == []


def test_a_knob_tells_first_where_it_stands():
    assert values(Knob(), [FULL_SCALE // 2] * SETTLED) == [pytest.approx(0.5, abs=0.001)]


@pytest.mark.parametrize("short", [0, 5, 10])
def test_the_ends_are_reached_exactly_though_the_pot_stops_short(short):
    rng = random.Random(short)
    for count in (1, 40, 400, 4_000):  # a jump to 20 s a turn
        knob = Knob()
        values(knob, [512] * SETTLED)
        found = turned(rng, knob, 512, short, count) + values(knob, (noisy(rng, short) for _ in range(SETTLED)))
        assert found[-1] == 0.0
        assert turned(rng, knob, short, FULL_SCALE - short, count) + values(
            knob, (noisy(rng, FULL_SCALE - short) for _ in range(SETTLED))) != []
        assert knob.value == 1.0


def test_an_end_is_reached_from_just_beside_it():
    rng = random.Random(2)
    for beside in range(END_READINGS, END_READINGS + 6):
        knob = Knob()
        values(knob, (noisy(rng, beside) for _ in range(SETTLED)))
        values(knob, (noisy(rng, 10) for _ in range(SETTLED)))
        assert knob.value == 0.0


def test_a_fast_turn_arrives_within_30_ms():
    rng = random.Random(3)
    for _ in range(200):
        start, end = rng.uniform(0, FULL_SCALE), rng.uniform(0, FULL_SCALE)
        knob = Knob()
        values(knob, (noisy(rng, start) for _ in range(SETTLED)))
        readings = [noisy(rng, end) for _ in range(int(0.030 / READ_PERIOD_S))]
        values(knob, readings)
        true = min(max((end - END_READINGS) / (FULL_SCALE - 2 * END_READINGS), 0), 1)
        assert knob.value == pytest.approx(true, abs=0.01)


def test_a_turn_has_nine_bits_and_never_goes_back():
    rng = random.Random(4)
    for direction in (1, -1):
        knob = Knob()
        count = 2_000  # 10 s
        found = turned(rng, knob, *((0, FULL_SCALE)[::direction]), count)
        assert len(set(found)) >= 500
        assert found == sorted(found, reverse=direction < 0)
        assert max(abs(b - a) for a, b in itertools.pairwise(found)) < 1 / 100


def test_the_least_turn_of_seven_bits_is_told():
    rng = random.Random(5)
    for place in range(100, 900, 50):
        knob = Knob()
        values(knob, (noisy(rng, place) for _ in range(SETTLED)))
        before = knob.value
        values(knob, (noisy(rng, place + 8) for _ in range(SETTLED)))
        assert knob.value - before == pytest.approx(8 / FULL_SCALE, abs=4.6 / FULL_SCALE)


def test_a_poll_has_only_the_newest_value_of_a_knob():
    controls = Controls()
    for reading in range(0, 1_000, 10):
        controls.knob("filter", reading)
        controls.knob("y", reading)
    events = controls.take(0)
    assert [event.name for event in events] == ["filter", "y"]
    assert events[0].value > 0.9


def test_a_value_that_moved_is_the_knobs_again_once_passed():
    over = Takeover()
    assert over.move("attack", 0.2) == 0.2  # nothing was placed
    over.place("attack", 0.6)
    assert [over.move("attack", at) for at in (0.3, 0.5, 0.1)] == [None, None, None]
    assert over.turn("attack") == 1
    assert over.move("attack", 0.7) == 0.7  # passed in one step
    assert over.turn("attack") == 0
    assert over.move("attack", 0.3) == 0.3


def test_a_knob_takes_over_from_above_and_where_it_is_near():
    over = Takeover()
    over.move("decay", 0.9)
    over.place("decay", 0.5)
    assert over.turn("decay") == -1
    assert over.move("decay", 0.5 + 1.5 * CAUGHT) is None
    assert over.move("decay", 0.5 + 0.5 * CAUGHT) == 0.5 + 0.5 * CAUGHT


def test_a_value_placed_where_the_knob_stands_is_the_knobs():
    over = Takeover()
    over.move("decay", 0.5)
    over.place("decay", 0.5 + CAUGHT / 2)
    assert over.move("decay", 0.9) == 0.9


def test_a_knob_not_yet_known_does_not_move_a_preset():
    over = Takeover()
    over.place("volume", 0.0)
    assert over.move("volume", 0.9) is None
    over.place("release", 0.5)
    assert over.turn("release") == 0
    assert over.move("release", 0.1) is None
    assert over.move("release", 0.6) == 0.6


def test_knobs_may_jump_instead():
    over = Takeover("pickup", {"x": "jump"})
    for name in ("x", "attack"):
        over.move(name, 0.1)
        over.place(name, 0.9)
    assert over.move("x", 0.2) == 0.2
    assert over.move("attack", 0.2) is None
    assert Takeover("jump").move("attack", 0.2) == 0.2


def test_the_last_placed_value_counts():
    over = Takeover()
    over.move("x", 0.1)
    over.place("x", 0.9)
    over.place("x", 0.11)
    assert over.move("x", 0.3) == 0.3


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), max_size=40))
def test_a_takeover_never_jumps(steps):
    over, value, knob = Takeover(), 0.5, 0.5
    over.move("x", knob)
    for placed, at in steps:
        if placed:
            over.place("x", at)
            value = at
        else:
            found = over.move("x", at)
            if found is not None:
                assert min(knob, at) - CAUGHT <= value <= max(knob, at) + CAUGHT
                value = found
            knob = at
