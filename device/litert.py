"""A LiteRT file of one input and one output, run on one thread."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from device import files
from device.errors import TetradError
from device.model_file import MAX_MODEL_BYTES, model_id

try:
    from ai_edge_litert.interpreter import Interpreter, load_delegate
except ImportError:  # the older runtime, where libedgetpu asks for it; the same names
    from tflite_runtime.interpreter import Interpreter, load_delegate

EDGE_TPU = "libedgetpu.so.1"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The runtime writes to the process's stderr, past Python, what delegate it made; nobody asked for it."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def edge_tpu() -> object:
    """Google's Coral Edge TPU, for Model. Raises TetradError where its library or a stick is missing."""
    try:
        ctypes.CDLL(EDGE_TPU)  # first: load_delegate leaves a half-made object behind that complains when it goes
        with _quiet():
            return load_delegate(EDGE_TPU)
    except (OSError, ValueError) as error:
        raise TetradError(f"there is no Edge TPU: {str(error) or 'no stick answers'}; plug one in, or install "
                          f"{EDGE_TPU}") from error


class Model:
    """Checked when it is loaded: what has other shapes than the given ones is refused. On the CPU, or a delegate."""

    def __init__(self, path: Path, input_shape: tuple[int, ...], output_shape: tuple[int, ...],
                 delegate: object = None) -> None:
        data = files.read_whole(path, MAX_MODEL_BYTES)
        self.path = path
        self.id = model_id(data)
        try:
            if data[4:8] != b"TFL3":
                raise ValueError("no TFL3 mark")
            with _quiet():
                self._interpreter = Interpreter(model_content=data, num_threads=1,
                                                experimental_delegates=[delegate] if delegate else None)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise TetradError(f"{path}: no LiteRT model ({first}); copy it again, or run `tetrad quantize`") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        shapes = [tuple(int(n) for n in details["shape"]) for details in (*inputs, *outputs)]
        if shapes != [input_shape, output_shape]:
            raise TetradError(f"{path}: its inputs and outputs are {shapes}, not {[input_shape, output_shape]}; "
                              "it is a model for something else, or for another version")
        self._input, self._output = inputs[0], outputs[0]

    @property
    def is_quantized(self) -> bool:
        return bool(self._input["dtype"] == np.int8 and self._output["dtype"] == np.int8)

    @property
    def output_values(self) -> np.ndarray:
        """What the 256 int8 outputs mean, float32 [256], from -128 on."""
        scale, zero = self._output["quantization"]
        return ((np.arange(-128, 128) - zero) * scale).astype(np.float32)

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Float input -> int8 by the input's scale, saturating."""
        scale, zero = self._input["quantization"]
        return np.clip(np.rint(x / scale) + zero, -128, 127).astype(np.int8)

    def run(self, x: np.ndarray) -> np.ndarray:
        """One invocation. The result is a view that the next one overwrites."""
        self._interpreter.set_tensor(self._input["index"], x)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.tensor(self._output["index"])())
