"""Baking: a preset's whole pad, decoded at the wanted pitches, becomes a bank."""

import contextlib
import fcntl
import multiprocessing
import os
import signal
import sys
import threading
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from device import conditioning, console, files, sustain
from device.bank import FULL_SCALE, GRIDS, Bank, Pad
from device.conditioning import MARGIN_COLUMNS
from device.errors import TetradError
from device.jobs import born_deaf
from device.preset import CORNERS, MOTION, SAMPLE_RATE_HZ, Preset, grid_weights
from device.synth import Excitation

# Decoded at once: a pad of 5 x 5 in one call, and of 33 x 33 without filling a small board's memory. Four bodies fill
# three of the decoder's tensors, four releases one.
BATCH_CELLS = 32
MOST_BOOST_DB = 20.0  # of a corner: what is still softer was meant to be
CORNER_PEAK = 0.5  # so that between an organ and a bell, with its high peaks, there is room to be as loud
MOST_CORRECTION_DB = 12.0  # of a cell, against what its corners needed
MOST_PEAK = 0.98  # of a cell: louder would be clipped
RELEASE_SAMPLES = sustain.RELEASE_COLUMNS * sustain.COLUMN_SAMPLES
DECAY = MOTION.index("decay_db_per_s")
GRID = 5  # cells a side: half-way between them a crossfade is 0.4 dB log-mel from the exact decode (docs/sound.md)


class Decoder(Protocol):
    """From embeddings to sound. For several jobs it must be picklable (one is opened in each process)."""

    @property
    def id(self) -> str: ...

    def decode_columns(self, tracks: np.ndarray, pitch: float, excitation: Excitation, cycle_samples: int = 0,
                       loop_start: int = 0, before: int = 0, after: int = 0) -> np.ndarray:
        """Latent tracks float32 [notes, columns, 16] -> float32 [notes, 256 (columns - before - after)], as loud as
        they come out.

        `cycle_samples` > 0: every oscillator has whole cycles in so many samples, and the noise repeats with that
        period from sample `loop_start` on. The first `before` and the last `after` columns are only heard.
        """
        ...


def bake(preset: Preset, decoder: Decoder, directory: Path | str, pitches: Sequence[int] | None = None,
         grid: int = GRID, progress: Callable[[int], None] | None = None, jobs: int = 1) -> Bank:
    """Decodes the pad at `pitches` (the preset's unless given), in their order, and returns the bank in `directory`.

    What the folder holds already of the same preset, decoder and grid is kept, so a stopped baking is completed, to
    the same bytes. A bank of anything else, or a damaged one, is replaced: it can be baked again at any time.
    `progress` is called with each pitch that was decoded; `jobs` processes decode. Raises TetradError.
    """
    wanted = list(dict.fromkeys(preset.pitches if pitches is None else pitches))
    if not wanted or not all(0 <= pitch <= 127 for pitch in wanted):
        raise TetradError(f"the pitches to bake are MIDI pitches, 0 to 127, at least one, not {wanted}")
    if not GRIDS[0] <= grid <= GRIDS[1]:
        raise TetradError(f"a grid has {GRIDS[0]} to {GRIDS[1]} cells a side, not {grid}")
    files.make_folder(Path(directory))
    with _alone(Path(directory)):
        bank = _kept(preset, decoder, Path(directory), grid)
        if bank is None:
            bank = Bank.create(directory, preset.digest, decoder.id, grid, preset.velocities)
        bank.clean()
        missing = remaining(preset, decoder, directory, wanted, grid)
        with contextlib.closing(_decoded(preset, decoder, missing, grid, jobs)) as pads:
            for pitch, pad in zip(missing, pads, strict=True):
                bank = bank.store(pitch, pad)  # in this process alone: it is the one that holds the lock
                if progress:
                    progress(pitch)
    return bank


def remaining(preset: Preset, decoder: Decoder, directory: Path | str, pitches: Iterable[int], grid: int) -> list[int]:
    """Those of the pitches that the folder does not hold of this preset, decoder and grid, in their order."""
    bank = _kept(preset, decoder, Path(directory), grid)
    return [pitch for pitch in dict.fromkeys(pitches) if bank is None or not bank.is_whole(pitch)]


