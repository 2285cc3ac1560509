import json

import numpy as np
import pytest

import tetrad
from train import bench_train, checkpoint, reference


def test_steps_are_timed_in_turn_after_one_that_warms_up(monkeypatch):
    now_s, taken = [0.0], []
    monkeypatch.setattr(bench_train.time, "perf_counter", lambda: now_s[0])

    def step(name, seconds):
        durations = iter(seconds)

        def run():
            taken.append(name)
            now_s[0] += next(durations)
            return 0.0

        return run

    steps = {"ours": step("ours", [50, 1, 2, 9]), "reference": step("reference", [60, 4, 7, 5])}
    assert bench_train.in_turn(steps, 3) == {"ours": 2, "reference": 5}
    assert taken == ["ours", "reference"] * 4


def test_the_bench_prints_rates_and_their_ratio(monkeypatch, capsys):
    monkeypatch.setattr(bench_train.reference, "load", lambda folder: None)
    monkeypatch.setattr(bench_train, "reference_step", lambda module, wav: lambda: 0.0)
    monkeypatch.setattr(bench_train, "WaveNetAutoencoder", lambda config: None)
    monkeypatch.setattr(bench_train, "our_step", lambda autoencoder, wav: lambda: 0.0)
    monkeypatch.setattr(bench_train, "in_turn", lambda steps, count: {"ours": 0.5, "reference": 2.0})
    assert tetrad.main(["bench", "train", "--crop", "1024", "--batch", "2", "--steps", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "config": "nsynth", "crop_samples": 1024, "batch": 2, "steps": 4, "steps_per_s": 2.0,
        "reference_steps_per_s": 0.5, "ratio": 4.0}


def test_a_crop_that_is_no_multiple_of_the_hop_is_refused(capsys):
    assert tetrad.main(["bench", "train", "--crop", "1000"]) == 1
    assert "--crop 1000 is no multiple of 512" in capsys.readouterr().err


@pytest.mark.full
def test_from_the_same_weights_both_train_alike(reference_folder, tmp_path):
    """Loss, gradients, Adam and its rate are those of the reference: so each step's loss is."""
    wav = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 1024)).astype(np.float32)
    published = bench_train.reference_step(reference.load(reference_folder), wav, tmp_path / "first")
    ours = bench_train.our_step(checkpoint.read(tmp_path / "first"), wav)
    losses = np.array([(ours(), published()) for _ in range(4)])
    np.testing.assert_allclose(losses[0, 0], losses[0, 1], rtol=1e-5)
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-3)
    assert losses[3, 0] < losses[0, 0] / 2
