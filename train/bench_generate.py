"""`tetrad bench generate`: samples a second of the teacher, beside the reference implementation and the machine.

Both play the same weights in turns, the reference as its own `fastgen` does: one `session.run` a sample, of predictions
and queues, and the draw in NumPy.
"""

import math
import sys
import tempfile
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np

from device import console
from device.errors import TetradError
from device.preset import HOP_SAMPLES, SAMPLE_RATE_HZ
from train import checkpoint, mulaw, reference
from train._sampler import machine_limits
from train.sampler import FACTORY_RUN, Sampler, add_threads_option, best_threads, load_teacher
from train.wavenet import CONFIGS, FILTER, Config, WaveNetAutoencoder

Row = dict[str, object]

ROUNDS = 5
FRAMES = 4096  # of the embeddings: as many as no round gets through
COMPARED_SAMPLES = 64
MOST_DIFFERENCE = 1e-4  # of a probability, between the two
CACHED_BYTES = 4e6  # weights that a step reads from the caches, not from memory
BLOCK_SAMPLES = 32  # train/sampling/weights.c


def step_weights(config: Config) -> tuple[float, float]:
    """Of one sample: weights that are read, for a batch of any size; and multiply-adds, for each note."""
    width, skip = config.decoder_width, config.decoder_skip
    read = multiplied = 1.0 * FILTER * width + width * skip + skip * skip + skip * mulaw.LEVELS  # first and last layers
    for i in range(config.decoder_layers):
        tap, passed = 2 * width**2, width * (skip + (width if i < config.decoder_layers - 1 else 0))
        multiplied += FILTER * tap + passed
        read += tap + passed
        for back in (1, 2):  # the older taps are read once for a block of samples
            read += tap / math.gcd(back * 2 ** (i % config.decoder_cycle), BLOCK_SAMPLES, config.hop_samples)
    return read, multiplied


class Reference:
    """The reference's generation graph with the weights of a checkpoint, a session kept open."""

    def __init__(self, folder: Path, prefix: Path, batch: int, threads: int) -> None:
        import tensorflow as tf

        self.fastgen: ModuleType = reference.load(folder, "wavenet.fastgen")
        v1 = tf.compat.v1
        with tf.Graph().as_default():
            self.session: Any = v1.Session(config=v1.ConfigProto(
                allow_soft_placement=True, intra_op_parallelism_threads=threads, use_per_session_threads=True))
            self.net = self.fastgen.load_fastgen_nsynth(batch_size=batch)
            v1.train.Saver().restore(self.session, str(prefix))
        self.session.run(self.net["init_ops"])  # fills the queues; a second time it would wait for room for ever

    def generate(self, embedding: np.ndarray, samples: int) -> None:
        """Embedding [B, 16]."""
        audio = np.zeros((len(embedding), 1))
        for _ in range(samples):
            audio = self.fastgen.generate_audio_sample(self.session, self.net, audio, embedding)

    def probabilities(self, codes: np.ndarray, embedding: np.ndarray) -> np.ndarray:
        """[B, T, 256] of each of the codes [B, T], given those before it; of a session in which nothing was played."""
        audio = np.concatenate([np.zeros((len(codes), 1)), mulaw.decode(codes[:, :-1])], axis=1)
        steps = [self.session.run([self.net["predictions"], self.net["push_ops"]],
                                  {self.net["X"]: audio[:, t : t + 1], self.net["encoding"]: embedding})[0]
                 for t in range(codes.shape[1])]
        return np.stack(steps, axis=1)


def write_checkpoint(folder: Path, prefix: Path, seed: int = 0) -> None:
    """A checkpoint of the reference's whole model with random weights, such that activations stay alive."""
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # it warns of what the reference uses
    v1, random = tf.compat.v1, np.random.default_rng(seed)
    with tf.Graph().as_default(), v1.Session() as session:
        wav = v1.placeholder(tf.float32, [1, CONFIGS["nsynth"].crop_samples])
        reference.load(folder).Config(None).build({"wav": wav}, is_training=True)
        for variable in v1.global_variables():
            shape = variable.shape.as_list()
            scale = 0.1 if len(shape) == 1 else float(np.prod(shape[:-1])) ** -0.5
            variable.load(scale * random.standard_normal(shape, np.float32), session)
        v1.train.Saver().save(session, str(prefix), write_meta_graph=False)


def largest_difference(ours: Sampler, theirs: Reference, embedding: np.ndarray) -> float:
    """Of a probability, over some samples that both are given."""
    codes = np.random.default_rng(1).integers(-128, 128, (len(embedding), COMPARED_SAMPLES), np.int16)
    logits = ours.predict(codes).astype(np.float64)
    found = np.exp(logits - logits.max(-1, keepdims=True))
    found /= found.sum(-1, keepdims=True)
    return float(np.abs(found - theirs.probabilities(codes, embedding)).max())


@dataclass(frozen=True)
class Subject:
    """What is measured, and against what."""

    autoencoder: WaveNetAutoencoder
    seconds: float  # that each of the two plays
    folder: Path  # of the reference
    prefix: Path | None = None  # checkpoint of the same weights; None: without the reference


