"""The preset that plays: from when it is chosen, over its first sound, to the whole pad, from the disk or decoded."""

import asyncio
import functools
from dataclasses import replace

import numpy as np
import pytest
from additive import Additive, some_preset
from playing import on, play

from device import _engine
from device._engine import Engine
from device.bake import GRID, PitchDecoder, column_levels
from device.box import instrument as instrument_module
from device.box.bank_cache import BankCache
from device.box.decoder_process import Sounds
from device.box.instrument import Instrument, Memory, free_memory_bytes, pitches_for
from device.preset import Preset
from device.synth_settings import RANGES, Synth

STEP = Memory(pitch_step=6)
FIRST = some_preset(velocities=(100,))
SECOND = replace(some_preset(seed=2, velocities=(100,)), name="second", synth=Synth(cutoff_hz=900.0, filter_mode=1))


@functools.cache
def decoded(seed: int, pitch: int, cells, point) -> Sounds:
    preset = FIRST if seed == 1 else SECOND
    from device.box.pad import Job

    work = Job(pitch, 0, cells, point).work(GRID)
    decoder = pitch_decoder(seed, pitch)
    sounds = decoder.corners(0) if work.shares is None else decoder.between(0, work.shares)
    assert preset.layers == 1
    return Sounds(sounds, column_levels(sounds))


@functools.cache
def pitch_decoder(seed: int, pitch: int) -> PitchDecoder:
    return PitchDecoder(FIRST if seed == 1 else SECOND, Additive(), pitch)


class Played:
    """An instrument whose decoding and clock are the test's own."""

    def __init__(self, folder, memory: Memory = STEP) -> None:
        self.engine = Engine()
        self.instrument = Instrument(self.engine, BankCache(folder, 1 << 30), memory, lambda: None)
        self.now_s = 100.0
        self.jobs = 0

    def load(self, preset: Preset, name: str = "p", **changes: float) -> None:
        self.instrument.load(name, preset, changes)

    def tick(self, held=(), frames: int = 480) -> np.ndarray:
        self.now_s += 0.01
        self.instrument.tick(held, held, self.now_s)
        return play(self.engine, [], frames)

    def decode(self, jobs: int, held=()) -> None:
        for _ in range(jobs):
            self.tick(held)
            if not (found := self.instrument.next_job()):
                return
            pad, job = found
            self.jobs += 1
            seed = 1 if pad.preset.corners[0].values is FIRST.corners[0].values else 2
            self.instrument.take(pad, job, decoded(seed, job.pitch, job.cells, job.point))

    async def settle(self, turns: int = 200) -> None:
        for _ in range(turns):
            self.tick()
            await asyncio.sleep(0.005)


def test_it_plays_from_its_first_sound_on(tmp_path):
    played = Played(tmp_path)
    played.load(FIRST)
    played.tick()
    assert not np.abs(play(played.engine, [on(0, 60)], 4_000)).any()
    played.decode(1)
    played.tick()
    assert np.abs(play(played.engine, [on(0, 60)], 4_000)).max() > 0.01


def test_what_sounds_goes_on_until_the_next_preset_has_a_sound(tmp_path):
    played = Played(tmp_path)
    played.load(FIRST)
    played.decode(3)
    played.tick()
    play(played.engine, [on(0, 60)], 4_000)
    played.load(SECOND)
    assert np.abs(played.tick([60], 4_000)).max() > 0.01
    assert played.instrument.pad is not None
    assert played.instrument.pad.preset is FIRST
    played.decode(1, [60])
    played.tick([60])
    assert played.instrument.pad.preset is SECOND
    assert np.abs(played.tick(frames=4_000)[1_000:]).max() < 1e-6  # it faded out: another preset's notes


def test_settings_are_the_presets_with_what_was_changed(tmp_path):
    played = Played(tmp_path)
    played.load(SECOND, resonance=0.5)
    assert played.instrument.settings["cutoff_hz"] == 900.0
    assert played.instrument.settings["resonance"] == 0.5
    assert set(played.instrument.settings) == set(RANGES)
    played.load(FIRST)
    assert played.instrument.settings["cutoff_hz"] == RANGES["cutoff_hz"][0]


