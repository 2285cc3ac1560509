"""What the Edge TPU takes, as one table: op -> limits. `quantize/check.py` holds a file against it.

Sources, as the reasons name them:
  doc  Coral, "TensorFlow models on the Edge TPU", coral.ai/docs/edgetpu/models-intro, and its table of operations
  log  logs of edgetpu_compiler 14 to 16 that people published: github.com/WongKinYiu/yolov7 pull 1672,
       github.com/google-coral/edgetpu issues 169 and 671, and a temporal-convolution model's (see `even_dilation`)
  inf  inferred from those; nobody has shown it
The compiler is closed and its limits are not all written down. Where a rule goes further than its source, `doubts`
says so.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from quantize.graph import FUSED, Damage, Graph, Op, Tensor, elements

MEBIBYTE = 1024 * 1024
PARAMETER_LIMIT_BYTES = round(7.7 * MEBIBYTE)   # doc: 8 MB on the chip; log: some 7.7 MiB of it cache parameters
# log: a k=3 convolution on 1 x 1024 x 64 compiles (128 KiB in and out), on 1 x 1024 x 128 (256 KiB) it does not, and
# 2 x 512 x 128 (128 KiB a row) does. inf: the limit lies between, and counts a row.
ROW_LIMIT_BYTES = 192 * 1024
SOFTMAX_LIMIT = 16_000                          # doc
EIGHT_BIT = ("INT8", "UINT8")                   # doc
CONSTANT_TYPES = (*EIGHT_BIT, "INT32")          # biases, axes, shapes and paddings are 32-bit (TFLite's quantization)
INNERMOST = 3                                   # doc: of more dimensions only so many may exceed 1

_ACTIVATION = schema.ActivationFunctionType
ACTIVATION_NAMES = {code: name for name, code in vars(_ACTIVATION).items() if isinstance(code, int)}
FUSABLE = (_ACTIVATION.NONE, _ACTIVATION.RELU, _ACTIVATION.RELU6, _ACTIVATION.RELU_N1_TO_1)

Limit = Callable[[Graph, Op], str | None]       # None, or why the op does not map


# -- limits -----------------------------------------------------------------------------------------------------

def fused(graph: Graph, op: Op) -> str | None:
    code = op.options[FUSED]
    return None if code in FUSABLE else f"fused {ACTIVATION_NAMES.get(code, code)} is not supported (doc)"


def not_fused(graph: Graph, op: Op) -> str | None:
    code = op.options[FUSED]
    found = ACTIVATION_NAMES.get(code, code)
    return None if code == _ACTIVATION.NONE else f"it may have no fused activation, it has {found} (doc)"


def constant_weights(graph: Graph, op: Op) -> str | None:
    # TRANSPOSE_CONV: output shape, weights, input, bias; the others: input, weights, bias
    roles = {0: "output shape", 1: "weights", 3: "bias"} if op.name == "TRANSPOSE_CONV" else {1: "weights", 2: "bias"}
    for position, role in roles.items():
        if position < len(op.inputs) and op.inputs[position] >= 0 and graph.input(op, position).data is None:
            return f"its {role} must be constant (doc)"
    return None


def one_group(graph: Graph, op: Op) -> str | None:
    groups = graph.input(op, 0).shape[3] // max(1, graph.input(op, 1).shape[3])
    return None if groups == 1 else f"{groups} groups of channels; the list has no grouped convolution (inf)"


def even_dilation(graph: Graph, op: Op) -> str | None:
    """doc: "the same dilation in x and y". log: compiler 16.0 mapped CONV_2D with kernel (3, 1) and dilation (2, 1)
    and (4, 1). So a dilation counts only along an axis in which the kernel is longer than 1."""
    y, x = op.options["DilationHFactor"], op.options["DilationWFactor"]
    height, width = graph.input(op, 1).shape[1:3]
    wrong = height > 1 and width > 1 and y != x
    return f"dilation {y} x {x} of a {height} x {width} kernel; both must be the same (doc)" if wrong else None


def small_row(graph: Graph, op: Op) -> str | None:
    source = graph.input(op, 2 if op.name == "TRANSPOSE_CONV" else 0)
    row_bytes = sum(elements(t.shape[2:]) for t in (source, graph.output(op)))
    if row_bytes <= ROW_LIMIT_BYTES:
        return None
    return f"large activations: {row_bytes / 1024:.0f} KiB a row in and out, limit {ROW_LIMIT_BYTES // 1024} (log, inf)"


def zero_constant(graph: Graph, op: Op) -> str | None:
    for tensor in (graph.tensors[i] for i in op.inputs):
        if tensor.data is None:
            continue
        zero = int(tensor.zero_points[0]) if len(tensor.zero_points) else 0
        if len(op.inputs) > 2 or np.any(tensor.data != zero % 256):
            return "a constant may be joined only as one of two inputs, and only zeros (doc)"
    return None


def plain_weights(graph: Graph, op: Op) -> str | None:
    return None if op.options["WeightsFormat"] == 0 else "weights must be in the default format (doc)"


def one_dimension(graph: Graph, op: Op) -> str | None:
    shape = graph.output(op).shape
    return None if elements(shape[:-1]) == 1 else f"its output must have one dimension, it has {list(shape)} (doc)"


def softmax_size(graph: Graph, op: Op) -> str | None:
    size = elements(graph.output(op).shape)
    return None if size <= SOFTMAX_LIMIT else f"{size} elements, limit {SOFTMAX_LIMIT} (doc)"


def keeps_batch(graph: Graph, op: Op) -> str | None:
    """MEAN and SPLIT name their axes in a constant, PACK in its options."""
    if op.name == "PACK":
        axes, rank = np.array([op.options["Axis"]]), len(graph.output(op).shape)
    else:
        axis, source = (0, 1) if op.name == "SPLIT" else (1, 0)
        axes, rank = _constant(graph.input(op, axis)), len(graph.input(op, source).shape)
    return "the batch dimension must be left alone (doc)" if np.any(axes % max(1, rank) == 0) else None


def pads_no_batch(graph: Graph, op: Op) -> str | None:
    batch = _constant(graph.input(op, 1))[:2]
    return "the batch dimension must be left alone (doc)" if np.any(batch != 0) else None


def unit_strides(graph: Graph, op: Op) -> str | None:
    strides = _constant(graph.input(op, 3))
    return "all strides must be 1 (doc)" if np.any(strides != 1) else None


def no_masks(graph: Graph, op: Op) -> str | None:
    masked = op.options["EllipsisMask"] or op.options["NewAxisMask"]
    return "no ellipsis and no new axis may be in it (doc)" if masked else None


def leading_ones(graph: Graph, op: Op) -> str | None:
    shape, out = graph.input(op, 0).shape, graph.output(op).shape
    gone = len(shape) - len(out)
    fine = elements(shape[:gone]) == 1 and shape[gone:] == out
    return None if fine else f"only leading 1s may be squeezed, here {list(shape)} to {list(out)} (doc)"


def three_dimensions(graph: Graph, op: Op) -> str | None:
    shape = graph.output(op).shape
    return None if elements(shape[:-3]) == 1 else f"its output must have three dimensions, it has {list(shape)} (doc)"


def _constant(tensor: Tensor) -> np.ndarray:
    """An int32 constant's values; raises Damage where it is computed or of another type."""
    if tensor.data is None or tensor.type != "INT32":
        raise Damage("an axis, shape or stride that is not a constant of 32 bits")
    return tensor.data.view(np.int32)


