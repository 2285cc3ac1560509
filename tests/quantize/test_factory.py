"""The shipped decoder against the run that it comes from."""

import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

from device import conditioning
from device.analysis import analyse
from device.bake import GRID
from device.decoder import FACTORY_DECODER, Decoder
from device.encoder import Encoder
from device.preset import Preset, corner_weights
from device.synth import Excitation
from quantize.check import check
from tests.train.tiny import note_audio
from train.distil import Trained, embed, load_trained
from train.measure import log_mel_distance_db
from train.reconstruct import excitation_of, float_student
from train.sampler import FACTORY_RUN


@pytest.fixture(scope="module")
def trained() -> Trained:
    return load_trained(FACTORY_RUN)


def test_the_shipped_decoder_maps_whole() -> None:
    report = check(FACTORY_DECODER.read_bytes())
    assert report.maps
    assert report.size_bytes < 6e6


@pytest.mark.parametrize(("pitch", "brightness"), [(40, 0.9), (60, 0.6), (76, 0.3)])
def test_int8_is_within_half_a_decibel_of_float(trained: Trained, pitch: int, brightness: float) -> None:
    recording = note_audio(pitch, brightness) * 1.4
    embedding = embed(trained.autoencoder, recording)
    excitation = excitation_of(analyse(recording, pitch))
    floats = float_student(trained.student, embedding, pitch, excitation)
    ints = Decoder().decode(embedding[None], pitch, excitation)[0]
    near, far = log_mel_distance_db(floats, recording), log_mel_distance_db(ints, recording)
    assert abs(far - near) < 0.5
    assert log_mel_distance_db(ints, floats) < 1.0


@pytest.mark.parametrize("path", sorted(FACTORY_DECODER.parent.glob("*.tetrad")), ids=lambda path: path.stem)
def test_half_way_between_cells_a_crossfade_is_near_the_exact_decode(path: Path) -> None:
    preset, decoder, distances = Preset.read(path), Decoder(), []
    for pitch in (44, 60, 76):
        for cell in range(GRID - 1):
            places = [(cell + share) / (GRID - 1) for share in (0, 0.5, 1)]
            weights = np.stack([corner_weights(x, 0.5) for x in places])
            left, exact, right = decoder.decode(np.stack([preset.embedding(x, 0.5, pitch) for x in places]), pitch,
                                                Excitation(preset.partials(pitch)[-1], weights))
            distances.append(log_mel_distance_db((left + right) / 2, exact))
    assert np.mean(distances) < 0.8
    assert max(distances) < 1.5


def test_the_shipped_encoder_is_the_runs(trained: Trained) -> None:
    audio = note_audio(60, 0.7) * 1.4
    np.testing.assert_allclose(Encoder().embed(audio), embed(trained.autoencoder, audio), atol=0.03)


def test_one_embedding_drives_the_teacher_too(trained: Trained) -> None:
    embedding = embed(trained.autoencoder, note_audio(60, 0.7) * 1.4)[None, :2]
    samples, pitch = np.zeros((1, 1024, 1), np.float32), np.array([60])
    logits = keras.ops.convert_to_numpy(trained.autoencoder.logits(samples, embedding, pitch))
    assert logits.shape == (1, 1024, 256)
    other = keras.ops.convert_to_numpy(trained.autoencoder.logits(samples, -embedding, pitch))
    assert np.abs(logits - other).max() > 0.1


def test_the_shipped_decoder_runs_in_tflite_runtime(runtime_python: Path, tmp_path: Path) -> None:
    track = conditioning.channels(np.random.default_rng(0).normal(size=(125, 16)).astype(np.float32), 60)
    decoder = Decoder()
    tensors = decoder._model.quantize(conditioning.to_tensors([track]))
    np.save(tmp_path / "x.npy", tensors)
    code = f"""
import numpy as np, tflite_runtime.interpreter as r
i = r.Interpreter({str(FACTORY_DECODER)!r}); i.allocate_tensors()
i.set_tensor(i.get_input_details()[0]["index"], np.load({str(tmp_path / "x.npy")!r})); i.invoke()
np.save({str(tmp_path / "y.npy")!r}, i.get_tensor(i.get_output_details()[0]["index"]))
"""
    subprocess.run([runtime_python, "-c", code], check=True)
    older, newer = np.load(tmp_path / "y.npy").astype(float), decoder._model.run(tensors).astype(float)
    assert older.std() > 10
    assert 10 * np.log10(np.mean((older + 128) ** 2) / np.mean((older - newer) ** 2)) > 25
