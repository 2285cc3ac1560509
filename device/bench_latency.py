"""How late a note sounds and how often the card runs dry while every core decodes, and what memory playing takes."""

import contextlib
import ctypes
import ctypes.util
import itertools
import math
import multiprocessing
import os
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from device import console
from device.bake import GRID, decode_pad
from device.bank import Bank
from device.errors import TetradError
from device.jobs import born_deaf
from device.preset import FACTORY_PRESET, PITCHES, Preset, Synth
from device.render import RATE_HZ, start_engine

if TYPE_CHECKING:
    from device._alsa import Card, Keyboard
    from device._engine import Engine

Write = Callable[[bytes], object]  # of a MIDI message to a keyboard

LATENCY_PERIOD_FRAMES, LATENCY_PERIODS = 64, 2
GOAL_OVER_A_PERIOD_MS = 1.0
XRUN_PERIOD_FRAMES, XRUN_PERIODS = 128, 3
VOICES, LOWEST_KEY = 32, 36
RELEASE_MS = 20.0  # where silence is awaited
RESTRIKE_S = 0.1
SETTLE_S = 1.0  # what a start takes of its own is not counted
PATIENCE_S = 10.0
DECODER_NICENESS = 10
JACK_PRIORITY = 80  # of SCHED_FIFO: the card's interrupt, so above those that play on it
PLAYER_PRIORITY = 70  # above the keyboard's and the card's: the cable, from which both take

SEQUENCER = Path("/dev/snd/seq")
OPEN_OUTPUT, CAN_BE_READ, APPLICATION = 1, 1 << 0, 1 << 20  # of alsa/seq.h, as the next two
NOTE_ON, NOTE_OFF = 6, 7
AT_ONCE = 253  # the queue of events that are not kept for a time

PACED = "tetrad_paced"
ALSA_CONFIG = """
</usr/share/alsa/alsa.conf>
pcm_type.jack {{ lib "{plugin}" }}
pcm.{name}_raw {{ type jack playback_ports {{ 0 system:playback_1 1 system:playback_2 }} }}
pcm.{name} {{ type plug slave.pcm {name}_raw }}
"""


# --- The card, and what keeps the cores busy.

def may_run_first() -> bool:
    """Whether threads of ours may have real-time priority."""
    with first_in_line(1) as allowed:
        return allowed