# -- doubts: what the sources leave open about an op that passed -------------------------------------------------

def one_sided_dilation(graph: Graph, op: Op) -> str | None:
    uneven = op.options["DilationHFactor"] != op.options["DilationWFactor"]
    return ("dilated along one axis: against the doc's words; a log shows kernels (3, 1) mapped, none (1, 3)"
            if uneven else None)


def wide_row(graph: Graph, op: Op) -> str | None:
    row_bytes = sum(elements(t.shape[2:]) for t in map(graph.tensors.__getitem__, graph.touched(op)) if t.data is None)
    return ("rows wider than a convolution may have: no log tells whether that limit holds here"
            if row_bytes > ROW_LIMIT_BYTES else None)


def size_dependent(graph: Graph, op: Op) -> str | None:
    return "may not map when its tensors are large; no size is given (doc)"


# -- the table --------------------------------------------------------------------------------------------------

class Rule(NamedTuple):
    limits: tuple[Limit, ...]
    doubts: tuple[Limit, ...]
    seen: bool                                  # a log shows it mapped; where False, the doc alone speaks for it


CONV = (constant_weights, one_group, even_dilation, fused, small_row)
DEPTHWISE = (constant_weights, even_dilation, fused, small_row)

OPS = {
    # op                           limits                                 doubts                  seen in a log
    "ADD":                     Rule((fused,),                            (wide_row,),             True),
    "SUB":                     Rule((fused,),                            (wide_row,),             False),
    "MUL":                     Rule((fused,),                            (wide_row,),             True),
    "MAXIMUM":                 Rule((),                                  (wide_row,),             False),
    "MINIMUM":                 Rule((),                                  (wide_row,),             False),
    "SQUARED_DIFFERENCE":      Rule((),                                  (wide_row,),             False),
    "RELU":                    Rule((),                                  (wide_row,),             False),
    "RELU6":                   Rule((),                                  (wide_row,),             False),
    "RELU_N1_TO_1":            Rule((),                                  (wide_row,),             False),
    "LOGISTIC":                Rule((),                                  (wide_row,),             True),
    "TANH":                    Rule((),                                  (wide_row,),             False),
    "RSQRT":                   Rule((),                                  (wide_row,),             False),
    "QUANTIZE":                Rule((),                                  (wide_row,),             True),
    "SOFTMAX":                 Rule((one_dimension, softmax_size),       (),                      True),
    "L2_NORMALIZATION":        Rule((fused,),                            (),                      False),
    "CONV_2D":                 Rule(CONV,                                (one_sided_dilation,),   True),
    "DEPTHWISE_CONV_2D":       Rule(DEPTHWISE,                           (one_sided_dilation,),   True),
    "TRANSPOSE_CONV":          Rule((constant_weights, fused, small_row), (),                     False),
    "FULLY_CONNECTED":         Rule((constant_weights, plain_weights, one_dimension, fused), (),  True),
    "AVERAGE_POOL_2D":         Rule((not_fused,),                        (),                      False),
    "MAX_POOL_2D":             Rule((not_fused,),                        (),                      True),
    "MEAN":                    Rule((keeps_batch,),                      (),                      False),
    "SUM":                     Rule((),                                  (),                      False),
    "REDUCE_MAX":              Rule((),                                  (),                      False),
    "REDUCE_MIN":              Rule((),                                  (),                      False),
    "CONCATENATION":           Rule((not_fused, zero_constant),          (wide_row,),             True),
    "PACK":                    Rule((keeps_batch,),                      (wide_row,),             False),
    "SPLIT":                   Rule((keeps_batch,),                      (wide_row,),             False),
    "SLICE":                   Rule((),                                  (wide_row,),             False),
    "STRIDED_SLICE":           Rule((unit_strides, no_masks),            (wide_row,),             False),
    "PAD":                     Rule((pads_no_batch,),                    (wide_row,),             True),
    "RESHAPE":                 Rule((),                                  (size_dependent,),       True),
    "SQUEEZE":                 Rule((leading_ones,),                     (),                      False),
    "EXPAND_DIMS":             Rule((),                                  (),                      False),
    "TRANSPOSE":               Rule((),                                  (wide_row,),             False),
    "SPACE_TO_DEPTH":          Rule((),                                  (wide_row,),             False),
    "RESIZE_BILINEAR":         Rule((three_dimensions,),                 (size_dependent,),       False),
    "RESIZE_NEAREST_NEIGHBOR": Rule((three_dimensions,),                 (size_dependent,),       True),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Rule((),                             (size_dependent,),       False),
}


