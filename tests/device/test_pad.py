"""The pad that plays: what is asked for first, what stands in for what is missing, and what the engine hears of it."""

import functools

import numpy as np
import pytest
from additive import Additive, some_preset
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import QUICK, on, play

from device import _engine
from device._engine import Engine
from device.bake import PitchDecoder, column_levels, decode_pad
from device.box.decoder_process import Sounds
from device.box.pad import Job, Pad, cells_round, corner_cells, rank
from device.preset import Preset

PITCHES = (48, 52, 56, 59, 60, 61, 64, 72)
GRID = 3
LATER_S = 10.0  # the knobs have come to rest


@pytest.fixture(scope="module")
def preset() -> Preset:
    return some_preset(velocities=(50, 100))


@functools.cache
def pitch_decoder(velocities: tuple[int, ...], pitch: int) -> PitchDecoder:
    return PitchDecoder(some_preset(velocities=velocities), Additive(), pitch)


@functools.cache
def decoded(velocities: tuple[int, ...], job: Job, grid: int) -> Sounds:
    pitch, work = pitch_decoder(velocities, job.pitch), job.work(grid)
    sounds = pitch.corners(job.layer) if work.shares is None else pitch.between(job.layer, work.shares)
    return Sounds(sounds, column_levels(sounds))


class Worker:
    """Decodes what a pad asks for, as the process does."""

    def __init__(self, pad: Pad) -> None:
        self.pad = pad

    def decode(self, job: Job) -> Sounds:
        return decoded(self.pad.preset.velocities, job, self.pad.grid)

    def work(self, held=(), recent=(), now_s: float = 0.0, most: int = 10_000) -> list[Job]:
        """So many jobs, or all there are."""
        done = []
        while len(done) < most and (job := self.pad.next_job(held, recent, now_s)):
            self.pad.take(job, self.decode(job))
            done.append(job)
        return done


def engine_of(pad: Pad) -> Engine:
    engine = Engine()
    for parameter, value in QUICK.items():
        engine.send(0, _engine.PARAMETER, key=parameter, a=value)
    show(pad, engine)
    return engine


def show(pad: Pad, engine: Engine) -> None:
    for _ in range(40):
        pad.show(engine)
        play(engine, [], 200)
    assert not any(table.changed for table in pad._tables.values())


def sound_at(engine: Engine, x: float, y: float, key: int = 60, frames: int = 6_000,
             velocity: float = 1.0) -> np.ndarray:
    """What an engine plays there of a key, after what it played before."""
    engine.send(0, _engine.ALL_SOUND_OFF)
    engine.send(0, _engine.BLEND, a=x, b=y)
    play(engine, [], 2_000)
    return play(engine, [on(0, key, velocity)], frames)


def whole_engine(preset: Preset, pitches, grid: int = GRID) -> Engine:
    engine = Engine()
    for parameter, value in QUICK.items():
        engine.send(0, _engine.PARAMETER, key=parameter, a=value)
    tables = [(pitch, pad.cells, pad.loop_start, pad.loop_samples, pad.levels, pad.motion)
              for pitch in pitches if (pad := decode_pad(preset, Additive(), pitch, grid))]
    engine.set_bank(preset.velocities, tables)
    return engine


def test_corners_come_first_then_the_cells_round_the_knobs_then_the_rest(preset):
    pad = Pad(preset, (60,), 5)
    pad.move(0.3, 0.9, 0.0)
    jobs = Worker(pad).work()
    assert [jobs[0], jobs[2]] == [Job(60, layer, corner_cells(5)) for layer in (0, 1)]
    assert set(jobs[1].cells) == set(cells_round((0.3, 0.9), 5)) - set(corner_cells(5))
    asked = [(job.layer, cell) for job in jobs for cell in job.cells]
    assert len(asked) == len(set(asked)) == 50
    assert pad.progress() == (50, 50)
    distances = [np.hypot(cell[0] - 3.6, cell[1] - 1.2) for job in jobs[4:] if job.layer == 0 for cell in job.cells]
    assert distances == sorted(distances)


def test_held_notes_come_before_all_others_and_the_latest_first(preset):
    pad = Pad(preset, PITCHES, GRID)
    jobs = Worker(pad).work(held=[61, 47], recent=[61, 47, 72], most=7)
    assert [job.pitch for job in jobs[:4]] == [61] * 4  # two layers: corners and what is round the knobs
    assert [job.pitch for job in jobs[4:]] == [48] * 3


def test_a_note_that_is_struck_is_next_whatever_was_begun(preset):
    pad = Pad(preset, PITCHES, GRID)
    worker = Worker(pad)
    worker.work(most=5)
    assert worker.work(held=[73], most=1)[0].pitch == 72