@contextmanager
def first_in_line(priority: int) -> Iterator[bool]:
    """This thread at a priority of SCHED_FIFO; False where that is not allowed."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, *before)


def jack_plugin() -> Path:
    """ALSA's plugin for JACK. Raises TetradError where it or jackd is missing."""
    plugin = next(iter(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_jack.so")), None)
    if plugin is None or not shutil.which("jackd"):
        raise TetradError("there is no paced card: sudo apt-get install jackd2 libasound2-plugins, "
                          "or give a real one with --device")
    return plugin


@contextmanager
def environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def hush_jack() -> None:
    """Its library would tell on stderr that there is no server yet: a function of a string that does nothing is called
    instead, one in C, since real-time threads call it too."""
    jack, nothing = ctypes.CDLL("libjack.so.0"), ctypes.CDLL(None).strlen
    jack.jack_set_error_function(nothing)
    jack.jack_set_info_function(nothing)


@contextmanager
def paced_card(period_frames: int) -> Iterator[str]:
    """The name of a card in user space that takes periods of so many frames in time: JACK's dummy driver, behind ALSA's
    plugin for it. Raises TetradError where it cannot be had."""
    from device import _alsa

    plugin, server = jack_plugin(), f"tetrad{os.getpid()}"
    hush_jack()
    priority = ["--realtime", "--realtime-priority", str(JACK_PRIORITY)] if may_run_first() else ["--no-realtime"]
    command = ["jackd", *priority, "--name", server, "-d", "dummy", "--rate", str(RATE_HZ),
               "--period", str(period_frames), "--capture", "2", "--playback", "2"]
    with TemporaryDirectory(prefix="tetrad-") as folder:
        config = Path(folder) / "asound.conf"
        config.write_text(ALSA_CONFIG.format(plugin=plugin, name=PACED))
        with environment(ALSA_CONFIG_PATH=str(config), JACK_DEFAULT_SERVER=server, JACK_NO_START_SERVER="1",
                         JACK_NO_AUDIO_RESERVATION="1"):
            jackd = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                     start_new_session=True)
            try:
                wait_for(lambda: jackd.poll() is not None or not _alsa.describe(PACED)["error"],
                         f"jackd does not answer: try {' '.join(command)}")
                if jackd.poll() is not None:
                    raise TetradError(f"jackd ended by itself: try {' '.join(command)}")
                yield PACED
            finally:
                jackd.terminate()
                jackd.wait()


def wait_for(happens: Callable[[], bool], problem: str, every_s: float = 0.1) -> None:
    """Raises TetradError with the problem where it has not happened after PATIENCE_S."""
    latest_s = time.monotonic() + PATIENCE_S
    while not happens():
        if time.monotonic() > latest_s:
            raise TetradError(problem)
        time.sleep(every_s)


def decode_pads(path: Path, pitches: tuple[int, ...], grid: int, loaded: threading.Barrier) -> None:
    """A process that decodes for as long as its parent lives."""
    from device.decoder import Decoder  # needs LiteRT, which who plays does not

    os.nice(DECODER_NICENESS)
    preset, decoder, parent = Preset.read(path), Decoder(), multiprocessing.parent_process()
    loaded.wait()
    for pitch in itertools.cycle(pitches):
        if parent is None or not parent.is_alive():
            return
        decode_pad(preset, decoder, pitch, grid)


@contextmanager
def decoders(path: Path) -> Iterator[int]:
    """A process a core that decodes, all of them at work. Gives their number."""
    spawn = multiprocessing.get_context("spawn")
    count = os.cpu_count() or 1
    loaded = spawn.Barrier(count + 1)
    processes = [spawn.Process(target=decode_pads, args=(path, PITCHES, GRID, loaded), daemon=True)
                 for _ in range(count)]
    with born_deaf():
        for process in processes:
            process.start()
    try:
        loaded.wait(6 * PATIENCE_S)
        yield count
    except threading.BrokenBarrierError as error:
        raise TetradError("the decoders do not start: try `tetrad bench decode`") from error
    finally:
        for process in processes:
            process.terminate()
            process.join()


def bake_pad(path: Path, folder: Path) -> Bank:
    """A whole pad of a preset, baked by a process of its own, so that no decoder stays in this one's memory."""
    pitches = ",".join(map(str, PITCHES))
    command = [sys.executable, str(Path(__file__).parents[1] / "tetrad.py"), "bake", str(path), "--out", str(folder),
               "--grid", str(GRID), "--pitches", pitches]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
        raise TetradError(f"{path} cannot be baked")
    return Bank.open(folder)


# --- What is played on it.

class Sequencer:
    """Writes notes to a keyboard by ALSA's sequencer. Raises TetradError where that refuses."""

    def __init__(self, to: str = "Tetrad") -> None:
        self._library = ctypes.CDLL(ctypes.util.find_library("asound"))
        self._handle, self._to = ctypes.c_void_p(), (ctypes.c_ubyte * 2)()
        self._call("snd_seq_open", ctypes.byref(self._handle), b"default", OPEN_OUTPUT, 0)
        self._call("snd_seq_create_simple_port", self._handle, b"out", CAN_BE_READ, APPLICATION)
        self._call("snd_seq_parse_address", self._handle, self._to, to.encode())

    def _call(self, function: str, *arguments: object) -> int:
        result = int(getattr(self._library, function)(*arguments))
        if result < 0:
            raise TetradError(f"ALSA's sequencer: {function}: {os.strerror(-result)}")
        return result

    def write(self, message: bytes) -> None:
        self._call("snd_seq_event_output_direct", self._handle, sequencer_event(message, self._to[0], self._to[1]))

    def close(self) -> None:
        self._call("snd_seq_close", self._handle)


def sequencer_event(message: bytes, client: int, port: int) -> bytes:
    """A snd_seq_event_t, to a port, of a MIDI message that begins or ends a note."""
    status, key, velocity = message
    kind = NOTE_ON if status >> 4 == 9 else NOTE_OFF
    return struct.pack("=4B8x2x2B4B4x4x", kind, 0, 0, AT_ONCE, client, port, status & 15, key, velocity, 0)


@contextmanager
def played(engine: "Engine", device: str, period_frames: int, periods: int,
           lock_memory: bool = True) -> Iterator[tuple["Card", "Keyboard", Write]]:
    """A card that plays an engine, and a keyboard with what writes to it: the sequencer where there is one, else a pipe
    in place of a DIN cable. Raises TetradError where the card does not play."""
    from device import _alsa

    card = _alsa.Card(engine, RATE_HZ)
    keyboard = _alsa.Keyboard(card)
    with contextlib.ExitStack() as stack:
        stack.callback(card.stop)
        card.start(device, period_frames=period_frames, periods=periods, lock_memory=lock_memory)
        wait_for(lambda: card.meters()["state"] != "absent" or bool(card.problem()), f"{device} does not play", 0.01)
        if card.problem():
            raise TetradError(card.problem())
        reads, writes = os.pipe()
        stack.callback(os.close, reads)
        stack.callback(os.close, writes)
        stack.callback(keyboard.stop)
        if not SEQUENCER.exists():
            keyboard.start(connect=False, din_fd=reads)
            yield card, keyboard, lambda message: os.write(writes, message)
            return
        keyboard.start(connect=False)
        wait_for(lambda: keyboard.meters()["sequencer"], f"{SEQUENCER} cannot be opened")
        sequencer = Sequencer()
        stack.callback(sequencer.close)
        yield card, keyboard, sequencer.write


def note_latencies_ms(engine: "Engine", card: "Card", write: Write, notes: int) -> np.ndarray:
    """From the writing of a note-on to when the block with its first sound was handed to the card; [notes]. A DIN cable
    would take another 1 ms to bring its bytes. Raises TetradError where a note is not heard."""
    random = np.random.default_rng(0)
    period_s = card.meters()["period_frames"] / RATE_HZ
    latencies_ns = np.empty(notes)
    with console.progress("notes", notes) as bar, first_in_line(PLAYER_PRIORITY):
        for n in range(notes):
            time.sleep(period_s * random.uniform(4, 24))
            key, velocity = int(random.integers(PITCHES[0], PITCHES[-1] + 1)), int(random.integers(1, 128))
            before_ns = card.meters()["sounds_since_ns"]
            struck_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            write(bytes([0x90, key, velocity]))
            wait_for(lambda since_ns=before_ns: card.meters()["sounds_since_ns"] != since_ns,  # type: ignore[misc]
                     f"note {n + 1} of {notes} is not heard", 0.001)
            latencies_ns[n] = card.meters()["sounds_since_ns"] - struck_ns
            write(bytes([0x80, key, 64]))
            wait_for(lambda: engine.meters()["voices"] == 0, f"note {n + 1} of {notes} does not end", 0.001)
            bar.advance()
    return latencies_ns / 1e6


def latency(bank: Bank, device: str, notes: int) -> dict[str, object]:
    """Of single notes, against what is asked for: within a period and GOAL_OVER_A_PERIOD_MS."""
    engine = start_engine(bank, Synth(release_ms=RELEASE_MS), RATE_HZ, VOICES)
    with played(engine, device, LATENCY_PERIOD_FRAMES, LATENCY_PERIODS) as (card, keyboard, write):
        latencies_ms = note_latencies_ms(engine, card, write, notes)
        meters, heard = card.meters(), keyboard.meters()
    p50_ms, p99_ms = np.percentile(latencies_ms, [50, 99])
    return {"real_time": meters["real_time"] and heard["real_time"], "sequencer": heard["sequencer"],
            "notes": notes, "latency_period_frames": meters["period_frames"], "latency_periods": meters["periods"],
            "latency_p50_ms": float(p50_ms), "latency_p99_ms": float(p99_ms),
            "latency_worst_ms": float(latencies_ms.max()),
            "latency_goal_ms": 1e3 * meters["period_frames"] / RATE_HZ + GOAL_OVER_A_PERIOD_MS,
            "latency_xruns": meters["xruns"]}


def hold_all(write: Write) -> None:
    """As many keys as there are voices go down."""
    for key in range(VOICES):
        write(bytes([0x90, LOWEST_KEY + key, 100]))
    time.sleep(SETTLE_S)


def restrike(engine: "Engine", write: Write, seconds: float) -> list[int]:
    """Strikes one of the keys anew every RESTRIKE_S. How many voices sounded, each time."""
    random = np.random.default_rng(0)
    voices = []
    latest_s = time.monotonic() + seconds
    with console.progress("playing", round(seconds)) as bar:
        while time.monotonic() < latest_s:
            key = LOWEST_KEY + int(random.integers(VOICES))
            write(bytes([0x80, key, 64]))
            write(bytes([0x90, key, int(random.integers(1, 128))]))
            time.sleep(RESTRIKE_S)
            voices.append(engine.meters()["voices"])
            bar.advance(RESTRIKE_S)
    return voices


def xruns(bank: Bank, synth: Synth, device: str, minutes: float) -> dict[str, object]:
    """Of a card that all voices play on. Raises TetradError where it goes away."""
    engine = start_engine(bank, synth, RATE_HZ, VOICES)
    with played(engine, device, XRUN_PERIOD_FRAMES, XRUN_PERIODS) as (card, keyboard, write):
        hold_all(write)
        card.forget_worst()
        before = card.meters()
        voices = restrike(engine, write, 60 * minutes)
        after, heard = card.meters(), keyboard.meters()
    if after["losses"]:
        raise TetradError(f"{device} went away {after['losses']} times: try another with --device")
    return {"minutes": minutes, "period_frames": after["period_frames"], "periods": after["periods"],
            "real_time_playing": after["real_time"] and heard["real_time"],
            "blocks": after["blocks"] - before["blocks"], "mean_voices": float(np.mean(voices)),
            "voices_limit": after["voices"], "xruns": after["xruns"] - before["xruns"],
            "late_blocks": after["late"] - before["late"], "worst_load": after["worst_load"]}


def memory(bank: Bank, synth: Synth, device: str) -> dict[str, object]:
    """What is resident in MB of 10^6 bytes while all voices play, before the memory is locked and after: then all that
    is mapped is resident, of libraries and stacks too."""
    engine = start_engine(bank, synth, RATE_HZ, VOICES)
    resident = []
    for lock_memory in (False, True):
        with played(engine, device, XRUN_PERIOD_FRAMES, XRUN_PERIODS, lock_memory) as (card, _, write):
            hold_all(write)
            resident.append(resident_mb(bank.directory))
            locked = card.meters()["locked"]
    return {"tables_mb": resident[1][1], "beside_tables_mb": resident[0][0], "locked": locked,
            "beside_tables_locked_mb": resident[1][0]}


def resident_mb(tables: Path) -> tuple[float, float]:
    """This process's resident set beside what it has mapped of a folder's files, and that; MB of 10^6 bytes."""
    beside_kib = tables_kib = 0
    in_tables = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if mapping := re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)", line):
            in_tables = mapping[1].startswith(f"{tables.resolve()}{os.sep}")
        elif line.startswith("Rss:"):
            kib = int(line.split()[1])
            tables_kib += kib * in_tables
            beside_kib += kib * (not in_tables)
    return beside_kib * 1024 / 1e6, tables_kib * 1024 / 1e6


