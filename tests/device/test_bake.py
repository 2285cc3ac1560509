import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from additive import Additive, some_note, some_preset

from device import conditioning, sustain
from device.bake import CORNER_PEAK, bake, decode_pad, pitch_list, remaining, timed_bake
from device.bank import FULL_SCALE, Bank
from device.corner import Note, make_preset
from device.errors import TetradError
from device.preset import FRAMES, Preset, corner_weights
from device.synth import Excitation

GRID = 2


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """The bank that a baking without any trouble gives."""
    directory = tmp_path_factory.mktemp("whole") / "bank"
    bake(some_preset(), Additive(), directory, grid=GRID)
    return content(directory)


def rms_db(sound: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.mean(sound.astype(np.float64) ** 2, axis=-1) + 1e-12)


def body_of(preset: Preset, layer: int, corner: int, pitch: int, columns: int) -> np.ndarray:
    """A corner's body as the decoder gives it, [samples], without its decay behind the loop's start."""
    tracks = conditioning.columns(preset.at(pitch)[layer, corner])[None]
    decay = preset.motion(pitch)[layer, corner, 3:]
    sound = Additive().decode_columns(
        sustain.body(tracks, decay, columns), pitch, Excitation(preset.partials(pitch)[layer, corner][None],
        np.ones((1, 1), np.float32)), columns * 256, sustain.loop_start_samples(columns), after=14)
    return sound[0, :-256]


def test_a_bank_holds_what_the_decoder_gives_at_each_corner(tmp_path):
    preset = some_preset()
    bank = bake(preset, Additive(), tmp_path, [62, 60], grid=3)
    assert bank.pitches == (60, 62)
    assert (bank.preset, bank.decoder, bank.grid, bank.velocities) == (preset.digest, "additive", 3, (50, 100))
    columns = sustain.loop_columns(62)
    assert bank.loop(62) == (sustain.loop_start_samples(columns), columns * 256)
    assert bank.table(62).shape == (2, 3, 3, sum(bank.loop(62)) + 67 * 256)
    for layer in (0, 1):
        for corner, (row, column) in enumerate(((0, 0), (0, 2), (2, 0), (2, 2))):
            raw = body_of(preset, layer, corner, 62, columns)[: 120 * 256]
            cell = bank.table(62)[layer, row, column] / FULL_SCALE
            gain = CORNER_PEAK / np.abs(raw).max()
            assert np.abs(cell[: 120 * 256] - gain * raw).max() < 1e-3
    np.testing.assert_array_equal(bank.motion(62)[..., :3], preset.motion(62)[..., :3])


def test_a_cell_is_the_sound_of_its_latents_and_of_all_corners_partials():
    preset = some_preset(decays=(0, 0, 0, 0))
    pad = decode_pad(preset, Additive(), 60, 3)
    columns = sustain.loop_columns(60)
    tracks = conditioning.columns(preset.embedding(0.5, 0, 60)[None])
    sound = Additive().decode_columns(
        sustain.body(tracks, np.zeros(1), columns), 60,
        Excitation(preset.partials(60)[1], corner_weights(0.5, 0)[None]), columns * 256, pad.loop_start, after=14)[0]
    cell = pad.cells[1, 0, 1, : len(sound) - 256].astype(float)
    assert np.corrcoef(cell, sound[: len(cell)])[0, 1] > 0.99999


@pytest.mark.parametrize("pitch", [60, 47, 35])
def test_a_loop_goes_on_into_itself(pitch):
    """Beyond the reach of the decoder, what stands before the loop is what stands at its end."""
    preset = some_preset(decays=(0, 1, 0, 1.9))
    pad = decode_pad(preset, Additive(), pitch, 3)
    start, length = pad.loop_start, pad.loop_samples
    before, end = (pad.cells[..., at - 6 * 256 : at].astype(int) for at in (start, start + length))
    assert np.abs(before - end).max() < 0.1 * FULL_SCALE  # the noise before the loop is another
    assert np.abs(before).max() > 0.3 * FULL_SCALE
    looped = np.concatenate([pad.cells[..., : start + length], pad.cells[..., start : start + length]], axis=-1)
    steps = np.abs(np.diff(looped.astype(int), axis=-1))
    around = steps[..., start + length - 4_000 : start + length + 4_000].max(axis=-1)
    assert (steps[..., start + length - 1] <= around).all()


