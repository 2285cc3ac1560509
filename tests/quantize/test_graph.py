"""Files that are cut, damaged or lie about themselves."""

import random
from collections.abc import Callable

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from device.errors import TetradError
from quantize.check import Report, check
from quantize.graph import IDENTIFIER, read


def outcome(data: bytes) -> Report | str:
    """A report, or the one line of a refusal; whatever else is raised fails the test."""
    try:
        return check(data)
    except TetradError as error:
        line = str(error)
    assert "\n" not in line
    return line


def test_a_file_of_another_kind_is_refused_by_name() -> None:
    for data in (b"", b"TFL3", b"RIFF....WAVEfmt ", bytes(100)):
        with pytest.raises(TetradError, match=r"song\.wav is no TFLite file"):
            check(data, "song.wav")


def test_a_cut_file_is_refused_in_one_line(student_int8: bytes) -> None:
    generator = random.Random(1)
    lengths = [*range(0, 200), *(generator.randrange(len(student_int8)) for _ in range(400)), len(student_int8) - 1]
    for length in lengths:
        with pytest.raises(TetradError) as refused:
            check(student_int8[:length], "decoder.tflite")
        assert "decoder.tflite" in str(refused.value)
        assert "\n" not in str(refused.value)


def test_flipped_bytes_give_a_report_or_one_line(student_int8: bytes) -> None:
    generator = random.Random(2)
    refused = 0
    for trial in range(400):
        data = bytearray(student_int8)
        for _ in range(1 + trial % 8):
            data[generator.randrange(len(data))] = generator.randrange(256)
        refused += isinstance(outcome(bytes(data)), str)
    assert refused > 50


def test_bytes_of_every_offset_and_length_may_lie(student_int8: bytes) -> None:
    """Each 32-bit word in turn becomes huge, negative or small: no hang, no crash, no memory taken for it."""
    words = np.frombuffer(student_int8[:len(student_int8) // 4 * 4], np.int32)
    generator = random.Random(3)
    for position in generator.sample(range(len(words)), 150):
        for value in (0x7FFFFFFF, -1, 1 << 24, 4):
            data = words.copy()
            data[position] = value
            outcome(data.tobytes())


def rewritten(data: bytes, edit: Callable[[schema.ModelT], None]) -> bytes:
    """The file with `edit` done to its object tree, packed anew: well-formed, but not true."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))
    edit(model)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def test_a_file_packed_anew_reads_the_same(student_int8: bytes) -> None:
    again = read(rewritten(student_int8, lambda model: None))
    assert again.ops == read(student_int8).ops


def absent_tensor(model: schema.ModelT) -> None:
    model.subgraphs[0].operators[3].inputs = np.array([9999], np.int32)


def negative_tensor(model: schema.ModelT) -> None:
    model.subgraphs[0].operators[3].inputs = np.array([-2], np.int32)


def absent_code(model: schema.ModelT) -> None:
    model.subgraphs[0].operators[3].opcodeIndex = 99


def absent_buffer(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[1].buffer = 9999


def short_constant(model: schema.ModelT) -> None:
    filter_index = model.subgraphs[0].operators[0].inputs[1]
    buffer = model.buffers[model.subgraphs[0].tensors[filter_index].buffer]
    buffer.data = buffer.data[:-1]


def absurd_shape(model: schema.ModelT) -> None:
    filter_index = model.subgraphs[0].operators[0].inputs[1]
    model.subgraphs[0].tensors[filter_index].shape = np.array([2**31 - 1] * 4, np.int32)


def negative_shape(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[0].shape = np.array([1, 2, -48, 9], np.int32)


def endless_rank(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[0].shape = np.ones(1000, np.int32)


def many_tensors(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors = [schema.TensorT()] * 10_001


def wrong_options(model: schema.ModelT) -> None:
    model.subgraphs[0].operators[0].builtinOptions = None
    model.subgraphs[0].operators[0].builtinOptionsType = 0


def no_operators(model: schema.ModelT) -> None:
    model.subgraphs[0].operators = []


@pytest.mark.parametrize(("edit", "why"), [
    (absent_tensor,   "names a tensor that is not there"),
    (negative_tensor, "names a tensor that is not there"),
    (absent_code,     "an operator code that is not there"),
    (absent_buffer,   "cut or damaged"),
    (short_constant,  "a constant of shape"),
    (absurd_shape,    "a constant of shape"),
    (negative_shape,  "a tensor of shape"),
    (endless_rank,    "a tensor of 1000 dimensions"),
    (many_tensors,    "10001 tensors"),
    (wrong_options,   "CONV_2D without its options"),
    (no_operators,    "without operators"),
])
def test_a_file_that_lies_is_refused(
        student_int8: bytes, edit: Callable[[schema.ModelT], None], why: str) -> None:
    with pytest.raises(TetradError, match=why):
        check(rewritten(student_int8, edit))


def test_a_second_subgraph_is_named(student_int8: bytes) -> None:
    def twice(model: schema.ModelT) -> None:
        model.subgraphs.append(model.subgraphs[0])

    (problem,) = check(rewritten(student_int8, twice)).problems
    assert "2 subgraphs" in str(problem)


def test_a_custom_op_is_named(student_int8: bytes) -> None:
    def compiled(model: schema.ModelT) -> None:
        code = model.operatorCodes[0]
        code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM, schema.BuiltinOperator.CUSTOM
        code.customCode = "edgetpu-custom-op"

    assert check(rewritten(student_int8, compiled)).problems[0].name == "CUSTOM edgetpu-custom-op"
