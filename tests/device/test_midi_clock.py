"""The tempo of clocks that jitter, stumble, change and stop."""

import numpy as np
import pytest

from device.box.midi_clock import CONTINUE, START, STOP, TICK, Clock

BEAT = 24


class Source:
    """A clock that ticks at a tempo, each tick by up to jitter_s early or late, some lost and some twice."""

    def __init__(self, seed=0, jitter_s=0.003, lost=0.0, twice=0.0):
        self.rng, self.jitter_s, self.lost, self.twice = np.random.default_rng(seed), jitter_s, lost, twice
        self.now_s = 1_000.0
        self.clock, self.told = Clock(), []

    def play(self, bpm, beats):
        """The tempo after these beats; `told` has (beats gone, tempo) of each change."""
        period_s = 60 / bpm / BEAT
        times = self.now_s + period_s * np.arange(round(beats * BEAT))
        times = times[self.rng.random(len(times)) >= self.lost]
        times = times + self.rng.uniform(-self.jitter_s, self.jitter_s, len(times))
        again = times[self.rng.random(len(times)) < self.twice]
        self.told = [((time_s - self.now_s) / period_s / BEAT, self.clock.bpm)
                     for time_s in sorted([*times, *(again + 0.0005)]) if self.send(TICK, time_s)]
        self.now_s += period_s * round(beats * BEAT)
        return self.clock.bpm

    def send(self, status, time_s=None):
        return self.clock.take(round((time_s or self.now_s) * 1e9), status)


@pytest.mark.parametrize("bpm", [20, 47.3, 60, 120, 174, 240, 300])
def test_a_tempo_is_known_after_a_beat_and_then_stands_still(bpm):
    for seed in range(3):
        source = Source(seed)
        assert source.play(bpm, 23 / BEAT) is None
        assert source.play(bpm, 1 / BEAT) == pytest.approx(bpm, rel=0.015)
        source.play(bpm, 15)
        assert source.clock.bpm == pytest.approx(bpm, abs=0.4)
        assert len(source.told) <= 10
        source.play(bpm, 16)
        assert all(abs(told - bpm) < 1.5 for _, told in source.told)


def test_a_steady_clock_is_told_once():
    source = Source(jitter_s=0.0002)
    source.play(128.5, 40)
    assert [round(bpm, 1) for _, bpm in source.told] == [128.5]


@pytest.mark.parametrize(("bpm", "jitter_s"), [(30, 0.003), (90, 0.003), (140, 0.003), (240, 0.003), (300, 0.002)])
def test_ticks_that_are_lost_or_doubled_do_not_change_the_tempo(bpm, jitter_s):
    for seed in range(3):
        source = Source(seed, jitter_s, lost=0.02, twice=0.02)
        source.play(bpm, 16)
        assert source.clock.bpm == pytest.approx(bpm, rel=0.004, abs=0.2)
        source.play(bpm, 16)
        assert all(abs(told / bpm - 1) < 0.02 for _, told in source.told)


@pytest.mark.parametrize("seed", [23, 40])  # of which a beat fits another tempo as well
def test_a_tempo_is_not_left_for_one_that_is_hardly_likelier(seed):
    source = Source(seed, lost=0.02, twice=0.02)
    source.play(300, 16)
    source.play(300, 32)
    assert all(abs(told - 300) < 6 for _, told in source.told)


def test_every_tick_twice_as_by_two_cables_is_the_same_tempo():
    assert Source(twice=1.0).play(120, 8) == pytest.approx(120, abs=0.5)


@pytest.mark.parametrize(("before", "after"), [(120, 60), (120, 240), (120, 90), (120, 121), (90, 300), (300, 200),
                                               (120, 100), (60, 20), (120, 119.5)])
def test_another_tempo_is_followed_within_a_beat_and_a_half(before, after):
    for seed in range(4):
        source = Source(seed, jitter_s=0.001)
        source.play(before, 20)
        assert source.play(after, 1.5) == pytest.approx(after, rel=0.006, abs=0.3)
        assert source.play(after, 8) == pytest.approx(after, abs=0.3)