def test_what_decays_has_fallen_to_the_loops_level_when_it_starts(tmp_path):
    rng = np.random.default_rng(0)
    values = np.zeros((FRAMES, 16))
    values[:, 0] = 10 ** (-20 * np.arange(FRAMES) * 512 / 16_000 / 20)  # 20 dB a second
    falling, held = Note(values, motion=np.array([0, 0, 0, 20.0])), some_note(rng)
    preset = make_preset({name: [{60: note}] for name, note in zip("abcd", (falling, held, held, held), strict=True)},
                         name="p", pitches=(60,))
    pad = decode_pad(preset, Additive(), 60, 3)
    start = pad.loop_start // 256
    levels_db = 20 * np.log10(pad.levels[0, 0, 0] + 1e-9)
    line_db = levels_db[20] - 20 * (np.arange(start) - 20) * 256 / 16_000
    assert np.abs(levels_db[20:start] - line_db[20:]).max() < 2
    assert np.abs(levels_db[start : start + pad.loop_samples // 256] - line_db[-1]).max() < 2
    assert pad.motion[0, :, 3].tolist() == [20, 0, 0, 0]


def test_what_is_held_does_not_fall_at_all():
    pad = decode_pad(some_preset(decays=(0, 1.9, 2.1, 40)), Additive(), 60, 2)
    np.testing.assert_allclose(pad.motion[..., 3], [[0, 0, 2.1, 40]] * 2, rtol=1e-6)


def test_a_release_begins_in_phase_and_ends_as_the_recording_did():
    pad = decode_pad(some_preset(decays=(0, 0, 0, 0)), Additive(), 60, 2)
    release = pad.cells[..., pad.loop_start + pad.loop_samples :].astype(float)
    waves = Additive.partials(60, some_preset().partials(60)[1], 4 * 256, pad.loop_samples)
    for corner in range(4):
        found = np.linalg.lstsq(waves[corner].T, release[1, corner // 2, corner % 2, : 4 * 256], rcond=None)[0]
        assert (found > 0).all()  # sines, in phase with the body's first sample
    levels = pad.levels[..., -67:]
    before = pad.levels[..., 80 : pad.loop_start // 256].mean(axis=-1)
    assert (np.abs(20 * np.log10(levels[..., 2] / before)) < 4).all()
    assert (levels[..., -3:] < 0.1 * before[..., None]).all()


def test_levels_are_the_rms_of_each_column():
    pad = decode_pad(some_preset(), Additive(), 64, 3)
    assert pad.levels.dtype == np.float32
    for cell in ((0, 0, 0), (1, 2, 1)):
        columns = pad.cells[cell].reshape(-1, 256) / FULL_SCALE
        np.testing.assert_allclose(pad.levels[cell], np.sqrt(np.mean(columns**2, axis=1)), rtol=1e-5)


def test_cells_are_as_loud_as_lies_between_their_corners():
    """Corners at one peak, whatever the decoder gives; between them the level in dB is bilinear."""
    for levels in ((1, 1, 1, 1), (0.6, 1, 3, 0.5)):
        pad = decode_pad(some_preset(levels=levels), Additive(), 60, 5)
        loud = pad.cells[..., : pad.loop_start] / FULL_SCALE
        corners = [(0, 0), (0, 4), (4, 0), (4, 4)]
        for layer in (0, 1):
            for cell in corners:
                assert np.abs(pad.cells[(layer, *cell)]).max() / FULL_SCALE == pytest.approx(CORNER_PEAK, abs=1e-3)
            corner_db = np.array([rms_db(loud[(layer, *cell)]) for cell in corners])
            for row in range(5):
                for column in range(5):
                    wanted = corner_weights(column / 4, row / 4) @ corner_db
                    assert rms_db(loud[layer, row, column]) == pytest.approx(wanted, abs=0.01)


class Uneven(Additive):
    """The notes come out at very different levels: by how near they are to the first corner."""

    def __init__(self, gain_db: dict[float, float], name: str = "uneven") -> None:
        super().__init__(name)
        self.gain_db = gain_db

    def decode_columns(self, tracks, pitch, excitation, cycle_samples=0, loop_start=0, before=0, after=0):
        sound = super().decode_columns(tracks, pitch, excitation, cycle_samples, loop_start, before, after)
        gains_db = [self.gain_db.get(round(float(weight), 3), 0.0) for weight in excitation.weights[:, 0]]
        return sound * (10 ** (np.array(gains_db, np.float32) / 20))[:, None]


def test_no_cell_is_corrected_beyond_all_bounds_or_clipped():
    preset, middle = some_preset(decays=(0, 0, 0, 0)), (0, 1, 1)
    usual = decode_pad(preset, Additive(), 60, 3)
    softer = decode_pad(preset, Uneven({0.25: -20}), 60, 3)
    louder = decode_pad(preset, Uneven({0.25: 10}), 60, 3)
    usual_db, softer_db, louder_db = (rms_db(pad.cells[middle][: pad.loop_start]) for pad in (usual, softer, louder))
    assert louder_db == pytest.approx(usual_db, abs=0.01)
    assert -12 < softer_db - usual_db < -4  # 20 less what is at most made up for, against its corners
    for decoder in (Uneven({1.0: -60}), Uneven({0.0: -60})):  # what is so soft was meant to be
        pad = decode_pad(preset, decoder, 60, 3)
        assert np.abs(pad.cells[:, 0, 0]).max() < CORNER_PEAK * FULL_SCALE * (1 if 0.0 in decoder.gain_db else 0.02) + 1
    spiky = decode_pad(preset, Spiky(), 60, 3)
    assert 0.97 * FULL_SCALE < np.abs(spiky.cells[middle].astype(int)).max() <= 0.98 * FULL_SCALE + 1
    assert rms_db(spiky.cells[middle][: spiky.loop_start]) < usual_db - 0.5


class Spiky(Additive):
    """Notes between corners hold a peak that would not fit."""

    def decode_columns(self, tracks, pitch, excitation, cycle_samples=0, loop_start=0, before=0, after=0):
        sound = super().decode_columns(tracks, pitch, excitation, cycle_samples, loop_start, before, after)
        sound[excitation.weights.max(axis=1) < 1, 5_000] = 3 * np.abs(sound).max()
        return sound


def test_a_silent_corner_is_silent_and_its_neighbours_are_not():
    pad = decode_pad(some_preset(levels=(0, 1, 1, 1)), Additive(), 60, 3)
    assert not pad.cells[:, 0, 0].any()
    assert not pad.levels[:, 0, 0].any()
    assert (np.abs(pad.cells[:, 0, 1]).max(axis=-1) > 1_000).all()


def test_a_fine_grid_is_decoded_in_batches_of_the_same_law():
    preset = some_preset(velocities=(100,))
    coarse, fine = decode_pad(preset, Additive(), 60, 5), decode_pad(preset, Additive(), 60, 9)
    assert np.abs(fine.cells[:, ::2, ::2].astype(int) - coarse.cells).max() <= 1
    tracemalloc.start()
    cells = decode_pad(preset, Flat(), 60, 13).cells
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < cells.nbytes + 6 * 32 * cells[0, 0, 0].size * 4


class Flat(Additive):
    """A decoder that needs no memory but for what it returns."""

    def decode_columns(self, tracks, pitch, excitation, cycle_samples=0, loop_start=0, before=0, after=0):
        return np.full((len(tracks), (tracks.shape[1] - before - after) * 256), 0.1, np.float32)


def test_the_presets_pitches_are_baked_unless_others_are_asked_for(tmp_path):
    assert bake(some_preset(), Additive(), tmp_path, grid=GRID).pitches == (60, 64, 68, 72)


def test_pitches_are_decoded_in_the_order_in_which_they_are_wanted(tmp_path):
    decoder, seen = Additive(), []
    bake(some_preset(), decoder, tmp_path, [72, 60, 72, 64], grid=GRID, progress=seen.append)
    assert decoder.pitches == seen == [72, 60, 64]


def test_what_is_there_already_is_not_decoded_again(tmp_path):
    bake(some_preset(), Additive(), tmp_path, [60, 64], grid=GRID)
    stamp = (tmp_path / "060.npy").stat().st_mtime_ns
    decoder = Additive()
    assert remaining(some_preset(), decoder, tmp_path, [60, 68], GRID) == [68]
    assert bake(some_preset(), decoder, tmp_path, [60, 68], grid=GRID).pitches == (60, 64, 68)
    assert decoder.pitches == [68]
    assert (tmp_path / "060.npy").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(("preset", "decoder", "grid"), [
    (some_preset(2), Additive(), GRID), (some_preset(), Additive("other"), GRID), (some_preset(), Additive(), 3)])
def test_a_bank_of_another_preset_decoder_or_grid_is_replaced(tmp_path, preset, decoder, grid):
    bake(some_preset(), Additive(), tmp_path, [60, 64], grid=GRID)
    assert bake(preset, decoder, tmp_path, [64], grid=grid).pitches == (64,)
    assert sorted(content(tmp_path)) == ["064.levels.npy", "064.npy", "bank.json"]


@pytest.mark.parametrize("name", ["064.npy", "064.levels.npy", "bank.json"])
def test_a_damaged_bank_is_baked_anew(tmp_path, whole, name):
    for there, data in whole.items():
        (tmp_path / there).write_bytes(data[:100] if there == name else data)
    bake(some_preset(), Additive(), tmp_path, grid=GRID)
    assert content(tmp_path) == whole


def test_several_processes_give_the_same_bytes(tmp_path, whole):
    bake(some_preset(), Additive(), tmp_path, grid=GRID, jobs=2)
    assert content(tmp_path) == whole


def test_a_worker_that_dies_is_a_tetrad_error_and_what_is_done_is_kept(tmp_path, whole):
    decoder = Additive(poison=72)
    with pytest.raises(TetradError, match="--jobs 1"):
        bake(some_preset(), decoder, tmp_path, [60, 72], grid=GRID, jobs=2)
    assert set(Bank.open(tmp_path).pitches) <= {60}
    bake(some_preset(), Additive(), tmp_path, grid=GRID)
    assert content(tmp_path) == whole


def bake_slowly(directory: str) -> None:
    """What the subprocess below runs."""
    bake(some_preset(), Additive(slowness_s=0.15), directory, grid=GRID, jobs=2)


def start_baking(directory: Path) -> subprocess.Popen:
    here = Path(__file__).parent
    paths = [str(here), str(here.parents[1])]
    code = f"import sys; sys.path[:0] = {paths}; import test_bake; test_bake.bake_slowly({str(directory)!r})"
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True)


def wait_until(true, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("tables", [0, 1, 2, 3])
def test_a_killed_baking_leaves_a_valid_bank_that_the_next_completes(tmp_path, whole, tables):
    directory = tmp_path / "bank"
    process = start_baking(directory)
    wait_until(lambda: (directory / "bank.json").exists() and len(list(directory.glob("???.npy"))) >= tables)
    time.sleep((0.0, 0.1, 0.02, 0.05)[tables])  # at the rename, between tables, in the middle of one
    process.send_signal(signal.SIGKILL)
    process.wait()
    bank = Bank.open(directory)
    for pitch in bank.pitches:
        for name in (f"{pitch:03d}.npy", f"{pitch:03d}.levels.npy"):
            assert whole[name] == (directory / name).read_bytes()
    assert len(bank.pitches) >= tables - 1
    # no worker waits for ever for a parent that is gone
    wait_until(lambda: not group_lives(process.pid), 20)
    (directory / ".072.npy.x.tmp").write_bytes(b"what a kill in the middle of a write leaves, at times")
    decoder = Additive()
    bake(some_preset(), decoder, directory, grid=GRID)
    assert decoder.pitches == [pitch for pitch in (60, 64, 68, 72) if pitch not in bank.pitches]
    assert content(directory) == whole


def test_one_bank_is_baked_by_one_process_at_a_time(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    with pytest.raises(TetradError, match="another process"):
        bake(some_preset(), Additive(), tmp_path, [60], grid=GRID)
    os.close(descriptor)
    bake(some_preset(), Additive(), tmp_path, [60], grid=GRID)


class Broken(Additive):
    def decode_columns(self, tracks, pitch, excitation, cycle_samples=0, loop_start=0, before=0, after=0):
        return np.full((len(tracks), (tracks.shape[1] - before - after) * 256), np.nan, np.float32)


class Cut(Additive):
    def decode_columns(self, tracks, pitch, excitation, cycle_samples=0, loop_start=0, before=0, after=0):
        return super().decode_columns(tracks, pitch, excitation, cycle_samples, loop_start, before, after)[:, :-1]


@pytest.mark.parametrize("decoder", [Broken("broken"), Cut("cut")])
def test_a_decoder_that_gives_no_sound_is_refused_and_leaves_an_empty_bank(tmp_path, decoder):
    with pytest.raises(TetradError, match=f"decoder {decoder.id} gives NaN or .* at pitch 60"):
        bake(some_preset(), decoder, tmp_path, [60], grid=GRID)
    assert Bank.open(tmp_path).pitches == ()


@pytest.mark.parametrize(("pitches", "grid"), [([], 5), ([-1], 5), ([128], 5), ([60], 1), ([60], 1_000)])
def test_pitches_and_grids_that_are_none_are_refused_before_anything_is_written(tmp_path, pitches, grid):
    with pytest.raises(TetradError):
        bake(some_preset(), Additive(), tmp_path / "bank", pitches, grid)
    assert not (tmp_path / "bank").exists()


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "song.wav").write_bytes(b"")
    with pytest.raises(TetradError, match=r"song\.wav"):
        bake(some_preset(), Additive(), tmp_path, [60], grid=GRID)
    with pytest.raises(TetradError, match="cannot make"):
        bake(some_preset(), Additive(), tmp_path / "song.wav", [60], grid=GRID)


def test_the_report_counts_what_was_decoded(tmp_path):
    bake(some_preset(), Additive(), tmp_path, [60], grid=GRID)
    result = timed_bake(some_preset(), Additive(), tmp_path, [60, 64, 68], GRID, 1)
    samples = [Bank.open(tmp_path).table(pitch).shape[-1] for pitch in (64, 68)]
    assert (result["notes"], result["audio_s"]) == (16, 8 * sum(samples) / 16_000)
    assert result["x_realtime"] == pytest.approx(result["audio_s"] / result["wall_s"])
    assert timed_bake(some_preset(), Additive(), tmp_path, [60], GRID, 1)["notes"] == 0


def test_pitch_lists_are_numbers_and_ranges():
    assert pitch_list("36,40,48:54:2,60:61") == [36, 40, 48, 50, 52, 54, 60, 61]
    for wrong in ("", "a", "60:", "60:50", "1:2:3:4", "128", "-1", "60:70:0"):
        with pytest.raises(argparse.ArgumentTypeError):
            pitch_list(wrong)
