"""Encoders through bounce, speed, late and lost edges; buttons."""

import random

import pytest

from device.panel.buttons import Button
from device.panel.controls import Controls
from device.panel.encoders import CLOCKWISE, MOST_STEPS, Encoder
from device.panel.events import Pressed, Turned

A, B = 0b10, 0b01


def edges(detents, start_s=0.0, detent_s=0.2, place=0):
    """(time, levels, whose edge), four a detent, from the detent on."""
    direction = 1 if detents > 0 else -1
    found = []
    for n in range(4 * abs(detents)):
        before, place = CLOCKWISE[place], (place + direction) % 4
        found.append((start_s + n * detent_s / 4, CLOCKWISE[place], before ^ CLOCKWISE[place]))
    return found


def bounced(rng, changes):
    """Each change with up to eight bounces within a millisecond."""
    for time_s, levels, edge in changes:
        for n in range(rng.randint(0, 4)):
            yield time_s + n * 2e-4, levels, edge
            yield time_s + n * 2e-4 + 1e-4, levels ^ edge, edge
        yield time_s + 9e-4, levels, edge


def steps(encoder, changes):
    return [found for time_s, levels, edge in changes if (found := encoder.feed(levels, time_s, edge))]


@pytest.fixture
def encoder():
    encoder = Encoder()
    encoder.feed(CLOCKWISE[0], 0.0)
    return encoder


@pytest.mark.parametrize("detents", [1, -1, 5, -7])
def test_a_slow_detent_is_one_step(encoder, detents):
    assert steps(encoder, edges(detents)) == [1 if detents > 0 else -1] * abs(detents)


def test_clockwise_closes_a_first():
    encoder = Encoder()
    encoder.feed(A | B, 0)
    for n, levels in enumerate((B, 0, A)):
        assert encoder.feed(levels, n * 0.01) == 0
    assert encoder.feed(A | B, 0.04) == 1


@pytest.mark.parametrize("seed", range(20))
def test_bounce_counts_nothing(encoder, seed):
    rng = random.Random(seed)
    assert steps(encoder, bounced(rng, edges(6))) == [1] * 6
    assert steps(encoder, bounced(rng, edges(-6, 2.0))) == [-1] * 6


def test_rocking_within_a_detent_counts_nothing(encoder):
    forth = edges(1)[:3]
    back = [(1.0, CLOCKWISE[2], A), (1.1, CLOCKWISE[1], B), (1.2, CLOCKWISE[0], A)]
    assert steps(encoder, forth + back) == []
    assert steps(encoder, edges(1, 2.0)) == [1]


def test_quicker_turns_count_more():
    reached = []
    for detent_s in (0.2, 0.06, 0.03, 0.015, 0.0075, 0.004):
        encoder = Encoder()
        encoder.feed(CLOCKWISE[0], 0)
        reached.append(steps(encoder, edges(20, detent_s=detent_s))[-1])
    assert reached == [1, 1, 2, 4, 8, MOST_STEPS]
    assert reached == sorted(reached)


def test_a_turn_back_begins_slowly(encoder):
    assert steps(encoder, edges(20, detent_s=0.0075))[-1] == 8
    assert steps(encoder, edges(-2, 0.16, detent_s=0.0075)) == [-1, -1]


def test_two_slow_detents_that_come_late_together_are_two_steps(encoder):
    late = [(1.0, levels, edge) for _, levels, edge in edges(2)]
    assert steps(encoder, late) == [1, 1]


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("seed", range(10))
def test_edges_told_late_keep_direction_and_detents(encoder, direction, seed):
    """The levels are read when the edge is told, up to one edge later than it came."""
    rng, clean = random.Random(seed), edges(30 * direction, detent_s=0.02)
    late = [(time_s, clean[min(n + rng.randint(0, 1), len(clean) - 1)][1], edge)
            for n, (time_s, _, edge) in enumerate(clean)]
    found = steps(encoder, late)
    assert all(step * direction > 0 for step in found)
    assert len(found) == 30


@pytest.mark.parametrize("direction", [1, -1])
def test_the_first_two_edges_may_come_together(encoder, direction):
    clean = edges(direction)
    both = [(0.0, clean[1][1], clean[0][2]), *clean[1:]]
    assert steps(encoder, both) == [direction]


def test_a_lost_edge_in_a_turn_is_made_up_for():
    clean = edges(4, detent_s=0.06)
    for lost in range(1, len(clean) - 1):
        encoder = Encoder()
        encoder.feed(CLOCKWISE[0], 0)
        assert steps(encoder, clean[:lost] + clean[lost + 1 :]) == [1] * 4


def test_a_lost_edge_at_the_start_costs_that_detent_and_no_direction(encoder):
    assert steps(encoder, edges(4)[1:]) == [1] * 3


