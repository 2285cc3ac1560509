import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from device.bank import Bank
from device.errors import TetradError

SAMPLES = 640


def table(seed: int, grid: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(-32_768, 32_768, (grid, grid, SAMPLES), np.int16)


def some_bank(directory) -> Bank:
    return Bank.create(directory, "d" * 64, "decoder-1", 3, SAMPLES).store(64, table(1)).store(60, table(2))


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
    assert (bank.preset, bank.decoder, bank.grid, bank.samples) == ("d" * 64, "decoder-1", 3, SAMPLES)
    assert bank.pitches == (60, 64)
    assert all(cells.shape == (3, 3) and cells.all() for cells in bank.valid.values())
    np.testing.assert_array_equal(bank.table(64), table(1))
    np.testing.assert_array_equal(bank.table(60), table(2))


def test_tables_are_mapped_and_read_only(tmp_path):
    mapped = some_bank(tmp_path).table(60)
    assert isinstance(mapped, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0, 0, 0] = 1


def test_the_manifest_is_what_the_contract_says(tmp_path):
    some_bank(tmp_path)
    assert json.loads((tmp_path / "bank.json").read_text()) == {
        "format": "tetrad-bank", "version": 1, "preset": "d" * 64, "decoder": "decoder-1", "sample_rate_hz": 16_000,
        "grid": 3, "samples": SAMPLES, "pitches": [60, 64],
        "valid": {"60": [[True] * 3] * 3, "64": [[True] * 3] * 3},
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["060.npy", "064.npy", "bank.json"]


def test_a_table_is_on_the_disk_before_the_manifest_says_so(tmp_path, monkeypatch):
    bank = some_bank(tmp_path)
    names, replace = [], os.replace

    def record(source, target):
        names.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", record)
    bank.store(72, table(3))
    assert names == ["072.npy", "bank.json"]


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
        Bank.create(directory, "old", "decoder-0", 2, SAMPLES).store(60, table(9, 2))
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
        assert sorted(path.name for path in directory.iterdir()) == ["060.npy", "064.npy", "bank.json"]
    assert steps == 15  # three for each of five files


def test_a_new_bank_takes_the_place_of_an_old_one(tmp_path):
    some_bank(tmp_path)
    (tmp_path / ".060.npy.abc.tmp").write_bytes(b"left by a power cut")
    Bank.create(tmp_path, "e" * 64, "decoder-1", 3, SAMPLES)
    assert Bank.open(tmp_path).pitches == ()
    assert [path.name for path in tmp_path.iterdir()] == ["bank.json"]


def test_cleaning_removes_what_the_manifest_does_not_list(tmp_path):
    bank = some_bank(tmp_path)
    for name in (".060.npy.abc.tmp", ".bank.json.abc.tmp", "061.npy", "notes.txt"):
        (tmp_path / name).write_bytes(b"left")
    bank.clean()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["060.npy", "064.npy", "bank.json", "notes.txt"]


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "060.npy").write_bytes(b"my work")
    with pytest.raises(TetradError, match=r"no bank, yet holds 060\.npy"):
        Bank.create(tmp_path, "d" * 64, "decoder-1", 3, SAMPLES)
    assert (tmp_path / "060.npy").read_bytes() == b"my work"


@pytest.mark.parametrize("length", [0, 1, 64, 127, 128, 1_000, 3 * 3 * SAMPLES * 2 + 127])
def test_a_cut_table_is_refused_by_name(tmp_path, length):
    some_bank(tmp_path)
    whole = (tmp_path / "064.npy").read_bytes()
    (tmp_path / "064.npy").write_bytes(whole[:length])
    assert "064.npy" in refusal(tmp_path)


@pytest.mark.parametrize("array", [np.zeros((3, 3, SAMPLES), np.int32), np.zeros((2, 2, SAMPLES), np.int16),
                                   np.zeros((3, 3, SAMPLES - 1), np.int16), np.zeros(5, object)])
def test_a_table_of_another_shape_or_type_is_refused_by_name(tmp_path, array):
    some_bank(tmp_path)
    np.save(tmp_path / "060.npy", array)
    assert "060.npy" in refusal(tmp_path)


def test_a_missing_table_is_refused_by_name(tmp_path):
    some_bank(tmp_path)
    (tmp_path / "060.npy").unlink()
    assert "060.npy" in refusal(tmp_path)


@pytest.mark.parametrize("change", [
    {"version": 2}, {"version": None}, {"format": "x"}, {"grid": 1}, {"grid": 10**9}, {"grid": True}, {"samples": 0},
    {"samples": 1e3}, {"samples": 10**12}, {"sample_rate_hz": 44_100}, {"pitches": [64, 60]}, {"pitches": [60]},
    {"pitches": [60, 128]}, {"pitches": None}, {"valid": {}}, {"valid": {"60": [], "64": []}}, {"valid": []},
    {"more": 1},
    {"valid": {"60": [[True] * 3] * 3, "64": [[1] * 3] * 3}}, {"preset": 5}, {"decoder": "a\nb"},
])
def test_a_manifest_that_is_wrong_is_refused(tmp_path, change):
    some_bank(tmp_path)
    manifest = json.loads((tmp_path / "bank.json").read_text())
    (tmp_path / "bank.json").write_text(json.dumps(manifest | change))
    refusal(tmp_path)


def test_a_folder_without_a_manifest_is_refused_by_name(tmp_path):
    with pytest.raises(TetradError, match=r"bank\.json"):
        Bank.open(tmp_path)


def test_nothing_but_a_tetrad_error_comes_from_a_damaged_bank(tmp_path):
    some_bank(tmp_path)
    rng = random.Random(4)
    whole = {name: (tmp_path / name).read_bytes() for name in ("bank.json", "060.npy")}
    for _ in range(400):
        for name, content in whole.items():
            data = bytearray(content)
            for _ in range(rng.randrange(3)):
                data[rng.randrange(min(len(data), 600))] = rng.randrange(256)
            (tmp_path / name).write_bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))])
        try:
            bank = Bank.open(tmp_path)
        except TetradError:
            continue
        for pitch in bank.pitches:
            assert bank.table(pitch).shape == (bank.grid, bank.grid, bank.samples)