def _kept(preset: Preset, decoder: Decoder, directory: Path, grid: int) -> Bank | None:
    """The folder's bank, where it is whole and of the same making."""
    try:
        bank = Bank.open(directory)
    except TetradError:  # none, or one to be made anew
        return None
    same = (bank.preset, bank.decoder, bank.grid) == (preset.digest, decoder.id, grid)
    return bank if same else None


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keeps other bakings out of the folder. The lock goes with the process, however that ends."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise TetradError(f"the bank {directory} is being baked by another process: wait for it") from error
    finally:
        os.close(descriptor)


@dataclass(frozen=True, eq=False)
class PitchShape:
    """How long a pitch's cells are and how they move, as the engine takes it: cells of `samples`, of which
    `loop_samples` go round from `loop_start` on, the release behind them; `motion` float32 [layers, 4, 4]."""

    columns: int  # of the loop
    loop_start: int
    loop_samples: int
    samples: int
    motion: np.ndarray

    @classmethod
    def of(cls, preset: Preset, pitch: int) -> "PitchShape":
        columns, motion = sustain.loop_columns(pitch), preset.motion(pitch)
        motion[..., DECAY] *= sustain.is_decaying(motion[..., DECAY])  # what is held does not fall, not even slowly
        start, length = sustain.loop_start_samples(columns), columns * sustain.COLUMN_SAMPLES
        return cls(columns, start, length, start + length + RELEASE_SAMPLES, motion)


class PitchDecoder:
    """A pitch of a preset, cell by cell, in any order: `corners`, and what lies between them."""

    def __init__(self, preset: Preset, decoder: Decoder, pitch: int) -> None:
        self._decoder, self._pitch = decoder, pitch
        self.shape = PitchShape.of(preset, pitch)
        self._embeddings, self._partials = preset.at(pitch), preset.partials(pitch)
        self._layers: dict[int, _Layer] = {}

    def corners(self, layer: int) -> np.ndarray:
        """The corners' sounds in a layer, int16 [4, samples]."""
        return self._layer(layer).corners

    def between(self, layer: int, shares: np.ndarray) -> np.ndarray:
        """The sounds, int16 [cells, samples], of shares [cells, 4] of the corners in a layer, BATCH_CELLS at most.

        They are brought to the loudness that lies between their corners'.
        """
        shares = np.asarray(shares, np.float32)
        found, of = self._layer(layer), self._decode(layer, shares)
        usual_db = shares @ found.gain_db
        gain_db = usual_db + np.clip(shares @ found.level_db - of.level_db - usual_db, -MOST_CORRECTION_DB,
                                     MOST_CORRECTION_DB)
        return of.scaled(gain_db)

    def _layer(self, layer: int) -> "_Layer":
        """The corners are brought to peak CORNER_PEAK, for far from the pitches that an embedding was made from, levels
        wander by as much as 20 dB."""
        if layer not in self._layers:
            of = self._decode(layer, np.eye(CORNERS, dtype=np.float32))
            gain_db = np.minimum(20 * np.log10(CORNER_PEAK / of.peaks), MOST_BOOST_DB)
            self._layers[layer] = _Layer(of.scaled(gain_db), gain_db, of.level_db + gain_db)
        return self._layers[layer]

    def _decode(self, layer: int, shares: np.ndarray) -> "_Decoded":
        shape, decays = self.shape, self.shape.motion[layer, :, DECAY]
        tracks = np.stack([conditioning.columns(embedding) for embedding in self._embeddings[layer]])  # (4, C, D)
        bodies, releases = sustain.body(tracks, decays, shape.columns), sustain.release(tracks)
        how = self._decoder, shares, self._pitch, self._partials[layer], shape.loop_samples
        body = _sound(*how, bodies, shape.loop_start, 0, MARGIN_COLUMNS)
        body = body[:, : shape.loop_start + shape.loop_samples] * sustain.fall(shares @ decays, shape.columns)
        release = _sound(*how, releases, RELEASE_SAMPLES, MARGIN_COLUMNS, 0)
        level_db = 10 * np.log10(np.mean(body[:, : shape.loop_start] ** 2, axis=1) + 1e-12)
        return _Decoded(np.concatenate([body, release], axis=1), level_db)


