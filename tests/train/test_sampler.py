"""The sampler against the whole network: its own arithmetic in float64, and Keras'."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import tetrad
from device.errors import TetradError
from tests.train import plain_wavenet, tiny
from train import _sampler, autoencoder, mulaw, sampler
from train.run import open_run, save_weights
from train.wavenet import CONFIGS, Config, WaveNetAutoencoder

# Which of the compiled kernels this processor runs.
RUNNABLE = ("avx512", "avx2", "plain")[("avx512", "avx2", "plain").index(_sampler.INSTRUCTIONS) :]
UNPITCHED = dataclasses.replace(tiny.CONFIG, pitch_dimensions=0)
LONG = dataclasses.replace(tiny.CONFIG, decoder_layers=9, decoder_cycle=8)  # dilations to 128: longer than a block


def perturbed(config: Config, seed: int = 1) -> WaveNetAutoencoder:
    """Biases start at zero, where a forgotten one would not be seen."""
    keras.utils.set_random_seed(seed)
    made, random = WaveNetAutoencoder(config), np.random.default_rng(seed)
    for layer in made.decoder.layers:
        layer.set_weights([w + 0.1 * random.standard_normal(w.shape) for w in layer.get_weights()])
    return made


def inputs(batch: int, samples: int, frames: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes [B, T], embeddings [B, F, 16], pitches [B]."""
    random = np.random.default_rng(seed)
    return (random.integers(-128, 128, (batch, samples), np.int16),
            random.normal(size=(batch, frames, 16)).astype("f"), random.integers(20, 110, batch))


def test_each_step_agrees_with_the_full_network_of_keras() -> None:
    made = perturbed(tiny.CONFIG)
    codes, embeddings, pitches = inputs(3, 1024, 2)
    whole = keras.ops.convert_to_numpy(made.logits((codes / 128).astype("f")[..., None], embeddings, pitches))
    found = sampler.Sampler(made, embeddings, pitches).predict(codes)
    np.testing.assert_allclose(found, whole, atol=1e-4)
    assert np.ptp(whole, axis=1).max() > 0.1  # it depends on the samples, or all would agree


@pytest.mark.parametrize("batch", [1, 3, 8, 13])
@pytest.mark.parametrize("threads", [1, 2])
def test_each_step_agrees_where_dilations_are_longer_than_a_block(batch: int, threads: int) -> None:
    made = perturbed(LONG)
    codes, embeddings, pitches = inputs(batch, 1200, 3)
    conditions = sampler.conditions_of(made, embeddings, pitches)
    whole = plain_wavenet.logits(LONG, plain_wavenet.weights_of(made), codes, conditions)
    stepper = sampler.Sampler(made, embeddings, pitches, threads=threads)
    pieces = np.split(codes, [1, 2, 100, 513, 700], axis=1)  # a call may end anywhere
    found = np.concatenate([stepper.predict(piece) for piece in pieces], axis=1)
    np.testing.assert_allclose(found, whole, atol=1e-4)


