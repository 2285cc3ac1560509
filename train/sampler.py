"""The teacher's own samples: one at a time, each layer's past kept, so that a sample costs O(layers).

After the fast generation of Paine et al. 2016 (arXiv 1611.09482). The steps are C, in train/sampling; this gives it the
weights and what the notes are conditioned on.
"""

import os
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from device import console, files
from device.corner import read_embedding
from device.decoder import PitchTrack, asked_pitch, pitch_track
from device.errors import TetradError
from device.preset import HOP_SAMPLES, SAMPLE_RATE_HZ
from device.recording import write_wav
from train import mulaw
from train._sampler import MOST_THREADS, Wavenet
from train.autoencoder import KIND, load_autoencoder
from train.run import read_config
from train.wavenet import Config, WaveNetAutoencoder

PIECE_S = 0.25  # about, between two moves of the progress bar, and two looks at Ctrl-C
# Multiply-adds of a layer's newest tap, and of its residual and skip, that are worth waiting for another thread.
SHARED_WORK = 100_000

FACTORY_RUN = Path(__file__).parent / "factory"
MAX_FRAMES = 10 * 60 * SAMPLE_RATE_HZ // HOP_SAMPLES  # ten minutes
MAX_SEED = 2**64 - 1


def layers_of(config: Config) -> list[str]:
    """The decoder's layers in the order in which sampling/wavenet.h wants their weights."""
    names = ["start", "skip_start"]
    for i in range(config.decoder_layers):
        names += [f"dilated_{i}", f"condition_{i}", f"residual_{i}", f"skip_{i}"]
    names.remove(f"residual_{config.decoder_layers - 1}")
    return [*names, "condition_out", "out", "logits"]


def flat_weights(autoencoder: WaveNetAutoencoder) -> list[np.ndarray]:
    """Kernel and bias of each layer, flat. Raises TetradError where they are no finite numbers."""
    layers = {layer.name: layer for layer in autoencoder.decoder.layers}
    weights = []
    for name in layers_of(autoencoder.config):
        for array in layers[name].get_weights():
            if not np.isfinite(array).all():
                raise TetradError(f"the decoder's layer {name} holds NaN or infinite weights: its training failed; "
                                  "give another run")
            weights.append(np.ascontiguousarray(array, np.float32).ravel())
    return weights


def conditions_of(autoencoder: WaveNetAutoencoder, embeddings: np.ndarray, pitches: np.ndarray) -> np.ndarray:
    """What each frame is conditioned on, float32 [B, F, 16 + pitch]: the embedding, and the pitch's vector.

    A pitch between two keys gets a vector between theirs. Pitches that are not conditioned on are left out.
    """
    embeddings = np.asarray(embeddings, np.float32)
    if embeddings.ndim != 3 or embeddings.shape[2] != autoencoder.config.dimensions or not embeddings.size:
        raise TetradError(f"embeddings of the shape {list(embeddings.shape)}: "
                          f"[notes, frames, {autoencoder.config.dimensions}] are wanted")
    if not np.isfinite(embeddings).all():
        raise TetradError("an embedding holds NaN or infinite numbers: make it again with `tetrad embed`")
    if not autoencoder.config.pitch_dimensions:
        return np.ascontiguousarray(embeddings)
    pitches = np.asarray(pitches, np.float64)
    pitches = np.broadcast_to(pitches[:, None] if pitches.ndim == 1 else pitches, embeddings.shape[:2])
    if not ((pitches >= 0) & (pitches <= 127)).all():
        raise TetradError("a pitch is out of MIDI's range: give 0 to 127")
    layers = {layer.name: layer for layer in autoencoder.decoder.layers}
    table = layers["pitch_vector"].get_weights()[0] @ layers["pitch_condition"].get_weights()[0]  # (128, pitch)
    below = np.minimum(pitches.astype(int), 126)
    above = (pitches - below)[..., None]
    vectors = (1 - above) * table[below] + above * table[below + 1]  # (B, F, pitch)
    return np.concatenate([embeddings, vectors], axis=2, dtype=np.float32)


