"""The bench's arithmetic, and one real run of it."""

import json
from pathlib import Path

import pytest

import tetrad
from train import bench_jobs

pytest.importorskip("distributed")


def test_hours_are_arithmetic_up_to_what_the_client_takes() -> None:
    hours = bench_jobs.hours(20.0, 100.0)
    assert hours[1] == pytest.approx(305_979 / 20 / 3600, rel=0.01)
    assert hours[4] == pytest.approx(305_979 / 80 / 3600, rel=0.01)
    assert hours[8] == hours[16] == hours[64] == pytest.approx(305_979 / 100 / 3600, rel=0.01)


def test_what_is_measured_is_what_the_commands_run(tmp_path: Path) -> None:
    measured = bench_jobs.stages(tmp_path, 3, None)
    assert list(measured) == ["embedding", "decoding"]
    for function, items, _ in measured.values():
        assert len(items) == 3
        assert len(bench_jobs.jobs.unpack(function(items))) == 3


@pytest.mark.full
def test_the_bench_measures_one_worker_and_two(capsys: pytest.CaptureFixture) -> None:
    assert tetrad.main(["bench", "jobs", "--notes", "64", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    for stage in ("embedding", "decoding"):
        one, two = result[f"{stage}_notes_per_s_1"], result[f"{stage}_notes_per_s_2"]
        assert result[f"{stage}_ratio"] == pytest.approx(two / one)
        assert min(one, two) > 1
    assert result["client_notes_per_s"] > 10
