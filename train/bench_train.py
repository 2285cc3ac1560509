"""How fast the big configuration trains, beside the reference implementation's own training graph.

Both take the whole step of the published training: the forward pass, gradients, Adam and the weights' moving average,
at the same crop and batch, in turn within one process, so that what else the machine does falls on both.
"""

import statistics
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from device import console
from device.errors import TetradError
from train import mulaw, reference
from train.autoencoder import TeacherTrainer
from train.run import compile_trainer
from train.wavenet import CONFIGS, WaveNetAutoencoder

CONFIG = CONFIGS["nsynth"]
AVERAGE_DECAY = 0.9999
STRIDE = 512  # crops are multiples of it: the embedding's hop, and the longest dilation

Step = Callable[[], float]  # takes one training step and returns its loss


def our_step(autoencoder: WaveNetAutoencoder, wav: np.ndarray) -> Step:
    """Training steps of our model on wav float32 [batch, crop]."""
    config, trainer = autoencoder.config, TeacherTrainer(autoencoder)
    compile_trainer(trainer, config.learning_rates, config.average_decay, config.gradient_norm)
    codes = mulaw.encode(wav)
    samples = (codes / 128).astype(np.float32)[..., None]
    inputs = {"frames": samples, "samples": samples, "codes": codes.astype(np.int32),
              "pitch": np.zeros(len(wav), np.int32)}
    return lambda: float(trainer.train_on_batch(inputs, np.zeros(len(wav), np.float32)))


def reference_step(h512_bo16: Any, wav: np.ndarray, checkpoint: Path | None = None) -> Step:
    """Training steps of the reference's graph on the same wav, with the optimizer and averages of its training.

    checkpoint: where to write its first weights, random ones.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default():
        step = v1.train.get_or_create_global_step()
        loss = h512_bo16.Config(None).build({"wav": tf.constant(wav)}, is_training=True)["loss"]
        adam = v1.train.AdamOptimizer(CONFIG.learning_rates[0][1], epsilon=1e-8)
        minimize = adam.minimize(loss, global_step=step, colocate_gradients_with_ops=True)
        averages = tf.train.ExponentialMovingAverage(AVERAGE_DECAY, num_updates=step)
        with tf.control_dependencies([minimize]):
            train = averages.apply(v1.trainable_variables())
        session = v1.Session()
        session.run(v1.global_variables_initializer())
        if checkpoint:
            v1.train.Saver(v1.trainable_variables()).save(session, str(checkpoint))
    return lambda: float(session.run([loss, train])[0])


def in_turn(steps: dict[str, Step], count: int) -> dict[str, float]:
    """Median seconds a step of each, after one step that warms up; they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    with console.progress("training steps", len(steps) * (count + 1)) as bar:
        for turn in range(count + 1):
            for name, step in steps.items():
                began_s = time.perf_counter()
                step()
                if turn:
                    taken[name].append(time.perf_counter() - began_s)
                bar.advance()
    return {name: statistics.median(times) for name, times in taken.items()}


def bench_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    reference.add_option(parser)
    parser.add_argument("--crop", type=console.whole_number(STRIDE, 64_000), default=CONFIG.crop_samples,
                        help=f"samples, a multiple of {STRIDE}; default: %(default)s, as published")
    parser.add_argument("--batch", type=console.whole_number(1, 1024), default=1)
    parser.add_argument("--steps", type=console.whole_number(1, 1000), default=3, help="timed steps of each")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        if args.crop % STRIDE:
            raise TetradError(f"--crop {args.crop} is no multiple of {STRIDE}, the embedding's hop")
        if keras.backend.backend() != "tensorflow":
            raise TetradError("the reference runs on TensorFlow: set KERAS_BACKEND=tensorflow to compare with it")
        wav = np.random.default_rng(0).uniform(-0.7, 0.7, (args.batch, args.crop)).astype(np.float32)
        steps = {"reference": reference_step(reference.load(args.reference), wav),
                 "ours": our_step(WaveNetAutoencoder(CONFIG), wav)}
        taken_s = in_turn(steps, args.steps)
        console.report(args, {
            "config": CONFIG.name, "crop_samples": args.crop, "batch": args.batch, "steps": args.steps,
            "steps_per_s": 1 / taken_s["ours"], "reference_steps_per_s": 1 / taken_s["reference"],
            "ratio": taken_s["reference"] / taken_s["ours"]})

    return run
