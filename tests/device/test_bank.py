import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from device.bank import Bank, Pad
from device.errors import TetradError

SAMPLES, COLUMNS = 1_280, 5
FILES = ["060.levels.npy", "060.npy", "064.levels.npy", "064.npy", "bank.json"]


def pad(seed: int, grid: int = 3, layers: int = 2) -> Pad:
    rng = np.random.default_rng(seed)
    cells = rng.integers(-32_768, 32_768, (layers, grid, grid, SAMPLES), np.int16)
    levels = rng.uniform(0, 1, (layers, grid, grid, COLUMNS)).astype(np.float32)
    motion = rng.uniform(0, (12, 200, 4, 200), (layers, 4, 4)).astype(np.float32)
    return Pad(cells, levels, 256 * seed, 512, motion)


def some_bank(directory) -> Bank:
    return Bank.create(directory, "d" * 64, "decoder-1", 3, (50, 100)).store(64, pad(1)).store(60, pad(2))


def refusal(directory) -> str:
    with pytest.raises(TetradError) as caught:
        Bank.open(directory)
    assert str(directory) in str(caught.value)
    assert "bake" in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_bank_is_opened_as_it_was_stored(tmp_path):
    some_bank(tmp_path / "bank")
    bank = Bank.open(tmp_path / "bank")
    assert (bank.preset, bank.decoder, bank.grid, bank.velocities) == ("d" * 64, "decoder-1", 3, (50, 100))
    assert bank.pitches == (60, 64)
    for seed, pitch in ((2, 60), (1, 64)):
        assert bank.is_whole(pitch)
        np.testing.assert_array_equal(bank.table(pitch), pad(seed).cells)
        np.testing.assert_array_equal(bank.levels(pitch), pad(seed).levels)
        np.testing.assert_array_equal(bank.motion(pitch), pad(seed).motion)
        assert bank.motion(pitch).dtype == np.float32
        assert bank.loop(pitch) == (256 * seed, 512)
    assert not bank.is_whole(61)
    bank.entries[64].valid[0, 1] = False
    assert not bank.is_whole(64)


def test_pitches_have_tables_of_their_own_lengths(tmp_path):
    longer = Pad(np.zeros((2, 3, 3, 2_560), np.int16), np.zeros((2, 3, 3, 10), np.float32), 0, 0, pad(1).motion)
    bank = Bank.open(some_bank(tmp_path).store(62, longer).directory)
    assert [bank.table(pitch).shape[-1] for pitch in (60, 62, 64)] == [1_280, 2_560, 1_280]
    assert bank.loop(62) == (0, 0)


def test_tables_are_mapped_and_read_only(tmp_path):
    mapped = some_bank(tmp_path).table(60)
    assert isinstance(mapped, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0, 0, 0, 0] = 1


