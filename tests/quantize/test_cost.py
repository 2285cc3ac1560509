"""Costs of graphs small enough to be reckoned by hand."""

import numpy as np

from quantize import cost
from quantize.graph import Graph, Op, Tensor


def tensor(*shape: int, constant: bool = False) -> Tensor:
    data = np.zeros(int(np.prod(shape)), np.uint8) if constant else None
    return Tensor("t", shape, False, "INT8", np.ones(1, np.float32), np.zeros(1, np.int64), data)


def chain(*tensors: Tensor) -> Graph:
    """Each computed tensor made from the one before."""
    ops = tuple(Op(i, "RELU", (i,), (i + 1,), {}) for i in range(len(tensors) - 1))
    return Graph(tensors, ops, (0,), (len(tensors) - 1,), 1)


def test_the_arena_forgets_what_nothing_reads_any_more() -> None:
    assert cost.arena_bytes(chain(tensor(64), tensor(256), tensor(128), tensor(128))) == 256 + 128


def test_the_arena_keeps_what_is_read_later() -> None:
    tensors = (tensor(64), tensor(256), tensor(128), tensor(128))
    ops = (Op(0, "RELU", (0,), (1,), {}), Op(1, "RELU", (1,), (2,), {}), Op(2, "ADD", (0, 2), (3,), {}))
    assert cost.arena_bytes(Graph(tensors, ops, (0,), (3,), 1)) == 64 + 256 + 128


def test_the_arena_is_aligned() -> None:
    assert cost.arena_bytes(chain(tensor(1), tensor(65))) == 64 + 128


def one(name: str, inputs: list[Tensor], output: Tensor) -> Graph:
    op = Op(0, name, tuple(range(len(inputs))), (len(inputs),), {})
    return Graph((*inputs, output), (op,), (0,), (len(inputs),), 1)


def test_multiply_adds_are_counted_by_the_kind_of_op() -> None:
    x, y = tensor(1, 2, 10, 4), tensor(1, 2, 10, 6)
    assert cost.macs(one("CONV_2D", [x, tensor(6, 1, 3, 4, constant=True)], y)) == 20 * 6 * 3 * 4
    assert cost.macs(one("DEPTHWISE_CONV_2D", [x, tensor(1, 3, 3, 4, constant=True)], x)) == 20 * 4 * 9
    assert cost.macs(one("FULLY_CONNECTED", [tensor(1, 4), tensor(6, 4, constant=True)], tensor(1, 6))) == 6 * 4
    shape, kernel = tensor(4, constant=True), tensor(6, 1, 2, 4, constant=True)
    assert cost.macs(one("TRANSPOSE_CONV", [shape, kernel, x], tensor(1, 2, 20, 6))) == 20 * 4 * 2 * 6
    assert cost.macs(one("ADD", [x, x], x)) == 0


def test_a_constant_that_two_ops_read_counts_once() -> None:
    weights = tensor(6, 4, constant=True)
    ops = (Op(0, "FULLY_CONNECTED", (0, 1), (2,), {}), Op(1, "FULLY_CONNECTED", (0, 1), (3,), {}))
    graph = Graph((tensor(1, 4), weights, tensor(1, 6), tensor(1, 6)), ops, (0,), (2, 3), 1)
    assert cost.parameter_bytes(graph) == 24


def test_the_estimate_adds_invoke_transfer_and_work() -> None:
    graph = one("CONV_2D", [tensor(1, 1, 1000, 300), tensor(480, 1, 1, 300, constant=True)], tensor(1, 1, 1000, 480))
    low_ms, high_ms = cost.estimate(graph).usb3_ms
    work_ms = 1000 * 300 * 480 / 0.48e9
    assert low_ms == round(0.28 + work_ms + (300_000 + 480_000 + 2048) / 300e3, 2)
    assert high_ms > low_ms
