import json
from pathlib import Path

import numpy as np
import pytest

import tetrad
from train import bench_generate, checkpoint
from train.sampler import Sampler, layers_of
from train.wavenet import CONFIGS, WaveNetAutoencoder


def test_the_shipped_run_is_faster_than_real_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert tetrad.main(["bench", "generate", "--configs", "small", "--seconds", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["config"] == "small"
    assert row["threads"] == row["batch"] == 1
    assert row["ratio"] is row["reference_samples_per_s"] is row["fraction_of_bandwidth"] is None
    assert row["x_realtime"] == row["samples_per_s"] / 16000 > 1
    assert 0 < row["fraction_of_arithmetic"] < 1


def test_multiply_adds_are_the_kernels_that_a_sample_meets() -> None:
    decoder = WaveNetAutoencoder(CONFIGS["small"]).decoder
    met = [name for name in layers_of(CONFIGS["small"]) if not name.startswith("condition")]
    kernels = sum(int(np.prod(decoder.get_layer(name).get_weights()[0].shape)) for name in met)
    read, multiplied = bench_generate.step_weights(CONFIGS["small"])
    assert multiplied == kernels
    assert read < multiplied


def test_bad_use_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in ((["--batches", "0"], "no whole number"), (["--configs", "large"], "no configuration")):
        with pytest.raises(SystemExit) as error:
            tetrad.main(["bench", "generate", *arguments])
        assert error.value.code == 2
        assert told in capsys.readouterr().err


@pytest.mark.full
def test_without_the_reference_the_ratio_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "generate", "--configs", "nsynth", "--batches", "1", "--seconds", "1", "--reference",
                 str(tmp_path), "--json"]
    assert tetrad.main(arguments) == 0
    printed = capsys.readouterr()
    (row,) = json.loads(printed.out)["rows"]
    assert row["ratio"] is None
    assert row["samples_per_s"] > 1
    assert 0 < row["fraction_of_bandwidth"] < 1.2  # of what other processes left of it
    assert "pip install" in printed.err


@pytest.mark.full
def test_the_reference_predicts_the_same_at_every_step(reference_folder: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "model.ckpt-0"
    bench_generate.write_checkpoint(reference_folder, prefix)
    autoencoder = checkpoint.read(prefix)
    random, batch, samples = np.random.default_rng(4), 2, 300
    embedding = random.standard_normal((batch, 16)).astype(np.float32)
    codes = random.integers(-128, 128, (batch, samples), np.int16)
    theirs = bench_generate.Reference(reference_folder, prefix, batch, threads=1).probabilities(codes, embedding)
    for threads in (1, 2):
        sampler = Sampler(autoencoder, embedding[:, None], np.zeros(batch), threads=threads)
        logits = sampler.predict(codes).astype(np.float64)
        ours = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.ptp(theirs, axis=1).max() > 0.01  # they depend on the sound, or all would agree


@pytest.mark.full
def test_the_bench_holds_ours_against_the_reference(reference_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tetrad.main(["bench", "generate", "--configs", "nsynth", "--batches", "1", "--seconds", "5", "--reference",
                        str(reference_folder), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["ratio"] > 1
    assert row["largest_difference"] < 1e-4
