"""The command as a process of its own, since it locks its memory; JACK's dummy driver is the card."""

import ctypes
import ctypes.util
import json
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tetrad

pytest.importorskip("device._alsa", reason="needs ALSA's headers: libasound2-dev")
from device import bench_latency  # after it is known that there is something to import
from device.bench_latency import first_in_line, jack_plugin, minutes_of, resident_mb, sequencer_event
from device.errors import TetradError

Bench = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
SHORT = """
import sys
from device import bench_latency
if __name__ == "__main__":
    bench_latency.PITCHES, bench_latency.GRID, bench_latency.SETTLE_S = (60, 64), 2, 0.2
    import tetrad
    sys.exit(tetrad.main(["bench", "latency", *sys.argv[1:]]))
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The command, with a small pad."""
    script = tmp_path / "short.py"
    script.write_text(SHORT)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
        return subprocess.run([sys.executable, script, *options], env=env, capture_output=True, text=True, timeout=120)

    return run


def check(result: dict[str, Any]) -> None:
    assert (result["notes"], result["latency_period_frames"], result["period_frames"]) == (5, 64, 128)
    assert result["latency_goal_ms"] == pytest.approx(64 / 48 + 1)
    assert 0 < result["latency_p50_ms"] <= result["latency_p99_ms"] <= result["latency_worst_ms"] < 1_000
    assert result["blocks"] > 500
    assert result["mean_voices"] > 25
    assert result["worst_load"] > 0
    assert 0 < result["tables_mb"] < 5 < result["beside_tables_mb"]
    assert result["sequencer"] == Path("/dev/snd/seq").exists()
    assert result["decoders"] == os.cpu_count()


def test_it_measures_with_jacks_dummy_driver_and_leaves_nothing(bench: Bench, tmp_path: Path) -> None:
    try:
        jack_plugin()
    except TetradError:
        pytest.skip("needs a paced card: jackd2, libasound2-plugins")
    ran = bench("--notes", "5", "--minutes", "0.05", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    check(json.loads(ran.stdout))
    assert [path.name for path in tmp_path.iterdir()] == ["short.py"]


def test_it_measures_by_the_clock(bench: Bench) -> None:
    ran = bench("--notes", "5", "--minutes", "0.05", "--device", "null")
    assert (ran.returncode, ran.stderr) == (0, "")
    result = dict(line.split(": ", 1) for line in ran.stdout.splitlines())
    assert (result["device"], result["latency xruns"], result["xruns"]) == ("null", "0", "0")


def test_a_card_that_is_not_there_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert tetrad.main(["bench", "latency", "--device", "nowhere"]) == 1
    assert capsys.readouterr().err == "tetrad: nowhere: No such file or directory\n"


def test_what_to_install_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert tetrad.main(["bench", "latency"]) == 1
    assert capsys.readouterr().err == (
        "tetrad: there is no paced card: sudo apt-get install jackd2 libasound2-plugins, "
        "or give a real one with --device\n")


def test_a_preset_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tetrad.main(["bench", "latency", "--device", "null", "--preset", str(tmp_path / "none.tetrad")]) == 1
    assert "none.tetrad" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--notes", "0"), ("--notes", "many"), ("--minutes", "0"),
                                               ("--minutes", "nan"), ("--minutes", "-1"), ("--minutes", "soon")])
def test_numbers_out_of_range_are_bad_use(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        tetrad.main(["bench", "latency", option, value])
    assert stopped.value.code == 2
    assert "is no" in capsys.readouterr().err


def test_minutes_may_be_parts_of_one() -> None:
    assert minutes_of("0.5") == 0.5


def test_what_does_not_happen_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_latency, "PATIENCE_S", 0.05)
    bench_latency.wait_for(lambda: True, "it does not come")
    with pytest.raises(TetradError, match="it does not come"):
        bench_latency.wait_for(lambda: False, "it does not come", 0.01)


def test_what_is_mapped_of_a_folder_counts_apart(tmp_path: Path) -> None:
    for folder in ("bank", "bank2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "060 (a).npy").write_bytes(bytes(4 << 20))
    with (tmp_path / "bank/060 (a).npy").open("rb") as file, (tmp_path / "bank2/060 (a).npy").open("rb") as other:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        also_mapped = mmap.mmap(other.fileno(), 0, prot=mmap.PROT_READ)
        assert not any(mapped[:1 << 20])  # the reading brings it in; the kernel may bring more
        assert not any(also_mapped[:])
        beside_mb, tables_mb = resident_mb(tmp_path / "bank")
    assert 1.04 < tables_mb < 4.2
    status = Path("/proc/self/status").read_text()
    all_mb = int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6
    assert beside_mb + tables_mb == pytest.approx(all_mb, rel=0.05)


def test_the_sequencers_notes_are_those_of_a_cable() -> None:
    """ALSA itself makes a cable's bytes of them."""
    alsa = ctypes.CDLL(ctypes.util.find_library("asound"))
    coder, bytes_ = ctypes.c_void_p(), (ctypes.c_ubyte * 8)()
    assert alsa.snd_midi_event_new(8, ctypes.byref(coder)) == 0
    alsa.snd_midi_event_no_status(coder, 1)
    alsa.snd_midi_event_decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_char_p]
    for message in (b"\x90\x3c\x64", b"\x80\x3d\x40", b"\x9f\x7f\x01"):
        event = sequencer_event(message, 128, 3)
        assert (len(event), event[14], event[15]) == (28, 128, 3)
        length = alsa.snd_midi_event_decode(coder, bytes_, 8, event)
        assert bytes(bytes_)[:length] == message
    alsa.snd_midi_event_free(coder)


def test_a_thread_is_first_only_for_as_long_as_it_is_asked() -> None:
    with first_in_line(1) as allowed:
        assert os.sched_getscheduler(0) == (os.SCHED_FIFO if allowed else os.SCHED_OTHER)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TETRAD_A", "1")
    monkeypatch.delenv("TETRAD_B", raising=False)
    with bench_latency.environment(TETRAD_A="2", TETRAD_B="3"):
        assert (os.environ["TETRAD_A"], os.environ["TETRAD_B"]) == ("2", "3")
    assert os.environ["TETRAD_A"] == "1"
    assert "TETRAD_B" not in os.environ


def test_a_note_that_is_not_heard_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from device import _alsa, _engine

    monkeypatch.setattr(bench_latency, "PATIENCE_S", 0.2)
    engine = _engine.Engine(48_000, 4)  # it has no bank
    card = _alsa.Card(engine)
    card.start(None, priority=0, lock_memory=False)
    try:
        with pytest.raises(TetradError, match="note 1 of 3 is not heard"):
            bench_latency.note_latencies_ms(engine, card, lambda message: None, 3)
    finally:
        card.stop()
