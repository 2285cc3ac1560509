"""Work on many notes, in chunks: in this process, on all its cores, or on other machines. Dask distributed schedules.

A chunk's result is bytes, which depend on its items and on nothing else. The client keeps each in a file named after
what it depends on, so that work that was stopped, however it ended, goes on where it was.
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import logging
import os
import platform
import shutil
import signal
import socket
import threading
import warnings
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from device import console, files
from device.errors import TetradError

T = TypeVar("T")

CHECKSUM_BYTES = hashlib.sha256().digest_size  # of the result, in front of it in a chunk's file
CHUNKS_PER_WORKER = 3  # in flight: one worked on, one waiting, one on its way back
CONNECT_S = 10
WORKERS_S = 30  # a machine's workers may start a little later than the scheduler
POLL_S = 2.0  # how often a cluster is asked whether it has workers, while nothing comes back
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
                            "TF_NUM_INTEROP_THREADS"), "1")
SAME = ("tetrad", "numpy", "distributed")  # packages whose versions are the same on client and workers


class Cluster:
    """Where chunks are worked on. A context: what it has started, when there was enough to do, ends with it.

    `scheduler`: the address of a Dask scheduler that runs already. Else `workers` processes here, one by default for
    each core; with 1, where a single chunk is left, and where Dask is not installed, it is done in this process.
    """

    def __init__(self, workers: int | None = None, scheduler: str | None = None) -> None:
        if workers is None and importlib.util.find_spec("distributed") is not None:
            workers = os.cpu_count()
        self.workers, self.scheduler = workers or 1, scheduler
        self._client: Any = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._client = None
        self._stack.close()

    def client(self, chunks: int) -> Any:
        """A `distributed.Client` for so many chunks, or None where they are best done in this process."""
        if self.scheduler is None and (self.workers == 1 or chunks < 2):
            return None
        if self._client is None:
            self._client = self._stack.enter_context(self._connected())
        return self._client

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            import distributed
        except ImportError as error:
            raise TetradError("several workers need Dask: pip install '.[jobs]', or give --workers 1") from error
        _hush()
        warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)  # chunks are checked: `_work`
        with contextlib.ExitStack() as stack:
            address = self.scheduler or stack.enter_context(local_scheduler(self.workers))
            try:
                client = stack.enter_context(distributed.Client(address, timeout=CONNECT_S))
            except (OSError, TimeoutError, ValueError) as error:
                raise TetradError(f"no Dask scheduler answers at {address}: start `dask scheduler` there, or give "
                                  "another --scheduler") from error
            try:
                client.wait_for_workers(1, timeout=WORKERS_S)
            except TimeoutError as error:
                raise TetradError(f"the scheduler {address} has no workers: start `dask worker {address} "
                                  "--nthreads 1` on machines that have Tetrad") from error
            yield client


@contextlib.contextmanager
def local_scheduler(workers: int) -> Iterator[str]:
    """The address of a scheduler in this process, with so many workers, each a process of one thread."""
    import distributed

    _hush()
    with born_deaf():
        cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL,
            env={**ONE_THREAD, "TF_CPP_MIN_LOG_LEVEL": "3"})
    with cluster:
        yield str(cluster.scheduler_address)


def _hush() -> None:
    for name in ("distributed", *(f"distributed.{part}" for part in ("client", "core", "scheduler", "nanny"))):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is told in a line of our own


def add_options(parser: ArgumentParser) -> None:
    """`--workers` and `--scheduler`, for `cluster_of`."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=console.whole_number(1, 1024), metavar="N",
                       help="processes on this machine (one a core where Dask is installed, else 1)")
    where.add_argument("--scheduler", type=_address, metavar="tcp://HOST:PORT",
                       help="a Dask scheduler that runs already; its workers have Tetrad and read the same files")


def cluster_of(args: Namespace) -> Cluster:
    """What the options of `add_options` ask for: `with jobs.cluster_of(args) as cluster:`."""
    return Cluster(args.workers, args.scheduler)


