import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
from keras import layers, ops
from tiny_models import in_steps, of_layers, run_int8, samples

from device.errors import TetradError
from quantize.check import check
from quantize.convert import quantize_command, to_int8
from quantize.graph import read


def test_the_student_becomes_int8_from_end_to_end(student_int8: bytes) -> None:
    graph = read(student_int8)
    ends = [graph.tensors[i] for i in (*graph.inputs, *graph.outputs)]
    assert [t.type for t in ends] == ["INT8", "INT8"]
    assert [t.shape for t in ends] == [(1, 2, 48, 9), (1, 2, 48, 21)]
    assert not any(t.dynamic for t in graph.tensors)


def test_weights_have_a_scale_for_each_output_channel(student_int8: bytes) -> None:
    graph = read(student_int8)
    weights = [graph.input(op, 1) for op in graph.ops if op.name == "CONV_2D"]
    assert weights
    assert all(len(w.scales) == w.shape[0] for w in weights)


def test_the_int8_student_is_near_the_float_one(student: keras.Model, student_int8: bytes) -> None:
    outputs, scale, zero = run_int8(student_int8, unseen(student))
    signal = np.stack([student(x) for x in unseen(student)])
    error = (np.stack(outputs).astype(np.float32) - zero) * scale - signal
    assert decibels(signal, error) > 25                           # measured: 30.6


def test_two_conversions_give_the_same_bytes(student: keras.Model, student_int8: bytes) -> None:
    assert to_int8(student, samples(student.input_shape, 8)) == student_int8


IN_TFLITE_RUNTIME = """
import importlib.util, numpy as np, tflite_runtime.interpreter as runtime
assert importlib.util.find_spec("tensorflow") is None and int(np.__version__.split(".")[0]) < 2
interpreter = runtime.Interpreter("decoder.tflite")
interpreter.allocate_tensors()
source, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
results = []
for x in np.load("in.npy"):
    interpreter.set_tensor(source, x)
    interpreter.invoke()
    results.append(interpreter.get_tensor(out).copy())
np.save("out.npy", np.stack(results))
"""


@pytest.fixture
def in_tflite_runtime(student: keras.Model, student_int8: bytes, runtime_python: Path, tmp_path: Path) -> np.ndarray:
    """What tflite-runtime makes of `UNSEEN`, in an environment where TensorFlow cannot be imported."""
    (tmp_path / "decoder.tflite").write_bytes(student_int8)
    np.save(tmp_path / "in.npy", np.stack([in_steps(x, student_int8) for x in unseen(student)]))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([runtime_python, "-c", IN_TFLITE_RUNTIME], cwd=tmp_path, check=True, env=environment)
    return np.load(tmp_path / "out.npy")


def decibels(signal: np.ndarray, error: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(signal**2) / np.mean(error**2)))


def unseen(student: keras.Model) -> list[np.ndarray]:
    return samples(student.input_shape, 3, seed=7)


def test_tflite_runtime_gives_the_same_bytes(
        student: keras.Model, student_int8: bytes, in_tflite_runtime: np.ndarray) -> None:
    here, _, _ = run_int8(student_int8, unseen(student), "BUILTIN_WITHOUT_DEFAULT_DELEGATES")
    assert in_tflite_runtime.dtype == np.int8
    np.testing.assert_array_equal(in_tflite_runtime, np.stack(here))


def test_xnnpack_rounds_a_little_differently(
        student: keras.Model, student_int8: bytes, in_tflite_runtime: np.ndarray) -> None:
    """ai-edge-litert takes XNNPACK's kernels unless told otherwise, tflite-runtime its own. Seen: 35 dB, less than
    int8 loses to float (31 dB)."""
    here, _, zero = run_int8(student_int8, unseen(student))
    steps = np.stack(here).astype(np.float32) - zero
    assert 30 < decibels(steps, in_tflite_runtime.astype(np.float32) - zero - steps) < np.inf


def test_a_dynamic_batch_is_refused() -> None:
    model = of_layers((None, 2, 48, 9), lambda x: layers.Conv2D(4, 1)(x))
    with pytest.raises(TetradError, match="dynamic shape"):
        to_int8(model, samples((1, 2, 48, 9)))


def test_two_inputs_are_refused() -> None:
    a, b = (keras.Input(batch_shape=(1, 4)) for _ in range(2))
    with pytest.raises(TetradError, match="2 inputs"):
        to_int8(keras.Model([a, b], a + b), samples((1, 4)))


