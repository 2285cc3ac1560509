"""Chunks of work: in this process, on a local cluster, and on a scheduler and workers in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import jobwork
import numpy as np
import pytest

from device import jobs
from device.errors import TetradError

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, Path(__file__).parent)))}
ITEMS = list(range(40))
CHUNKS = [ITEMS[start : start + 4] for start in range(0, 40, 4)]
EXPECTED = [jobwork.result(chunk) for chunk in CHUNKS]


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def begun(marks: Path) -> Counter[int]:
    """How often each chunk was begun, by its first item."""
    return Counter(int(path.name.split()[0]) for path in marks.iterdir())


def run(function, store: Path | None, cluster: jobs.Cluster | None = None, key: str = "a",
        items: list[int] = ITEMS) -> Iterator[bytes]:
    return jobs.run(function, items, store, chunk_items=4, cluster=cluster or jobs.Cluster(1), description="trying",
                    key=key)


class Machines:
    """A Dask scheduler and workers without nannies, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.file, self.processes = folder / "scheduler.json", []
        self.start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")

    def start(self, program: str, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--scheduler-file", str(self.file), *options]
        process = subprocess.Popen([*command, "--no-dashboard"], env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def start_worker(self) -> subprocess.Popen:
        return self.start("dask_worker", "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1")

    @property
    def address(self) -> str:
        import json

        while not self.file.exists() or not self.file.read_text():  # it may be there before what is in it
            time.sleep(0.05)
        return json.loads(self.file.read_text())["address"]

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    pytest.importorskip("distributed")
    started = Machines(tmp_path)
    yield started
    started.stop()


def test_results_come_in_the_items_order_and_are_not_made_again(tmp_path: Path, marks: Path) -> None:
    work = partial(jobwork.marked, marks, 0)
    for _ in range(2):
        assert list(run(work, tmp_path / "store")) == EXPECTED
        assert begun(marks) == Counter(chunk[0] for chunk in CHUNKS)


def test_without_a_store_each_result_comes_as_soon_as_it_is_made(marks: Path) -> None:
    results = run(partial(jobwork.marked, marks, 0), None)
    assert [next(results), next(results)] == EXPECTED[:2]
    assert len(begun(marks)) == 2
    assert list(results) == EXPECTED[2:]


def test_another_key_or_another_item_is_not_served_from_the_store(tmp_path: Path, marks: Path) -> None:
    work = partial(jobwork.marked, marks, 0)
    list(run(work, tmp_path / "store"))
    assert list(run(work, tmp_path / "store", key="b")) == EXPECTED
    assert set(begun(marks).values()) == {2}
    changed = [99, *ITEMS[1:]]
    assert next(run(work, tmp_path / "store", items=changed)) == jobwork.result(changed[:4])
    assert begun(marks)[99] == 1
    assert begun(marks)[4] == 2


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:40],
                                    lambda data: data[:-1] + b"!", lambda data: b"!" + data[1:]])
def test_a_damaged_chunk_and_no_other_is_made_again(tmp_path: Path, marks: Path, damage) -> None:
    work = partial(jobwork.marked, marks, 0)
    list(run(work, tmp_path / "store"))
    chunk = sorted((tmp_path / "store").iterdir())[3]
    chunk.write_bytes(damage(chunk.read_bytes()))
    assert list(run(work, tmp_path / "store")) == EXPECTED
    assert sorted(begun(marks).values()) == [1] * 9 + [2]


def test_an_error_is_told_and_what_was_done_before_it_is_kept(tmp_path: Path, marks: Path) -> None:
    with pytest.raises(TetradError, match="item 22 is damaged: give another"):
        next(run(partial(jobwork.refusing, marks, 22), tmp_path / "store"))
    assert sorted(begun(marks)) == [0, 4, 8, 12, 16]
    assert list(run(partial(jobwork.refusing, marks, -1), tmp_path / "store")) == EXPECTED
    assert set(begun(marks).values()) == {1}


def test_nothing_to_do_is_done(tmp_path: Path) -> None:
    assert list(run(jobwork.result, tmp_path / "store", items=[])) == []


CLIENT = """
import sys
from functools import partial
from pathlib import Path
import jobwork
from device import jobs

if __name__ == "__main__":
    store, marks, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with jobs.Cluster(workers) as cluster:
        for _ in jobs.run(partial(jobwork.marked, marks, 0.1), list(range(40)), store, chunk_items=4, cluster=cluster,
                          description="trying", key="a"):
            pass
    print("dask" in sys.modules)
"""


