"""Embeddings to sound: the int8 student (LiteRT), then harmonics and noise on the host."""

import math
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from device import conditioning, console, jobs, litert, synth
from device.analysis import analyse
from device.corner import read_embedding
from device.errors import TetradError
from device.model_file import FACTORY_DECODER, compiled_beside
from device.pitch import pitch_from_name
from device.preset import DIMENSIONS, FRAMES, HOP_SAMPLES, SAMPLE_RATE_HZ
from device.recording import NOTE_PEAK, as_note, load_recording, write_wav
from device.vibrato import vibrate

MAX_FRAMES = 60 * SAMPLE_RATE_HZ // HOP_SAMPLES  # a minute
MAX_GAIN = 10.0  # 20 dB: what is still softer was meant to be


class Decoder:
    """The decoder of one file; the shipped one unless a path is given.

    On an Edge TPU it runs what edgetpu_compiler has made of the file and put beside it; its id is that of the file.
    """

    def __init__(self, path: Path | None = None, edge_tpu: bool = False) -> None:
        rows = (1, conditioning.ROWS, conditioning.COLUMNS)
        shapes = (*rows, conditioning.CHANNELS), (*rows, synth.FRAMES_A_COLUMN * synth.CONTROLS)
        self._model = litert.Model(path or FACTORY_DECODER, *shapes)
        if not self._model.is_quantized:
            raise TetradError(f"{self._model.path}: not int8; make it with `tetrad quantize`")
        self.path, self.id = self._model.path, self._model.id
        if edge_tpu:
            self._model = litert.Model(compiled_beside(self.path), *shapes, litert.edge_tpu())
        # An int8 control is one of 256 levels: looked up instead of computed. Rolled, since -128 is index 128.
        self._levels = np.roll(synth.level(np.maximum(self._model.output_values, 0)), 128)

    def __reduce__(self) -> tuple[type["Decoder"], tuple[Path]]:
        return Decoder, (self.path,)  # an interpreter cannot cross to another process, its file can

    def levels(self, tracks: Sequence[np.ndarray], pitch: synth.Pitch, before: int = 0, after: int = 0,
               ) -> list[np.ndarray]:
        """Tracks [columns, 16] each -> levels float32 [4 columns, CONTROLS] each, of partials and bands.

        Of the first `before` and the last `after` columns, MARGIN_COLUMNS at most, none: they are context.
        """
        pitches = pitch if np.ndim(pitch) == 0 else np.repeat(pitch, conditioning.COLUMNS_A_FRAME)
        channels = [conditioning.channels(track, pitches) for track in tracks]
        inputs = self._model.quantize(conditioning.to_tensors(channels, before, after))
        controls = np.concatenate([self._model.run(tensor[None]).copy() for tensor in inputs])
        lengths = [len(track) - before - after for track in tracks]
        return [self._levels[found.view(np.uint8)].reshape(-1, synth.CONTROLS)
                for found in conditioning.from_tensors(controls, lengths)]

    def decode_columns(self, tracks: np.ndarray, pitch: synth.Pitch, excitation: synth.Excitation | None = None,
                       cycle_samples: int = 0, loop_start: int = 0, before: int = 0, after: int = 0) -> np.ndarray:
        """Tracks float32 [notes, columns, 16], embeddings at the decoder's rate (`conditioning.columns`) -> audio
        float32 [notes, 256 (columns - before - after)], 16 kHz, as loud as it comes.

        The first `before` and last `after` columns are context. See `synth.synthesize` for the rest.
        """
        levels = np.stack(self.levels(list(tracks), pitch, before, after))
        return synth.synthesize(levels, pitch, excitation, cycle_samples, loop_start)

    def decode(self, embeddings: np.ndarray, pitch: synth.Pitch, excitation: synth.Excitation | None = None,
               ) -> np.ndarray:
        """Embeddings float32 [notes, frames, 16] at one MIDI pitch, or one track of pitches [frames] -> audio float32
        [notes, 512 frames], 16 kHz.

        Every note was learned at peak NOTE_PEAK, so a note is brought to it: far from the pitches that an embedding
        was made from, levels wander by as much as 20 dB.
        """
        return loud(self.decode_columns(conditioning.columns(embeddings), pitch, excitation))


def loud(audio: np.ndarray) -> np.ndarray:
    """Notes [notes, samples] brought to peak NOTE_PEAK, though by MAX_GAIN at most."""
    peaks = np.abs(audio).max(axis=1, keepdims=True)
    return np.asarray(audio * np.minimum(NOTE_PEAK / np.maximum(peaks, 1e-6), MAX_GAIN).astype(np.float32))


def decode_like(decoder: Decoder, embedding: np.ndarray, pitch: synth.Pitch, recording: Path) -> np.ndarray:
    """An embedding [frames, 16] with the partials and the vibrato of a recording at the same pitch, as `decode` gives
    it. Raises TetradError where the pitch moves, for then they are of no use."""
    if np.ndim(pitch):
        raise TetradError(f"--like {recording}: its partials are those of one pitch: give one to --pitch")
    tone = analyse(as_note(load_recording(recording)), float(pitch))
    excitation = synth.Excitation(tone.partials_cents[None], np.ones((1, 1), np.float32))
    sound = decoder.decode(embedding[None], pitch, excitation)[0]
    return vibrate(sound, tone.rate_hz, tone.depth_cents, tone.delay_s)


def midi_pitch(argument: str) -> float:
    """`60` or `60.5` of a command line, as argparse's type."""
    pitch = float(argument)
    if not 0 <= pitch <= 127:
        raise ArgumentTypeError(f"{argument} is no MIDI pitch: give 0 to 127")
    return pitch


