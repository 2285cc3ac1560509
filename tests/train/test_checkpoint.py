"""Our model against the published one, whose checkpoint of random weights is imported."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tetrad
from device.errors import TetradError
from train import checkpoint, mulaw, reference
from train.autoencoder import load_autoencoder

v1 = tf.compat.v1
SAMPLES = 2048


def random_weights(session: v1.Session, seed: int) -> None:
    """Weights of a size that keeps activations alive, and biases that are not zero, where a lost one would not show."""
    random = np.random.default_rng(seed)
    for variable in v1.global_variables():
        shape = variable.shape.as_list()
        scale = 0.1 if len(shape) == 1 else (1.0 / np.prod(shape[:-1])) ** 0.5
        session.run(variable.initializer)
        variable.load(scale * random.standard_normal(shape), session)


@pytest.fixture(scope="module")
def published(reference_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A checkpoint that the reference wrote, and what it answers to random audio."""
    prefix = tmp_path_factory.mktemp("published") / "model.ckpt-7"
    audio = np.random.default_rng(1).uniform(-1, 1, (1, SAMPLES)).astype(np.float32)
    audio[:, SAMPLES // 2 :] *= 0.01  # soft sound, too: other mu-law steps
    with tf.Graph().as_default(), v1.Session() as session:
        wav = v1.placeholder(tf.float32, [1, SAMPLES])
        outputs = reference.load(reference_folder).Config(None).build({"wav": wav}, is_training=True)
        random_weights(session, 2)
        v1.train.Saver().save(session, str(prefix))
        found = session.run([outputs["encoding"], outputs["predictions"], outputs["quantized_input"]], {wav: audio})
    return {"prefix": prefix, "audio": audio, "embedding": found[0], "predictions": found[1], "codes": found[2]}


@pytest.fixture(scope="module")
def imported(published: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("imported") / "run"
    assert tetrad.main(["import-checkpoint", str(published["prefix"]), "--out", str(run)]) == 0
    return run


def test_embeddings_and_predictions_agree_with_the_reference(published: dict, imported: Path) -> None:
    autoencoder = load_autoencoder(imported)
    codes = mulaw.encode(published["audio"])
    np.testing.assert_array_equal(codes, published["codes"])
    samples = (codes / 128).astype(np.float32)[..., None]
    embedding = autoencoder.encoder(samples)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(embedding), published["embedding"], atol=1e-4)
    logits = autoencoder.logits(samples, embedding, np.zeros(1, np.int32))
    predictions = keras.ops.convert_to_numpy(keras.ops.softmax(logits))[0]
    np.testing.assert_allclose(predictions, published["predictions"], atol=1e-4)
    assert np.ptp(published["predictions"], axis=0).max() > 0.01  # they depend on the sound, or all would agree


def write_checkpoint(prefix: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A TensorFlow 1 checkpoint of these variables."""
    with tf.Graph().as_default(), v1.Session() as session:
        fed = {name: v1.placeholder(tf.float32, value.shape) for name, value in arrays.items()}
        variables = [v1.get_variable(name, initializer=value, use_resource=False) for name, value in fed.items()]
        session.run(v1.global_variables_initializer(), {fed[name]: value for name, value in arrays.items()})
        v1.train.Saver(variables).save(session, str(prefix), write_meta_graph=False)
    return prefix


def arrays_of(prefix: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_moving_averages_are_taken_where_they_are(published: dict, tmp_path: Path) -> None:
    arrays = arrays_of(published["prefix"])
    averages = {f"{name}/ExponentialMovingAverage": value for name, value in arrays.items()}
    raw = {name: value + 1 for name, value in arrays.items()}
    autoencoder = checkpoint.read(write_checkpoint(tmp_path / "both", averages | raw))
    kernel, bias = autoencoder.decoder.get_layer("dilated_29").get_weights()
    np.testing.assert_array_equal(kernel, arrays["dilatedconv_30/W"][0])
    np.testing.assert_array_equal(bias, arrays["dilatedconv_30/biases"])


@pytest.mark.parametrize("name", ["ae_res_30/biases", "cond_map_17/W"])
def test_a_missing_variable_is_named(published: dict, tmp_path: Path, name: str) -> None:
    arrays = arrays_of(published["prefix"])
    del arrays[name]
    with pytest.raises(TetradError, match=f"lacks the variable {name}"):
        checkpoint.read(write_checkpoint(tmp_path / "cut", arrays))


def test_another_shape_is_named(published: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = arrays_of(published["prefix"]) | {"skip_3/W": np.zeros((1, 1, 512, 128), np.float32)}
    prefix, run = write_checkpoint(tmp_path / "other", arrays), tmp_path / "run"
    assert tetrad.main(["import-checkpoint", str(prefix), "--out", str(run)]) == 1
    error = capsys.readouterr().err
    assert "skip_3/W has the shape [1, 1, 512, 128], not [1, 1, 512, 256]" in error
    assert error.count("\n") == 1
    assert not run.exists()


def test_the_unused_last_residual_layer_may_be_missing(published: dict, tmp_path: Path) -> None:
    arrays = {name: value for name, value in arrays_of(published["prefix"]).items() if not name.startswith("res_30/")}
    checkpoint.read(write_checkpoint(tmp_path / "without", arrays))


def test_nan_is_named(published: dict, tmp_path: Path) -> None:
    arrays = arrays_of(published["prefix"])
    arrays["logits/biases"][3] = np.nan
    with pytest.raises(TetradError, match="logits/biases holds NaN"):
        checkpoint.read(write_checkpoint(tmp_path / "nan", arrays))


def test_a_cut_checkpoint_is_refused(published: dict, tmp_path: Path) -> None:
    for file in published["prefix"].parent.glob("model.ckpt-7.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(TetradError, match=r"model\.ckpt-7"):
        checkpoint.read(tmp_path / "model.ckpt-7")


def test_a_checkpoint_may_be_named_by_its_index_or_its_folder(published: dict) -> None:
    prefix = published["prefix"]
    expected = tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
    for name in (prefix.with_name(f"{prefix.name}.index"), prefix.parent):
        assert checkpoint.Variables(name).shapes == expected


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "nothing", Path(__file__)):
        assert tetrad.main(["import-checkpoint", str(path), "--out", str(tmp_path / "run")]) == 1
        assert f"cannot read {path}" in capsys.readouterr().err


def test_a_run_is_not_written_over(published: dict, imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (imported / "decoder.weights.h5").stat().st_mtime_ns
    assert tetrad.main(["import-checkpoint", str(published["prefix"]), "--out", str(imported)]) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert (imported / "decoder.weights.h5").stat().st_mtime_ns == before