def rate(generate: Callable[[int], object], seconds: float, batch: int) -> float:
    """Samples a second, all notes together, over at least so long."""
    samples, steps, start_s = 0, 4, time.perf_counter()
    while (taken_s := time.perf_counter() - start_s) < seconds and samples + steps <= FRAMES * HOP_SAMPLES:
        generate(steps)
        samples, steps = samples + steps, min(2 * steps, 100)
    return samples * batch / taken_s


def measure(subject: Subject, batch: int, threads: int) -> Row:
    """One row: ours and the reference in turn; each figure is the median of the rounds, the ratio that of each round's
    own. Raises TetradError where the two do not play the same."""
    config = subject.autoencoder.config
    embedding = np.random.default_rng(0).standard_normal((batch, config.dimensions)).astype(np.float32)

    def sampler() -> Sampler:
        frames = np.broadcast_to(embedding[:, None], (batch, FRAMES, config.dimensions))
        return Sampler(subject.autoencoder, frames, np.full(batch, 60), threads=threads)

    theirs = Reference(subject.folder, subject.prefix, batch, threads) if subject.prefix else None
    difference = largest_difference(sampler(), theirs, embedding) if theirs else None
    if difference is not None and not difference < MOST_DIFFERENCE:
        raise TetradError(f"the reference's probabilities differ by {difference:.2g}: the two do not play the same")
    limits, rates, theirs_rates = [], [], []
    for _ in range(ROUNDS):
        limits.append(machine_limits(threads))
        rates.append(rate(sampler().generate, subject.seconds / ROUNDS, batch))
        if theirs:
            theirs_rates.append(rate(partial(theirs.generate, embedding), subject.seconds / ROUNDS, batch))
    return {**row(config, batch, threads, rates, theirs_rates, limits), "largest_difference": difference}


def row(config: Config, batch: int, threads: int, rates: Sequence[float], theirs: Sequence[float],
        limits: Sequence[tuple[float, float]]) -> Row:
    read, multiplied = step_weights(config)
    bytes_per_s, multiply_adds_per_s = (median(column) for column in zip(*limits, strict=True))
    found = median(rates)
    return {
        "config": config.name, "batch": batch, "threads": threads, "samples_per_s": found,
        "reference_samples_per_s": median(theirs) if theirs else None,
        "ratio": median(a / b for a, b in zip(rates, theirs, strict=True)) if theirs else None,
        "x_realtime": found / SAMPLE_RATE_HZ,
        "fraction_of_bandwidth": found / batch * read * 4 / bytes_per_s if read * 4 > CACHED_BYTES else None,
        "fraction_of_arithmetic": found * multiplied / multiply_adds_per_s,
    }


def nsynth_rows(folder: Path, batches: Sequence[int], threads: int | None, seconds: float) -> Iterator[Row]:
    """The published configuration, with random weights; without the reference where `folder` lacks it."""
    config = CONFIGS["nsynth"]
    with tempfile.TemporaryDirectory() as temporary:
        prefix: Path | None = Path(temporary) / "model.ckpt-0"
        try:
            reference.load(folder)
        except TetradError as error:
            print(f"without a ratio: {error}", file=sys.stderr)
            autoencoder, prefix = WaveNetAutoencoder(config), None
        else:
            write_checkpoint(folder, Path(temporary) / "model.ckpt-0")
            autoencoder = checkpoint.read(Path(temporary) / "model.ckpt-0")
        subject = Subject(autoencoder, seconds, folder, prefix)
        for batch in batches:
            yield measure(subject, batch, threads or best_threads(config, batch))


def small_row(seconds: float, folder: Path) -> Row:
    """The shipped run, one note on one thread: is it faster than real time?"""
    return measure(Subject(load_teacher(FACTORY_RUN), seconds, folder), batch=1, threads=1)


def batch_sizes(argument: str) -> list[int]:
    """`1,8` of a command line, as argparse's type."""
    return [console.whole_number(1, 1024)(size) for size in argument.split(",")]


def config_names(argument: str) -> list[str]:
    names = argument.split(",")
    if odd := [name for name in names if name not in CONFIGS]:
        raise ArgumentTypeError(f"{odd[0]!r} is no configuration: give some of {', '.join(sorted(CONFIGS))}")
    return names


def bench_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    reference.add_option(parser)
    parser.add_argument("--seconds", type=console.whole_number(1, 3600), default=20,
                        help="that each of the two plays, for each row")
    parser.add_argument("--batches", type=batch_sizes, default=[1, 8], help="of the configuration nsynth; default 1,8")
    parser.add_argument("--configs", type=config_names, default=["nsynth", "small"], help="default nsynth,small; of "
                        "small the shipped run is measured, one note on one thread")
    add_threads_option(parser)
    console.add_json_option(parser)

    def rows(args: Namespace) -> Iterator[Row]:
        if "nsynth" in args.configs:
            yield from nsynth_rows(args.reference, args.batches, args.threads, args.seconds)
        if "small" in args.configs:
            yield small_row(args.seconds, args.reference)

    def run(args: Namespace) -> None:
        if args.json:
            console.report(args, {"rows": list(rows(args))})
            return
        for found in rows(args):
            console.report(args, found)
            print(flush=True)

    return run
