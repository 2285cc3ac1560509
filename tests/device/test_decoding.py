"""Decoder processes: what they decode, how they fail, what comes after; with a driver in the place of an Edge TPU's."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from device.bake import PitchDecoder, column_levels
from device.box import decoder_process, decoding
from device.box.decoder_process import CPU, TPU, DecoderProcess, Fault, Options, Work
from device.box.decoding import Decoding
from device.box.pad import Job, Pad
from device.decoder import Decoder
from device.errors import TetradError
from device.model_file import FACTORY_DECODER, compiled_beside
from device.preset import FACTORY_PRESET, Preset

WITHIN_S = 30.0


@pytest.fixture(scope="module")
def preset() -> Preset:
    return Preset.read(FACTORY_PRESET)


@pytest.fixture
def started():
    """Starts processes, and ends them."""
    processes = []

    def start(options: Options = Options()) -> DecoderProcess:  # noqa: B008
        processes.append(DecoderProcess(options))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Path:
    """A folder with a decoder, what a compiler would have made of it, and a library in place of Google's."""
    folder = tmp_path_factory.mktemp("tpu")
    shutil.copy(FACTORY_DECODER, folder / "decoder.tflite")
    shutil.copy(FACTORY_DECODER, compiled_beside(folder / "decoder.tflite"))
    source = Path(__file__).with_name("fake_edgetpu.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra", "-Werror", source, "-o",
                    folder / "libedgetpu.so.1"], check=True)
    return folder


@pytest.fixture
def with_driver(driver, monkeypatch):
    def fails(how: str) -> Options:
        monkeypatch.setenv("LD_LIBRARY_PATH", str(driver))
        monkeypatch.setenv("FAKE_EDGETPU", how)
        return Options(driver / "decoder.tflite", edge_tpu=True)

    return fails


def test_it_decodes_what_would_be_decoded_here(started, preset):
    process = started()
    assert process.about().decoder == Decoder().id
    assert process.about().runs_on == CPU
    process.take_preset(preset)
    here, share = PitchDecoder(preset, Decoder(), 61), np.array([[0.4, 0.3, 0.2, 0.1]], np.float32)
    for work, sounds in ((Work(61, 1), here.corners(1)), (Work(61, 0, share), here.between(0, share))):
        found = process.decode(work, WITHIN_S)
        assert found.sounds.dtype == np.int16
        assert np.array_equal(found.sounds, sounds)
        assert np.array_equal(found.levels, column_levels(sounds))


def test_without_a_preset_there_is_nothing_to_decode(started):
    process = started()
    process.about()
    with pytest.raises(TetradError, match="no preset"):
        process.decode(Work(60, 0), WITHIN_S)
    assert process.about().runs_on == CPU  # and it goes on


@pytest.mark.parametrize(("number", "said"), [(signal.SIGKILL, "signal 9"), (signal.SIGSTOP, "not answered for 0.2 s")])
def test_a_process_that_dies_or_hangs_is_a_fault(started, preset, number, said):
    process = started()
    process.about()
    process.take_preset(preset)
    os.kill(process.id, number)
    with pytest.raises(Fault, match=said):
        process.decode(Work(60, 0), 0.2 if number == signal.SIGSTOP else WITHIN_S)


def test_it_gets_no_more_memory_than_it_may(started, preset):
    process = started(Options(memory_bytes=220 << 20))
    process.about()
    process.take_preset(preset)
    with pytest.raises((TetradError, Fault)):
        process.decode(Work(60, 0, np.full((400, 4), 0.25, np.float32)), WITHIN_S)


def test_a_file_that_is_no_decoder_is_told_in_a_line(started, tmp_path):
    (tmp_path / "d.tflite").write_bytes(b"none")
    with pytest.raises(TetradError, match="no LiteRT model") as raised:
        started(Options(tmp_path / "d.tflite")).about()
    assert "\n" not in str(raised.value)


