import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from device.bake import bake, decode_pad, pitch_list, remaining, timed_bake
from device.bank import Bank
from device.errors import TetradError
from device.preset import FRAMES, HOP_SAMPLES, NOTE_SAMPLES, Preset, make_preset

GRID = 2


class Additive:
    """A decoder that is one: 16 harmonics whose levels are the embedding's numbers. Waits `slowness_s` a note."""

    def __init__(self, name: str = "additive", slowness_s: float = 0.0, poison: int | None = None) -> None:
        self.id, self.slowness_s, self.poison = name, slowness_s, poison
        self.pitches: list[int] = []

    def decode(self, embeddings: np.ndarray, pitch: int) -> np.ndarray:
        self.pitches.append(pitch)
        time.sleep(self.slowness_s)
        if pitch == self.poison:
            os.kill(os.getpid(), signal.SIGKILL)
        period_s = 440.0 * 2 ** ((pitch - 69) / 12) / 16_000
        time_s = np.arange(embeddings.shape[1] * HOP_SAMPLES)
        harmonics = np.sin(2 * np.pi * period_s * np.outer(np.arange(1, 17), time_s)).astype(np.float32)  # (16, N)
        levels = np.repeat(np.maximum(embeddings, 0), HOP_SAMPLES, axis=1)  # (notes, N, 16)
        return 0.05 * np.einsum("bnk,kn->bn", levels, harmonics)


def some_preset(seed: int = 1) -> Preset:
    rng = np.random.default_rng(seed)
    corners = {name: {60: rng.normal(size=(FRAMES, 16)), 72: rng.normal(size=(FRAMES, 16))} for name in "abcd"}
    return make_preset(corners, name="p", pitches=(60, 64, 68, 72))


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """The bank that a baking without any trouble gives."""
    directory = tmp_path_factory.mktemp("whole") / "bank"
    bake(some_preset(), Additive(), directory, grid=GRID)
    return content(directory)


def test_a_bank_holds_what_the_decoder_gives_at_each_cell(tmp_path):
    preset = some_preset()
    bank = bake(preset, Additive(), tmp_path, [62, 60], grid=3)
    assert bank.pitches == (60, 62)
    assert (bank.preset, bank.decoder, bank.grid, bank.samples) == (preset.digest, "additive", 3, NOTE_SAMPLES)
    for row in range(3):
        for column in range(3):
            sound = Additive().decode(preset.embedding(column / 2, row / 2, 62)[None], 62)[0]
            assert np.abs(bank.table(62)[row, column] / 32_768 - sound).max() < 1e-4
    assert np.abs(bank.table(62)).max() > 3_000


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
    assert sorted(content(tmp_path)) == ["064.npy", "bank.json"]


@pytest.mark.parametrize("name", ["064.npy", "bank.json"])
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
    wait_until(lambda: (directory / "bank.json").exists() and len(list(directory.glob("[0-9]*.npy"))) >= tables)
    time.sleep((0.0, 0.1, 0.02, 0.05)[tables])  # at the rename, between tables, in the middle of one
    process.send_signal(signal.SIGKILL)
    process.wait()
    bank = Bank.open(directory)
    assert all(whole[f"{pitch:03d}.npy"] == (directory / f"{pitch:03d}.npy").read_bytes() for pitch in bank.pitches)
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
    def decode(self, embeddings: np.ndarray, pitch: int) -> np.ndarray:
        return np.full((len(embeddings), NOTE_SAMPLES), np.nan, np.float32)


class Loud(Additive):
    def decode(self, embeddings: np.ndarray, pitch: int) -> np.ndarray:
        return np.tile(np.linspace(-3, 3, NOTE_SAMPLES, dtype=np.float32), (len(embeddings), 1))


def test_a_decoder_that_gives_nan_is_refused_and_leaves_an_empty_bank(tmp_path):
    with pytest.raises(TetradError, match="NaN"):
        bake(some_preset(), Broken("broken"), tmp_path, [60], grid=GRID)
    assert Bank.open(tmp_path).pitches == ()


def test_too_loud_a_sound_is_clipped_and_does_not_wrap():
    pad = decode_pad(some_preset(), Loud(), 60, 2)
    assert (np.diff(pad[0, 0].astype(int)) >= 0).all()
    assert (pad.min(), pad.max()) == (-32_768, 32_767)


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
    assert (result["notes"], result["audio_s"]) == (8, 32.0)
    assert result["x_realtime"] == pytest.approx(32.0 / result["wall_s"])
    assert timed_bake(some_preset(), Additive(), tmp_path, [60], GRID, 1)["notes"] == 0


def test_pitch_lists_are_numbers_and_ranges():
    assert pitch_list("36,40,48:54:2,60:61") == [36, 40, 48, 50, 52, 54, 60, 61]
    for wrong in ("", "a", "60:", "60:50", "1:2:3:4", "128", "-1", "60:70:0"):
        with pytest.raises(argparse.ArgumentTypeError):
            pitch_list(wrong)
