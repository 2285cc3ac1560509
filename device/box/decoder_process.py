"""A process of its own that decodes, so that a driver that crashes, hangs or eats memory costs a decode and no sound.

    python -m device.box.decoder_process FD

It talks over the socket FD, in messages of multiprocessing.connection: its first tells what it is (About), then it
takes a Preset without an answer, and answers a Work with a Sounds, or with the line that says why there are none.
"""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from device.errors import TetradError
from device.jobs import ONE_THREAD
from device.preset import Preset

if TYPE_CHECKING:
    from device.bake import PitchDecoder
    from device.decoder import Decoder

T = TypeVar("T")

NICENESS = 10  # sound, keys and knobs come first
OOM_SCORE = 500  # where memory is short, this goes before who plays
START_S = 60.0  # until it has loaded its decoder, on a slow card beside busy cores
REAP_S = 0.2
PARENT_S = 1.0  # between two looks whether who started it still lives

TPU, CPU = "Edge TPU", "CPU"


@dataclass(frozen=True)
class Options:
    """decoder: its file, None the shipped one. memory_bytes: more of its own the process does not get."""

    decoder: Path | None = None
    edge_tpu: bool = False
    memory_bytes: int = 700 << 20


@dataclass(frozen=True)
class About:
    """What a process decodes with."""

    decoder: str  # id
    runs_on: str  # TPU or CPU


@dataclass(frozen=True, eq=False)
class Work:
    """Sounds of a pitch and layer: of so many shares [sounds, 4] of the corners, or of the corners (None)."""

    pitch: int
    layer: int
    shares: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Sounds:
    """int16 [sounds, samples], and the level of each column, float32 [sounds, columns]."""

    sounds: np.ndarray
    levels: np.ndarray


class Fault(Exception):
    """The process did not do what it should, and is of no use any more."""


class DecoderProcess:
    """One such process, from outside. What it does takes time: for a thread that may wait."""

    def __init__(self, options: Options) -> None:
        """Starts it and goes on; `about` waits until it has loaded its decoder. Raises OSError where none can start."""
        ours, theirs = socket.socketpair()
        decoder = str(options.decoder.resolve()) if options.decoder else ""
        words = [decoder, str(int(options.edge_tpu)), str(options.memory_bytes)]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "device.box.decoder_process", str(theirs.fileno()), *words],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=os.environ | ONE_THREAD,
                cwd=Path(__file__).parents[2], start_new_session=True)  # Ctrl-C is for who started it
        self._line = Connection(ours.detach())
        self._about: About | None = None

    def about(self) -> About:
        """Raises TetradError where its decoder cannot be used, Fault where the process dies or takes too long."""
        if self._about is None:
            self._about = self._answer(About, START_S)
        return self._about

    def take_preset(self, preset: Preset) -> None:
        """What it is asked for from now on is this preset's."""
        with self._faults():
            self._line.send(preset)

    def decode(self, work: Work, within_s: float) -> Sounds:
        """Raises TetradError where it cannot be decoded, Fault where the process dies or takes longer than that."""
        with self._faults():
            self._line.send(work)
        return self._answer(Sounds, within_s)

    def kill(self) -> None:
        """Ends it, whatever it is at. One that a driver holds in the kernel ends when that lets go of it."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(REAP_S)
        self._line.close()

    @property
    def id(self) -> int:
        return self._process.pid

    def _answer(self, kind: type[T], within_s: float) -> T:
        with self._faults():
            if not self._line.poll(within_s):
                raise Fault(f"it has not answered for {within_s:g} s")
            answer = self._line.recv()
        if isinstance(answer, str):
            raise TetradError(answer)
        if not isinstance(answer, kind):
            raise Fault("it answered something else")
        return answer

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            code = self._process.returncode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
            raise Fault(f"it ended by {how}") from error


# --- The process itself.

KEPT_PITCHES = 16  # whose corners are kept, of some hundred KB each


class _Presets:
    """The preset that was taken last, and the pitches of it that were decoded of late."""

    def __init__(self, decoder: "Decoder") -> None:
        self._decoder = decoder
        self._preset: Preset | None = None
        self._pitches: dict[int, PitchDecoder] = {}

    def take(self, preset: Preset) -> None:
        self._preset = preset
        self._pitches.clear()

    def decode(self, work: Work) -> Sounds:
        from device.bake import column_levels

        pitch = self._pitch(work.pitch)
        sounds = pitch.corners(work.layer) if work.shares is None else pitch.between(work.layer, work.shares)
        return Sounds(sounds, column_levels(sounds))

    def _pitch(self, pitch: int) -> "PitchDecoder":
        from device.bake import PitchDecoder

        if self._preset is None:
            raise TetradError("there is no preset to decode")
        found = self._pitches.pop(pitch, None) or PitchDecoder(self._preset, self._decoder, pitch)
        self._pitches[pitch] = found  # the latest stands last
        if len(self._pitches) > KEPT_PITCHES:
            del self._pitches[next(iter(self._pitches))]
        return found


def _end_with_parent() -> None:
    """What is waited for may never come: a driver that hangs would outlive the box."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(PARENT_S)
    os._exit(1)


def _answers(line: Connection, presets: _Presets) -> Iterator[Sounds | str]:
    while True:
        asked = line.recv()
        if isinstance(asked, Preset):
            presets.take(asked)
            continue
        try:
            yield presets.decode(asked)
        except TetradError as error:
            yield str(error)
        except MemoryError:
            yield "the decoder has no more memory"


def main(fd: int, decoder: str, edge_tpu: bool, memory_bytes: int) -> None:
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # who asks is gone
        serve(Connection(fd), Path(decoder) if decoder else None, edge_tpu)


def serve(line: Connection, decoder: Path | None, edge_tpu: bool) -> None:
    """Answers until the other end is closed."""
    try:
        from device.decoder import Decoder

        opened = Decoder(decoder, edge_tpu)
    except TetradError as error:
        line.send(str(error))
        return
    line.send(About(opened.id, TPU if edge_tpu else CPU))
    for answer in _answers(line, _Presets(opened)):
        line.send(answer)


if __name__ == "__main__":
    # As a module of its own name: what it sends is of the classes that the other side knows
    from device.box import decoder_process

    decoder_process.main(int(sys.argv[1]), sys.argv[2], sys.argv[3] == "1", int(sys.argv[4]))