def _address(argument: str) -> str:
    if not argument.startswith(("tcp://", "tls://")):
        raise ArgumentTypeError(f"{argument!r} is not an address such as tcp://192.168.1.10:8786")
    return argument


def run(function: Callable[[list[T]], bytes], items: Sequence[T], store: Path | None, *, chunk_items: int,
        cluster: Cluster, description: str, key: str) -> Iterator[bytes]:
    """The results of `function` for chunks of `chunk_items` items, in the items' order. Shows a bar of items.

    `function`: of a module, or a functools.partial of one; what it loads it keeps (functools.lru_cache), for it is
    called many times in a process. `items`: numbers, texts, paths, and tuples of these; paths are read on the workers.
    `key`: all that a result depends on beside its items: the function, parameters, digests of the files that are read.
    `store`: the folder of the finished chunks, which the caller removes when it has written what it makes of them. It
    gets none before all are done. None: each comes as soon as it can, for a caller that finds again what it has.

    Raises the function's TetradError, and one where workers die on a chunk again and again, or all are lost; the other
    chunks stay in the store. Only a few chunks for each worker are in memory at a time.
    """
    chunks = [list(items[start : start + chunk_items]) for start in range(0, len(items), chunk_items)]
    paths = [] if store is None else [store / f"{_digest(key, chunk)}.chunk" for chunk in chunks]
    todo = {i: chunk for i, chunk in enumerate(chunks) if store is None or _read(paths[i]) is None}
    with console.progress(description, len(items)) as bar:
        bar.advance(len(items) - sum(map(len, todo.values())))

        def finished(index: int, result: bytes) -> bytes:
            if store is not None:
                files.make_folder(store)
                with files.atomic(paths[index]) as file:
                    file.write(hashlib.sha256(result).digest() + result)
            bar.advance(len(chunks[index]))
            return result

        with contextlib.closing(_computed(function, todo, cluster, finished, bar)) as results:
            if store is None:
                yield from results
            for _ in results:
                pass
    for path in paths:
        if (result := _read(path)) is None:
            raise TetradError(f"{path} was changed by something else: run this again")
        yield result


def arrays(function: Callable[[list[T]], bytes], items: Sequence[T], out: Path, *, chunk_items: int, cluster: Cluster,
           description: str, key: str) -> Iterator[tuple[T, np.ndarray]]:
    """Each item with the array that `function` has `pack`ed of it, when all are made. The arguments are those of `run`.

    They are to be written to `out`, a file or folder. Its neighbour, `.<name>.chunks`, is the store, and is removed
    when the last array has been taken and what was written is on the disk.
    """
    out = out.resolve()
    store = out.with_name(f".{out.name}.chunks")
    results = run(function, items, store, chunk_items=chunk_items, cluster=cluster, description=description, key=key)
    yield from zip(items, chain.from_iterable(map(unpack, results)), strict=True)
    os.sync()
    shutil.rmtree(store)


def digest_of(*paths: Path) -> str:
    """SHA-256 over files, one after the other, for a key. Raises TetradError where one cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
        except OSError as error:
            raise TetradError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()


def _digest(key: str, chunk: Sequence[object]) -> str:
    text = json.dumps([key, _versions(), chunk], default=os.fspath)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> bytes | None:
    """A chunk's result, or None where its file is not there, or is not whole."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    result = data[CHECKSUM_BYTES:]
    return result if hashlib.sha256(result).digest() == data[:CHECKSUM_BYTES] else None


