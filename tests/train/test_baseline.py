"""The spectral autoencoder: its shapes and spectrograms beside the reference's, and its training on tiny notes."""

import csv
import dataclasses
import functools
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tetrad
from device.errors import TetradError
from tests.train import tiny
from train import baseline, crops, reference, run
from train.measure import log_mel_distance_db

CONFIG = baseline.BaselineConfig(
    name="tiny", encoder_channels=(2, 2, 3, 3, 4, 4, 4, 5, 5), decoder_channels=(5, 5, 4, 4, 4, 3, 3, 2, 2), hidden=6,
    embedding=7, pitch_dimensions=3, norm_momentum=0.5, batch=2, learning_rates=((0, 1e-2),), adam_beta_1=0.5,
    gradient_norm=1.0, average_decay=0.5, steps=12,
)  # fmt: skip


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> crops.Notes:
    return crops.Notes(tiny.write_notes(tmp_path_factory.mktemp("notes") / "jsonwav"))


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "EPOCH_STEPS", 4)


@pytest.fixture(scope="module")
def trained(notes: crops.Notes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "EPOCH_STEPS", 4)
        folder = tmp_path_factory.mktemp("runs") / "baseline"
        baseline.train_baseline(notes, CONFIG, folder)
    return folder


def losses(folder: Path) -> list[float]:
    with (folder / "history.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def published_parameters() -> int:
    """Counted by hand from the paper's layers: filters without biases, an offset a channel of each normalisation."""
    down = [(5, 1, 128), (4, 128, 128), (4, 128, 128), (4, 128, 256), (4, 256, 256), (4, 256, 256), (4, 256, 512),
            (4, 512, 512), (4, 512, 512), (1, 512, 1024), (1, 1024, 1984)]
    up = [(1, 1984 + 128, 1024), (4, 1024, 512), (4, 512, 512), (4, 512, 256), (4, 256, 256), (4, 256, 256),
          (4, 256, 128), (4, 128, 128), (5, 128, 128), (5, 128, 128)]
    filters = sum(side * side * before * after + after for side, before, after in down + up)
    return filters + 128 * 128 + (128 + 1)  # the pitches' vectors, and the last layer with its bias


def test_the_published_size_has_the_published_parameters() -> None:
    parts = baseline.Baseline(baseline.CONFIGS["nsynth"])
    counted = sum(int(np.prod(v.shape)) for part in (parts.encoder, parts.decoder) for v in part.trainable_variables)
    assert counted == published_parameters()
    assert parts.encoder.output_shape == (None, 1, 1, 1984)
    assert parts.decoder.output_shape == (None, 512, 256, 1)


@pytest.mark.full
def test_the_reference_of_the_same_weights_gives_the_same_numbers(reference_folder: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    config = reference.load(reference_folder, "baseline.models.ae_configs.nfft_1024")
    # The same normalisation by the way that asks for no further package, and what later TensorFlows moved.
    slim = config.utils.slim
    monkeypatch.setattr(sys.modules["tensorflow.python.framework.ops"], "Tensor", tf.Tensor, raising=False)
    monkeypatch.setattr(slim, "batch_norm", functools.partial(slim.batch_norm, updates_collections=None))
    picture = baseline.spectrograms(tiny.note_audio(60, 0.7)[None])[..., None]
    hparams, random = type("Parameters", (), {"num_latent": 1984}), np.random.default_rng(0)
    values: dict[str, np.ndarray] = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        z = config.encode(tf.constant(picture), hparams, is_training=False)
        again = config.decode(z, {"pitch": tf.constant([[60]])}, hparams, is_training=False)
        session.run(tf.compat.v1.global_variables_initializer())
        trainable = tf.compat.v1.trainable_variables()
        assert sum(int(np.prod(v.shape)) for v in trainable) == published_parameters()
        for variable in tf.compat.v1.global_variables():
            value = session.run(variable)
            if "BatchNorm" in variable.op.name:  # no statistic stays 0 or 1
                value = random.uniform(0.1, 0.3, value.shape).astype("f") * (value + 0.1)
                variable.load(value, session)
            values[variable.op.name] = value
        wanted_z, wanted = session.run([z, again])
    parts = baseline.Baseline(baseline.CONFIGS["nsynth"])
    for name, part in (("encoder", parts.encoder), ("decoder", parts.decoder)):
        part.set_weights(in_order_of(part, [v for key, v in values.items() if key.startswith(f"{name}/")]))
    found_z = parts.encoder.predict(picture, verbose=0)
    np.testing.assert_allclose(found_z, wanted_z, atol=1e-3 * np.abs(wanted_z).max())
    found = baseline.decode(parts, found_z[:, 0, 0], np.array([60]))
    np.testing.assert_allclose(found, wanted[..., 0], rtol=0, atol=0.01 * np.std(wanted))
    assert np.std(wanted) > 1e-3


def in_order_of(part: keras.Model, values: list[np.ndarray]) -> list[np.ndarray]:
    """The reference's values in the order of our weights: the first unused one of each shape."""
    left = list(values)
    ordered = []
    for weight in part.weights:
        at = next(i for i, value in enumerate(left) if value.shape == tuple(weight.shape))
        ordered.append(left.pop(at))
    assert not left
    return ordered




@pytest.mark.full
def test_spectrograms_and_loss_are_weighted_as_the_references(reference_folder: Path) -> None:
    import tensorflow as tf

    utils = reference.load(reference_folder, "utils")
    audio = tiny.note_audio(52, 0.8)
    theirs = utils.specgram(audio, n_fft=1024, hop_length=256, mask=True, log_mag=True, re_im=False, dphase=True,
                            mag_only=True)
    ours = baseline.spectrograms(audio[None])[0]
    np.testing.assert_allclose(ours[:, :251], np.reshape(theirs, (513, 251))[:512], atol=1e-5)
    assert not ours[:, 251:].any()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        weights = session.run(utils.frequency_weighted_cost_mask(10.0, hz_flat=4000, n_fft=1024))
    np.testing.assert_allclose(baseline.loss_weights(), weights[0, :, 0], rtol=1e-5)


def test_a_spectrogram_spans_120_db_under_its_peak() -> None:
    time_s = np.arange(64_000) / 16_000
    loud, soft = np.sin(2 * np.pi * 1000 * time_s), 1e-3 * np.sin(2 * np.pi * 3000 * time_s)
    for gain in (1.0, 0.01):
        picture = baseline.spectrograms((gain * (loud + soft)).astype(np.float32)[None])
        assert picture.shape == (1, 512, 256)
        assert picture[0, 64, 100] == pytest.approx(1, abs=1e-3)
        assert picture[0, 192, 100] == pytest.approx(1 - 60 / 120, abs=1e-3)
        assert picture.min() == 0
    assert not baseline.spectrograms(np.zeros((1, 64_000), np.float32)).any()


def test_low_frequencies_weigh_ten_times_as_much_as_those_from_4_khz() -> None:
    weights = baseline.loss_weights()
    assert weights.shape == (512,)
    assert weights[[0, 255, 256, 511]].tolist() == [10, 1, 1, 1]
    assert weights[128] == pytest.approx(5.5, abs=0.05)


def test_a_true_magnitude_gives_its_sound_back() -> None:
    audio = np.stack([tiny.note_audio(pitch, 0.7) for pitch in (48, 65)])
    again = baseline.sounds(baseline.spectrograms(audio), iterations=30)
    assert again.shape == audio.shape
    assert np.abs(again).max(axis=1) == pytest.approx([0.7, 0.7], abs=1e-3)
    distances = [log_mel_distance_db(a, b) for a, b in zip(again, audio, strict=True)]
    noise = np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)
    assert max(distances) < 0.5 < 5.0 < log_mel_distance_db(noise, audio[0])
    np.testing.assert_array_equal(baseline.sounds(baseline.spectrograms(audio), 3, seed=1)[1:],
                                  baseline.sounds(baseline.spectrograms(audio[1:]), 3, seed=1))


def test_it_learns_and_its_command_resumes_to_the_same_curve(notes: crops.Notes, trained: Path, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    curve = losses(trained)
    assert curve[-1] < 0.95 * curve[0]
    monkeypatch.setitem(baseline.CONFIGS, "small", CONFIG)
    for steps in ("4", "12"):
        assert tetrad.main(["train", "baseline", "--notes", str(notes.source.folder), "--out", str(tmp_path / "run"),
                            "--steps", steps]) == 0
    assert losses(tmp_path / "run") == pytest.approx(curve, abs=2e-4)
    whole, resumed = baseline.load_baseline(trained), baseline.load_baseline(tmp_path / "run")
    for part in ("encoder", "decoder"):
        for a, b in zip(getattr(whole, part).weights, getattr(resumed, part).weights, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3, err_msg=a.path)


def test_a_run_holds_the_statistics_of_its_normalisation(trained: Path) -> None:
    loaded = baseline.load_baseline(trained)
    fresh = baseline.Baseline(CONFIG)
    for part in ("encoder", "decoder"):
        moving = [v for v in getattr(loaded, part).weights if "moving" in v.path]
        begun = [v for v in getattr(fresh, part).weights if "moving" in v.path]
        assert len(moving) == 20 if part == "decoder" else 22
        assert all(not np.allclose(a, b) for a, b in zip(moving, begun, strict=True))


def test_a_note_is_embedded_and_reconstructed_whatever_stands_beside_it(notes: crops.Notes, trained: Path) -> None:
    loaded = baseline.load_baseline(trained)
    audio = np.stack([notes.audio(note) for note in notes.notes[:3]])
    pitches = np.array([note.pitch for note in notes.notes[:3]])
    together = baseline.embed(loaded, audio)
    assert together.shape == (3, 7)
    np.testing.assert_allclose(baseline.embed(loaded, audio[1:2])[0], together[1], atol=1e-4)
    again = baseline.reconstruct(loaded, audio, pitches, iterations=2)
    assert again.shape == audio.shape
    assert np.isfinite(again).all()
    higher = baseline.decode(loaded, together, pitches + 1)
    assert not np.allclose(higher, baseline.decode(loaded, together, pitches))  # the pitch is heard


def test_held_back_notes_are_not_learned_from(notes: crops.Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "HELD_BACK", 3)
    some = crops.Notes(notes.source.folder)
    drawn = []
    monkeypatch.setattr(some, "audio", lambda note: drawn.append(note.note_str) or notes.audio(note))
    for batch in range(20):
        baseline.baseline_batches(some, dataclasses.replace(CONFIG, steps=20), 0)[batch]
    assert len(drawn) >= 40  # some are prepared ahead
    assert not any(crops.is_held_back(name) for name in drawn)


def test_what_is_no_run_of_a_baseline_is_refused_by_name(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(TetradError, match=r"config\.json: not a training run"):
        baseline.load_baseline(tmp_path)
    data = (trained / "config.json").read_text()
    (tmp_path / "config.json").write_text(data.replace('"hidden"', '"hiden"'))
    with pytest.raises(TetradError, match="fields missing or unknown: hidden, hiden"):
        baseline.load_baseline(tmp_path)
    (tmp_path / "config.json").write_text(data)
    (tmp_path / "encoder.weights.h5").write_bytes((trained / "encoder.weights.h5").read_bytes()[:2000])
    with pytest.raises(TetradError, match=r"encoder\.weights\.h5: not this model's weights"):
        baseline.load_baseline(tmp_path)