def test_every_fourth_semitone_is_whole_before_those_between_begin(preset):
    pad = Pad(preset, PITCHES, GRID)
    pitches = [job.pitch for job in Worker(pad).work()]
    coarse = [rank(pitch) < 2 for pitch in pitches]
    assert coarse == sorted(coarse, reverse=True)
    assert pad.order([]) == [60, 48, 72, 56, 64, 52, 59, 61]
    assert pad.order([59]) == [59, 60, 48, 72, 56, 64, 52, 61]


def test_what_was_played_comes_before_what_was_not(preset):
    jobs = Worker(Pad(preset, PITCHES, GRID)).work(recent=[72], most=1)
    assert jobs[0].pitch == 72


def test_what_is_under_way_is_not_asked_for_again_until_it_is_given_back(preset):
    pad = Pad(preset, (60,), GRID)
    first = pad.next_job([], [], 0.0)
    assert first is not None
    assert pad.next_job([], [], 0.0) != first
    pad.give_back(first)
    assert pad.next_job([], [], 0.0) == first


def test_what_is_missing_is_played_from_the_nearest_cell(preset):
    pad = Pad(preset, (60,), 5)
    Worker(pad).work(most=1)  # the corners of the soft layer
    engine = engine_of(pad)
    at_corner = sound_at(engine, 0.0, 1.0)
    assert np.allclose(sound_at(engine, 0.25, 1.0), at_corner, atol=1e-6)  # next to it
    assert not np.allclose(sound_at(engine, 1.0, 1.0), at_corner, atol=1e-2)
    soft = sound_at(engine, 0.0, 1.0, velocity=0.3)  # of one layer for the other: only its level is another
    assert np.allclose(soft / 0.3**2, at_corner, atol=1e-5)


def test_what_is_missing_is_played_from_the_nearest_pitch(preset):
    pad = Pad(preset, (60, 64), GRID)
    Worker(pad).work(held=[60], most=4)
    alone = whole_engine(preset, [60])
    assert np.allclose(sound_at(engine_of(pad), 0.5, 0.5, 64), sound_at(alone, 0.5, 0.5, 64), atol=1e-4)


def test_when_all_is_decoded_it_sounds_as_a_bank_that_was_baked(preset):
    pad = Pad(preset, (60, 64), GRID)
    engine = engine_of(pad)  # nothing yet
    worker = Worker(pad)
    while worker.work(held=[64], most=1):
        pad.show(engine)
        play(engine, [], 100)
    show(pad, engine)
    baked = whole_engine(preset, [60, 64])
    for x, y, key, velocity in ((0.3, 0.8, 60, 0.6), (1.0, 0.1, 64, 1.0), (0.5, 0.5, 63, 0.2)):
        heard, wanted = (sound_at(one, x, y, key, velocity=velocity) for one in (engine, baked))
        assert np.abs(heard - wanted).max() < 2e-4 * np.abs(wanted).max()  # int16 of cells in other batches


def test_a_sound_that_comes_does_not_click(preset):
    """While notes are held, everything is decoded: no sample jumps as it would where one sound stopped for another."""
    pad = Pad(preset, (57, 60, 64), GRID)
    worker = Worker(pad)
    worker.work(held=[57], most=1)
    engine = engine_of(pad)
    engine.send(0, _engine.BLEND, a=0.4, b=0.7)
    pad.move(0.4, 0.7, 0.0)
    heard = [play(engine, [on(0, 60), on(0, 64)], 12_000)]
    while worker.work(held=[64, 60], now_s=LATER_S, most=1):
        pad.show(engine)
        heard.append(play(engine, [], 500))
    sound = np.concatenate(heard)
    baked = whole_engine(preset, [57, 60, 64])
    baked.send(0, _engine.BLEND, a=0.4, b=0.7)
    play(baked, [], 200)
    usual = np.abs(np.diff(play(baked, [on(0, 60), on(0, 64)], len(sound))[12_000:], 2)).max()
    assert np.abs(np.diff(sound[12_000:], 2)).max() < 2.0 * usual


def test_under_resting_knobs_the_very_blend_is_decoded_for_held_notes_and_heard(preset):
    point = (0.2, 0.7)
    pad = Pad(preset, (60, 64), GRID)
    worker = Worker(pad)
    pad.move(*point, 0.0)
    worker.work(held=[60], now_s=0.1)
    assert not pad._tables[60].exact  # they do not rest yet
    jobs = worker.work(held=[60], now_s=LATER_S)
    assert jobs == [Job(60, 0, (), point), Job(60, 1, (), point)]
    heard = sound_at(engine_of(pad), *point)
    exact = PitchDecoder(preset, Additive(), 60).between(1, jobs[0].work(GRID).shares)[0]
    fine = Engine()
    for parameter, value in QUICK.items():
        fine.send(0, _engine.PARAMETER, key=parameter, a=value)
    shape = pad._tables[60].shape
    cells = np.tile(exact, (1, 2, 2, 1))
    fine.set_bank([100], [(60, cells, shape.loop_start, shape.loop_samples, column_levels(cells), shape.motion[1:])])
    assert np.abs(heard - sound_at(fine, *point)).max() < 1e-4