def test_the_engine_hears_the_settings_of_the_preset_that_it_plays(tmp_path):
    played = Played(tmp_path)
    played.load(replace(FIRST, synth=Synth(volume=0.0)))
    played.decode(2)
    played.tick()
    assert np.abs(play(played.engine, [on(0, 60)], 4_000)[3_000:]).max() < 1e-6  # the volume has followed
    played.instrument.set("volume", 1.0)
    assert np.abs(play(played.engine, [], 4_000)).max() > 0.01


def test_panic_is_silence(tmp_path):
    played = Played(tmp_path)
    played.load(FIRST)
    played.decode(2)
    played.tick()
    play(played.engine, [on(0, 60), on(0, 64, channel=5)], 4_000)
    played.instrument.panic()
    assert np.abs(play(played.engine, [], 4_000)[1_000:]).max() == 0


def test_what_moves_the_blend_leaves_no_blend_to_be_decoded(tmp_path):
    played = Played(tmp_path)
    played.load(FIRST)
    assert played.instrument._newest()._knobs_count
    played.instrument.set("lfo_blend_x", 0.3)
    assert not played.instrument._newest()._knobs_count
    played.instrument.set("lfo_blend_x", 0.0)
    assert played.instrument._newest()._knobs_count


def test_what_was_decoded_comes_from_the_disk_the_next_time(tmp_path):
    async def first() -> None:
        played = Played(tmp_path)
        played.instrument.use_decoder("d")
        task = asyncio.create_task(played.instrument.fetch())
        played.load(FIRST)
        await played.settle(5)
        played.decode(10_000)
        assert played.jobs > 0
        await played.settle()
        task.cancel()

    async def again() -> None:
        played = Played(tmp_path)
        played.instrument.use_decoder("d")
        task = asyncio.create_task(played.instrument.fetch())
        played.load(FIRST)
        await played.settle()
        assert played.instrument.progress()[0] == played.instrument.progress()[1]
        played.decode(10)
        assert played.jobs == 0
        assert np.abs(play(played.engine, [on(0, 60)], 4_000)).max() > 0.01
        task.cancel()

    asyncio.run(first())
    asyncio.run(again())


def test_a_disk_that_refuses_is_told_and_all_is_decoded(tmp_path, caplog):
    (tmp_path / "banks").write_text("no folder")

    async def check() -> None:
        played = Played(tmp_path / "banks")
        played.instrument.use_decoder("d")
        task = asyncio.create_task(played.instrument.fetch())
        played.load(FIRST)
        await played.settle(20)
        played.decode(10_000)
        await played.settle(20)
        assert played.instrument.progress()[0] == played.instrument.progress()[1]
        task.cancel()

    asyncio.run(check())
    assert 1 <= len([record for record in caplog.records if "banks" in record.message]) <= 3


def test_as_many_pitches_as_memory_holds():
    all_keys = pitches_for(1, 1 << 40)
    assert all_keys == list(range(21, 109))
    assert pitches_for(1, 1 << 40, 4) == list(range(24, 109, 4))
    a_key = instrument_module.PITCH_BYTES
    assert len(pitches_for(1, 44 * a_key)) == 44
    assert pitches_for(2, 44 * a_key) == pitches_for(1, 22 * a_key)
    assert pitches_for(1, 1) == [24 + 6 * n for n in range(15)]
    assert all(60 in pitches_for(layers, memory) for layers in (1, 2, 4) for memory in (1, 10**7, 10**8, 10**9))
    assert 1 << 20 < free_memory_bytes() < 1 << 50


@pytest.mark.parametrize("moved", [True, False])
def test_where_the_knobs_are_the_engine_hears_unless_it_has_it_already(tmp_path, moved):
    played = Played(tmp_path)
    played.load(FIRST)
    played.decode(6)
    played.tick()
    before = play(played.engine, [on(0, 60)], 6_000)
    played.engine.send(0, _engine.ALL_SOUND_OFF)
    played.instrument.move(1.0, 1.0, sent=not moved)
    play(played.engine, [], 3_000)
    after = play(played.engine, [on(0, 60)], 6_000)
    assert (np.abs(after - before).max() > 0.01) == moved
