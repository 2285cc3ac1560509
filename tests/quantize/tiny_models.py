"""Tiny models of the student's kind, and ways past `to_int8` that a careless conversion would take."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers, ops

ROWS, COLUMNS, CHANNELS, OUTPUTS = 2, 48, 9, 21      # the student: 2, 576, some 25, some 165


def gated_stack(width: int = 16, depth: int = 3) -> keras.Model:
    """The student in small: one convolution of twice the width, split, tanh x sigmoid; residual and skip."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(batch_shape=(1, ROWS, COLUMNS, CHANNELS))
    x = layers.Conv2D(width, (1, 5), padding="same")(inputs)
    skips = []
    for layer in range(depth):
        both = layers.Conv2D(2 * width, (1, 3), padding="same", dilation_rate=(1, 2**layer))(x)
        a, b = ops.split(both, 2, axis=-1)
        gated = ops.tanh(a) * ops.sigmoid(b)
        skips.append(layers.Conv2D(width, 1)(gated))
        x = x + layers.Conv2D(width, 1)(gated)
    y = layers.Conv2D(width, 1, activation="relu")(ops.relu(sum(skips[1:], skips[0])))
    return keras.Model(inputs, layers.Conv2D(OUTPUTS, 1)(y), name="gated_stack")


def of_layers(shape: tuple[int, ...], build: Callable[[keras.KerasTensor], keras.KerasTensor]) -> keras.Model:
    """A model with input `shape`, batch included (None for a dynamic one), and `build` of it as output."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(batch_shape=shape)
    return keras.Model(inputs, build(inputs), name="made_for_a_test")


def samples(shape: tuple[int, ...], count: int = 4, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for _ in range(count)]


def carelessly(model: keras.Model, ops_set: str | None = None, io_type: tf.DType = tf.float32) -> bytes:
    """TFLite without `to_int8`'s care: float, or quantized by the named OpsSet with `io_type` at both ends."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if ops_set:
        shape = tuple(1 if size is None else size for size in model.inputs[0].shape)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x] for x in samples(shape))
        converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, ops_set)]
        converter.inference_input_type = converter.inference_output_type = io_type
    return converter.convert()


def in_steps(x: np.ndarray, data: bytes) -> np.ndarray:
    """A float input in the int8 steps of the model in `data`."""
    scale, zero = Interpreter(model_content=data).get_input_details()[0]["quantization"]
    return np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)


def run_int8(data: bytes, inputs: list[np.ndarray], kernels: str = "AUTO") -> tuple[list[np.ndarray], float, int]:
    """The int8 outputs in ai-edge-litert for float inputs, with the output's scale and zero point."""
    interpreter = Interpreter(model_content=data, num_threads=1,
                              experimental_op_resolver_type=OpResolverType[kernels])
    interpreter.allocate_tensors()
    source, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    results = []
    for x in inputs:
        interpreter.set_tensor(source["index"], in_steps(x, data))
        interpreter.invoke()
        results.append(interpreter.get_tensor(out["index"]).copy())
    return results, *out["quantization"]
