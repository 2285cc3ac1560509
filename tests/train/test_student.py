import keras
import numpy as np
import pytest

from device import conditioning, synth
from train.student import StudentConfig, build_student, spectral_loss, synthesize

FRAMES = 32
TINY = StudentConfig(width=8, layers=4, cycle=2)


@pytest.mark.parametrize("pitch", [28, 60, 96])
def test_training_hears_what_the_device_plays(pitch: int) -> None:
    """With partials that are no harmonics, too."""
    random = np.random.default_rng(0)
    controls = random.uniform(0, 6, (2, FRAMES, synth.CONTROLS)).astype("f")
    cents = random.uniform(-80, 80, (1, synth.PARTIALS)).astype("f")
    played = synth.synthesize(synth.level(controls), pitch, synth.Excitation(cents, np.ones((2, 1), np.float32)))
    noise = synth.shared_noise_spectra(FRAMES, 0, 0)
    held = np.concatenate([controls, controls[:, -1:]], axis=1)
    step, ratios = synth.pitch_to_hz(pitch) / 16000, synth.ratios(cents)
    starts = np.mod(np.arange(FRAMES)[None, :, None] * 64 * step * ratios[:, None] + synth.PHASES_TURNS, 1)
    audible = ratios * synth.pitch_to_hz(pitch) < synth.HIGHEST_HZ
    trained = synthesize(held, *(x.astype("f") for x in (starts, np.full((1, FRAMES), step), ratios, audible)),
                         noise.real[None], noise.imag[None])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(trained), played, atol=2e-3 * np.abs(played).max())


def test_a_note_cut_into_rows_is_decoded_as_a_whole() -> None:
    keras.utils.set_random_seed(0)
    student, random = build_student(StudentConfig(width=8)), np.random.default_rng(0)
    track = random.normal(size=(250, conditioning.CHANNELS)).astype("f")
    rows = keras.ops.convert_to_numpy(student(conditioning.to_tensors([track[:90], track])))
    whole = keras.ops.convert_to_numpy(student(np.pad(track, [(20, 20), (0, 0)])[None, None]))[0, 0, 20:-20]
    np.testing.assert_allclose(conditioning.from_tensors(rows, [90, 250])[1], whole, atol=1e-4)
    assert whole.std() > 0.01


def test_training_computes_as_playing_does() -> None:
    """Its convolutions are products of their own there."""
    keras.utils.set_random_seed(0)
    student, x = build_student(TINY), np.random.default_rng(0).normal(size=(2, 2, 40, conditioning.CHANNELS))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(student(x.astype("f"), training=True)),
                               keras.ops.convert_to_numpy(student(x.astype("f"), training=False)), atol=1e-4)


def test_the_shipped_shape_reaches_no_further_than_the_margins() -> None:
    assert StudentConfig().reach_columns <= conditioning.MARGIN_COLUMNS


def test_the_shape_reaches_as_far_as_it_says() -> None:
    keras.utils.set_random_seed(0)
    student, x = build_student(TINY), np.zeros((1, 1, 61, conditioning.CHANNELS), np.float32)
    still = keras.ops.convert_to_numpy(student(x))
    x[0, 0, 30] = 1
    touched = np.flatnonzero(np.abs(keras.ops.convert_to_numpy(student(x)) - still)[0, 0].max(-1) > 1e-7)
    assert (touched[0], touched[-1]) == (30 - TINY.reach_columns, 30 + TINY.reach_columns)


LATER = np.full(1, -1.0, np.float32)  # the crop begins a second after its note


def test_what_nobody_hears_is_no_loss() -> None:
    """80 dB under a loud tone."""
    time = np.arange(8192) / 16000
    target = 0.7 * np.sin(2 * np.pi * 440 * time)[None].astype("f")
    hiss = np.random.default_rng(0).normal(size=(1, 8192)).astype("f")
    quiet, loud = (float(spectral_loss(target + gain * hiss, target, LATER)[0]) for gain in (3e-5, 3e-3))
    assert quiet < 0.1 < 0.5 < loud


def test_the_loss_falls_as_the_sound_comes_nearer() -> None:
    time = np.arange(8192) / 16000
    target = np.sin(2 * np.pi * 440 * time)[None].astype("f")
    losses = [float(spectral_loss(np.sin(2 * np.pi * 440 * time + 1)[None].astype("f") * gain, target, LATER)[0])
              for gain in (0.1, 0.5, 0.9, 1.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.08  # another phase is no loss


def test_the_onset_counts_for_more() -> None:
    """A burst in the first 50 ms of a note, and the same one 300 ms later."""
    target = np.zeros((1, 8192), np.float32)
    hiss = np.random.default_rng(0).normal(size=800).astype("f")
    losses = []
    for at in (1024, 1024 + 4800):
        decoded = target.copy()
        decoded[0, at : at + 800] += hiss
        losses.append(float(spectral_loss(decoded, target, np.full(1, 1024 / 16000, np.float32))[0]))
    assert losses[0] > 2 * losses[1] > 0