def test_when_the_knobs_move_the_cells_are_themselves_again(preset):
    pad = Pad(preset, (60,), GRID)
    worker = Worker(pad)
    pad.move(0.2, 0.7, 0.0)
    worker.work(held=[60], now_s=LATER_S)
    assert pad._tables[60].exact
    pad.move(0.21, 0.7, LATER_S)
    assert np.abs(sound_at(engine_of(pad), 0.21, 0.7) - sound_at(whole_engine(preset, [60]), 0.21, 0.7)).max() < 1e-4


def test_when_something_else_moves_the_blend_the_cells_are_themselves_again(preset):
    pad = Pad(preset, (60,), GRID)
    worker = Worker(pad)
    pad.move(0.2, 0.7, 0.0)
    worker.work(held=[60], now_s=LATER_S)
    late = Job(60, 0, (), (0.2, 0.7))
    pad.count_knobs(False)
    pad.take(late, worker.decode(late))
    assert not pad._tables[60].exact
    assert np.abs(sound_at(engine_of(pad), 0.2, 0.7) - sound_at(whole_engine(preset, [60]), 0.2, 0.7)).max() < 1e-4


def test_a_blend_that_comes_too_late_is_not_taken(preset):
    pad = Pad(preset, (60,), GRID)
    worker = Worker(pad)
    worker.work()
    pad.move(0.2, 0.7, 0.0)
    job = pad.next_job([60], [], LATER_S)
    assert job is not None
    pad.move(0.6, 0.7, LATER_S)
    pad.take(job, worker.decode(job))
    assert not pad._tables[60].exact


@pytest.mark.parametrize(("point", "counts"), [((0.5, 1.0), True), ((0.2, 0.7), False)])
def test_on_a_cell_or_under_an_lfo_no_blend_is_decoded(preset, point, counts):
    pad = Pad(preset, (60,), GRID)
    pad.count_knobs(counts)
    pad.move(*point, 0.0)
    assert all(job.point is None for job in Worker(pad).work(held=[60], now_s=LATER_S))


def test_a_pitch_that_comes_from_elsewhere_is_not_decoded(preset):
    pad = Pad(preset, (60, 64), GRID)
    pad.elsewhere = {60}
    assert {job.pitch for job in Worker(pad).work(held=[60])} == {64}
    baked = decode_pad(preset, Additive(), 60, GRID)
    pad.take_whole(60, baked.cells, baked.levels)
    assert pad.progress() == (36, 36)
    assert np.abs(sound_at(engine_of(pad), 0.3, 0.4) - sound_at(whole_engine(preset, [60]), 0.3, 0.4)).max() < 1e-4


def test_a_whole_pitch_is_what_would_have_been_baked(preset):
    pad = Pad(preset, (60, 64), GRID)
    worker = Worker(pad)
    worker.work(held=[60], most=6)
    assert not pad.is_whole(64)
    worker.work()
    assert pad.is_whole(64)
    found, baked = pad.whole(64), decode_pad(preset, Additive(), 64, GRID)
    assert np.abs(found.cells.astype(int) - baked.cells).max() <= 1
    assert np.allclose(found.levels, baked.levels, atol=1e-4)
    assert (found.loop_start, found.loop_samples) == (baked.loop_start, baked.loop_samples)
    assert np.array_equal(found.motion, baked.motion)


actions = st.lists(st.one_of(
    st.tuples(st.just("job"), st.lists(st.integers(0, 127), max_size=3)),
    st.tuples(st.just("fail"), st.just(None)),
    st.tuples(st.just("move"), st.tuples(st.floats(0, 1), st.floats(0, 1))),
    st.tuples(st.just("show"), st.integers(1, 3))), max_size=25)


@given(actions)
@settings(max_examples=40, deadline=None)
def test_whatever_happens_in_between_in_the_end_the_engine_has_every_cell(actions):
    preset = some_preset(velocities=(100,))
    pad = Pad(preset, (60, 66), 2)
    worker, engine, now_s = Worker(pad), Engine(), 0.0
    for what, how in actions:
        now_s += 0.2
        if what == "job":
            worker.work(held=how, now_s=now_s, most=1)
        elif what == "fail" and (job := pad.next_job([60], [], now_s)):
            pad.give_back(job)
        elif what == "move":
            pad.move(*how, now_s)
        elif what == "show":
            for _ in range(how):
                pad.show(engine)
                play(engine, [], 64)
    worker.work(now_s=now_s)
    pad.move(1.0, 1.0, now_s) if pad._point != (1.0, 1.0) else pad.move(0.0, 0.0, now_s)
    show(pad, engine)
    for table in pad._tables.values():
        assert all(table.shown[place] is sound for place, sound in table.sounds.items())
        assert table.is_whole