def test_the_manifest_is_what_the_contract_says(tmp_path):
    some_bank(tmp_path)
    assert json.loads((tmp_path / "bank.json").read_text()) == {
        "format": "tetrad-bank", "version": 2, "preset": "d" * 64, "decoder": "decoder-1", "sample_rate_hz": 16_000,
        "grid": 3, "velocities": [50, 100], "pitches": {str(pitch): {
            "samples": SAMPLES, "loop_start": 256 * seed, "loop_samples": 512, "motion": pad(seed).motion.tolist(),
            "valid": [[True] * 3] * 3} for pitch, seed in ((60, 2), (64, 1))},
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_a_table_is_on_the_disk_before_the_manifest_says_so(tmp_path, monkeypatch):
    bank = some_bank(tmp_path)
    names, replace = [], os.replace

    def record(source, target):
        names.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", record)
    bank.store(72, pad(3))
    assert names == ["072.npy", "072.levels.npy", "bank.json"]


class PowerCut(BaseException):
    """Ends everything at once; what was being written stays under its temporary name."""


def test_a_power_cut_at_any_step_leaves_a_valid_bank(tmp_path, monkeypatch):
    def cutting_off(function):
        def cutting(*arguments):
            nonlocal left
            left -= 1
            if left < 0:
                raise PowerCut
            return function(*arguments)
        return cutting

    steps = 0
    for steps in range(100):
        left, directory = steps, tmp_path / str(steps)
        Bank.create(directory, "old", "decoder-0", 2, (9,)).store(60, pad(0, 2, 1))
        with monkeypatch.context() as patch:
            for name in ("fsync", "replace"):
                patch.setattr(os, name, cutting_off(getattr(os, name)))
            patch.setattr(os, "unlink", lambda path: None)
            try:
                some_bank(directory)
            except PowerCut:
                pass
            else:
                break
        bank = Bank.open(directory)
        assert (bank.preset, bank.pitches) in (
            ("old", (60,)), ("d" * 64, ()), ("d" * 64, (64,)), ("d" * 64, (60, 64)))
        some_bank(directory)
        assert sorted(path.name for path in directory.iterdir()) == FILES
    assert steps == 21  # three for each of seven files


def test_a_new_bank_takes_the_place_of_an_old_one(tmp_path):
    some_bank(tmp_path)
    (tmp_path / ".060.npy.abc.tmp").write_bytes(b"left by a power cut")
    Bank.create(tmp_path, "e" * 64, "decoder-1", 3, (100,))
    assert Bank.open(tmp_path).pitches == ()
    assert [path.name for path in tmp_path.iterdir()] == ["bank.json"]


def test_cleaning_removes_what_the_manifest_does_not_list(tmp_path):
    bank = some_bank(tmp_path)
    for name in (".060.npy.abc.tmp", ".bank.json.abc.tmp", "061.npy", "061.levels.npy", "notes.txt"):
        (tmp_path / name).write_bytes(b"left")
    bank.clean()
    assert sorted(path.name for path in tmp_path.iterdir()) == [*FILES, "notes.txt"]


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "060.npy").write_bytes(b"my work")
    with pytest.raises(TetradError, match=r"no bank, yet holds 060\.npy"):
        Bank.create(tmp_path, "d" * 64, "decoder-1", 3, (100,))
    assert (tmp_path / "060.npy").read_bytes() == b"my work"


@pytest.mark.parametrize("name", ["064.npy", "064.levels.npy"])
@pytest.mark.parametrize("length", [0, 1, 64, 127, 128, 300, -1])
def test_a_cut_table_is_refused_by_name(tmp_path, name, length):
    some_bank(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:length])
    assert name in refusal(tmp_path)


SHAPE = (2, 3, 3)


@pytest.mark.parametrize("array", [
    np.zeros((*SHAPE, SAMPLES), np.int32), np.zeros((2, 2, 2, SAMPLES), np.int16),
    np.zeros((1, 3, 3, SAMPLES), np.int16), np.zeros((*SHAPE, SAMPLES - 1), np.int16),
    np.zeros((*SHAPE, SAMPLES), ">i2"), np.zeros(5, object)])
def test_a_table_of_another_shape_or_type_is_refused_by_name(tmp_path, array):
    some_bank(tmp_path)
    np.save(tmp_path / "060.npy", array)
    assert "060.npy" in refusal(tmp_path)


@pytest.mark.parametrize("array", [
    np.zeros((*SHAPE, COLUMNS), np.float64), np.zeros((*SHAPE, COLUMNS + 1), np.float32), np.zeros(5, object),
    np.full((*SHAPE, COLUMNS), np.nan, np.float32), np.full((*SHAPE, COLUMNS), -0.1, np.float32),
    np.full((*SHAPE, COLUMNS), 1.1, np.float32), np.full((*SHAPE, COLUMNS), np.inf, np.float32)])
def test_levels_that_are_none_are_refused_by_name(tmp_path, array):
    some_bank(tmp_path)
    np.save(tmp_path / "060.levels.npy", array)
    assert "060.levels.npy" in refusal(tmp_path)


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_missing_table_is_refused_by_name(tmp_path, name):
    some_bank(tmp_path)
    (tmp_path / name).unlink()
    assert name in refusal(tmp_path)