@dataclass(frozen=True, eq=False)
class _Layer:
    """The corners, int16 [4, samples], what they were raised by and how loud that made them, dB [4]."""

    corners: np.ndarray
    gain_db: np.ndarray
    level_db: np.ndarray


@dataclass(frozen=True, eq=False)
class _Decoded:
    """Sounds as they come from the decoder, float32 [cells, samples], and how loud they are, dB [cells]."""

    sound: np.ndarray
    level_db: np.ndarray

    @property
    def peaks(self) -> np.ndarray:
        peaks: np.ndarray = np.maximum(np.abs(self.sound).max(axis=1), 1e-9)
        return peaks

    def scaled(self, gain_db: np.ndarray) -> np.ndarray:
        """int16, none of them clipped."""
        gain = np.minimum(10 ** (gain_db / 20), MOST_PEAK / self.peaks)
        return np.rint(self.sound * (gain * FULL_SCALE).astype(np.float32)[:, None]).astype(np.int16)


def column_levels(sounds: np.ndarray) -> np.ndarray:
    """RMS of each column of sounds int16 [..., samples], float32 [..., columns], 1.0 = full scale."""
    by_column = sounds.reshape(*sounds.shape[:-1], -1, sustain.COLUMN_SAMPLES).astype(np.float32) / FULL_SCALE
    levels: np.ndarray = np.sqrt(np.mean(by_column**2, axis=-1))
    return levels


def decode_pad(preset: Preset, decoder: Decoder, pitch: int, grid: int) -> Pad:
    """A pitch's whole pad. Raises TetradError where the decoder gives no sound."""
    pitch_decoder = PitchDecoder(preset, decoder, pitch)
    shape = pitch_decoder.shape
    weights = grid_weights(grid).reshape(-1, CORNERS)
    corner_cells, others = weights.argmax(axis=0), np.flatnonzero(weights.max(axis=1) < 1)
    cells = np.empty((preset.layers, grid * grid, shape.samples), np.int16)
    for layer in range(preset.layers):
        cells[layer, corner_cells] = pitch_decoder.corners(layer)
        for batch in np.split(others, range(BATCH_CELLS, len(others), BATCH_CELLS)):
            if len(batch):
                cells[layer, batch] = pitch_decoder.between(layer, weights[batch])
    levels = np.stack([column_levels(cell) for layer in cells for cell in layer])  # one at a time, to save memory
    pad = (preset.layers, grid, grid, -1)
    return Pad(cells.reshape(pad), levels.reshape(pad), shape.loop_start, shape.loop_samples, shape.motion)


def _sound(decoder: Decoder, share: np.ndarray, pitch: int, partials: np.ndarray, cycle: int, tracks: np.ndarray,
           loop_start: int, before: int, after: int) -> np.ndarray:
    """The sound, float32 [cells, samples], of shares [cells, 4] in the corners' tracks [4, columns, DIMENSIONS]."""
    mixed = np.einsum("nk,kcd->ncd", share, tracks)
    sound = decoder.decode_columns(mixed, pitch, Excitation(partials, share), cycle, loop_start, before, after)
    wanted = len(share), (tracks.shape[1] - before - after) * sustain.COLUMN_SAMPLES
    if sound.shape != wanted or not np.isfinite(sound).all():
        raise TetradError(f"the decoder {decoder.id} gives NaN or {list(sound.shape)} samples at pitch {pitch}: "
                          "give another decoder")
    return sound