@dataclass(frozen=True)
class PitchTrack:
    """A pitch, or several one after the other."""

    starts_s: tuple[float, ...]  # ascending, the first 0
    pitches: tuple[float, ...]  # MIDI

    def at_frames(self, frames: int) -> synth.Pitch:
        """The pitch of an embedding of so many frames: a float where it stays, else float32 [frames], each pitch from
        the frame that begins nearest to its time. Raises TetradError where one begins after the embedding's end."""
        if len(self.pitches) == 1:
            return self.pitches[0]
        firsts = np.rint(np.array(self.starts_s) * SAMPLE_RATE_HZ / HOP_SAMPLES)
        if firsts[-1] >= frames:
            raise TetradError(f"pitch {self.pitches[-1]:g} begins at {self.starts_s[-1]:g} s, and the sound ends at "
                              f"{frames * HOP_SAMPLES / SAMPLE_RATE_HZ:g} s: give earlier times")
        return np.array(self.pitches, np.float32)[np.searchsorted(firsts, np.arange(frames), side="right") - 1]


def pitch_track(argument: str) -> PitchTrack:
    """`60`, or `60@0,62@0.5,64@1.0` (MIDI pitch @ seconds) of a command line, as argparse's type."""
    try:
        if "@" not in argument:
            return PitchTrack((0.0,), (midi_pitch(argument),))
        pitches, ats, starts = zip(*(part.partition("@") for part in argument.split(",")), strict=True)
        starts_s = tuple(float(start) for start in starts)
    except ValueError as error:
        raise ArgumentTypeError(f"{argument!r} is no MIDI pitch: give such as 60, or 60@0,62@0.5") from error
    if not all(ats) or not all(map(math.isfinite, starts_s)):
        raise ArgumentTypeError(f"{argument} is no track of pitches: give such as 60@0,62@0.5")
    if starts_s[0] != 0 or any(late <= early for early, late in pairwise(starts_s)):
        raise ArgumentTypeError(f"{argument}: the first pitch begins at 0 s, and each of the others after the last")
    return PitchTrack(starts_s, tuple(midi_pitch(pitch) for pitch in pitches))


def asked_pitch(track: PitchTrack | None, embedding: Path) -> PitchTrack:
    """What `--pitch` asks for, else the pitch that an embedding's file is named with. Raises TetradError where neither
    tells one."""
    if track is not None:
        return track
    named = pitch_from_name(embedding.stem)
    if not embedding.is_file():
        raise TetradError(f"{embedding} is not there: give an embedding that `tetrad embed` made")
    if named is None:
        raise TetradError(f"{embedding} has no pitch in its name: give --pitch, such as --pitch 60")
    return PitchTrack((0.0,), (float(named),))


def decode_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("embeddings", nargs="+", type=Path, metavar="EMB.npy",
                        help="float32 [frames, 16], up to a minute; several, or a folder of them")
    parser.add_argument("--pitch", type=pitch_track, help="MIDI pitch, fractions allowed, or pitches at seconds, such "
                        "as 60@0,62@0.5,64@1; the one in the file's name unless given")
    parser.add_argument("--out", type=Path, required=True, help="WAV, 16 kHz mono; of several a folder of them")
    parser.add_argument("--like", type=Path, metavar="WAV", help="the recording of one note: its partials, where they "
                        "are no harmonics, and its vibrato, which an embedding does not tell")
    parser.add_argument("--decoder", type=Path, help="decoder.tflite of one's own instead of the shipped one")
    jobs.add_options(parser)
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        first = args.embeddings[0]
        if len(args.embeddings) > 1 or first.is_dir():
            if args.like:
                raise TetradError("--like is of one note: give one embedding with it")
            from device.decode_many import decode_all

            with jobs.cluster_of(args) as cluster:
                console.report(args, decode_all(args.embeddings, args.pitch, args.decoder, args.out, cluster))
            return
        track = asked_pitch(args.pitch, first)
        embedding = read_embedding(first, MAX_FRAMES)
        pitch = track.at_frames(len(embedding))
        if args.like:
            audio = decode_like(Decoder(args.decoder), embedding, pitch, args.like)
        else:
            audio = Decoder(args.decoder).decode(embedding[None], pitch)[0]
        frames, peak = write_wav(args.out, [audio], SAMPLE_RATE_HZ)
        console.report(args, {"wav": str(args.out), "seconds": frames / SAMPLE_RATE_HZ, "peak": peak})

    return run


def bench_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--notes", type=console.whole_number(1, 10_000), default=40,
                        help="notes of 4 s to decode, each at a pitch of its own")
    parser.add_argument("--decoder", type=Path, help="decoder.tflite of one's own instead of the shipped one")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        decoder = Decoder(args.decoder)
        random = np.random.default_rng(0)
        embeddings = np.repeat(random.standard_normal((args.notes, 1, DIMENSIONS)), FRAMES, axis=1).astype(np.float32)
        decoder.decode(embeddings[:1], 60.0)
        times_s = {"network": 0.0, "all": 0.0}
        for i, embedding in enumerate(embeddings):
            pitch = 36 + i % 49
            start_s = time.perf_counter()
            decoder.decode(embedding[None], pitch)
            decoded_s = time.perf_counter()
            decoder.levels([conditioning.columns(embedding)], pitch)
            times_s["all"] += decoded_s - start_s
            times_s["network"] += time.perf_counter() - decoded_s
        seconds = args.notes * FRAMES * HOP_SAMPLES / SAMPLE_RATE_HZ
        console.report(args, {
            "x_realtime": seconds / times_s["all"], "network_x_realtime": seconds / times_s["network"],
            "threads": 1, "model": f"{decoder.path.name} {decoder.id}", "audio_s": seconds,
        })

    return run