def test_it_ends_with_the_one_that_started_it():
    starts = "from device.box.decoder_process import *; p = DecoderProcess(Options()); p.about(); print(p.id)"
    parent = subprocess.Popen([sys.executable, "-uc", f"{starts}; import time; time.sleep(60)"],
                              stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    latest_s = time.monotonic() + 10
    while Path(f"/proc/{child}/stat").exists() and Path(f"/proc/{child}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < latest_s
        time.sleep(0.05)


def test_with_a_driver_and_a_compiled_model_it_runs_on_the_edge_tpu(started, preset, with_driver):
    process = started(with_driver(""))
    assert (process.about().runs_on, process.about().decoder) == (TPU, Decoder().id)
    process.take_preset(preset)
    assert np.array_equal(process.decode(Work(60, 0), WITHIN_S).sounds, PitchDecoder(preset, Decoder(), 60).corners(0))


def test_without_a_stick_or_a_driver_it_says_so(started, with_driver, monkeypatch):
    options = with_driver("none")
    with pytest.raises(TetradError, match="no Edge TPU"):
        started(options).about()
    monkeypatch.delenv("LD_LIBRARY_PATH")
    with pytest.raises(TetradError, match="no Edge TPU"):
        started(options).about()


class Bench:
    """A pad of one pitch, and decoding that works on it until it is done, or so long."""

    def __init__(self, preset: Preset, options: Options, workers: int = 1) -> None:
        self.pad = Pad(preset, (60,), 2)
        self.decoding = Decoding(options, workers, self.next_job, self.taken)
        self.done = asyncio.Event()
        self.ran_on: list[str] = []

    def next_job(self) -> tuple[Pad, Job] | None:
        job = self.pad.next_job([], [], 0.0)
        return (self.pad, job) if job else None

    def taken(self, pad: Pad, job: Job, sounds) -> None:
        assert self.decoding.about is not None
        self.ran_on.append(self.decoding.about.runs_on)
        pad.take(job, sounds)
        if pad.progress()[0] == pad.progress()[1]:
            self.done.set()

    async def run(self, within_s: float = WITHIN_S) -> None:
        running = asyncio.create_task(self.decoding.run())
        try:
            await asyncio.wait_for(self.done.wait(), within_s)
        finally:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running


def processes_of(bench: Bench) -> list[int]:
    return [worker._process.id for worker in bench.decoding._workers]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_pad_is_decoded_whole_and_the_processes_end(preset, workers):
    async def check() -> list[int]:
        bench = Bench(preset, Options(), workers)
        ids = processes_of(bench)
        await bench.run()
        assert bench.decoding.problem == ""
        assert bench.decoding.restarts == 0
        return ids

    for id in asyncio.run(check()):
        with pytest.raises(ProcessLookupError):
            os.kill(id, 0)


def test_a_process_that_is_killed_is_started_again_and_nothing_is_left_out(preset, monkeypatch):
    monkeypatch.setattr(decoding, "REST_S", 0.05)

    async def check() -> None:
        bench = Bench(preset, Options())

        async def kill() -> None:
            for _ in range(2):
                while bench.decoding.about is None:
                    await asyncio.sleep(0.01)
                bench.decoding.about = None
                os.kill(processes_of(bench)[0], signal.SIGKILL)

        killing = asyncio.create_task(kill())
        await bench.run()
        killing.cancel()
        assert 1 <= bench.decoding.restarts <= 2

    asyncio.run(check())


def test_rests_between_restarts_grow_and_end(monkeypatch, caplog, tmp_path):
    """With a decoder that is none, it never comes up."""
    monkeypatch.setattr(decoding, "REST_S", 0.01)
    monkeypatch.setattr(decoding, "LONGEST_REST_S", 0.04)
    (tmp_path / "d.tflite").write_bytes(b"none")

    async def check() -> str:
        bench = Bench(Preset.read(FACTORY_PRESET), Options(tmp_path / "d.tflite"))
        with pytest.raises(TimeoutError):
            await bench.run(4.0)
        return bench.decoding.problem

    assert "no LiteRT model" in asyncio.run(check())
    rests = [float(record.message.split(" in ")[1].removesuffix(" s")) for record in caplog.records]
    assert rests[:4] == [0.01, 0.02, 0.04, 0.04]


@pytest.mark.parametrize("how", ["crash", "hang", "none"])
def test_after_faults_in_a_row_the_cpu_goes_on(preset, with_driver, monkeypatch, how):
    monkeypatch.setattr(decoding, "REST_S", 0.01)
    monkeypatch.setattr(decoding, "WITHIN_S", 1.0)
    monkeypatch.setattr(decoding, "JOB_FAULTS", 100)
    monkeypatch.setattr(decoder_process, "START_S", 3.0)  # it may hang while it loads

    async def check() -> None:
        bench = Bench(preset, with_driver(how))
        bench.pad = Pad(preset, range(40, 70), 5)  # more than can be done before it fails
        bench.taken = lambda pad, job, sounds: None  # type: ignore[method-assign]
        running = asyncio.create_task(bench.decoding.run())
        async with asyncio.timeout(WITHIN_S):
            while bench.decoding.about is None or bench.decoding.about.runs_on != CPU:
                await asyncio.sleep(0.02)
        assert bench.decoding.restarts == (1 if how == "none" else decoding.TPU_FAULTS)
        running.cancel()

    asyncio.run(check())


def test_without_a_compiled_model_the_edge_tpu_is_not_asked_for(preset, with_driver, tmp_path):
    options = with_driver("none")
    shutil.copy(options.decoder, tmp_path / "decoder.tflite")

    async def check() -> None:
        bench = Bench(preset, Options(tmp_path / "decoder.tflite", edge_tpu=True))
        await bench.run()
        assert bench.decoding.restarts == 0
        assert set(bench.ran_on) == {CPU}

    asyncio.run(check())


def test_a_job_that_fails_again_and_again_is_left_out_and_the_others_are_done(preset, monkeypatch):
    monkeypatch.setattr(decoding, "REST_S", 0.01)

    async def check() -> None:
        bench = Bench(preset, Options())
        poison = Job(60, 1, bench.pad.next_job([], [], 0.0).cells)
        bench.pad.give_back(Job(60, 0, poison.cells))
        wanted = DecoderProcess.decode
        monkeypatch.setattr(DecoderProcess, "decode", lambda self, work, within_s: (_ for _ in ()).throw(
            TetradError("it is bad")) if work.layer == 1 else wanted(self, work, within_s))
        running = asyncio.create_task(bench.decoding.run())
        async with asyncio.timeout(WITHIN_S):
            while bench.pad.progress() != (4, 8) or bench.decoding._faults[preset.digest, poison] < decoding.JOB_FAULTS:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert bench.decoding._faults[preset.digest, poison] == decoding.JOB_FAULTS
        assert "it is bad" in bench.decoding.problem
        running.cancel()

    asyncio.run(check())
