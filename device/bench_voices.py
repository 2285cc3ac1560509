"""What a voice costs beside FluidSynth's, how even the blocks are, and what a swept knob leaves beside the tone."""

import ctypes
import ctypes.util
import hashlib
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from device import _engine, console
from device.bake import GRID
from device.errors import TetradError
from device.preset import PITCHES, SAMPLE_RATE_HZ

RATE_HZ = 48_000
VOICES = 64
LAYERS = (50, 100)
CELL_COLUMNS, LOOP_START, LOOP_COLUMNS = 204, 141, 50  # as the decoder makes them: a release of 13 columns behind
SOUNDFONTS = ("/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/sounds/sf2/default-GM.sf2")
ORGAN = 19  # a program that sounds as long as its key is held
ROUNDS, SECONDS_A_ROUND = 5, 2.0
BLOCK_FRAMES, STEADY_S = 128, 60
FINGERS = 10
SWEEP_S, TONE_HZ, SIDE_BANDS_HZ = 0.05, 1_000.0, 400.0  # a sweep of 50 ms ends below -80 dB within that of the tone


def table(pitch: int, grid: int = GRID, seed: int = 0) -> "_engine.Table":
    """A table as `Engine.set_bank` takes it, of harmonics of its pitch, each cell with levels of its own."""
    random = np.random.default_rng(seed + pitch)
    samples = CELL_COLUMNS * _engine.COLUMN_SAMPLES
    loop = LOOP_COLUMNS * _engine.COLUMN_SAMPLES
    cycles = round(440 * 2 ** ((pitch - 69) / 12) * loop / SAMPLE_RATE_HZ)
    turns = 2 * np.pi * cycles / loop * np.arange(samples)
    waves = np.stack([np.sin(k * turns) for k in range(1, 6)])
    levels = random.random((len(LAYERS), grid, grid, 5)) / np.arange(1, 6)
    cells = (4_000 * levels @ waves).astype(np.int16)
    motion = np.zeros((len(LAYERS), 4, 4), np.float32)
    rms = np.full((*cells.shape[:3], CELL_COLUMNS), 0.1, np.float32)
    return pitch, cells, LOOP_START * _engine.COLUMN_SAMPLES, loop, rms, motion


def engine_of(tables: Sequence["_engine.Table"], voices: int) -> _engine.Engine:
    engine = _engine.Engine(RATE_HZ, voices)
    engine.set_bank(LAYERS, tables)
    engine.send(0, _engine.PARAMETER, key=_engine.FILTER_MODE, a=_engine.FILTER_LOW)
    engine.send(0, _engine.PARAMETER, key=_engine.CUTOFF_HZ, a=4_000.0)
    engine.send(0, _engine.BLEND, a=0.4, b=0.6)
    return engine


