import json
import tempfile
from pathlib import Path

import pytest
from additive import Additive
from test_bake import some_preset

import tetrad
from device import bench_bake
from device.bench_bake import loudest_layer, measure


def test_the_loudest_layer_alone_is_baked() -> None:
    preset = some_preset(velocities=(50, 100))
    loud = loudest_layer(preset)
    assert loud.velocities == (100,)
    assert (loud.at(60)[0] == preset.at(60)[1]).all()


def test_a_full_pad_is_counted_and_left_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(bench_bake, "GRID", 3)
    monkeypatch.setattr(bench_bake, "PITCHES", (60, 64))
    result = measure(some_preset(), Additive(), 1)  # type: ignore[arg-type]
    assert result["notes"] == 2 * 3 * 3
    assert result["x_realtime"] == pytest.approx(result["audio_s"] / result["wall_s"])
    assert result["nsynth_super_notes_hours"] == pytest.approx(result["wall_s"] / 18 * 118_016 / 3600)
    assert not list(tmp_path.iterdir())


def test_the_command_bakes_a_shipped_preset(monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench_bake, "GRID", 2)
    assert tetrad.main(["bench", "bake", "--jobs", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["notes"], result["jobs"]) == (16 * 4, 2)
    assert result["audio_s"] == pytest.approx(64 * 4.2, rel=0.05)