@pytest.mark.parametrize("change", [
    {"version": 1}, {"version": 3}, {"version": None}, {"format": "x"}, {"grid": 1}, {"grid": 10**9}, {"grid": True},
    {"sample_rate_hz": 44_100}, {"pitches": [64, 60]}, {"pitches": {"60": {}}}, {"pitches": {"128": {}}},
    {"pitches": {"060": {}}}, {"pitches": None}, {"more": 1}, {"velocities": []}, {"velocities": [100, 50]},
    {"velocities": [100]}, {"velocities": [1, 2, 3, 4, 5]}, {"preset": 5}, {"decoder": "a\nb"},
])
def test_a_manifest_that_is_wrong_is_refused(tmp_path, change):
    some_bank(tmp_path)
    manifest = json.loads((tmp_path / "bank.json").read_text())
    (tmp_path / "bank.json").write_text(json.dumps(manifest | change))
    refusal(tmp_path)


@pytest.mark.parametrize("change", [
    {"samples": 0}, {"samples": 1e3}, {"samples": 10**12}, {"samples": 1_279}, {"samples": 1_024}, {"loop_start": -1},
    {"loop_start": 1_281}, {"loop_start": 512.0}, {"loop_samples": -1}, {"loop_samples": 769}, {"loop_samples": None},
    {"loop_start": 1_280}, {"valid": []}, {"valid": [[True] * 3] * 2}, {"valid": [[1] * 3] * 3}, {"more": 1},
    {"motion": []}, {"motion": [[[0] * 4] * 4]}, {"motion": [[[0] * 4] * 3] * 2}, {"motion": [[[0] * 5] * 4] * 2},
    {"motion": [[[0, 0, 0, float("nan")]] * 4] * 2}, {"motion": [[[13, 0, 0, 0]] * 4] * 2},
    {"motion": [[[0, 0, 0, -1]] * 4] * 2}, {"motion": [[[True, 0, 0, 0]] * 4] * 2}, {"motion": {"a": 1}},
])
def test_a_pitch_that_is_wrong_is_refused(tmp_path, change):
    some_bank(tmp_path)
    manifest = json.loads((tmp_path / "bank.json").read_text())
    manifest["pitches"]["60"].update(change)
    (tmp_path / "bank.json").write_text(json.dumps(manifest))
    assert "whole number of 256" in refusal(tmp_path) or change != {"samples": 1_279}
    for key in ("samples", "loop_start", "loop_samples", "motion", "valid"):
        del manifest["pitches"]["60"][key]
        (tmp_path / "bank.json").write_text(json.dumps(manifest))
        refusal(tmp_path)


def test_a_folder_without_a_manifest_is_refused_by_name(tmp_path):
    with pytest.raises(TetradError, match=r"bank\.json"):
        Bank.open(tmp_path)


def test_nothing_but_a_tetrad_error_comes_from_a_damaged_bank(tmp_path):
    some_bank(tmp_path)
    rng = random.Random(4)
    whole = {name: (tmp_path / name).read_bytes() for name in ("bank.json", "060.npy", "060.levels.npy")}
    for _ in range(300):
        for name, content in whole.items():
            data = bytearray(content)
            for _ in range(rng.randrange(3)):
                data[rng.randrange(min(len(data), 1_500))] = rng.randrange(256)
            (tmp_path / name).write_bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))])
        try:
            bank = Bank.open(tmp_path)
        except TetradError:
            continue
        for pitch in bank.pitches:
            assert bank.table(pitch).shape[:3] == bank.levels(pitch).shape[:3] == (2, bank.grid, bank.grid)
            assert sum(bank.loop(pitch)) <= bank.table(pitch).shape[-1] == 256 * bank.levels(pitch).shape[-1]
            assert bank.motion(pitch).shape == (2, 4, 4)
