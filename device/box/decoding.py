"""Decoder processes at work: each gets the next job when it has done one. One that fails is started again.

Faults of a process are crashes, hangs, want of memory. After each it rests, longer each time; after some on an Edge
TPU it goes on with the CPU. A job that fails again and again is left out.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from device.box.decoder_process import CPU, START_S, TPU, About, DecoderProcess, Fault, Options, Sounds
from device.box.pad import Job, Pad
from device.errors import TetradError
from device.model_file import FACTORY_DECODER, compiled_beside

WITHIN_S = 30.0  # for some cells; a Raspberry Pi Zero takes a few seconds
MARGIN_S = 5.0  # beyond what a process is given itself
REST_S, LONGEST_REST_S = 0.5, 30.0  # after a fault; doubled by each that follows
FORGIVEN_S = 120.0  # after a fault: what fails now and then decodes much in between, and is counted all the same
TPU_FAULTS = 3  # of late, until the CPU takes over
JOB_FAULTS = 3  # of one job, until it is left out

T = TypeVar("T")
log = logging.getLogger("tetrad.decoding")


def can_use_edge_tpu(options: Options) -> bool:
    """Whether there is a model for it; whether there is a stick turns out when it is loaded."""
    return options.edge_tpu and compiled_beside(options.decoder or FACTORY_DECODER).is_file()


class Decoding:
    """So many processes. next_job: of the pad that plays, or None; taken: is told what was decoded.

    Both are called in the event loop's thread. A job's pad may have been replaced meanwhile: what is decoded is told
    with the pad that it is of.
    """

    def __init__(self, options: Options, workers: int, next_job: Callable[[], tuple[Pad, Job] | None],
                 taken: Callable[[Pad, Job, Sounds], None]) -> None:
        self._options = replace(options, edge_tpu=can_use_edge_tpu(options))
        self._next_job, self._taken = next_job, taken
        self._work = asyncio.Event()
        self._faults: Counter[tuple[str, Job]] = Counter()
        # Of their own, for what hangs there must hold up nothing else; twice as many, as it may hang for a while
        self._threads = ThreadPoolExecutor(2 * workers, thread_name_prefix="decoding")
        self._workers = [_Worker(self, self._options) for _ in range(1 if self._options.edge_tpu else workers)]
        self.about: About | None = None  # of the processes; None: none has come up yet
        self.problem = ""  # why nothing is decoded, in a line
        self.restarts = 0

    async def run(self) -> None:
        """Decodes until it is cancelled, then ends the processes."""
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self._workers:
                    group.create_task(worker.run())
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, function: Callable[[], T], within_s: float) -> T:
        """What it returns or raises; Fault where it takes much longer than it should, as where a process that stands
        still is told something."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, function)
        try:
            return await asyncio.wait_for(running, within_s + MARGIN_S)
        except TimeoutError as error:
            raise Fault(f"it has not taken anything for {within_s + MARGIN_S:g} s") from error

    def wake(self) -> None:
        """There may be work."""
        self._work.set()

    async def job(self) -> tuple[Pad, Job]:
        """The next, when there is one."""
        while not (found := self._next_job()):
            self._work.clear()
            await self._work.wait()
        return found

    def done(self, pad: Pad, job: Job, sounds: Sounds) -> None:
        self._faults.pop((pad.preset.digest, job), None)
        self.problem = ""
        self._taken(pad, job, sounds)

    def failed(self, pad: Pad, job: Job, why: str) -> None:
        """It will be tried again, or else be left out."""
        self.problem = f"decoder: {why}"
        key = pad.preset.digest, job
        self._faults[key] += 1
        if self._faults[key] < JOB_FAULTS:
            pad.give_back(job)
        else:
            log.warning("pitch %d of %s cannot be decoded and is left out: %s", job.pitch, pad.preset.name, why)


class _Worker:
    """One process, and those that come after it."""

    def __init__(self, all: Decoding, options: Options) -> None:
        self._all, self._options = all, options
        self._process = DecoderProcess(options)  # at once: it loads while the rest of the box does
        self._loaded: Pad | None = None  # whose preset it has
        self._faults = 0  # of late
        self._faulted_s = 0.0

    async def run(self) -> None:
        try:
            while True:
                if await self._start():
                    await self._serve()
        finally:
            self._process.kill()

    async def _start(self) -> bool:
        """Whether the process has come up."""
        try:
            self._all.about = await self._all.in_thread(self._process.about, START_S)
        except (Fault, TetradError) as error:
            await self._restart(str(error), use_tpu=isinstance(error, Fault))
            return False
        log.info("decoder %s runs on the %s", self._all.about.decoder, self._all.about.runs_on)
        self._all.problem = ""
        return True

    async def _serve(self) -> None:
        """Until it fails."""
        while True:
            pad, job = await self._all.job()
            try:
                sounds = await self._all.in_thread(partial(self._decode, pad, job), WITHIN_S)
            except TetradError as error:
                self._all.failed(pad, job, str(error))
            except Fault as fault:
                self._all.failed(pad, job, str(fault))
                return await self._restart(str(fault))
            except asyncio.CancelledError:
                pad.give_back(job)
                raise
            else:
                self._all.done(pad, job, sounds)

    def _decode(self, pad: Pad, job: Job) -> Sounds:
        if self._loaded is not pad:
            self._process.take_preset(pad.preset)
            self._loaded = pad
        return self._process.decode(job.work(pad.grid), WITHIN_S)

    async def _restart(self, why: str, use_tpu: bool = True) -> None:
        """A new process in place of this, after a rest."""
        now_s = time.monotonic()
        self._faults = 1 if now_s - self._faulted_s > FORGIVEN_S else self._faults + 1
        self._faulted_s = now_s
        self._all.restarts += 1
        self._all.problem = f"decoder: {why}"
        self._process.kill()
        on = TPU if self._options.edge_tpu else CPU
        if self._options.edge_tpu and (not use_tpu or self._faults >= TPU_FAULTS):
            log.warning("the decoder on the %s: %s; the %s goes on", on, why, CPU)
            self._options, self._faults = replace(self._options, edge_tpu=False), 0
        else:
            rest_s = min(REST_S * 2 ** (self._faults - 1), LONGEST_REST_S)
            log.warning("the decoder on the %s: %s; it is started again in %g s", on, why, rest_s)
            await asyncio.sleep(rest_s)
        while (process := self._begin()) is None:
            await asyncio.sleep(LONGEST_REST_S)
        self._process, self._loaded = process, None

    def _begin(self) -> DecoderProcess | None:
        """A new process; None where there is no room for one."""
        try:
            return DecoderProcess(self._options)
        except OSError as error:
            self._all.problem = f"decoder: no process can be started: {error.strerror or error}"
            log.warning("%s", self._all.problem)
            return None
