"""What TensorBoard is given, read back from the event files."""

import builtins
import dataclasses
import io
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.train import tiny
from tests.train.training import CONFIG
from train import autoencoder, monitor, mulaw, rainbowgram, run
from train.crops import Notes


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "EPOCH_STEPS", 5)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Notes:
    return Notes(tiny.write_notes(tmp_path_factory.mktemp("notes") / "jsonwav", range(48, 54, 3)))


def read(logs: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(logs), size_guidance={"images": 0, "audio": 0, "scalars": 0})
    events.Reload()
    return events


@pytest.fixture(scope="module")
def trained(notes: Notes, tmp_path_factory: pytest.TempPathFactory):
    config = dataclasses.replace(CONFIG, learning_rates=((0, 2e-3), (10, 1e-3)), steps=10)
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "EPOCH_STEPS", 5)
        autoencoder.train_autoencoder(notes, config, folder, example_epochs=2)
        time.sleep(1.1)  # an event file is named by the second
        model = autoencoder.train_autoencoder(notes, dataclasses.replace(config, steps=15), folder, example_epochs=2)
    return folder, model


def test_loss_and_rate_are_those_of_the_history(trained):
    folder, _ = trained
    rows = (folder / "history.csv").read_text().splitlines()
    events = read(folder / "logs")
    assert [event.step for event in events.Scalars("loss")] == [5, 10, 15]
    for event, row in zip(events.Scalars("loss"), rows[1:], strict=True):
        assert event.value == pytest.approx(float(row.split(",")[-1]), abs=1e-5)
    assert [event.value for event in events.Scalars("learning rate")] == pytest.approx([2e-3, 1e-3, 1e-3])


def test_examples_are_heard_and_seen(trained, notes):
    folder, _ = trained
    events, note = read(folder / "logs"), notes.notes[0]
    tags = {f"{n.note_str}/{name}" for n in notes.notes[:2] for name in ("recorded", "predicted")}
    assert set(events.Tags()["audio"]) == tags
    assert set(events.Tags()["images"]) == {f"{tag}/rainbowgram" for tag in tags}
    [heard] = events.Audio(f"{note.note_str}/recorded")
    assert heard.step == 10
    audio, rate_hz = soundfile.read(io.BytesIO(heard.encoded_audio_string), dtype="float32")
    assert rate_hz == 16000
    np.testing.assert_allclose(audio, notes.audio(note)[:16384], atol=1e-4)
    [seen] = events.Images(f"{note.note_str}/recorded/rainbowgram")
    picture = np.asarray(Image.open(io.BytesIO(seen.encoded_image_string)))
    np.testing.assert_array_equal(picture[::-1], rainbowgram.image(notes.audio(note)[:16384]))
    [predicted] = events.Audio(f"{note.note_str}/predicted")
    audio, _ = soundfile.read(io.BytesIO(predicted.encoded_audio_string), dtype="float32")
    assert len(audio) == 16384


def test_steps_that_are_done_again_are_shown_once(trained, notes, tmp_path):
    _, model = trained
    for first in (0, 1):  # a training killed after its second epoch, which goes on from its first
        shown = monitor.Monitor(tmp_path / "logs", model, notes, 0)
        shown.set_model(type("Model", (), {"optimizer": type("O", (), {"learning_rate": np.float32(0.5)})})())
        for epoch in range(first, 2):
            shown.on_epoch_end(epoch, {"loss": float(10 * first + epoch)})
        shown.on_train_end()
        time.sleep(1.1)
    assert [(e.step, e.value) for e in read(tmp_path / "logs").Scalars("loss")] == [(5, 0), (10, 11)]


def test_what_a_sure_model_predicts_is_the_recording(notes):
    class Sure:
        """Knows the next sample."""

        config = CONFIG

        def encoder(self, frames):
            return frames

        def logits(self, samples, embedding, pitch):
            codes = np.rint(np.asarray(samples)[..., 0] * 128).astype(int) + 128
            return 100 * np.eye(mulaw.LEVELS, dtype=np.float32)[codes]

    audio = notes.audio(notes.notes[0])[:4096]
    np.testing.assert_array_equal(monitor.predicted(Sure(), audio, 60), mulaw.decode(mulaw.encode(audio)))


def test_without_tensorboard_one_line_says_so(notes, tmp_path, monkeypatch, capsys):
    imported = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("tensorboard"):
            raise ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard")
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert monitor.monitors(tmp_path, None, notes, 1) == []
    assert capsys.readouterr().err == ("no logs for TensorBoard, for tensorboard is not there: "
                                       "pip install tensorboard\n")
