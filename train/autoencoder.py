"""Training the teacher: the WaveNet autoencoder on crops of notes, by the cross-entropy of each next sample."""

import dataclasses
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from device import console
from device.errors import TetradError
from train import mulaw
from train.config import CHOICES, config_from, configuration
from train.crops import MARGIN_FRAMES, Batches, Notes
from train.devices import precision, shared_by
from train.monitor import EXAMPLE_EPOCHS, monitors
from train.run import STATE, fit, keep_to_notes, load_weights, open_run, read_config
from train.wavenet import CONFIGS, Config, WaveNetAutoencoder, cross_entropy

KIND = "autoencoder"


def teacher_batches(notes: Notes, config: Config, seed: int, workers: int = 1) -> Batches:
    """Batches of (frames, samples, codes, pitch) for TeacherTrainer."""

    def draw(random: np.random.Generator) -> dict[str, np.ndarray]:
        picked, samples = random.integers(0, len(notes.notes), config.batch), config.crop_samples
        crops = [notes.crop(notes.notes[i], notes.draw_start(samples, random), samples) for i in picked]
        return teacher_inputs(config, crops)

    return Batches(draw, config.batch, seed, config.steps, workers)


def teacher_inputs(config: Config, crops: list) -> dict[str, np.ndarray]:
    codes = mulaw.encode(np.stack([crop.audio for crop in crops]))  # (B, T)
    samples = (codes / 128).astype(np.float32)[..., None]
    return {"frames": samples if config.encoder_input == "samples" else np.stack([c.spectrum for c in crops]),
            "samples": samples, "codes": codes.astype(np.int32),
            "pitch": np.array([crop.note.pitch for crop in crops], np.int32)}


class TeacherTrainer(keras.Model):
    """Its output is its loss: nats a sample, (B,)."""

    def __init__(self, autoencoder: WaveNetAutoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.encoder, self.decoder = autoencoder.encoder, autoencoder.decoder

    def call(self, inputs: dict[str, keras.KerasTensor]) -> keras.KerasTensor:
        embedding = self.encoder(inputs["frames"])
        if self.autoencoder.config.encoder_input == "spectrum":
            embedding = embedding[:, MARGIN_FRAMES:-MARGIN_FRAMES]  # the margins were context
        logits = self.autoencoder.logits(inputs["samples"], embedding, inputs["pitch"])
        return cross_entropy(inputs["codes"], logits)


def config_of(run: Path) -> Config:
    fields = read_config(run)
    if fields.pop("kind", None) != KIND:
        raise TetradError(f"{run}: not a run of an autoencoder; give the folder `tetrad train autoencoder` wrote")
    return config_from(fields, f"{run}/config.json")


def load_autoencoder(run: Path) -> WaveNetAutoencoder:
    """The autoencoder of a run, with the moving average of its weights."""
    autoencoder = WaveNetAutoencoder(config_of(run))
    load_weights(autoencoder.encoder, run / "encoder.weights.h5")
    load_weights(autoencoder.decoder, run / "decoder.weights.h5")
    return autoencoder


def train_autoencoder(notes: Notes, config: Config, run: Path, seed: int = 0, workers: int = 1,
                      devices: int | None = None, example_epochs: int = 0, encoder: Path | None = None,
                      ) -> WaveNetAutoencoder:
    """Trains a run to its end, or goes on with it, and returns the autoencoder with the averages of its weights.

    encoder: a run whose encoder is taken and stays as it is, so that the decoder alone learns.

    workers: threads that read and prepare notes. devices: how many share each batch; None: all. example_epochs: sounds
    and pictures for TensorBoard each so many epochs; 0: none. The run is the same whatever these three are.
    """
    with shared_by(devices, config.batch), precision(config.precision):
        open_run(run, config, KIND)
        keep_to_notes(run, [note.note_str for note in notes.notes])
        keras.utils.set_random_seed(seed)
        autoencoder = WaveNetAutoencoder(config)
        parts = {"encoder": autoencoder.encoder, "decoder": autoencoder.decoder}
        if not (run / STATE).exists() and (run / "decoder.weights.h5").exists():  # an imported checkpoint goes on
            for name, part in parts.items():
                load_weights(part, run / f"{name}.weights.h5")
        if encoder:
            load_weights(autoencoder.encoder, encoder / "encoder.weights.h5")
            autoencoder.encoder.trainable = False
        fit(TeacherTrainer(autoencoder), teacher_batches(notes, config, seed, workers), run, parts, config.steps,
            config.learning_rates, config.average_decay, config.gradient_norm,
            monitors(run, autoencoder, notes, example_epochs))
    return load_autoencoder(run)


def train_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--notes", type=Path, required=True,
                        help="what to learn from: a jsonwav folder, a .tfrecord file, or a folder with NSynth's "
                             "train split in it")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an interrupted run is resumed")
    parser.add_argument("--config", default="small", metavar="NAME or FILE.json",
                        help=f"{', '.join(sorted(CONFIGS))}, or a file with fields of its own (default: %(default)s)")
    parser.add_argument("--encoder", type=Path, metavar="RUN", help="take the encoder of this run, a student's say, as "
                        "it is, and teach a WaveNet to play its embeddings")
    parser.add_argument("--steps", type=console.whole_number(1, 10_000_000),
                        help="steps in all, instead of the configuration's; its learning rates are stretched to fit")
    parser.add_argument("--precision", choices=CHOICES["precision"], help="instead of the configuration's")
    parser.add_argument("--devices", type=console.whole_number(1, 1024), help="that share each batch; default: all")
    parser.add_argument("--workers", type=console.whole_number(1, 256), default=2,
                        help="threads that read and prepare notes (default: %(default)s)")
    parser.add_argument("--examples", type=console.whole_number(0, 100_000), default=EXAMPLE_EPOCHS, metavar="EPOCHS",
                        help="sounds and pictures for TensorBoard each so many epochs; 0: none (default: %(default)s)")

    def run(args: Namespace) -> None:
        config = configuration(args.config)
        if args.precision is not None:
            config = dataclasses.replace(config, precision=args.precision)
        if args.steps is not None:
            config = stretched(config, args.steps)
        train_autoencoder(Notes(args.notes), config, args.out, workers=args.workers, devices=args.devices,
                          example_epochs=args.examples, encoder=args.encoder)

    return run


def stretched(config: Config, steps: int) -> Config:
    rates = tuple((step * steps // config.steps, rate) for step, rate in config.learning_rates)
    return dataclasses.replace(config, steps=steps, learning_rates=rates)
