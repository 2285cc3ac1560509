import json
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
import tensorflow as tf
from keras import layers, ops
from tiny_models import carelessly, of_layers, samples

from device.errors import TetradError
from quantize import check as check_module
from quantize.check import check, check_command
from quantize.convert import to_int8

SHAPE = (1, 2, 48, 9)
pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")


def int8(shape: tuple[int, ...], build: object) -> bytes:
    return to_int8(of_layers(shape, build), samples(shape))     # type: ignore[arg-type]


def reasons(data: bytes) -> list[str]:
    return [str(problem) for problem in check(data).problems]


def textbook_pair(x: object) -> object:
    a, b = (layers.Conv2D(4, (1, 3), padding="same", dilation_rate=(1, 2))(x) for _ in range(2))
    return ops.tanh(a) * ops.sigmoid(b)


# -- what maps --------------------------------------------------------------------------------------------------

def test_the_student_maps_whole(student_int8: bytes) -> None:
    report = check(student_int8)
    assert report.maps
    assert report.problems == ()
    assert report.ops == {"CONV_2D": 11, "ADD": 4, "SPLIT": 3, "LOGISTIC": 3, "TANH": 3, "MUL": 3}
    assert report.ops_on_cpu == 0


def test_sizes_are_those_of_the_model(student_int8: bytes) -> None:
    report = check(student_int8)
    frames, width = 2 * 48, 16
    convolutions = [5 * 9 * width] + 3 * [3 * width * 2 * width] + 5 * [width * width] + [width * width, width * 21]
    assert report.macs == frames * sum(convolutions)            # the last layer's residual is used by nothing
    biases = width + 3 * 2 * width + 5 * width + width + 21
    assert report.parameter_bytes == sum(convolutions) + 4 * biases + 4      # and the axis of SPLIT, 4 bytes
    assert report.size_bytes == len(student_int8)
    assert report.activation_bytes == frames * 2 * width
    assert report.arena_bytes >= report.activation_bytes


def test_what_no_source_settles_is_said(student_int8: bytes) -> None:
    doubts = " ".join(check(student_int8).doubts)
    assert "TANH: listed by the doc" in doubts
    assert "2 x CONV_2D: dilated along one axis" in doubts
    assert "ADD" not in doubts


def test_the_estimate_is_a_range_above_the_cost_of_an_invoke(student_int8: bytes) -> None:
    guess = check(student_int8).estimate
    assert 0.28 < guess.usb3_ms[0] < guess.usb3_ms[1]
    assert guess.usb3_ms[0] < guess.usb2_ms[0]


@pytest.mark.parametrize(("rows", "columns", "channels", "maps"), [
    (1, 1024, 64, True), (1, 1024, 128, False), (2, 512, 128, True)])
def test_rows_map_as_the_published_logs_say(rows: int, columns: int, channels: int, maps: bool) -> None:
    data = int8((1, rows, columns, channels), lambda x: layers.Conv2D(channels, (1, 3), padding="same")(x))
    assert check(data).maps is maps
    if not maps:
        assert reasons(data) == ["op 0 CONV_2D: large activations: 256 KiB a row in and out, limit 192 (log, inf)"]


# -- what does not ----------------------------------------------------------------------------------------------

def test_leaky_relu_is_named() -> None:
    data = int8(SHAPE, lambda x: layers.LeakyReLU(0.1)(layers.Conv2D(4, 1)(x)))
    assert reasons(data) == ["op 1 LEAKY_RELU: not among the operations that the Edge TPU supports (doc)"]
    assert check(data).ops_on_cpu == 1


def test_the_textbook_pair_brings_space_to_batch_which_is_named() -> None:
    found = reasons(int8(SHAPE, textbook_pair))
    assert found[0] == "op 0 SPACE_TO_BATCH_ND: not among the operations that the Edge TPU supports (doc)"
    assert any(reason.startswith("op 2 BATCH_TO_SPACE_ND: not among") for reason in found)


def test_a_dynamic_shape_is_named() -> None:
    data = carelessly(of_layers((None, *SHAPE[1:]), lambda x: layers.Conv2D(4, 1)(x)), "TFLITE_BUILTINS_INT8", tf.int8)
    found = reasons(data)
    assert len(found) == 2
    assert all(r.startswith("op 0 CONV_2D: tensor") and "dynamic shape" in r for r in found)