def test_two_changes_at_once_of_an_encoder_that_stood_are_no_step_without_an_edge(encoder):
    assert encoder.feed(0b00, 1.0) == 0
    assert encoder.feed(0b11, 5.0) == 0


@pytest.mark.parametrize("direction", [1, -1])
def test_half_a_detent_is_one_where_the_first_half_was_not_seen(direction):
    for first in ([CLOCKWISE[2]], [CLOCKWISE[0], CLOCKWISE[2]]):  # when the box started; both edges lost
        encoder = Encoder()
        for levels in first:
            assert encoder.feed(levels, 0.0) == 0
        assert encoder.feed(CLOCKWISE[2 + direction], 0.5) == 0
        assert encoder.feed(CLOCKWISE[0], 1.0) == direction


def test_an_encoder_that_stands_between_detents_when_it_is_first_seen_goes_on():
    encoder = Encoder()
    encoder.feed(CLOCKWISE[3], 0.0)
    assert encoder.feed(CLOCKWISE[0], 0.1) == 0
    assert steps(encoder, edges(2, 1.0)) == [1, 1]


def test_any_levels_at_any_time_do_no_harm():
    rng = random.Random(6)
    encoder = Encoder()
    for n in range(20_000):
        found = encoder.feed(rng.randrange(4), n * rng.random() * 0.01, rng.choice([A, B, None]))
        assert abs(found) <= 2 * MOST_STEPS


def test_detents_between_two_polls_are_one_event():
    controls = Controls()
    controls.encoder(2, CLOCKWISE[0], 0)
    for time_s, levels, edge in edges(3):
        controls.encoder(2, levels, time_s, edge)
    assert controls.take(1.0) == [Turned(2, 3)]
    assert controls.take(1.1) == []


def test_a_turn_and_its_way_back_between_two_polls_are_nothing():
    controls = Controls()
    controls.encoder(0, CLOCKWISE[0], 0)
    for time_s, levels, edge in edges(1) + edges(-1, 0.5):
        controls.encoder(0, levels, time_s, edge)
    assert controls.take(1.0) == []


def pressed(name, contacts, until_s, step_s=0.005):
    """What a button told and when, polled 200 times a second."""
    button, told, contacts = Button(name), [], [(-1.0, False), *contacts]
    closed = False
    for n in range(int(until_s / step_s) + 1):
        now_s = n * step_s
        while contacts and contacts[0][0] <= now_s:
            time_s, closed = contacts.pop(0)
            event = button.feed(closed, time_s)
            assert event is None or time_s >= 0
            told += [] if event is None else [(time_s, event)]
        event = button.feed(closed, now_s)
        told += [] if event is None else [(round(now_s, 3), event)]
    return [(pytest.approx(time_s, abs=0.0051), long) for time_s, long in told]


def test_a_short_press_is_told_at_release():
    assert pressed("corner0", [(0.1, True), (0.4, False)], 1.0) == [(0.42, False)]


def test_a_long_press_is_told_when_it_is_long_and_its_release_is_not():
    assert pressed("corner0", [(0.1, True), (2.0, False)], 3.0) == [(0.9, True)]


def test_switching_off_takes_two_seconds():
    assert pressed("shutdown", [(0.1, True), (5.0, False)], 6.0) == [(2.1, True)]
    assert pressed("shutdown", [(0.1, True), (2.0, False)], 6.0) == [(2.02, False)]


def test_bounce_of_a_button_is_one_press():
    bounce = [(0.1 + n * 0.002, n % 2 == 0) for n in range(9)] + [(0.4 + n * 0.002, n % 2 == 1) for n in range(9)]
    assert [long for _, long in pressed("corner1", bounce, 1.0)] == [False]


def test_what_is_shorter_than_bounce_is_no_press():
    assert pressed("corner1", [(0.1, True), (0.115, False)], 1.0) == []


def test_a_glitch_after_a_press_is_not_its_long_end():
    assert pressed("corner1", [(0.1, True), (0.3, False), (1.2, True), (1.212, False)], 2.0) == [(0.32, False)]


def test_a_button_let_go_in_time_is_not_long():
    assert pressed("corner1", [(0.1, True), (0.895, False)], 2.0) == [(0.915, False)]


def test_a_button_that_is_stuck_says_nothing_until_it_was_free():
    button = Button("shutdown")
    assert [button.feed(True, n * 0.005) for n in range(2_000)] == [None] * 2_000
    assert [button.feed(False, 10 + n * 0.005) for n in range(10)] == [None] * 10
    told = [button.feed(True, 11 + n * 0.005) for n in range(500)]
    assert told.count(True) == 1


def test_a_press_between_two_late_polls_is_told():
    controls = Controls()
    controls.button("corner3", False, 0.0)
    controls.take(0.1)
    controls.button("corner3", True, 0.2)
    controls.button("corner3", False, 0.5)
    assert controls.take(2.0) == [Pressed("corner3", False)]
