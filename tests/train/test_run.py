"""Trainings that are killed, that find the disk full, that diverge: nothing is lost, and the curve is the same."""

import dataclasses
import json
import shutil
import signal
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from device.errors import TetradError
from tests.train import tiny, training
from tests.train.training import CONFIG, EPOCH_STEPS, curve
from train import autoencoder, notes, run
from train.config import config_from_file
from train.crops import Batches, Notes


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "EPOCH_STEPS", EPOCH_STEPS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_notes(tmp_path_factory.mktemp("notes") / "jsonwav", range(48, 54, 3))


@pytest.fixture(scope="module")
def record_file(folder: Path) -> Path:
    path = folder.parent / "notes.tfrecord"
    notes.write_tfrecord(path, notes.Jsonwav(folder))
    return path


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "EPOCH_STEPS", EPOCH_STEPS)
        path = tmp_path_factory.mktemp("runs") / "whole"
        autoencoder.train_autoencoder(Notes(folder), CONFIG, path)
    return path


def same(a: Path, b: Path) -> None:
    """Same steps and losses, and the same weights, to what processors' sums differ by."""
    assert curve(a) == pytest.approx(curve(b), abs=2e-4)
    for x, y in zip(autoencoder.load_autoencoder(a).decoder.get_weights(),
                    autoencoder.load_autoencoder(b).decoder.get_weights(), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-3)


# Kills itself at the nth file that takes its place: config.json is the 1st, then each epoch's are history.csv,
# encoder, decoder, and the state.
KILLED_AT_REPLACE = """
import os, signal
replaced, replace = [], os.replace
def killing(source, target):
    if "/run/" in str(target):
        replaced.append(target)
        if len(replaced) == {count}:
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killing
"""


@pytest.mark.full
@pytest.mark.parametrize(("count", "rows"), [(6, {5}), (7, {5, 10}), (9, {5, 10})])
def test_a_training_killed_while_it_saves_goes_on_as_if_it_had_not_been(folder, whole, tmp_path, count, rows):
    config = training.write_config(tmp_path / "tiny.json")
    arguments = ["--notes", folder, "--config", config, "--out", tmp_path / "run", "--examples", 0]
    status, _, _ = training.train(arguments, KILLED_AT_REPLACE.format(count=count))
    assert status == -signal.SIGKILL
    assert curve(tmp_path / "run").keys() == rows
    assert training.train(arguments)[0] == 0
    same(tmp_path / "run", whole)
    assert not list((tmp_path / "run").glob(".*"))  # what the kill left half-written


@pytest.mark.full
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_training_killed_within_an_epoch_goes_on_as_if_it_had_not_been(record_file, folder, tmp_path, precision):
    """From a TFRecord by three workers, where the other reads a jsonwav by one."""
    config = training.write_config(tmp_path / "tiny.json", precision=precision)
    whole = tmp_path / "whole"
    assert training.train(["--notes", folder, "--config", config, "--out", whole, "--workers", 1])[0] == 0
    arguments = ["--notes", record_file, "--config", config, "--out", tmp_path / "run", "--workers", 3]
    slow = "import time, train.run as r; end = r.Guard.on_train_batch_end\n" \
           "r.Guard.on_train_batch_end = lambda *a, **k: (time.sleep(0.3), end(*a, **k))"
    process = training.start(arguments, slow)
    assert process.stdout.readline().startswith("step 5")
    process.send_signal(signal.SIGKILL)  # within the second epoch
    process.communicate()
    assert curve(tmp_path / "run").keys() == {5}
    assert training.train(arguments)[0] == 0
    same(tmp_path / "run", whole)


