"""What was decoded before is kept on the disk, within a limit, and nothing that happens to it does harm."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from additive import Additive, some_preset

from device.bake import decode_pad
from device.box.bank_cache import BankCache
from device.errors import TetradError

GRID = 2
PRESET = some_preset(velocities=(100,))
PADS = {pitch: decode_pad(PRESET, Additive(), pitch, GRID) for pitch in (60, 62)}
PAD_BYTES = PADS[60].cells.nbytes + PADS[60].levels.nbytes


def named(name: str):
    """Another preset, of the same sounds."""
    return replace(PRESET, name=name)


def test_what_is_stored_is_found_again_by_another_process(tmp_path):
    cache = BankCache(tmp_path, 1 << 30)
    assert cache.open(PRESET, "d", GRID).pitches == ()
    assert all(cache.store(PRESET, "d", pitch, pad) for pitch, pad in PADS.items())
    again = BankCache(tmp_path, 1 << 30)
    bank = again.open(PRESET, "d", GRID)
    assert bank.pitches == (60, 62)
    for pitch, pad in PADS.items():
        cells, levels = again.read(bank, pitch)
        assert np.array_equal(cells, pad.cells)
        assert np.array_equal(levels, pad.levels)
        assert not isinstance(cells, np.memmap)


def test_a_bank_is_one_presets_one_decoders_and_one_grids(tmp_path):
    cache = BankCache(tmp_path, 1 << 30)
    cache.store(PRESET, "d", 60, PADS[60])
    for other in ((named("other"), "d", GRID), (PRESET, "e", GRID), (PRESET, "d", 3)):
        assert cache.open(*other).pitches == ()
    assert cache.open(PRESET, "d", GRID).pitches == (60,)


def test_what_was_not_used_for_the_longest_time_makes_room(tmp_path):
    cache = BankCache(tmp_path, 3 * PAD_BYTES + 60_000)
    for age, name in enumerate("abc"):
        cache.store(named(name), "d", 60, PADS[60])
        os.utime(cache.open(named(name), "d", GRID).directory, (1000 + age, 1000 + age))
    BankCache(tmp_path, 1 << 30).open(named("a"), "d", GRID)  # used again
    assert cache.store(named("e"), "d", 60, PADS[60])
    kept = [name for name in "abce" if BankCache(tmp_path, 1 << 30).open(named(name), "d", GRID).pitches]
    assert kept == ["a", "c", "e"]


def test_a_bank_that_is_itself_over_the_limit_keeps_what_fits(tmp_path):
    cache = BankCache(tmp_path, PAD_BYTES + 60_000)
    assert cache.store(PRESET, "d", 60, PADS[60])
    assert not cache.store(PRESET, "d", 62, PADS[62])
    assert BankCache(tmp_path, 1 << 30).open(PRESET, "d", GRID).pitches == (60,)


def test_half_of_the_free_disk_is_left_to_presets(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 30, 0, PAD_BYTES))
    assert not BankCache(tmp_path, 1 << 30).store(PRESET, "d", 60, PADS[60])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 30, 0, 3 * PAD_BYTES))
    assert BankCache(tmp_path, 1 << 30).store(PRESET, "d", 60, PADS[60])


@pytest.mark.parametrize("harm", ["json", "table", "levels", "litter", "foreign"])
def test_what_is_damaged_is_decoded_again(tmp_path, harm):
    BankCache(tmp_path, 1 << 30).store(PRESET, "d", 60, PADS[60])
    folder = next(tmp_path.iterdir())
    if harm == "json":
        (folder / "bank.json").write_bytes(b"{")
    elif harm in ("table", "levels"):
        path = folder / ("060.npy" if harm == "table" else "060.levels.npy")
        path.write_bytes(path.read_bytes()[:-100])
    elif harm == "litter":
        (folder / "bank.json").unlink()
        (folder / "other").write_text("not ours")
    else:
        (folder / ".060.npy.x.tmp").write_bytes(b"half")
    cache = BankCache(tmp_path, 1 << 30)
    bank = cache.open(PRESET, "d", GRID)
    assert bank.pitches == ((60,) if harm == "foreign" else ())
    assert cache.store(PRESET, "d", 62, PADS[62])
    assert not list(folder.glob(".*"))


def test_a_table_that_is_cut_while_it_is_used_is_an_error_and_no_crash(tmp_path):
    cache = BankCache(tmp_path, 1 << 30)
    cache.store(PRESET, "d", 60, PADS[60])
    bank = cache.open(PRESET, "d", GRID)
    path = bank._path(60)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TetradError, match=r"060\.npy"):
        cache.read(bank, 60)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "banks").write_text("a file")
    with pytest.raises(TetradError, match="banks"):
        BankCache(tmp_path / "banks", 1 << 30).open(PRESET, "d", GRID)


def test_a_bank_that_does_not_fit_the_preset_any_more_is_decoded_again(tmp_path):
    """As one of an earlier version, whose cells were longer."""
    cache = BankCache(tmp_path, 1 << 30)
    pad = PADS[60]
    longer = replace(pad, cells=np.concatenate([pad.cells, pad.cells[..., :256]], axis=-1),
                     levels=np.concatenate([pad.levels, pad.levels[..., :1]], axis=-1))
    cache.store(PRESET, "d", 60, longer)
    assert BankCache(tmp_path, 1 << 30).open(PRESET, "d", GRID).pitches == ()
    cache.store(PRESET, "d", 60, replace(pad, loop_start=0, loop_samples=256))
    assert BankCache(tmp_path, 1 << 30).open(PRESET, "d", GRID).pitches == ()


def test_what_the_disk_refuses_is_an_error_in_a_line(tmp_path):
    cache = BankCache(tmp_path, 1 << 30)
    cache.open(named("other"), "d", GRID)
    (next(tmp_path.iterdir()) / "x").symlink_to("nothing")
    with pytest.raises(TetradError, match="cannot use"):
        cache.store(PRESET, "d", 60, PADS[60])