def test_after_another_tempo_the_old_ticks_count_no_more():
    for seed in range(8):
        source = Source(seed)
        source.play(120, 20)
        assert source.play(122, 3) == pytest.approx(122, abs=0.5)


def test_a_tempo_that_grows_is_followed():
    source = Source(jitter_s=0.001)
    for bpm in np.arange(100, 140, 0.5):
        assert source.play(bpm, 1) is None or source.clock.bpm == pytest.approx(bpm, abs=2.5)


def test_changes_below_a_fifth_of_a_beat_a_minute_are_not_told():
    source = Source(jitter_s=0)
    source.play(120, 20)
    source.play(120.15, 20)
    assert source.told == []
    source.play(120.3, 20)
    assert [bpm for _, bpm in source.told] == [pytest.approx(120.3, abs=0.1)]


@pytest.mark.parametrize(("bpm", "told"), [(15, 20), (400, 300)])
def test_a_tempo_outside_what_the_engine_knows_is_its_nearest(bpm, told):
    assert Source(jitter_s=0.0005).play(bpm, 2) == told


def test_silence_ends_the_tempo_once():
    source = Source()
    source.play(120, 4)
    now_ns = round(source.now_s * 1e9)
    assert not source.clock.check(now_ns + 900_000_000)
    assert source.clock.bpm is not None
    assert source.clock.check(now_ns + 1_100_000_000)
    assert source.clock.bpm is None
    assert not source.clock.check(now_ns + 2_000_000_000)
    source.now_s += 3
    assert source.play(90, 1) == pytest.approx(90, abs=1.5)


def test_a_pause_that_nobody_asked_about_ends_it_too():
    source = Source()
    source.play(120, 4)
    source.now_s += 1.5
    assert source.play(90, 0.9) is None
    assert [bpm for _, bpm in source.told] == [None]
    assert source.play(90, 0.1) == pytest.approx(90, abs=1.5)


def test_start_stop_and_continue_are_understood():
    source = Source()
    assert not source.clock.playing
    assert not source.send(START)
    assert source.clock.playing
    source.play(120, 4)
    source.send(STOP)
    assert not source.clock.playing
    assert source.clock.bpm == pytest.approx(120, abs=0.5)
    source.now_s += 0.303  # its ticks go on in between
    source.send(CONTINUE)
    assert source.clock.playing
    assert source.play(120, 0.9) == pytest.approx(120, abs=0.5)
    assert source.told == []
    assert source.play(120, 4) == pytest.approx(120, abs=0.5)
    assert all(abs(bpm - 120) < 1 for _, bpm in source.told)


def test_a_start_without_ticks_does_not_keep_the_tempo():
    source = Source()
    source.play(120, 4)
    source.send(START)
    assert source.clock.check(round((source.now_s + 1.1) * 1e9))


def test_arrivals_in_any_order_are_no_error():
    rng = np.random.default_rng(5)
    clock = Clock()
    for time_s in rng.uniform(0, 4, 2_000):
        clock.take(round(time_s * 1e9), TICK)
        assert clock.bpm is None or 20 <= clock.bpm <= 300


@pytest.mark.parametrize("start", [(), (START,), (CONTINUE,)])
@pytest.mark.parametrize("first_s", [0.0022, 0.01])
def test_ticks_that_were_held_up_and_come_at_once_are_no_error(start, first_s):
    """After a tempo so slow that all of them lie within half a period of it."""
    clock, now_s = Clock(), 0.0
    for _ in range(30):
        now_s += 0.8
        clock.take(round(now_s * 1e9), TICK)
    for status in start:
        clock.take(round(now_s * 1e9), status)
    for n in range(600):
        now_s += first_s if n < 26 else 60 / 150 / 24
        clock.take(round(now_s * 1e9), TICK)
    assert clock.bpm == pytest.approx(150, abs=0.5)
