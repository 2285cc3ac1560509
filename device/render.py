"""A song through the box's own engine, offline, to WAV. What it takes of a MIDI file stands in song.py."""

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from device import _engine, console, tuning
from device.bake import GRID, bake, remaining, warn_of_decoder
from device.bank import Bank
from device.errors import TetradError
from device.preset import Preset
from device.recording import write_wav
from device.song import CENTRE, DRUM_CHANNEL, Event, knob_path, read_knobs, song_events
from device.synth_settings import Synth, add_synth_option

RATE_HZ = 48_000
POLYPHONY = 32
BLOCK_FRAMES = 1_024
LOWEST_KEY, HIGHEST_KEY = 21, 108  # of a piano, and of NSynth: the pitches that the decoder has learned
MAX_TAIL_S = 30.0  # after the last event


def start_engine(bank: Bank, synth: Synth, rate_hz: int = RATE_HZ, polyphony: int = POLYPHONY) -> _engine.Engine:
    """An engine that plays the pitches of which every cell is there. Raises TetradError where there is none."""
    pitches = [pitch for pitch in bank.pitches if bank.is_whole(pitch)]
    if not pitches:
        raise TetradError(f"the bank {bank.directory} holds no whole pitch: `tetrad bake` it")
    try:
        engine = _engine.Engine(rate_hz, polyphony)
    except ValueError as error:
        raise TetradError(f"the engine cannot be made so: {error}") from error
    engine.set_bank(bank.velocities, [
        (pitch, bank.table(pitch), *bank.loop(pitch), bank.levels(pitch), bank.motion(pitch)) for pitch in pitches])
    synth.send(engine)
    engine.send(0, _engine.BLEND, a=CENTRE[0], b=CENTRE[1])
    return engine


def play(engine: _engine.Engine, events: Iterable[Event], rate_hz: int) -> Iterator[np.ndarray]:
    """What the engine plays of the events, until it is silent, in blocks float32 [frames, 2]; each is a new array.

    At most 30 s follow the last event that is no knob move; knob moves alone do not make it longer.
    """
    yield from _until_silent(engine, list(events), rate_hz)
    yield from _blocks(engine, BLOCK_FRAMES)  # the last 3 ms of what was cut


def _until_silent(engine: _engine.Engine, events: list[Event], rate_hz: int) -> Iterator[np.ndarray]:
    last_s = max((event.time_s for event in events if event.kind != _engine.BLEND), default=0.0)
    stop = Event(last_s + MAX_TAIL_S, _engine.ALL_SOUND_OFF)
    now = 0
    for event in sorted([*events, stop], key=lambda event: event.time_s):
        for block in _blocks(engine, round(event.time_s * rate_hz) - now):
            yield block
            now += len(block)
            if now > round(last_s * rate_hz) and engine.meters()["voices"] == 0:
                return
        if not engine.send(0, *event[1:]):
            engine.render(np.empty((0, 2), np.float32))  # makes room
            engine.send(0, *event[1:])
        if event is stop:
            return


def _blocks(engine: _engine.Engine, frames: int) -> Iterator[np.ndarray]:
    while frames > 0:
        block = np.empty((min(frames, BLOCK_FRAMES), 2), np.float32)
        engine.render(block)
        frames -= len(block)
        yield block


def render(events: Iterable[Event], bank: Bank, synth: Synth, rate_hz: int = RATE_HZ,
           polyphony: int = POLYPHONY) -> np.ndarray:
    """The events as the engine plays them from a bank, until it is silent: float32 [frames, 2], |sample| <= 1."""
    engine = start_engine(bank, synth, rate_hz, polyphony)
    return np.concatenate(list(play(engine, events, rate_hz)))


def needed_pitches(events: Iterable[Event]) -> list[int]:
    """The pitches that the notes of the events are decoded at, the most used first: each key its own, or the nearest to
    what it is tuned to, so that none is a neighbour's sound played faster. Beyond a piano's, the nearest of these."""
    events = list(events)
    tuning = {event.key: event.a for event in events if event.kind == _engine.TUNE_KEY}
    uses = Counter(min(max(round(event.key + tuning.get(event.key, 0.0)), LOWEST_KEY), HIGHEST_KEY)
                   for event in events if event.kind == _engine.NOTE_ON)
    return [key for key, _ in sorted(uses.items(), key=lambda item: (-item[1], item[0]))]


def song_bank(preset: Preset, pitches: Sequence[int], directory: Path, decoder_path: Path | None = None) -> Bank:
    """The bank in a folder, with at least these pitches: what is missing is decoded into it.

    A bank of the preset and of the decoder it was made for that holds them all already is taken as it is, unless a
    decoder is asked for; a bank of another, or a damaged one, is replaced, as `bake` does. Raises TetradError.
    """
    if decoder_path is None and (bank := _whole_bank(preset, pitches, directory)):
        return bank
    from device.decoder import Decoder  # needs LiteRT, which a whole bank does not

    decoder = Decoder(decoder_path)
    warn_of_decoder(preset, decoder)
    missing = remaining(preset, decoder, directory, pitches, GRID)
    with console.progress("decoding", len(missing)) as bar:
        return bake(preset, decoder, directory, pitches, GRID, lambda _: bar.advance(), os.cpu_count() or 1)


