"""Tables that come while the engine plays: nearer ones take over what is held, in phase and without an edge."""

import sys
import threading
import time

import numpy as np
import pytest
from playing import BANK_HZ, QUICK, RATE_HZ, VOICE_GAIN, as_table, constant, engine_of, off, on, play, sine

from device import _engine
from device._engine import Engine

LOOP_SAMPLES, LOOP_START = 8_000, 4_288  # whole cycles of A in all octaves; together whole columns
KEY = 69


def cycles(pitch: int) -> int:
    """In a loop: whole ones, as the engine expects it."""
    return round(440 * 2 ** ((pitch - 69) / 12) * LOOP_SAMPLES / BANK_HZ)


def looped(pitch: int, peak: float = 0.5, alike: bool = False) -> tuple:
    """A table of a sine of its pitch, without a seam in its loop."""
    cells = sine(cycles(pitch) * BANK_HZ / LOOP_SAMPLES, LOOP_START + LOOP_SAMPLES + 4_096, peak, 1 if alike else 2)
    return as_table(pitch, cells[None], LOOP_START, LOOP_SAMPLES)


def held(engine: Engine, frames: int, table: tuple | None = None, at: int = 0) -> np.ndarray:
    """A key that is held; a table is added at a frame."""
    engine.send(*on(0, KEY)[:4], a=1.0)
    first = play(engine, [], at)
    assert table is None or engine.add_table(table)
    return np.concatenate([first, play(engine, [], frames - at)])


@pytest.mark.parametrize("at", [1_000, 20_000, 47_300, 90_001])  # in the body, at the loop's start, in a later lap
@pytest.mark.parametrize("before", [57, 66, 81])
def test_a_nearer_table_takes_over_in_phase_and_without_an_edge(before: int, at: int) -> None:
    alone = held(engine_of([looped(KEY)]), at + 6_000)
    moved = held(engine_of([looped(before)]), at + 6_000, looped(KEY), at)
    wrong_cycles = cycles(before) / LOOP_SAMPLES * 2 ** ((KEY - before) / 12) - cycles(KEY) / LOOP_SAMPLES
    behind = moved[at + 200 :]  # 2 ms of crossfade are over
    assert np.abs(behind - fitted(behind, KEY)).max() < 1e-3  # it is the new table's sine alone
    around = moved[at - 300 : at + 300]
    # in phase, but for what the loops' rounding to whole cycles has let drift apart until then
    drift = 2 * np.pi * abs(wrong_cycles) * BANK_HZ * at / RATE_HZ
    steepest = np.abs(np.diff(alone[2_000:], 2)).max()
    assert np.abs(np.diff(around, 2)).max() < (1.1 + 2 * drift) * steepest
    assert before % 12 != KEY % 12 or drift == 0


def fitted(sound: np.ndarray, key: int) -> np.ndarray:
    """The sine of a table's frequency that is nearest to a sound."""
    hz = cycles(key) * BANK_HZ / LOOP_SAMPLES
    angle = 2 * np.pi * hz * np.arange(len(sound)) / RATE_HZ
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return basis @ np.linalg.lstsq(basis, sound, rcond=None)[0]


def test_the_phase_is_kept_to_a_fraction_of_a_sample() -> None:
    """An octave has exactly the same frequency: what is heard is as if no table had come."""
    alone = held(engine_of([looped(KEY)]), 30_000)
    moved = held(engine_of([looped(KEY - 12)]), 30_000, looped(KEY), 12_345)
    assert cycles(KEY) == 2 * cycles(KEY - 12)
    assert np.abs(moved - alone)[2_000:].max() < 0.004 * np.abs(alone).max()


def test_a_table_that_is_not_nearer_changes_nothing() -> None:
    alone = held(engine_of([looped(KEY + 1)]), 10_000)
    assert np.array_equal(held(engine_of([looped(KEY + 1)]), 10_000, looped(KEY + 3), 4_000), alone)


def test_what_is_let_go_ends_where_it_is() -> None:
    def released(table: tuple | None) -> np.ndarray:
        engine = engine_of([looped(KEY + 1)], parameters=QUICK | {_engine.RELEASE_MS: 500.0})
        first = play(engine, [on(0, KEY), off(3_000, KEY)], 5_000)
        assert table is None or engine.add_table(table)
        return np.concatenate([first, play(engine, [], 5_000)])

    assert np.array_equal(released(looped(KEY)), released(None))


def test_keys_played_afterwards_use_the_nearest_of_all_tables() -> None:
    engine = engine_of([looped(40)])
    for pitch in (80, 60, 70):
        assert engine.add_table(looped(pitch))
    play(engine, [], 10)
    for key in (40, 60, 70, 80):
        sound = play(engine, [on(0, key), off(8_000, key)], 20_000)
        assert np.abs(sound[3_000:7_000] - fitted(sound[3_000:7_000], key)).max() < 1e-3


