"""Each limit of the Edge TPU's table, on graphs of one op made by hand: what passes, and what does not and why."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from quantize.edgetpu import OPS, op_doubts, op_faults, tensor_faults
from quantize.graph import FUSED, OPTIONS, Graph, Op, Tensor

RELU, TANH = schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.TANH
FORMAT = "WeightsFormat"


def dilated(y: int = 1, x: int = 1) -> dict[str, int]:
    return {FUSED: 0, "DilationHFactor": y, "DilationWFactor": x}


def masked(ellipsis: int = 0, new_axis: int = 0) -> dict[str, int]:
    return {"EllipsisMask": ellipsis, "NewAxisMask": new_axis}


def tensor(*shape: int, kind: str = "INT8", data: np.ndarray | None = None, dynamic: bool = False) -> Tensor:
    raw = None if data is None else data.view(np.uint8)
    return Tensor("t", shape, dynamic, kind, np.ones(1, np.float32), np.zeros(1, np.int64), raw)


def weights(*shape: int) -> Tensor:
    return tensor(*shape, data=np.ones(int(np.prod(shape)), np.int8))


def numbers(*values: int) -> Tensor:
    return tensor(len(values), kind="INT32", data=np.array(values, np.int32))


def faults(name: str, inputs: list[Tensor], output: Tensor, **options: int) -> list[str]:
    op = Op(0, name, tuple(range(len(inputs))), (len(inputs),), options)
    return op_faults(Graph((*inputs, output), (op,), (0,), (len(inputs),), 1), op)


X = tensor(1, 2, 8, 4)


@pytest.mark.parametrize(("name", "options", "inputs", "output", "why"), [
    ("ADD",               {FUSED: RELU},         [X, X], X, None),
    ("ADD",               {FUSED: TANH},         [X, X], X, "fused TANH"),
    ("MAX_POOL_2D",       {FUSED: 0},            [X], X, None),
    ("MAX_POOL_2D",       {FUSED: RELU},         [X], X, "has RELU"),
    ("CONV_2D",           dilated(x=8),          [X, weights(4, 1, 3, 4)], X, None),
    ("CONV_2D",           dilated(y=8),          [X, weights(4, 3, 1, 4)], X, None),
    ("CONV_2D",           dilated(y=2),          [X, weights(4, 3, 3, 4)], X, "2 x 1"),
    ("CONV_2D",           dilated(),             [X, weights(4, 1, 3, 2)], X, "2 groups"),
    ("CONV_2D",           dilated(),             [X, tensor(4, 1, 3, 4)], X, "weights"),
    ("CONV_2D",           dilated(),             [X, weights(4, 1, 3, 4), tensor(4, kind="INT32")], X, "bias"),
    ("DEPTHWISE_CONV_2D", dilated(x=2),          [X, weights(1, 3, 3, 4)], X, "1 x 2"),
    ("TRANSPOSE_CONV",    {FUSED: 0},            [numbers(1, 2, 8, 4), weights(4, 1, 3, 4), X], X, None),
    ("FULLY_CONNECTED",   {FUSED: 0, FORMAT: 0}, [tensor(1, 4), weights(9, 4)], tensor(1, 9), None),
    ("FULLY_CONNECTED",   {FUSED: 0, FORMAT: 0}, [tensor(2, 4), weights(9, 4)], tensor(2, 9), "one dim"),
    ("FULLY_CONNECTED",   {FUSED: 0, FORMAT: 1}, [tensor(1, 4), weights(9, 4)], tensor(1, 9), "format"),
    ("SOFTMAX",           {},                    [tensor(1, 16_000)], tensor(1, 16_000), None),
    ("SOFTMAX",           {},                    [tensor(1, 16_001)], tensor(1, 16_001), "16001"),
    ("SOFTMAX",           {},                    [tensor(3, 10)], tensor(3, 10), "one dim"),
    ("MEAN",              {},                    [X, numbers(1, 2)], tensor(1, 4), None),
    ("MEAN",              {},                    [X, numbers(0)], tensor(2, 8, 4), "batch"),
    ("MEAN",              {},                    [X, numbers(-4)], tensor(2, 8, 4), "batch"),
    ("SPLIT",             {},                    [numbers(3), X], tensor(1, 2, 8, 2), None),
    ("SPLIT",             {},                    [numbers(0), X], X, "batch"),
    ("PACK",              {"Axis": 1},           [X, X], tensor(1, 2, 2, 8, 4), None),
    ("PACK",              {"Axis": 0},           [X, X], tensor(2, 1, 2, 8, 4), "batch"),
    ("PAD",               {},                    [X, numbers(0, 0, 0, 0, 1, 1, 0, 0)], tensor(1, 2, 10, 4), None),
    ("PAD",               {},                    [X, numbers(0, 1, 0, 0, 1, 1, 0, 0)], tensor(2, 2, 10, 4), "batch"),
    ("STRIDED_SLICE",     masked(),              [X, numbers(0), numbers(1), numbers(1)], X, None),
    ("STRIDED_SLICE",     masked(),              [X, numbers(0), numbers(1), numbers(2)], X, "strides"),
    ("STRIDED_SLICE",     masked(ellipsis=1),    [X, numbers(0), numbers(1), numbers(1)], X, "ellipsis"),
    ("STRIDED_SLICE",     masked(new_axis=1),    [X, numbers(0), numbers(1), numbers(1)], X, "new axis"),
    ("SQUEEZE",           {},                    [tensor(1, 1, 5, 4)], tensor(5, 4), None),
    ("SQUEEZE",           {},                    [tensor(5, 1, 4)], tensor(5, 4), "leading 1s"),
    ("RESIZE_BILINEAR",   {},                    [X, numbers(4, 8)], tensor(1, 4, 8, 4), None),
    ("RESIZE_BILINEAR",   {},                    [X, numbers(4, 8)], tensor(2, 4, 8, 4), "three dim"),
    ("TILE",              {},                    [X, numbers(1)], X, "not among"),
    ("GATHER",            {},                    [X, numbers(1)], X, "not among"),
])
def test_a_limit_of_the_table(
        name: str, options: dict[str, int], inputs: list[Tensor], output: Tensor, why: str | None) -> None:
    found = faults(name, inputs, output, **options)
    if why is None:
        assert found == []
    else:
        assert len(found) == 1
        assert why in found[0]


@pytest.mark.parametrize("name", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_a_row_may_hold_192_kib_in_and_out(name: str) -> None:
    for columns, wrong in ((576, False), (1024, False), (1025, True)):
        x, y = tensor(1, 2, columns, 96), tensor(1, 2, columns, 96)
        kernel = weights(96, 1, 1, 96) if name == "CONV_2D" else weights(1, 1, 1, 96)
        assert any("large activations" in why for why in faults(name, [x, kernel], y, **dilated())) is wrong


@pytest.mark.parametrize(("found", "why"), [
    (tensor(1, 2, 8, 4), None),
    (tensor(1, 2, 8, 4, kind="UINT8"), None),
    (tensor(1, 1, 2, 8, 4), None),
    (tensor(), None),
    (weights(4, 3, 3, 4), None),
    (numbers(1, 2), None),
    (tensor(4, kind="INT32"), "INT32"),
    (tensor(4, kind="FLOAT32", data=np.zeros(4, np.float32)), "FLOAT32"),
    (tensor(2, 2, 8, 4), "innermost"),
    (tensor(1, 2, 1, 8, 4), "innermost"),
    (tensor(1, 2, 8, 4, dynamic=True), "dynamic"),
])
def test_a_tensor_may_be_only_8_bits_of_constant_shape(found: Tensor, why: str | None) -> None:
    reasons = tensor_faults(found)
    assert len(reasons) == (why is not None)
    assert why is None or why in reasons[0]


def test_a_tensor_without_scale_is_not_quantized() -> None:
    bare = Tensor("t", (4,), False, "INT8", np.zeros(0, np.float32), np.zeros(0, np.int64), None)
    assert "no quantization scale" in tensor_faults(bare)[0]


def test_every_op_of_the_table_is_one_that_tflite_knows() -> None:
    known = set(vars(schema.BuiltinOperator))
    assert set(OPS) <= known
    assert set(OPTIONS) <= set(OPS)


def test_the_ops_that_the_edge_tpu_lacks_are_not_in_the_table() -> None:
    for name in ("LEAKY_RELU", "TILE", "GATHER", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "DEQUANTIZE"):
        assert name not in OPS


def test_an_op_that_only_the_doc_speaks_for_is_doubted() -> None:
    op = Op(0, "TANH", (0,), (1,), {})
    graph = Graph((X, X), (op,), (0,), (1,), 1)
    assert any("no published compiler log" in doubt for doubt in op_doubts(graph, op))
    assert op_doubts(graph, Op(0, "LOGISTIC", (0,), (1,), {})) == []