@pytest.mark.full
def test_steps_that_float16_overflows_in_are_counted(folder, tmp_path, monkeypatch):
    """The loss scale falls, and the optimizer leaves the step out: the run goes on from the step all the same."""
    wrapped = keras.optimizers.LossScaleOptimizer.__init__
    monkeypatch.setattr(keras.optimizers.LossScaleOptimizer, "__init__",
                        lambda self, inner, **_: wrapped(self, inner, initial_scale=2.0**26))
    config = dataclasses.replace(CONFIG, precision="mixed_float16")
    autoencoder.train_autoencoder(Notes(folder), config, tmp_path / "whole")
    autoencoder.train_autoencoder(Notes(folder), dataclasses.replace(config, steps=5), tmp_path / "run")
    optimizers = []
    fit = keras.Model.fit
    monkeypatch.setattr(keras.Model, "fit", lambda self, *a, **k: (optimizers.append(self.optimizer),
                                                                   fit(self, *a, **k)))
    autoencoder.train_autoencoder(Notes(folder), config, tmp_path / "run")
    assert 0 < int(optimizers[0].iterations) < config.steps
    assert float(optimizers[0].dynamic_scale) < 2.0**26
    same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_and_leaves_float32_weights(folder, whole, tmp_path, precision):
    config = dataclasses.replace(CONFIG, precision=precision)
    seen = []
    logits = autoencoder.WaveNetAutoencoder.logits
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoencoder.WaveNetAutoencoder, "logits", lambda self, *a: (
            seen.append((self.decoder.get_layer("dilated_0").compute_dtype, logits(self, *a).dtype)),
            logits(self, *a))[1])
        trained = autoencoder.train_autoencoder(Notes(folder), config, tmp_path / "run")
    compute, output = seen[0]
    assert compute == precision.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(output) == "float32"  # a softmax of 8 bits would lose the tail
    losses = curve(tmp_path / "run")
    assert losses[15] < losses[5]
    assert losses == pytest.approx(curve(whole), abs=0.1)  # float16 leaves out the first steps, until its scale fits
    assert losses != curve(whole)
    assert keras.config.dtype_policy().name == "float32"
    assert {w.dtype for w in trained.decoder.get_weights()} == {np.dtype(np.float32)}
    assert trained.decoder.get_layer("dilated_0").compute_dtype == "float32"


def test_a_run_of_another_precision_is_refused(folder, whole):
    with pytest.raises(TetradError, match=r"another configuration \(precision\)"):
        autoencoder.train_autoencoder(Notes(folder), dataclasses.replace(CONFIG, precision="mixed_bfloat16"), whole)