def test_the_published_configuration_without_a_pitch_agrees() -> None:
    made = perturbed(UNPITCHED)
    codes, embeddings, _ = inputs(2, 600, 2)
    whole = plain_wavenet.logits(UNPITCHED, plain_wavenet.weights_of(made), codes, embeddings)
    found = sampler.Sampler(made, embeddings, np.zeros(2)).predict(codes)
    np.testing.assert_allclose(found, whole, atol=1e-4)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_any_widths_layers_and_frames_agree(data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    config = dataclasses.replace(
        UNPITCHED, decoder_width=draw(1, 70), decoder_skip=draw(1, 70), decoder_layers=draw(1, 9),
        decoder_cycle=draw(1, 8), hop_samples=data.draw(st.sampled_from([1, 7, 48, 64, 512])))
    batch, channels, seed = draw(1, 11), draw(1, 20), draw(0, 1000)
    random, samples = np.random.default_rng(seed), 150
    weights = plain_wavenet.random_weights(config, channels, random)
    frames = -(-samples // config.hop_samples)
    conditions = random.standard_normal((batch, frames, channels), np.float32)
    codes = random.integers(-128, 128, (batch, samples), np.int16)
    made = _sampler.Wavenet(
        [array.ravel() for pair in weights.values() for array in pair], conditions, batch, frames, config.decoder_width,
        config.decoder_skip, config.decoder_layers, config.decoder_cycle, channels, config.hop_samples,
        instructions=data.draw(st.sampled_from(RUNNABLE)))
    found = np.empty((batch, samples, 256), "f")
    made.predict(codes, found, draw(1, 4))
    np.testing.assert_allclose(found, plain_wavenet.logits(config, weights, codes, conditions), atol=1e-4)


def test_a_pitch_may_change_from_frame_to_frame() -> None:
    made = perturbed(tiny.CONFIG)
    codes, embeddings, _ = inputs(2, 1536, 3)
    track = np.array([[40, 41, 40], [60, 60, 72.5]], "f")
    table = dict(zip(("vector", "dense"), (next(layer for layer in made.decoder.layers if layer.name == name)
                                           .get_weights()[0] for name in ("pitch_vector", "pitch_condition")),
                     strict=True))
    vectors = table["vector"][[[40, 41, 40], [60, 60, 72]]]
    vectors[1, 2] = (table["vector"][72] + table["vector"][73]) / 2
    conditions = np.concatenate([embeddings, vectors @ table["dense"]], axis=2)
    whole = plain_wavenet.logits(tiny.CONFIG, plain_wavenet.weights_of(made), codes, conditions)
    found = sampler.Sampler(made, embeddings, track).predict(codes)
    np.testing.assert_allclose(found, whole, atol=1e-4)
    steady = sampler.Sampler(made, embeddings, track[:, 0]).predict(codes)
    assert np.array_equal(found[:, :512], steady[:, :512])
    assert not np.allclose(found[:, 512:], steady[:, 512:], atol=1e-3)


def test_threads_do_not_change_a_bit() -> None:
    made = perturbed(dataclasses.replace(LONG, decoder_width=100, decoder_skip=70))
    codes, embeddings, pitches = inputs(3, 300, 1)
    one, two, five = (sampler.Sampler(made, embeddings, pitches, threads=n).predict(codes) for n in (1, 2, 5))
    assert np.array_equal(one, two)
    assert np.array_equal(one, five)


@pytest.mark.parametrize("instructions", RUNNABLE)
def test_a_note_is_the_same_alone_and_in_a_batch(instructions: str) -> None:
    made = perturbed(dataclasses.replace(LONG, decoder_width=100, decoder_skip=70))
    codes, embeddings, pitches = inputs(13, 300, 1)
    together = sampler.Sampler(made, embeddings, pitches, instructions=instructions).predict(codes)
    for n in (0, 12):
        one = slice(n, n + 1)
        alone = sampler.Sampler(made, embeddings[one], pitches[one], instructions=instructions).predict(codes[one])
        assert np.array_equal(alone[0], together[n])


@pytest.mark.parametrize("instructions", RUNNABLE)
def test_gates_are_within_their_error(instructions: str) -> None:
    x = np.random.default_rng(0).normal(scale=6, size=(20_000, 2, 16)).astype("f")
    x[0, :, :5] = [[0, -200, 200, np.inf, -np.inf], [0, 200, -200, np.inf, 1e-30]]
    gated = np.empty((20_000, 16), "f")
    _sampler.gate(x, gated, instructions)
    with np.errstate(over="ignore"):
        exact = np.tanh(x[:, 1].astype("d")) / (1 + np.exp(-x[:, 0].astype("d")))
    assert np.abs(gated - exact).max() < 3e-7
    x[3, 0, 7] = x[4, 1, 8] = np.nan
    _sampler.gate(x, gated, instructions)
    assert np.argwhere(np.isnan(gated)).tolist() == [[3, 7], [4, 8]]


def predicting(logits: np.ndarray) -> WaveNetAutoencoder:
    """An autoencoder that predicts the same whatever it hears."""
    made = WaveNetAutoencoder(UNPITCHED)
    for layer in made.decoder.layers:
        layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    layer = made.decoder.get_layer("logits")
    layer.set_weights([layer.get_weights()[0], logits])
    return made


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 0.75), (0.5, 0.9), (2.0, 0.634)])
def test_draws_follow_the_predicted_distribution(temperature: float, share: float) -> None:
    logits = np.full(256, -60.0)
    logits[10], logits[200] = np.log(0.25), np.log(0.75)
    codes = sampler.generate(predicting(logits), np.zeros((100, 1, 16)), np.zeros(100), 200, 2, temperature)
    assert set(codes.ravel()) == {10 - 128, 200 - 128}
    assert abs(np.mean(codes == 72) - share) < 0.015  # 5 standard deviations