def _computed(function: Callable[[list[T]], bytes], todo: Mapping[int, list[T]], cluster: Cluster,
              finished: Callable[[int, bytes], bytes], bar: console.Bar) -> Generator[bytes, None, None]:
    """The results of the chunks in order; `finished` is called with each as soon as it is there."""
    client = cluster.client(len(todo))
    if client is None:
        for index, chunk in todo.items():
            yield finished(index, function(chunk))
        return
    import distributed

    order = list(todo)
    futures: dict[Any, int] = {}
    results: dict[int, bytes] = {}
    submitted = 0
    try:
        for place, index in enumerate(order):
            while index not in results:
                with _reached(cluster):
                    workers = len(client.nthreads())
                    ahead = place + CHUNKS_PER_WORKER * max(1, workers)
                    for number in order[submitted:ahead]:
                        futures[client.submit(_work, _versions(), function, todo[number], pure=False)] = number
                    submitted = max(submitted, min(ahead, len(order)))
                    done = _first_done(list(futures))
                    good = [future for future in done if future.status == "finished"]
                    gathered = client.gather(good)
                for future, result in zip(good, gathered, strict=True):
                    number = futures.pop(future)
                    results[number] = finished(number, result)
                for future in done.difference(good):
                    number = futures[future]
                    if future.cancelled():
                        raise TetradError(f"the work on {todo[number][0]} was cancelled at the scheduler: start this "
                                          "again; what is done is kept")
                    future.result()  # raises
                bar.note("" if workers else "waiting for workers")
            yield results.pop(index)
    except distributed.KilledWorker as error:
        raise TetradError(f"{error.allowed_failures + 1} workers died on {todo[number][0]}: it may need more memory, "
                          "or be damaged; what is done is kept") from error
    except RuntimeError as error:
        if "deserialization" not in str(error):
            raise
        raise TetradError(f"scheduler or worker cannot load the work ({error.__cause__}): install the same Tetrad and "
                          "Dask on all machines") from error
    finally:
        with contextlib.suppress(OSError):  # that of a lost scheduler
            client.cancel(list(futures))


@contextlib.contextmanager
def _reached(cluster: Cluster) -> Iterator[None]:
    """What fails within is a scheduler that is there no more."""
    from distributed import CancelledError

    try:
        yield
    except (OSError, CancelledError) as error:
        raise TetradError(f"lost the scheduler {cluster.scheduler or 'of the workers'}: start this again; what is done "
                          "is kept") from error


def _first_done(futures: list[Any]) -> set[Any]:
    """The futures that are done, when there is one; none of them where that takes longer than POLL_S."""
    import distributed

    try:
        done: set[Any] = distributed.wait(futures, POLL_S, "FIRST_COMPLETED").done
    except TimeoutError:
        return set()
    return done


def _work(versions: dict[str, str], function: Callable[[list[T]], bytes], chunk: list[T]) -> bytes:
    """On a worker: the function's result, by the same versions as the client's."""
    different = [f"{name} {ours} and not {version}" for (name, version), ours in
                 zip(versions.items(), _versions().values(), strict=True) if ours != version]
    if different:
        raise TetradError(f"the worker {socket.gethostname()} has {', '.join(different)}: install the same on all")
    with _ONE_AT_A_TIME:
        return function(chunk)


_ONE_AT_A_TIME = threading.Lock()  # models are not shared between a worker's threads


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    def version(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a checkout
            return "none"

    return {"python": platform.python_version(), **{name: version(name) for name in SAME}}


def pack(arrays: Iterable[np.ndarray]) -> bytes:
    """Arrays as bytes, one after another, each as np.save writes it."""
    file = io.BytesIO()
    for array in arrays:
        np.save(file, array, allow_pickle=False)
    return file.getvalue()


def unpack(data: bytes) -> list[np.ndarray]:
    """The arrays that `pack` was given."""
    file, arrays = io.BytesIO(data), []
    while file.tell() < len(data):
        arrays.append(np.load(file, allow_pickle=False))
    return arrays


@contextlib.contextmanager
def born_deaf() -> Iterator[None]:
    """Processes started within ignore Ctrl-C from the first: it is for the one that starts them, which ends them."""
    if threading.current_thread() is not threading.main_thread():  # where Python does not let signals be set
        yield
        return
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, kept)
