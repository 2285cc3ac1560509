"""A trained student to an int8 TFLite file: fine-tuned for it, or by post-training quantization with real inputs."""

import os
import shutil
import subprocess
import tempfile
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from device import console, files
from device.errors import TetradError
from device.model_file import compiled_beside
from quantize.check import check, show

COMPILER = "edgetpu_compiler"       # Coral's, closed and on no package registry: used where it is, never required
COMPILER_LIMIT_S = 300              # it gives up by itself after 180 s


def to_int8(model: keras.Model, samples: Iterable[np.ndarray]) -> bytes:
    """The model as a fully int8 TFLite file: int8 in and out, static shapes, weights quantized for each output channel.

    model: one input and one output of static shape, [1, rows, columns, channels] float32.
    samples: inputs of that shape as they occur in use; the ranges of all activations are taken from them.
    Raises TetradError where a shape is not static, the samples do not fit or are none, or an op has no int8 form.
    """
    shape = _static_shape(model)
    inputs = [np.asarray(sample, np.float32) for sample in samples]
    if not inputs:
        raise TetradError("no sample inputs to quantize with: train the student first")
    if any(x.shape != shape or not np.isfinite(x).all() for x in inputs):
        raise TetradError(f"sample inputs must be finite and of shape {list(shape)}, as the model's input is")

    graph = _frozen(lambda x: model(x, training=False), shape)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph], tf.Module())  # nothing left to track
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x] for x in inputs)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return _converted(converter, model.name)


def to_int8_as_tuned(quantized: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int, ...], name: str) -> bytes:
    """A function with fake-quantization nodes (`quantize.finetune`) as a fully int8 TFLite file, with their ranges."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions([_frozen(quantized, shape)], tf.Module())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return _converted(converter, name)


def _converted(converter: tf.lite.TFLiteConverter, name: str) -> bytes:
    with warnings.catch_warnings():
        # it says that input statistics are missing; they come from the samples
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        try:
            return bytes(converter.convert())
        except Exception as error:      # the converter raises its own types, and plain ones, for an op it cannot do
            reason = " ".join(str(error).split())[:200]
            raise TetradError(f"{name} has no int8 form ({reason}): change the op that is named") from error


def _frozen(function: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int, ...]) -> object:
    """The function as a graph of constants: one with variables fails in calibration, and a SavedModel keeps
    SPACE_TO_BATCH_ND round dilated convolutions, which the Edge TPU does not have."""
    call = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32)])
    return convert_variables_to_constants_v2(call.get_concrete_function())


def _static_shape(model: keras.Model) -> tuple[int, ...]:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise TetradError(f"{model.name} has {len(model.inputs)} inputs and {len(model.outputs)} outputs: give it one")
    shape = tuple(model.inputs[0].shape)
    if None in shape:
        raise TetradError(f"{model.name} has an input of dynamic shape {shape}: give it all sizes, the batch's too")
    return shape


def to_float(model: keras.Model) -> bytes:
    """The model as a TFLite file that computes in float32; its large weights are stored as float16."""
    graph = _frozen(lambda x: model(x, training=False), _static_shape(model))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph], tf.Module())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def write_whole(path: Path, data: bytes) -> None:
    with files.atomic(path) as file:
        file.write(data)


def compile_for_edgetpu(path: Path) -> str:
    """Runs the Edge TPU compiler where there is one on PATH; its `<name>_edgetpu.tflite` is put beside `path`.
    A compiled file of an earlier decoder is removed in any case. Returns what happened, in words."""
    compiled = compiled_beside(path)
    compiled.unlink(missing_ok=True)
    compiler = shutil.which(COMPILER)
    if compiler is None:
        return f"not compiled, no {COMPILER} on PATH"
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".edgetpu-") as folder:
        command = [compiler, "-s", "-o", folder, str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILER_LIMIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"not compiled, {COMPILER} failed: {error}"
        made = Path(folder, compiled.name)
        if done.returncode or not made.is_file():
            said = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
            return f"not compiled, {COMPILER} failed: {said[-1]}"
        os.replace(made, compiled)
    return f"{compiled}, {compiled.stat().st_size} bytes"


def quantize_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("run", type=Path, help="a run of `tetrad train student`")
    parser.add_argument("--out", type=Path, required=True, help="the .tflite file to write")
    parser.add_argument("--steps", type=console.whole_number(0, 1_000_000), default=1000,
                        help="of quantization-aware fine-tuning (default: %(default)s); 0: ranges are measured alone")
    parser.add_argument("--encoder", type=Path, help="write the run's encoder too, as a float .tflite file")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        from train.distil import calibration_inputs, load_student  # here, as `to_int8` needs no training code

        inputs, student = calibration_inputs(args.run), load_student(args.run)
        if args.steps:
            from quantize.finetune import fine_tune
            from train.distil import distil_config, load_trained

            tuned = fine_tune(load_trained(args.run).student, distil_config(args.run).student, inputs, args.steps)
            data = to_int8_as_tuned(tuned, _static_shape(student), student.name)
        else:
            data = to_int8(student, inputs)
        if args.encoder:
            from train.distil import load_encoder

            write_whole(args.encoder, to_float(load_encoder(args.run)))
        write_whole(args.out, data)
        show(args, args.out, check(data, str(args.out)), compiled=compile_for_edgetpu(args.out))

    return run