def test_draws_are_even_and_independent() -> None:
    codes = sampler.generate(predicting(np.zeros(256)), np.zeros((64, 2, 16)), np.zeros(64), 1000, seed=3)
    counts = np.bincount(codes.ravel() + 128, minlength=256)
    squares = np.sum((counts - 250.0) ** 2 / 250)  # chi-squared of 255 degrees of freedom: 255 +- 22.6
    assert 255 - 5 * 22.6 < squares < 255 + 5 * 22.6
    x = codes / 73.9
    for later, earlier in ((x[:, 1:], x[:, :-1]), (x[1:], x[:-1])):  # of samples, and of notes
        assert abs(np.mean(later * earlier)) < 5 / np.sqrt(later.size)


def test_generation_is_repeatable_and_follows_the_seed() -> None:
    made = perturbed(tiny.CONFIG, 3)
    arguments = made, np.zeros((2, 1, 16), "f"), np.array([60, 60]), 256
    first = sampler.generate(*arguments, seed=5)
    assert first.shape == (2, 256)
    assert first.dtype == np.int16
    assert np.array_equal(first, sampler.generate(*arguments, seed=5, threads=2))
    assert not np.array_equal(first, sampler.generate(*arguments, seed=6))
    assert not np.array_equal(first[0], first[1])


def test_a_sound_in_pieces_is_the_sound_in_one() -> None:
    made, advanced = perturbed(LONG), list[float]()
    embeddings, pitches = inputs(2, 1, 3)[1:]
    whole = sampler.Sampler(made, embeddings, pitches, seed=4).generate(1234)
    assert np.array_equal(whole, sampler.generate(made, embeddings, pitches, 1234, 4, advance=advanced.append))
    assert sum(advanced) == 1234
    assert len(advanced) > 5


def test_what_is_drawn_is_what_is_heard_next() -> None:
    made = perturbed(LONG)
    embeddings, pitches = inputs(2, 1, 2)[1:]
    codes = sampler.Sampler(made, embeddings, pitches, temperature=1e-3).generate(600)
    predicted = sampler.Sampler(made, embeddings, pitches).predict(codes)
    assert np.mean(predicted.argmax(-1) - 128 == codes) > 0.9  # so cold that the likeliest is drawn


def test_numbers_that_are_none_are_refused_by_name() -> None:
    made, embeddings = perturbed(tiny.CONFIG), np.zeros((1, 2, 16), "f")
    with pytest.raises(TetradError, match=r"a pitch is out of MIDI's range"):
        sampler.Sampler(made, embeddings, np.array([128]))
    embeddings[0, 1, 3] = np.nan
    with pytest.raises(TetradError, match=r"an embedding holds NaN"):
        sampler.Sampler(made, embeddings, np.array([60]))
    layer = made.decoder.get_layer("skip_2")
    kernel, bias = layer.get_weights()
    layer.set_weights([np.full_like(kernel, 1e30), bias])
    made.decoder.get_layer("out").set_weights([np.full((1, 7, 7), 1e30), np.zeros(7)])
    with pytest.raises(TetradError, match=r"predictions are no numbers"):
        sampler.generate(made, np.ones((1, 2, 16), "f"), np.array([60]), 10)
    kernel[0, 0, 0] = np.inf
    layer.set_weights([kernel, bias])
    with pytest.raises(TetradError, match=r"skip_2 holds NaN or infinite weights"):
        sampler.Sampler(made, np.zeros((1, 2, 16), "f"), np.array([60]))


def test_wrong_arrays_are_refused_before_anything_is_read() -> None:
    made = perturbed(tiny.CONFIG)
    stepper = sampler.Sampler(made, np.zeros((2, 1, 16), "f"), np.array([60, 60]))
    with pytest.raises(ValueError, match="more than the 512 that are left"):
        stepper.generate(513)
    with pytest.raises(ValueError, match="codes"):
        stepper.predict(np.zeros((3, 4), np.int16))
    arrays, frames = [np.zeros(8, "f")] * 4, np.zeros((1, 1, 16), "f")
    with pytest.raises(ValueError, match="arrays of weights are wanted, not 4"):
        _sampler.Wavenet(arrays, frames, 1, 1, 8, 8, 1, 1, 16, 512)
    with pytest.raises(ValueError, match="an array of weights has a wrong type or shape"):
        _sampler.Wavenet(arrays * 4, frames, 1, 1, 8, 8, 1, 1, 16, 512)
    with pytest.raises(ValueError, match=r"cycle must be 1\.\.20"):
        _sampler.Wavenet(arrays, frames, 1, 1, 8, 8, 1, 40, 16, 512)