def minutes_of(argument: str) -> float:
    """`10` or `0.5` of a command line, as argparse's type."""
    try:
        minutes = float(argument)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes <= 1_440:
        raise ArgumentTypeError(f"{argument!r} is no number of minutes up to a day")
    return minutes


def bench_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--device", help="a card, by any of ALSA's names, such as hw:0 (one in user space, by JACK)")
    parser.add_argument("--preset", type=Path, default=FACTORY_PRESET, metavar="P.tetrad",
                        help="that is played and decoded, instead of a shipped one")
    parser.add_argument("--notes", type=console.whole_number(1, 100_000), default=500,
                        help="that are timed (default: %(default)s)")
    parser.add_argument("--minutes", type=minutes_of, default=10.0,
                        help="that xruns are counted for (default: %(default)s)")
    console.add_json_option(parser)

    def card(args: Namespace, period_frames: int) -> contextlib.AbstractContextManager[str]:
        return contextlib.nullcontext(args.device) if args.device else paced_card(period_frames)

    def run(args: Namespace) -> None:
        try:
            from device import _alsa
        except ImportError as error:
            raise TetradError("tetrad was built without ALSA: sudo apt-get install libasound2-dev, and install it "
                              "again") from error
        preset = Preset.read(args.preset)
        if not args.device:
            jack_plugin()  # before the long work
        elif problem := _alsa.describe(args.device)["error"]:
            raise TetradError(f"{args.device}: {problem}")
        with TemporaryDirectory(prefix="tetrad-") as folder:
            bank = bake_pad(args.preset, Path(folder) / "bank")
            taken = memory(bank, preset.synth, args.device or "null")  # JACK's own is not the player's
            with decoders(args.preset) as count:
                with card(args, LATENCY_PERIOD_FRAMES) as device:
                    timed = latency(bank, device, args.notes)
                with card(args, XRUN_PERIOD_FRAMES) as device:
                    counted = xruns(bank, preset.synth, device, args.minutes)
            console.report(args, {"device": args.device or "jackd's dummy driver", "decoders": count}
                           | timed | counted | taken)

    return run