def hold(engine: _engine.Engine, keys: range, velocity: float) -> None:
    for i in keys:
        engine.send(0, _engine.NOTE_ON, key=36 + i % 60, channel=i // 60, a=velocity)


def voice_us(engine: _engine.Engine) -> float:
    """CPU time of a voice that sounds for a second, in µs."""
    block = np.empty((BLOCK_FRAMES, 2), np.float32)
    blocks = round(SECONDS_A_ROUND * RATE_HZ / BLOCK_FRAMES)
    start = time.thread_time()
    for _ in range(blocks):
        engine.render(block)
    return 1e6 * (time.thread_time() - start) / (blocks * BLOCK_FRAMES / RATE_HZ) / engine.meters()["voices"]


class FluidSynth:
    """Voices of FluidSynth's library, held, its reverb and chorus off. order: of its interpolation, 4 or 7."""

    def __init__(self, soundfont: Path, voices: int, order: int) -> None:
        name = ctypes.util.find_library("fluidsynth")
        if name is None:
            raise TetradError("there is no FluidSynth to compare with: sudo apt-get install libfluidsynth3")
        self._library = library = ctypes.CDLL(name)
        for function in (library.new_fluid_settings, library.new_fluid_synth):
            function.restype = ctypes.c_void_p
        settings = ctypes.c_void_p(library.new_fluid_settings())
        library.fluid_settings_setnum(settings, b"synth.sample-rate", ctypes.c_double(RATE_HZ))
        for key, value in ((b"synth.polyphony", voices), (b"synth.reverb.active", 0), (b"synth.chorus.active", 0)):
            library.fluid_settings_setint(settings, key, value)
        self._synth = ctypes.c_void_p(library.new_fluid_synth(settings))
        if library.fluid_synth_sfload(self._synth, str(soundfont).encode(), 1) < 0:
            raise TetradError(f"{soundfont}: FluidSynth cannot read it; give another with --soundfont")
        library.fluid_synth_set_interp_method(self._synth, -1, order)  # of notes that begin later
        for channel in range(4):
            library.fluid_synth_program_change(self._synth, channel, ORGAN)
        for i in range(voices):
            library.fluid_synth_noteon(self._synth, i % 4, 36 + i // 2, 80)

    def voice_us(self) -> float:
        """As voice_us() above."""
        sides = np.empty((2, BLOCK_FRAMES), np.float32)
        left, right = (ctypes.c_void_p(side.ctypes.data) for side in sides)
        blocks = round(SECONDS_A_ROUND * RATE_HZ / BLOCK_FRAMES)
        start = time.thread_time()
        for _ in range(blocks):
            self._library.fluid_synth_write_float(self._synth, BLOCK_FRAMES, left, 0, 1, right, 0, 1)
        spent = time.thread_time() - start
        return 1e6 * spent / (blocks * BLOCK_FRAMES / RATE_HZ) / int(
            self._library.fluid_synth_get_active_voice_count(self._synth))


def compare(tables: Sequence["_engine.Table"], soundfont: Path) -> dict[str, object]:
    """Medians of rounds in turn, ours at a velocity layer (four cells) and between two (eight)."""
    engines = {}
    for name, velocity in (("four_cells", LAYERS[0] / 127), ("eight_cells", 75 / 127)):
        engines[name] = engine_of(tables, VOICES)
        hold(engines[name], range(VOICES), velocity)
    peers = [FluidSynth(soundfont, VOICES, order) for order in (4, 7)]
    rounds = [[*(voice_us(engine) for engine in engines.values()), *(peer.voice_us() for peer in peers)]
              for _ in range(ROUNDS + 1)][1:]  # the first warms up
    ours, between, fourth, seventh = np.median(rounds, axis=0)
    return {"voice_us": ours, "voice_us_between_layers": between, "fluidsynth_us": fourth, "fluidsynth_7th_us": seventh,
            "x_fluidsynth": fourth / ours, "x_fluidsynth_between_layers": fourth / between,
            "x_fluidsynth_7th": seventh / ours}


def evenness(tables: Sequence["_engine.Table"], seconds: int, keys_a_block: int) -> list[float]:
    """Blocks of all voices, µs of the thread's own time. Each second another thread swaps the bank, and the keys are
    struck anew, so many a block."""
    banks = [[table(pitch, seed=1_000) for pitch in PITCHES], tables]
    engine = engine_of(tables, VOICES)
    block = np.empty((BLOCK_FRAMES, 2), np.float32)
    blocks_a_second = RATE_HZ // BLOCK_FRAMES
    swap = threading.Semaphore(0)
    swaps = seconds - 1

    def swap_banks() -> None:
        for n in range(swaps):
            swap.acquire()
            engine.set_bank(LAYERS, banks[n % 2])

    control = threading.Thread(target=swap_banks, daemon=True)
    control.start()
    spent_us = []
    for n in range(seconds * blocks_a_second):
        since = n % blocks_a_second
        if since == 0 and n > 0:
            swap.release()
        if since * keys_a_block < VOICES:
            hold(engine, range(since * keys_a_block, min((since + 1) * keys_a_block, VOICES)), LAYERS[0] / 127)
        start = time.thread_time_ns()
        engine.render(block)
        spent_us.append((time.thread_time_ns() - start) / 1e3)
    control.join()
    return spent_us


def noise(blocks: int) -> float:
    """Worst over median of work that is always the same: what the machine itself does to a block."""
    spent, same = [], bytes(40_000)
    for _ in range(blocks):
        start = time.thread_time_ns()
        hashlib.sha256(same).digest()
        spent.append(time.thread_time_ns() - start)
    return max(spent) / float(np.median(spent))


def steadiness(tables: Sequence["_engine.Table"], seconds: int) -> dict[str, object]:
    """The worst block against the median one, keys struck by ten fingers and all at once.

    A machine that does other things disturbs single blocks; what the engine does, it does each second again: of a place
    in the second, its median over the seconds.
    """
    spent = {keys: np.array(evenness(tables, seconds, keys)) for keys in (FINGERS, VOICES)}
    median = np.median(spent[FINGERS])
    fingers, at_once = (us.reshape(seconds, -1)[1:] for us in spent.values())
    return {"blocks": spent[FINGERS].size, "period_us": 1e6 * BLOCK_FRAMES / RATE_HZ, "median_block_us": median,
            "worst_over_median": np.median(fingers, 0).max() / median,
            "worst_over_median_keys_at_once": np.median(at_once, 0).max() / median,
            "worst_over_median_of_single_blocks": fingers.max() / median,
            "worst_over_median_of_equal_work": noise(spent[FINGERS].size)}


def swept(seconds: float = SWEEP_S) -> float:
    """dB of what lies outside of the tone's side-bands against the tone, with a knob on its way from end to end."""
    samples = 4 * SAMPLE_RATE_HZ
    wave = np.sin(2 * np.pi * TONE_HZ / SAMPLE_RATE_HZ * np.arange(samples))
    levels = np.linspace(0.1, 0.9, GRID)[None, None, :, None]
    cells = np.ascontiguousarray(np.broadcast_to(32_767 * levels * wave, (1, GRID, GRID, samples))).astype(np.int16)
    rms = np.full((1, GRID, GRID, samples // _engine.COLUMN_SAMPLES), 0.3, np.float32)
    engine = _engine.Engine(RATE_HZ, 1)
    engine.set_bank([100], [(83, cells, samples, 0, rms, np.zeros((1, 4, 4), np.float32))])
    engine.send(0, _engine.BLEND, a=0.0, b=0.5)
    engine.send(0, _engine.NOTE_ON, key=83, a=0.7)
    moves = round(seconds * 200)  # a knob is read 200 times a second
    for i in range(moves + 1):
        share = i / max(moves, 1)
        engine.send(RATE_HZ // 2 + round(share * seconds * RATE_HZ), _engine.BLEND, a=share, b=0.5)
    out = np.empty((RATE_HZ, 2), np.float32)
    engine.render(out)
    heard = out[RATE_HZ // 4 : 3 * RATE_HZ // 4, 0]
    power = np.abs(np.fft.rfft(heard * np.blackman(len(heard)))) ** 2
    hz = np.fft.rfftfreq(len(heard), 1 / RATE_HZ)
    outside = np.abs(hz - TONE_HZ) > SIDE_BANDS_HZ
    return float(10 * np.log10(power[outside].sum() / power[~outside].sum()))


def bench_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--soundfont", type=Path, help="that FluidSynth plays (FluidR3's, by apt)")
    parser.add_argument("--seconds", type=console.whole_number(5, 3_600), default=STEADY_S,
                        help="that blocks are watched for (default: %(default)s)")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        soundfont = args.soundfont or next((Path(path) for path in SOUNDFONTS if Path(path).exists()), None)
        if soundfont is None or not soundfont.exists():
            raise TetradError(f"{soundfont or 'no SoundFont'}: nothing to compare with: "
                              "sudo apt-get install fluid-soundfont-gm, or give one with --soundfont")
        tables = [table(pitch) for pitch in PITCHES]
        console.report(args, compare(tables, soundfont) | steadiness(tables, args.seconds)
                       | {"swept_outside_side_bands_db": swept()})

    return run