def _whole_bank(preset: Preset, pitches: Sequence[int], directory: Path) -> Bank | None:
    try:
        bank = Bank.open(directory)
    except TetradError:  # none, or one to be baked anew
        return None
    same = bank.preset == preset.digest and preset.decoder in ("", bank.decoder)
    return bank if same and all(map(bank.is_whole, pitches)) else None


def _played(song: Path, knobs: Path | None) -> list[Event]:
    """What is to be played of a song, knobs included. Raises TetradError where it holds no note."""
    everything = song_events(song)
    events = [event for event in everything if event.channel != DRUM_CHANNEL]
    drums = sum(event.kind == _engine.NOTE_ON and event.channel == DRUM_CHANNEL for event in everything)
    if drums:
        print(f"tetrad: {song}: {drums} notes of channel 10 are left out, for drums are no preset's", file=sys.stderr)
    if not any(event.kind == _engine.NOTE_ON for event in events):
        raise TetradError(f"{song} holds no notes{' but drums' if drums else ''}: give a song with some")
    if knobs is not None:
        events = [event for event in events if event.kind != _engine.BLEND] + knob_path(read_knobs(knobs))
    return events


def tuned(events: Sequence[Event], semitones: np.ndarray) -> list[Event]:
    """The events in a tuning, as tuning.load() gives it: without the notes of keys that have no pitch in it."""
    keys = [Event(0.0, _engine.TUNE_KEY, key=key, a=float(off)) for key, off in enumerate(semitones)
            if np.isfinite(off) and off != 0]
    heard = [event for event in events if event.kind not in (_engine.NOTE_ON, _engine.NOTE_OFF)
             or np.isfinite(semitones[event.key])]
    return keys + heard


def render_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("song", type=Path, metavar="SONG.mid", help="a MIDI file; CC 16 and 17 move the knobs")
    parser.add_argument("--preset", type=Path, required=True, metavar="P.tetrad")
    parser.add_argument("--out", type=Path, required=True, metavar="WAV", help="16-bit stereo")
    parser.add_argument("--knobs", type=Path, metavar="CSV",
                        help="the knobs' way, instead of the CCs: time_s,x,y, then a breakpoint a line")
    add_synth_option(parser)
    parser.add_argument("--scale", type=Path, metavar="SCL", help="another tuning: a scale of Scala's")
    parser.add_argument("--keys", type=Path, metavar="KBM", help="its keyboard mapping; degree 0 on middle C without")
    parser.add_argument("--bank", type=Path, metavar="DIR",
                        help="a bank's folder, kept for the next time; what the song needs and it lacks is decoded "
                             "into it, one of another preset is replaced (a passing one)")
    parser.add_argument("--decoder", type=Path, help="a decoder instead of the shipped one")
    parser.add_argument("--rate-hz", default=RATE_HZ,
                        type=console.whole_number(_engine.MIN_RATE_HZ, _engine.MAX_RATE_HZ))
    parser.add_argument("--polyphony", type=console.whole_number(1, _engine.MAX_POLYPHONY), default=POLYPHONY)
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        if not args.out.parent.is_dir():  # before the long work
            raise TetradError(f"{args.out}: there is no folder {args.out.parent}; make it")
        if args.keys and not args.scale:
            parser.error("--keys maps the keys to a --scale: give one")
        preset, events = Preset.read(args.preset), _played(args.song, args.knobs)
        synth = Synth(**{**preset.synth, **dict(args.synth)})
        if args.scale:
            events = tuned(events, tuning.load(args.scale, args.keys))
        with TemporaryDirectory(prefix="tetrad-") as passing:
            bank = song_bank(preset, needed_pitches(events), args.bank or Path(passing), args.decoder)
            console.report(args, _render_to(args.out, events, bank, synth, args.rate_hz, args.polyphony))
    return run


def _render_to(path: Path, events: Sequence[Event], bank: Bank, synth: Synth, rate_hz: int,
               polyphony: int) -> dict[str, object]:
    """Renders with a progress bar to a WAV file; gives its length, peak, and the voices that had to be stolen."""
    engine = start_engine(bank, synth, rate_hz, polyphony)
    start = time.perf_counter()
    with console.progress("playing", round(max(event.time_s for event in events))) as bar:
        def watched() -> Iterator[np.ndarray]:
            for block in play(engine, events, rate_hz):
                bar.advance(len(block) / rate_hz)
                yield block
        frames, peak = write_wav(path, watched(), rate_hz)
    wall_s = time.perf_counter() - start
    return {"wav": str(path), "seconds": frames / rate_hz, "notes": sum(e.kind == _engine.NOTE_ON for e in events),
            "peak": peak, "stolen_voices": engine.meters()["stolen"], "x_realtime": frames / rate_hz / wall_s}