def test_large_networks_are_shared_between_processors_and_small_ones_are_not() -> None:
    assert sampler.best_threads(CONFIGS["small"], 1) == 1
    assert sampler.best_threads(CONFIGS["nsynth"], 1) == min(sampler.processors(), 3)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    made = perturbed(tiny.CONFIG)
    open_run(folder, tiny.CONFIG, autoencoder.KIND)
    save_weights(made.encoder, folder / "encoder.weights.h5")
    save_weights(made.decoder, folder / "decoder.weights.h5")
    return folder


def write_embedding(path: Path, frames: int) -> str:
    np.save(path, np.random.default_rng(frames).normal(size=(frames, 16)).astype("f"))
    return str(path)


def test_the_command_writes_what_the_sampler_draws(run_folder: Path, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    path, wav = write_embedding(tmp_path / "bell_60.npy", 3), tmp_path / "bell.wav"
    arguments = ["generate", path, "--run", str(run_folder), "--out", str(wav), "--seed", "7", "--temperature", "0.8"]
    assert tetrad.main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["wav"] == str(wav)
    assert told["seconds"] == 3 * 512 / 16000
    audio, rate_hz = soundfile.read(wav)
    codes = sampler.generate(perturbed(tiny.CONFIG), np.load(path)[None], np.array([60]), 1536, 7, 0.8)
    assert rate_hz == 16000
    np.testing.assert_allclose(audio, mulaw.decode(codes[0]), atol=2 / 32768)
    assert tetrad.main([*arguments, "--pitch", "60@0,72@0.05"]) == 0
    changed, _ = soundfile.read(wav)
    assert np.array_equal(changed[:1024], audio[:1024])
    assert not np.array_equal(changed[1024:], audio[1024:])


def test_several_embeddings_are_a_batch_each_of_its_own_length(run_folder: Path, tmp_path: Path) -> None:
    paths = [write_embedding(tmp_path / f"{name}.npy", frames) for name, frames in (("a_50", 1), ("b_62", 3))]
    out = tmp_path / "out"
    assert tetrad.main(["generate", *paths, "--run", str(run_folder), "--out", str(out)]) == 0
    assert [len(soundfile.read(out / f"{name}.wav")[0]) for name in ("a_50", "b_62")] == [512, 1536]
    assert tetrad.main(["generate", paths[0], "--run", str(run_folder), "--out", str(tmp_path / "a.wav")]) == 0
    assert (tmp_path / "a.wav").read_bytes() == (out / "a_50.wav").read_bytes()


def test_the_shipped_run_plays(tmp_path: Path) -> None:
    path, wav = write_embedding(tmp_path / "x.npy", 4), tmp_path / "x.wav"
    assert tetrad.main(["generate", path, "--pitch", "60", "--out", str(wav)]) == 0
    audio, _ = soundfile.read(wav)
    assert len(audio) == 2048
    assert 0.001 < np.sqrt(np.mean(audio**2)) < 0.9


def test_bad_input_is_told_in_one_line(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*arguments: str, out: str = "x.wav") -> str:
        assert tetrad.main(["generate", *arguments, "--out", str(tmp_path / out)]) == 1
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line.startswith("tetrad: ")
        return line

    plain, run = write_embedding(tmp_path / "plain.npy", 2), ["--run", str(run_folder)]
    assert "no pitch in its name" in told(plain, *run)
    np.save(tmp_path / "nan_60.npy", np.full((2, 16), np.nan, "f"))
    assert "nan_60.npy holds NaN" in told(str(tmp_path / "nan_60.npy"), *run)
    assert "no such file" in told(str(tmp_path / "none_60.npy"), *run)
    assert "not a training run" in told(plain, "--pitch", "60", "--run", str(tmp_path))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"kind": "baseline"}')
    assert "holds no WaveNet autoencoder" in told(plain, "--pitch", "60", "--run", str(tmp_path / "other"))
    (tmp_path / "again").mkdir()
    again = write_embedding(tmp_path / "again" / "plain.npy", 2)
    assert "two embeddings are called plain" in told(plain, again, "--pitch", "60", *run, out="folder")
    assert not (tmp_path / "folder").exists()
    assert "begins at 9 s" in told(plain, "--pitch", "60@0,62@9", *run)