def stopped_client(tmp_path: Path, marks: Path, workers: int, signal_number: int) -> subprocess.Popen:
    """A client that was sent a signal, as a terminal does it to all its processes, when four chunks were begun."""
    command = [sys.executable, "-c", CLIENT, str(tmp_path / "store"), str(marks), str(workers)]
    if workers > 1:  # they import the main program again, from its file
        (tmp_path / "client.py").write_text(CLIENT)
        command[1:3] = [str(tmp_path / "client.py")]
    client = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while len(list(marks.iterdir())) < 5:
        time.sleep(0.01)
    (os.killpg if signal_number == signal.SIGINT else os.kill)(client.pid, signal_number)
    client.wait(20)
    return client


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.full)])
def test_a_killed_client_goes_on_where_it_was(tmp_path: Path, marks: Path, workers: int) -> None:
    stopped_client(tmp_path, marks, workers, signal.SIGKILL)
    kept = len(list((tmp_path / "store").glob("*.chunk")))
    assert 1 <= kept < 10
    time.sleep(0.3)  # a worker that outlives its client by a chunk
    before = sum(begun(marks).values())
    assert list(run(partial(jobwork.marked, marks, 0.1), tmp_path / "store")) == EXPECTED
    assert sum(begun(marks).values()) - before == 10 - kept


@pytest.mark.full
def test_ctrl_c_ends_client_and_workers_at_once_and_leaves_whole_chunks(tmp_path: Path, marks: Path) -> None:
    client = stopped_client(tmp_path, marks, 2, signal.SIGINT)
    assert client.stderr is not None
    complaints = client.stderr.read()  # to its end: no worker holds it open any more
    assert complaints.count("Traceback") == 1
    assert complaints.strip().endswith("KeyboardInterrupt")
    chunks = list((tmp_path / "store").iterdir())
    assert chunks
    assert all(jobs._read(path) is not None for path in chunks)


def test_one_process_imports_no_dask(tmp_path: Path, marks: Path) -> None:
    command = [sys.executable, "-c", CLIENT, str(tmp_path / "store"), str(marks), "1"]
    assert subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True).stdout == "False\n"


def test_a_worker_killed_in_the_middle_changes_nothing(tmp_path: Path, marks: Path, machines: Machines) -> None:
    workers = [machines.start_worker() for _ in range(2)]
    with jobs.Cluster(scheduler=machines.address) as cluster:
        assert list(run(partial(jobwork.killing_once, marks, 14), tmp_path / "store", cluster)) == EXPECTED
        assert sorted(worker.poll() for worker in workers if worker.poll() is not None) == [-signal.SIGKILL]
        count = begun(marks)
        assert count[12] == 2
        assert set(count) == {chunk[0] for chunk in CHUNKS}
        assert sum(count.values()) <= 10 + jobs.CHUNKS_PER_WORKER  # what the killed worker held, and no more
        assert len(list((tmp_path / "store").iterdir())) == 10

        results = run(partial(jobwork.marked, marks, 0.02), None, cluster)  # by the one that is left
        assert next(results) == EXPECTED[0]
        time.sleep(0.5)
        ahead = sum(begun(marks).values()) - sum(count.values())
        assert ahead <= 1 + jobs.CHUNKS_PER_WORKER  # the rest waits until the caller asks for it
        assert list(results) == EXPECTED[1:]

        with pytest.raises(TetradError, match="item 22 is damaged: give another"):
            next(run(partial(jobwork.refusing, marks, 22), tmp_path / "other", cluster))
        assert len(list((tmp_path / "other").iterdir())) >= 3


@pytest.mark.full
def test_a_chunk_that_kills_workers_again_and_again_is_named(tmp_path: Path, marks: Path) -> None:
    with jobs.Cluster(2) as cluster, pytest.raises(TetradError, match="4 workers died on 20"):
        next(run(partial(jobwork.killing_always, marks, 22), tmp_path / "store", cluster))
    assert begun(marks)[20] == 4
    assert list(run(jobwork.result, tmp_path / "store")) == EXPECTED