def op_faults(graph: Graph, op: Op) -> list[str]:
    """Why this op does not map, a reason an entry. Raises IndexError, KeyError or ValueError on a damaged op."""
    if op.name not in OPS:
        return ["not among the operations that the Edge TPU supports (doc)"]
    return [why for limit in OPS[op.name].limits if (why := limit(graph, op))]


def op_doubts(graph: Graph, op: Op) -> list[str]:
    """What no source settles about this op."""
    rule = OPS.get(op.name)
    if rule is None:
        return []
    unseen = [] if rule.seen else ["listed by the doc; no published compiler log was found that maps it"]
    return unseen + [why for doubt in rule.doubts if (why := doubt(graph, op))]


def tensor_faults(tensor: Tensor) -> list[str]:
    """Why no op may have this tensor: dynamic, not 8-bit, not quantized, or with too many dimensions (doc)."""
    faults = []
    if tensor.dynamic:
        faults.append(f"tensor {tensor.name!r} has a dynamic shape; it must be constant (doc)")
    if tensor.type not in (EIGHT_BIT if tensor.data is None else CONSTANT_TYPES):
        faults.append(f"tensor {tensor.name!r} is {tensor.type}; it must be INT8 (doc)")
    elif tensor.type in EIGHT_BIT and not len(tensor.scales):
        faults.append(f"tensor {tensor.name!r} has no quantization scale (doc)")
    # weights are exempt: a convolution's have four dimensions and map (log)
    if tensor.data is None and elements(tensor.shape[:-INNERMOST]) != 1:
        faults.append(f"tensor {tensor.name!r} is {list(tensor.shape)}; "
                      f"only the {INNERMOST} innermost dimensions may exceed 1 (doc)")
    return faults
