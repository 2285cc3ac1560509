import keras
import numpy as np
import pytest

from device import conditioning, synth
from train.student import StudentConfig, build_student, spectral_loss, synthesize

FRAMES = 32
TINY = StudentConfig(width=8, layers=4, cycle=3)


@pytest.mark.parametrize("pitch", [28, 60, 96])
def test_training_hears_what_the_device_plays(pitch: int) -> None:
    controls = np.random.default_rng(0).uniform(0, 6, (2, FRAMES, synth.CONTROLS)).astype("f")
    played = synth.synthesize(synth.level(controls), pitch)
    noise = synth.shared_noise_spectra(FRAMES)
    held = np.concatenate([controls, controls[:, -1:]], axis=1)
    trained = synthesize(held, synth.turns(pitch, 0, FRAMES * 64)[None], synth.audible(pitch)[None],
                         noise.real[None], noise.imag[None])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(trained), played, atol=2e-3 * np.abs(played).max())


def test_a_note_cut_into_rows_is_decoded_as_a_whole() -> None:
    keras.utils.set_random_seed(0)
    student, random = build_student(StudentConfig(width=8)), np.random.default_rng(0)
    track = random.normal(size=(1000, conditioning.CHANNELS)).astype("f")
    rows = keras.ops.convert_to_numpy(student(conditioning.to_tensors(track)))
    whole = keras.ops.convert_to_numpy(student(np.pad(track, [(64, 64), (0, 0)])[None, None]))[0, 0, 64:-64]
    np.testing.assert_allclose(conditioning.from_tensors(rows, 1000), whole, atol=1e-4)
    assert whole.std() > 0.01


def test_the_shipped_shape_reaches_no_further_than_the_margins() -> None:
    assert StudentConfig().reach_frames <= conditioning.MARGIN_FRAMES


def test_the_loss_falls_as_the_sound_comes_nearer() -> None:
    time = np.arange(8192) / 16000
    target = np.sin(2 * np.pi * 440 * time)[None].astype("f")
    losses = [float(spectral_loss(np.sin(2 * np.pi * 440 * time + 1)[None].astype("f") * gain, target)[0])
              for gain in (0.1, 0.5, 0.9, 1.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.08  # another phase is no loss