@pytest.mark.full
def test_a_local_cluster_gives_the_same_bytes_though_a_worker_is_killed(tmp_path: Path, marks: Path) -> None:
    with jobs.Cluster(2) as cluster:
        assert list(run(partial(jobwork.killing_once, marks, 14), tmp_path / "store", cluster)) == EXPECTED
    assert begun(marks)[12] == 2


@pytest.mark.full
def test_a_lost_scheduler_is_one_line(tmp_path: Path, marks: Path, machines: Machines,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CONNECT_S", 2)
    machines.start_worker()
    with jobs.Cluster(scheduler=machines.address) as cluster:
        results = run(partial(jobwork.marked, marks, 0.05), None, cluster)
        assert next(results) == EXPECTED[0]
        machines.stop()
        with pytest.raises(TetradError, match=r"lost the scheduler tcp://127\.0\.0\.1.*what is done is kept"):
            list(results)


def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(jobs, "CONNECT_S", 0.5)
    with (jobs.Cluster(scheduler="tcp://127.0.0.1:1") as cluster,
          pytest.raises(TetradError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1")):
        next(run(jobwork.result, tmp_path / "store", cluster))
    assert not (tmp_path / "store").exists()


def test_a_scheduler_without_workers_is_one_line(tmp_path: Path, machines: Machines,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "WORKERS_S", 0.5)
    with (jobs.Cluster(scheduler=machines.address) as cluster,
          pytest.raises(TetradError, match="has no workers: start `dask worker")):
        next(run(jobwork.result, tmp_path / "store", cluster))


def test_machines_that_lack_what_is_to_be_run_are_told_in_one_line(tmp_path: Path, machines: Machines,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("def work(items): return bytes(items)")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    machines.start_worker()
    with (jobs.Cluster(scheduler=machines.address) as cluster,
          pytest.raises(TetradError, match=r"cannot load the work \(No module named 'only_here'\): install the same")):
        next(run(only_here.work, None, cluster))


def test_a_worker_of_another_version_refuses_the_work() -> None:
    ours = jobs._versions()
    assert jobs._work(ours, jobwork.result, [1]) == jobwork.result([1])
    with pytest.raises(TetradError, match=r"has numpy .* and not 0\.1: install the same"):
        jobs._work({**ours, "numpy": "0.1"}, jobwork.result, [1])


def test_dask_is_asked_for_only_where_several_workers_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert list(run(jobwork.result, None, jobs.Cluster())) == EXPECTED
    with pytest.raises(TetradError, match=r"several workers need Dask: pip install '\.\[jobs\]', or give --workers 1"):
        next(run(jobwork.result, None, jobs.Cluster(2)))
    assert next(run(jobwork.result, None, jobs.Cluster(2), items=[1, 2])) == jobwork.result([1, 2])  # a single chunk


@pytest.mark.parametrize("words", [["--workers", "0"], ["--scheduler", "localhost:8786"],
                                   ["--workers", "2", "--scheduler", "tcp://localhost:8786"]])
def test_what_is_no_cluster_is_bad_use(words: list[str], tmp_path: Path) -> None:
    import tetrad

    with pytest.raises(SystemExit) as end:
        tetrad.main(["embed", str(tmp_path), "--out", str(tmp_path), *words])
    assert end.value.code == 2


def test_arrays_come_back_as_they_were() -> None:
    arrays = [np.arange(6, dtype=np.int16).reshape(2, 3), np.zeros((0, 16), np.float32), np.float32(3)]
    back = jobs.unpack(jobs.pack(arrays))
    assert [(a.shape, a.dtype) for a in back] == [(a.shape, a.dtype) for a in arrays]
    assert all(np.array_equal(a, b) for a, b in zip(arrays, back, strict=True))
    assert jobs.unpack(b"") == []


def test_arrays_stay_in_the_store_until_all_are_taken(tmp_path: Path) -> None:
    def halves(chunk: list[int]) -> bytes:
        return jobs.pack([np.full(item, item / 2) for item in chunk])

    taken = jobs.arrays(halves, ITEMS, tmp_path / "out", chunk_items=4, cluster=jobs.Cluster(1), description="trying",
                        key="a")
    for item, array in taken:
        assert array.tolist() == [item / 2] * item
        assert (tmp_path / ".out.chunks").is_dir()
    assert not (tmp_path / ".out.chunks").exists()