@pytest.mark.parametrize(("inputs", "why"), [
    ([], "no sample inputs"),
    (samples((1, 2, 47, 9)), "shape"),
    ([np.full((1, 2, 48, 9), np.nan, np.float32)], "finite"),
])
def test_samples_that_do_not_fit_are_refused(student: keras.Model, inputs: list[np.ndarray], why: str) -> None:
    with pytest.raises(TetradError, match=why):
        to_int8(student, inputs)


def test_an_op_without_int8_form_is_refused_in_one_line() -> None:
    model = of_layers((1, 2, 48, 9), lambda x: ops.erf(x))
    with pytest.raises(TetradError, match="no int8 form") as refused:
        to_int8(model, samples((1, 2, 48, 9)))
    assert "\n" not in str(refused.value)


# -- the command ------------------------------------------------------------------------------------------------

@pytest.fixture
def run_folder(student: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the two functions of train.distil that read a run."""
    distil = ModuleType("train.distil")
    distil.load_student = lambda run: student                                          # type: ignore[attr-defined]
    distil.calibration_inputs = lambda run: iter(samples(student.input_shape, 8))      # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "train.distil", distil)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def quantize(folder: Path, *more: str) -> Path:
    parser = ArgumentParser()
    run = quantize_command(parser)
    run(parser.parse_args([str(folder / "run"), "--out", str(folder / "decoder.tflite"), "--steps", "0", *more]))
    return folder / "decoder.tflite"


def fake_compiler(folder: Path, body: str) -> None:
    script = folder / "bin" / "edgetpu_compiler"
    script.write_text(f"#!{sys.executable}\nimport pathlib, sys\n{body}")
    script.chmod(0o755)


def test_quantize_writes_a_decoder_that_maps(
        run_folder: Path, student_int8: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    out = quantize(run_folder)
    assert out.read_bytes() == student_int8
    assert check(out.read_bytes()).maps
    said = capsys.readouterr().out
    for word in ("CONV_2D", "parameters", "arena", "no edgetpu_compiler on PATH"):
        assert word in said
    assert sorted(p.name for p in run_folder.iterdir()) == ["bin", "decoder.tflite"]


def test_quantize_compiles_where_the_compiler_is(run_folder: Path) -> None:
    fake_compiler(run_folder, """
folder = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
name = pathlib.Path(sys.argv[-1])
(folder / f"{name.stem}_edgetpu.tflite").write_bytes(b"compiled " + name.read_bytes())
pathlib.Path(__file__).with_name("arguments").write_text(" ".join(sys.argv[1:]))
""")
    out = quantize(run_folder)
    compiled = run_folder / "decoder_edgetpu.tflite"
    assert compiled.read_bytes() == b"compiled " + out.read_bytes()
    arguments = (run_folder / "bin" / "arguments").read_text().split()
    assert arguments[:2] == ["-s", "-o"]
    assert arguments[-1] == str(out)
    assert {p.name for p in run_folder.iterdir()} == {"bin", "decoder.tflite", "decoder_edgetpu.tflite"}


def test_a_failing_compiler_costs_nothing_but_its_file(
        run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run_folder / "decoder_edgetpu.tflite").write_bytes(b"of an earlier decoder")
    fake_compiler(run_folder, "sys.exit('Internal compiler error. Aborting!')")
    assert quantize(run_folder).exists()
    assert "Internal compiler error" in capsys.readouterr().out
    assert not (run_folder / "decoder_edgetpu.tflite").exists()


def test_quantize_names_a_place_that_cannot_be_written(
        run_folder: Path, student: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    (run_folder / "decoder.tflite").mkdir()
    with pytest.raises(TetradError, match=r"cannot write .*decoder\.tflite"):
        quantize(run_folder)
    assert sorted(p.name for p in run_folder.iterdir()) == ["bin", "decoder.tflite"]


def test_a_student_that_would_not_map_fails_by_name(
        run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaky = of_layers((1, 2, 48, 9), lambda x: layers.LeakyReLU(0.1)(layers.Conv2D(4, 1)(x)))
    monkeypatch.setattr(sys.modules["train.distil"], "load_student", lambda run: leaky)
    with pytest.raises(TetradError, match=r"decoder\.tflite does not map whole.*op 1 LEAKY_RELU"):
        quantize(run_folder)