def test_float_ops_are_named() -> None:
    found = reasons(carelessly(of_layers(SHAPE, lambda x: layers.Conv2D(4, 1)(layers.Conv2D(5, 1)(x)))))
    # input, weights, bias, output; the second has the first's output as input, and it is named once
    assert [r.split(":")[0] for r in found] == 4 * ["op 0 CONV_2D"] + 3 * ["op 1 CONV_2D"]
    assert all("is FLOAT32; it must be INT8" in r for r in found)


def test_float_ends_are_named() -> None:
    found = reasons(carelessly(of_layers(SHAPE, lambda x: layers.Conv2D(4, 1)(x)), "TFLITE_BUILTINS_INT8"))
    assert any(r.startswith("op 0 QUANTIZE: tensor") and "FLOAT32" in r for r in found)
    assert "op 2 DEQUANTIZE: not among the operations that the Edge TPU supports (doc)" in found


def test_int16_activations_are_named() -> None:
    found = reasons(carelessly(of_layers(SHAPE, lambda x: layers.Conv2D(4, 1)(x)),
                               "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8", tf.int16))
    assert any("is INT16; it must be INT8" in r for r in found)
    assert any("is INT64; it must be INT8" in r for r in found)      # the bias


def test_a_fourth_dimension_is_named() -> None:
    found = reasons(int8((2, 2, 48, 9), lambda x: layers.Conv2D(4, 1)(x)))
    assert all("is [2, 2, 48, " in r and "only the 3 innermost dimensions may exceed 1" in r for r in found)
    assert len(found) == 2


def test_uneven_dilation_of_a_square_kernel_is_named() -> None:
    data = int8((1, 24, 48, 9), lambda x: layers.Conv2D(4, (3, 3), dilation_rate=(1, 2))(x))
    assert reasons(data) == ["op 0 CONV_2D: dilation 1 x 2 of a 3 x 3 kernel; both must be the same (doc)"]


@pytest.mark.parametrize(("value", "maps"), [(0.0, True), (1.0, False)])
def test_only_zeros_may_be_joined(value: float, maps: bool) -> None:
    data = int8(SHAPE, lambda x: layers.Concatenate()([x, ops.full((1, 2, 48, 3), value)]))
    assert check(data).ops["CONCATENATION"] == 1
    assert check(data).maps is maps


def test_a_dense_layer_over_frames_is_named() -> None:
    assert reasons(int8(SHAPE, lambda x: layers.Dense(4)(x))) == [
        "op 0 FULLY_CONNECTED: its output must have one dimension, it has [1, 2, 48, 4] (doc)"]


def test_too_many_parameters_are_named(student_int8: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "PARAMETER_LIMIT_BYTES", 1000)
    (problem,) = check(student_int8).problems
    assert problem.op is None
    assert "of parameters" in problem.why


# -- the command ------------------------------------------------------------------------------------------------

def run_check(path: Path, *more: str) -> None:
    parser = ArgumentParser()
    run = check_command(parser)
    run(parser.parse_args([str(path), *more]))


def test_check_prints_what_it_found(student_int8: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "decoder.tflite"
    path.write_bytes(student_int8)
    run_check(path)
    said = capsys.readouterr().out
    for word in ("3 TANH", "multiply-adds", "USB 3", "(inf)", "maps whole: yes"):
        assert word in said


def test_check_prints_one_line_of_json(student_int8: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "decoder.tflite"
    path.write_bytes(student_int8)
    run_check(path, "--json")
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["maps"] is True
    assert found["ops"]["TANH"] == 3
    assert len(found["estimate"]["usb3_ms"]) == 2


def test_check_prints_a_line_for_each_problem_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "leaky.tflite"
    path.write_bytes(int8(SHAPE, lambda x: layers.LeakyReLU(0.1)(layers.Conv2D(4, 1)(x))))
    with pytest.raises(TetradError, match=r"leaky\.tflite does not map whole.*1 of 2 ops.*LEAKY_RELU"):
        run_check(path)
    assert "op 1 LEAKY_RELU: not among" in capsys.readouterr().out


def test_check_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TetradError, match=r"nothing\.tflite: No such file"):
        run_check(tmp_path / "nothing.tflite")


def test_check_needs_no_tensorflow() -> None:
    script = "import sys, quantize.check; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