def test_a_run_from_before_a_field_was_there_goes_on(folder, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    fields = json.loads(config.read_text())
    for name in ("precision", "gradient_norm", "initializer"):
        del fields[name]
    config.write_text(json.dumps(fields))
    assert autoencoder.config_of(tmp_path / "run") == CONFIG
    run.open_run(tmp_path / "run", CONFIG, autoencoder.KIND)
    with pytest.raises(TetradError, match="gradient_norm"):
        run.open_run(tmp_path / "run", dataclasses.replace(CONFIG, gradient_norm=0.0), autoencoder.KIND)


FULL_DISK = """
import resource, train.run
open_run = train.run.open_run
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
"""


def test_a_full_disk_is_one_line_and_the_state_before_still_loads(folder, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    config = training.write_config(tmp_path / "tiny.json", steps=20)
    arguments = ["--notes", folder, "--config", config, "--out", tmp_path / "run", "--examples", 0]
    status, _, error = training.train(arguments, FULL_DISK)
    assert status == 1, error
    assert error.startswith(f"tetrad: cannot write {tmp_path / 'run'}: File too large; the files before stay")
    after = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert after.keys() == before.keys()
    for name in ("encoder.weights.h5", "decoder.weights.h5", run.STATE):
        assert after[name] == before[name]
    assert training.train(arguments)[0] == 0
    assert list(curve(tmp_path / "run")) == [5, 10, 15, 20]


def test_a_loss_that_is_no_number_ends_the_training_and_the_state_stays(folder, whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    state = (tmp_path / "run" / run.STATE).read_bytes()
    config = dataclasses.replace(CONFIG, steps=25, learning_rates=((0, 9.9e20),))
    with pytest.raises(TetradError, match=r"run: .* at step 1[67]; the state of the last whole 5 steps stays"):
        autoencoder.train_autoencoder(Notes(folder), config, tmp_path / "run")
    assert (tmp_path / "run" / run.STATE).read_bytes() == state
    assert list(curve(tmp_path / "run")) == [5, 10, 15]


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    """A loss tells of the weights one step late, so an epoch may end between."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("adam")
    model.layers[0].set_weights([np.full((1, 1), np.nan), np.zeros(1)])
    recorder = run.Recorder(tmp_path, {"part": model})
    recorder.set_model(model)
    with pytest.raises(TetradError, match="the weights are no longer finite at step 5"):
        recorder.on_epoch_end(0, {"loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_rates_change_at_their_steps():
    """As in the reference: the new rate from that step on."""
    schedule = run.schedule(((0, 3.0), (10, 2.0), (20, 1.0)))
    assert [float(schedule(step)) for step in (0, 9, 10, 19, 20, 99)] == [3, 3, 2, 2, 1, 1]


@pytest.mark.parametrize(("norm", "wanted"), [(0.0, None), (2.5, 2.5)])
def test_gradients_are_clipped_where_the_configuration_says(norm, wanted):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    run.compile_trainer(model, ((0, 1e-3),), 0.9, norm)
    assert model.optimizer.global_clipnorm == wanted
    assert model.optimizer.epsilon == 1e-8


class Seen(keras.Model):
    """Trains nothing, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def call(self, inputs):
        return inputs["x"][:, 0]

    def train_step(self, data):
        self.seen.append(float(data[0]["x"][0, 0]))
        return {"loss": 0.0}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="looks at what an eager step is given")
def test_batches_come_in_the_order_of_the_steps_by_any_workers():
    """However the threads overtake each other."""
    def draw(random):
        value = random.integers(997)
        time.sleep(0.002 * (value % 5))
        return {"x": np.array([[value]], np.float32)}

    drawn = []
    for workers in (1, 4):
        model = Seen()
        model.compile(run_eagerly=True)
        model.fit(Batches(draw, 1, 0, 30, workers), epochs=3, steps_per_epoch=10, shuffle=False, verbose=0)
        drawn.append(list(model.seen))
    wanted = [float(np.random.default_rng((0, step)).integers(997)) for step in range(30)]
    assert drawn == [wanted, wanted]


TWO_PROCESSORS = """
import tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                           [tf.config.LogicalDeviceConfiguration()] * 2)
"""


@pytest.mark.full
def test_two_devices_of_tensorflow_train_as_one(folder, tmp_path):
    """Without clipping, which Keras does on each device's share there."""
    config = training.write_config(tmp_path / "tiny.json", gradient_norm=0.0)
    for count in (1, 2):
        arguments = ["--notes", folder, "--config", config, "--out", tmp_path / str(count), "--devices", count,
                     "--examples", 2]
        status, _, error = training.train(arguments, TWO_PROCESSORS, KERAS_BACKEND="tensorflow")
        assert status == 0, error
    same(tmp_path / "2", tmp_path / "1")


@pytest.mark.full
def test_two_devices_of_jax_train_as_one(folder, tmp_path):
    pytest.importorskip("jax")
    config = training.write_config(tmp_path / "tiny.json")
    for count in (1, 2):
        arguments = ["--notes", folder, "--config", config, "--out", tmp_path / str(count), "--devices", count,
                     "--examples", 2]
        status, _, error = training.train(arguments, KERAS_BACKEND="jax",
                                          XLA_FLAGS="--xla_force_host_platform_device_count=2")
        assert status == 0, error
    same(tmp_path / "2", tmp_path / "1")


def test_devices_that_are_not_there_or_do_not_fit_the_batch_are_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(TetradError, match="--devices 7: there are"):
        autoencoder.train_autoencoder(Notes(folder), CONFIG, tmp_path / "run", devices=7)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0", "gpu:1", "gpu:2"])
    with pytest.raises(TetradError, match="a batch of 2 cannot be shared evenly by 3 devices: give --devices 2"):
        autoencoder.train_autoencoder(Notes(folder), CONFIG, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_configuration_file_is_the_run_that_is_trained(tmp_path):
    assert config_from_file(training.write_config(tmp_path / "tiny.json")) == CONFIG


def test_a_run_goes_on_at_the_rate_it_is_given(folder, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    rates = []

    class Note(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoencoder, "monitors", lambda *_: [Note()])
        config = dataclasses.replace(CONFIG, steps=20, learning_rates=((0, 5e-4),))
        autoencoder.train_autoencoder(Notes(folder), config, tmp_path / "run")
    assert rates == pytest.approx([5e-4])
