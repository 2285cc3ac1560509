"""The TensorFlow 1 checkpoint that was released with NSynth, to a run of the configuration `nsynth`.

Names and shapes are those that the published code gives its variables: `<layer>/W` [1, taps, inputs, outputs] and
`<layer>/biases` [outputs], each with `/ExponentialMovingAverage` behind it where the averages were saved beside the raw
weights.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from device import console, files
from device.errors import TetradError
from train.autoencoder import KIND
from train.run import open_run, save_weights
from train.wavenet import CONFIGS, Config, WaveNetAutoencoder

CONFIG = CONFIGS["nsynth"]
AVERAGE = "/ExponentialMovingAverage"
PARTS = (".index", ".meta", ".data-00000-of-00001")  # files of one checkpoint, which is named without them


def published_names(config: Config) -> dict[str, dict[str, str]]:
    """For "encoder" and "decoder": our layer's name -> the published one.

    The published decoder's last residual layer reaches no output; ours has none.
    """
    encoder = {"start": "ae_startconv", "bottleneck": "ae_bottleneck"}
    for i in range(config.encoder_layers):
        encoder |= {f"dilated_{i}": f"ae_dilatedconv_{i + 1}", f"residual_{i}": f"ae_res_{i + 1}"}
    decoder = {"start": "startconv", "skip_start": "skip_start", "out": "out1", "condition_out": "cond_map_out1",
               "logits": "logits"}
    for i in range(config.decoder_layers):
        decoder |= {f"dilated_{i}": f"dilatedconv_{i + 1}", f"condition_{i}": f"cond_map_{i + 1}",
                    f"residual_{i}": f"res_{i + 1}", f"skip_{i}": f"skip_{i + 1}"}
    del decoder[f"residual_{config.decoder_layers - 1}"]
    return {"encoder": encoder, "decoder": decoder}


class Variables:
    """The variables of a checkpoint; of each, its moving average where that was saved."""

    def __init__(self, checkpoint: Path) -> None:
        import tensorflow as tf  # reads its own format, whatever Keras' backend is

        self.prefix = without_part(checkpoint)
        try:
            self._reader: Any = tf.train.load_checkpoint(str(self.prefix))
            self.shapes: dict[str, list[int]] = self._reader.get_variable_to_shape_map()
        except (ValueError, tf.errors.OpError, RuntimeError) as error:
            raise TetradError(f"cannot read {checkpoint} as a TensorFlow checkpoint: {first_line(error)}; give its "
                              "name without .index, or the folder that holds it") from error
        self._failures = tf.errors.OpError, RuntimeError

    def value(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """float32 of `shape`. Raises TetradError naming the variable that is missing, of another shape, or damaged."""
        stored = name + AVERAGE if name + AVERAGE in self.shapes else name
        if stored not in self.shapes:
            raise TetradError(f"{self.prefix} lacks the variable {name}: it is no checkpoint of NSynth's h512_bo16, or "
                              "not whole; download it again")
        held = tuple(self.shapes[stored])
        if held != shape:
            raise TetradError(f"{self.prefix}: {stored} has the shape {list(held)}, not {list(shape)}: it is a "
                              "checkpoint of another model; give one of NSynth's h512_bo16")
        try:
            value = np.asarray(self._reader.get_tensor(stored), np.float32)
        except self._failures as error:
            raise TetradError(f"{self.prefix}: cannot read {stored}: {first_line(error)}; download it again") from error
        if not np.isfinite(value).all():
            raise TetradError(f"{self.prefix}: {stored} holds NaN or infinite numbers; download it again")
        return value


def without_part(checkpoint: Path) -> Path:
    part = next((part for part in PARTS if checkpoint.name.endswith(part)), "")
    return checkpoint.with_name(checkpoint.name.removesuffix(part))


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def layer_weights(model: keras.Model, names: dict[str, str], variables: Variables) -> Iterator[tuple[Any, list]]:
    for layer in model.layers:
        if layer.weights:
            kernel, bias = (tuple(w.shape) for w in layer.weights)
            name = names[layer.name]
            yield layer, [variables.value(f"{name}/W", (1, *kernel))[0], variables.value(f"{name}/biases", bias)]


def read(checkpoint: Path) -> WaveNetAutoencoder:
    """The autoencoder of a checkpoint of h512_bo16. Raises TetradError where it is none."""
    variables, names = Variables(checkpoint), published_names(CONFIG)
    autoencoder = WaveNetAutoencoder(CONFIG)
    for part, model in (("encoder", autoencoder.encoder), ("decoder", autoencoder.decoder)):
        for layer, weights in layer_weights(model, names[part], variables):
            layer.set_weights(weights)
    return autoencoder


def import_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("checkpoint", type=Path, metavar="CKPT",
                        help="such as wavenet-ckpt/model.ckpt-200000, or the folder that holds it")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, a new one")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        if (args.out / "config.json").exists():
            raise TetradError(f"{args.out} holds a run already: give a new folder to --out")
        autoencoder = read(args.checkpoint)  # whole, before anything is written
        files.make_folder(args.out)
        save_weights(autoencoder.encoder, args.out / "encoder.weights.h5")
        save_weights(autoencoder.decoder, args.out / "decoder.weights.h5")
        open_run(args.out, CONFIG, KIND)  # last: a folder without it is no run
        parameters = autoencoder.encoder.count_params() + autoencoder.decoder.count_params()
        console.report(args, {"run": str(args.out), "config": CONFIG.name, "parameters": parameters})

    return run