def processors() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def best_threads(config: Config, batch: int) -> int:
    """As many as find enough to do between two waits for each other."""
    work = batch * config.decoder_width * (config.decoder_width + config.decoder_skip)
    return max(1, min(processors(), MOST_THREADS, work // SHARED_WORK))


class Sampler:
    """Steps a batch of notes through the decoder."""

    def __init__(self, autoencoder: WaveNetAutoencoder, embeddings: np.ndarray, pitches: np.ndarray, seed: int = 0,
                 temperature: float = 1.0, threads: int | None = None, instructions: str | None = None) -> None:
        """embeddings [B, F, 16], MIDI pitches [B] or, one a frame, [B, F]. The draws of a note follow from the seed and
        its place in the batch. `instructions`: other kernels than the best (train/_sampler.pyi)."""
        config, weights = autoencoder.config, flat_weights(autoencoder)
        conditions = conditions_of(autoencoder, embeddings, pitches)
        self.batch, frames, channels = conditions.shape
        self.threads = threads or best_threads(config, self.batch)
        self._wavenet = Wavenet(weights, conditions, self.batch, frames, config.decoder_width, config.decoder_skip,
                                config.decoder_layers, config.decoder_cycle, channels, config.hop_samples,
                                seed % 2**64, temperature, instructions)

    def generate(self, samples: int) -> np.ndarray:
        """The next samples, mu-law codes int16 [B, samples], each drawn from what is predicted."""
        codes = np.empty((self.batch, samples), np.int16)
        try:
            self._wavenet.generate(codes, self.threads)
        except ArithmeticError as error:
            raise TetradError("the decoder's predictions are no numbers: its weights, or the embedding, are far out of "
                              "range") from error
        return codes

    def predict(self, codes: np.ndarray) -> np.ndarray:
        """Logits float32 [B, T, 256] of the next T samples, where those before each are given: codes [B, T]."""
        codes = np.ascontiguousarray(codes, np.int16)
        logits = np.empty((*codes.shape, mulaw.LEVELS), np.float32)
        self._wavenet.predict(codes, logits, self.threads)
        return logits


def generate(autoencoder: WaveNetAutoencoder, embeddings: np.ndarray, pitches: np.ndarray, samples: int, seed: int = 0,
             temperature: float = 1.0, advance: Callable[[float], None] = lambda steps: None,
             threads: int | None = None) -> np.ndarray:
    """Embeddings [B, F, 16] and MIDI pitches [B] or [B, F] -> mu-law codes int16 [B, samples], samples <= 512 F.

    Temperature under 1 draws more of what is likely. `advance` is told the samples done. Threads: by default as many as
    pay. Raises TetradError.
    """
    sampler = Sampler(autoencoder, embeddings, pitches, seed, temperature, threads)
    codes, done, steps = np.empty((sampler.batch, samples), np.int16), 0, 8
    while done < samples:
        steps, start_s = min(steps, samples - done), time.perf_counter()
        codes[:, done : done + steps] = sampler.generate(steps)
        done += steps
        advance(steps)
        if time.perf_counter() - start_s < PIECE_S / 2:
            steps *= 2
    return codes


def load_teacher(run: Path, plays: bool = True) -> WaveNetAutoencoder:
    """The autoencoder of its own run, or of a student's. Raises TetradError where `run` is of another kind, or where
    it is to play and the student's run holds its encoder alone."""
    from train import distil  # which imports this module

    kind = read_config(run).get("kind")
    if kind == KIND:
        return load_autoencoder(run)
    if kind == distil.KIND:
        trained = distil.load_trained(run)
        if plays and not trained.has_teacher:
            raise TetradError(f"{run}: holds an encoder and a student; teach a WaveNet to play its embeddings with "
                              "`tetrad train autoencoder --encoder`, and give that run")
        return trained.autoencoder
    raise TetradError(f"{run}: holds no WaveNet autoencoder; give a folder that `tetrad train autoencoder` or `tetrad "
                      "train student` wrote")


def batch_of(paths: Sequence[Path], track: PitchTrack | None, pitched: bool,
             ) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Embedding files as one batch: embeddings [B, F, 16], pitches [B, F], and the frames that each has. The shorter
    ones are filled up with their last frame. Raises TetradError."""
    read = [read_embedding(path, MAX_FRAMES) for path in paths]
    lengths = [len(embedding) for embedding in read]
    pitches = [np.zeros(1)] * len(read)
    if pitched:
        pitches = [np.broadcast_to(asked_pitch(track, path).at_frames(length), length)
                   for path, length in zip(paths, lengths, strict=True)]

    def filled(rows: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([np.pad(r, [(0, max(lengths) - len(r)), *[(0, 0)] * (r.ndim - 1)], "edge") for r in rows])

    return filled(read), filled(pitches), lengths


def wav_paths(embeddings: Sequence[Path], out: Path) -> list[Path]:
    """Where each sound goes: `out`, or, of several, a folder of that name. Raises TetradError where two are alike."""
    if len(embeddings) == 1:
        return [out]
    files.refuse_twins([path.stem for path in embeddings], "embeddings")
    files.make_folder(out)
    return [out / f"{path.stem}.wav" for path in embeddings]


def positive_number(argument: str) -> float:
    """A type for argparse: a temperature."""
    number = float(argument)
    if not 0.01 <= number <= 100:
        raise ArgumentTypeError(f"{argument} is no number from 0.01 to 100")
    return number


def generate_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("embeddings", nargs="+", type=Path, metavar="EMB.npy",
                        help="float32 [frames, 16], up to ten minutes; several are played at once")
    parser.add_argument("--run", type=Path, default=FACTORY_RUN, help="run of an autoencoder, or of a student, which "
                        "holds its teacher; the shipped one unless given")
    parser.add_argument("--pitch", type=pitch_track, help="MIDI pitch, fractions allowed, or pitches at seconds, such "
                        "as 60@0,62@0.5; the one in the file's name unless given; not used where the run knows none")
    parser.add_argument("--out", type=Path, required=True, help="WAV, 16 kHz mono; of several a folder of them")
    parser.add_argument("--seed", type=console.whole_number(0, MAX_SEED), default=0)
    parser.add_argument("--temperature", type=positive_number, default=1.0,
                        help="of the draws: under 1 they hiss less; default 1")
    add_threads_option(parser)
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        autoencoder = load_teacher(args.run)
        config = autoencoder.config
        embeddings, pitches, frames = batch_of(args.embeddings, args.pitch, config.pitch_dimensions > 0)
        outs, samples = wav_paths(args.embeddings, args.out), max(frames) * config.hop_samples
        start_s = time.perf_counter()
        with console.progress("generating", samples) as bar:
            codes = generate(autoencoder, embeddings, pitches, samples, args.seed, args.temperature, bar.advance,
                             args.threads)
        taken_s = time.perf_counter() - start_s
        peaks = [write_wav(out, [mulaw.decode(row[: length * config.hop_samples])], SAMPLE_RATE_HZ)[1]
                 for out, row, length in zip(outs, codes, frames, strict=True)]
        console.report(args, {"wav": str(args.out), "notes": len(outs), "seconds": samples / SAMPLE_RATE_HZ,
                              "peak": max(peaks), "samples_per_s": codes.size / taken_s})

    return run


def add_threads_option(parser: ArgumentParser) -> None:
    parser.add_argument("--threads", type=console.whole_number(1, MOST_THREADS),
                        help="default: as many as find enough to do")