def test_cells_that_are_alike_are_given_once_and_swapped_one_by_one() -> None:
    engine = Engine()
    engine.set_bank([100], [looped(KEY, 0.2, alike=True)], grid=3)
    for parameter, value in QUICK.items():
        engine.send(0, _engine.PARAMETER, key=parameter, a=value)
    engine.send(0, _engine.BLEND, a=1.0, b=1.0)
    soft = play(engine, [on(0, KEY)], 6_000)
    _, cells, _, _, levels, _ = looped(KEY, 0.6)
    assert engine.swap_cell(KEY, 0, 2, 2, cells[0, 0, 0], levels[0, 0, 0])
    loud = play(engine, [], 6_000)
    engine.send(0, _engine.BLEND, a=0.0, b=0.0)
    again = play(engine, [], 6_000)
    assert np.abs(loud[2_000:]).max() == pytest.approx(3 * np.abs(soft[2_000:]).max(), rel=0.01)
    assert np.abs(again[2_000:]).max() == pytest.approx(np.abs(soft[2_000:]).max(), rel=0.01)


def test_a_table_may_be_added_with_cells_that_are_alike() -> None:
    engine = engine_of([looped(KEY - 5)])
    assert engine.add_table(looped(KEY, alike=True))
    sound = play(engine, [on(0, KEY)], 8_000)
    assert np.abs(sound[3_000:] - fitted(sound[3_000:], KEY)).max() < 1e-3


def test_tables_that_do_not_fit_are_refused_and_nothing_changes() -> None:
    with pytest.raises(ValueError, match="no bank"):
        Engine().add_table(looped(KEY))
    with pytest.raises(ValueError, match="set_bank wants"):
        Engine().set_bank([100], [looped(KEY, alike=True)])  # of no grid
    with pytest.raises(ValueError, match="grid must be"):
        Engine().set_bank([100], [looped(KEY, alike=True)], grid=34)
    engine = engine_of([looped(KEY)])
    for wrong in (looped(KEY), (*looped(128)[:1], *looped(61)[1:]),
                  as_table(61, sine(300, 2_560, grid=3)[None]), as_table(61, np.stack([sine(300, 2_560)] * 2)),
                  (61, *looped(61)[1:3], 1_000_000, *looped(61)[4:])):
        with pytest.raises(ValueError, match=r"add_table wants|the table of pitch"):
            engine.add_table(wrong)
    sound = play(engine, [on(0, KEY)], 6_000)
    assert np.abs(sound[3_000:] - fitted(sound[3_000:], KEY)).max() < 1e-3


def test_what_comes_back_of_a_bank_that_is_gone_lets_go_of_nothing_else() -> None:
    """The same sound waits for the bank before, and plays in this one."""
    _, cells, _, _, levels, _ = looped(KEY, 0.6)
    sound, level = cells[0, 0, 0].copy(), levels[0, 0, 0].copy()
    engine = engine_of([looped(KEY, 0.2)])
    for _ in range(200):  # more than can be taken in some blocks
        assert engine.swap_cell(KEY, 0, 0, 0, sound, level)
    engine.set_bank([100], [looped(KEY, 0.2)])
    engine.render(np.empty((16, 2), np.float32))
    held = sys.getrefcount(sound)
    while not engine.swap_cell(KEY, 0, 1, 1, sound, level):
        engine.render(np.empty((16, 2), np.float32))
    assert sys.getrefcount(sound) > held - 64
    for _ in range(100):
        engine.render(np.empty((16, 2), np.float32))
    assert sys.getrefcount(sound) == 3  # ours, the call's, and the engine's
    del engine
    assert sys.getrefcount(sound) == 2


def test_there_is_no_room_for_more_than_can_be_taken_in_a_block() -> None:
    engine = engine_of([looped(KEY)])
    cells, levels = looped(KEY)[1], looped(KEY)[4]
    while engine.swap_cell(KEY, 0, 0, 0, cells[0, 0, 0], levels[0, 0, 0]):
        pass
    assert not engine.add_table(looped(61))
    play(engine, [], 1_000, block=10)
    assert engine.add_table(looped(61))


def test_a_table_that_comes_right_behind_its_bank_is_not_lost() -> None:
    """The block that is being rendered may have looked for a bank before this one, and for tables after."""
    engine, ends, ready = Engine(), threading.Event(), []  # the last sample of every block

    def render() -> None:
        out = np.zeros((64, 2), np.float32)
        while not ends.is_set():
            engine.render(out)
            ready.append(float(out[-1, 0]))

    def wait(blocks: int) -> None:
        until = len(ready) + blocks
        while len(ready) < until:
            time.sleep(0)

    far, near = (as_table(pitch, constant([[level] * 2] * 2)[None]) for pitch, level in ((KEY - 24, 0.1), (KEY, 0.4)))
    engine.send(0, _engine.PARAMETER, key=_engine.ATTACK_MS, a=1.0)
    thread = threading.Thread(target=render)
    thread.start()
    heard = []
    try:
        for _ in range(1_000):
            engine.set_bank([100], [far])
            assert engine.add_table(near)
            wait(2)
            before = len(ready)
            engine.send(0, *on(0, KEY)[1:4], a=1.0)
            wait(10)
            heard.append(max(ready[before:]))
    finally:
        ends.set()
        thread.join()
    assert min(heard) == pytest.approx(max(heard), rel=0.01)
    assert min(heard) == pytest.approx(0.4 * VOICE_GAIN, rel=0.1)