def _decoded(preset: Preset, decoder: Decoder, pitches: Sequence[int], grid: int,
             jobs: int) -> Generator[Pad, None, None]:
    """The pads of the pitches, in their order, each decoded when a process is free."""
    if jobs <= 1 or len(pitches) <= 1:
        yield from (decode_pad(preset, decoder, pitch, grid) for pitch in pitches)
        return
    # Spawned, not forked: an interpreter's threads do not live through a fork, and a lock would be inherited
    pool = ProcessPoolExecutor(min(jobs, len(pitches)), multiprocessing.get_context("spawn"),
                               _start_worker, (preset, decoder, grid))
    try:
        with born_deaf():
            decoded = pool.map(_work, pitches)
        yield from decoded
    except BrokenProcessPool as error:
        raise TetradError("a decoding process died, for lack of memory perhaps: bake again with --jobs 1, "
                          "what is done is kept") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_task: tuple[Preset, Decoder, int]  # what a worker process decodes, set when it starts


def _start_worker(preset: Preset, decoder: Decoder, grid: int) -> None:
    global _task
    _task = preset, decoder, grid
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent ends nobody: without this a worker would wait for its next pitch for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(pitch: int) -> Pad:
    preset, decoder, grid = _task
    return decode_pad(preset, decoder, pitch, grid)


def pitch_list(argument: str) -> list[int]:
    """`36,40,48:84:2` of a command line: pitches and ranges first:last[:step], as argparse's type."""
    found: list[int] = []
    try:
        for part in argument.split(","):
            first, *rest = map(int, part.split(":"))
            last, step = (*rest, 1)[:2] if rest else (first, 1)
            if len(rest) > 2 or step < 1 or not 0 <= first <= last <= 127:
                raise ValueError(part)
            found.extend(range(first, last + 1, step))
    except ValueError as error:
        raise ArgumentTypeError(f"{argument!r} is not MIDI pitches such as 36,40 or 36:84:4") from error
    return found


def bake_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("preset", type=Path, help="a preset, P.tetrad")
    parser.add_argument("--out", required=True, type=Path, metavar="BANK",
                        help="the bank's folder; what it holds of this preset is kept, a bank of another is replaced")
    parser.add_argument("--decoder", type=Path, help="a decoder instead of the shipped one")
    parser.add_argument("--pitches", type=pitch_list, help="such as 36:84:4 (the preset's)")
    parser.add_argument("--grid", type=console.whole_number(*GRIDS), default=GRID,
                        help=f"cells a side of the pad ({GRID})")
    parser.add_argument("--jobs", type=console.whole_number(1, 256), default=os.cpu_count() or 1,
                        help="processes (one a core)")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        from device.decoder import Decoder as LiteDecoder

        preset, decoder = Preset.read(args.preset), LiteDecoder(args.decoder)
        warn_of_decoder(preset, decoder)
        pitches = args.pitches or preset.pitches
        console.report(args, timed_bake(preset, decoder, args.out, pitches, args.grid, args.jobs))
    return run


def warn_of_decoder(preset: Preset, decoder: Decoder) -> None:
    if preset.decoder not in ("", decoder.id):
        print(f"tetrad: {preset.name} was made for decoder {preset.decoder}, this is {decoder.id}: "
              "it may sound otherwise", file=sys.stderr)


def timed_bake(preset: Preset, decoder: Decoder, directory: Path, pitches: Sequence[int], grid: int,
               jobs: int) -> dict[str, object]:
    """Bakes with a progress bar; gives the number of decoded notes (cells), their length, and the time it took."""
    missing = remaining(preset, decoder, directory, pitches, grid)
    start = time.perf_counter()
    with console.progress("decoding", len(missing)) as bar:
        bank = bake(preset, decoder, directory, pitches, grid, lambda _: bar.advance(), jobs)
    wall_s = time.perf_counter() - start
    notes = len(missing) * preset.layers * grid * grid
    audio_s = sum(bank.entries[pitch].samples for pitch in missing) * preset.layers * grid * grid / SAMPLE_RATE_HZ
    return {"bank": str(directory), "pitches": list(bank.pitches), "layers": preset.layers, "grid": grid,
            "jobs": jobs, "notes": notes, "audio_s": audio_s, "wall_s": wall_s, "x_realtime": audio_s / wall_s}
