"""What TensorBoard shows of a training: `tensorboard --logdir RUN/logs`.

Loss and learning rate after each epoch; now and then a second of two notes, as recorded and as the model predicts each
sample from the true ones before it, as sound and as rainbowgram. The event files are written by TensorBoard's own
writer, which needs none of Keras' backends.
"""

import io
import itertools
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import soundfile
from PIL import Image

from device.preset import SAMPLE_RATE_HZ
from train import mulaw, run
from train.crops import Notes, encoder_frames, is_held_back
from train.notes import Note
from train.wavenet import WaveNetAutoencoder

EXAMPLE_EPOCHS = 10  # between two examples
EXAMPLE_NOTES = 2
EXAMPLE_SAMPLES = 1 << 14  # about a second


def monitors(folder: Path, autoencoder: WaveNetAutoencoder, notes: Notes, example_epochs: int,
             ) -> list[keras.callbacks.Callback]:
    """The callback that writes to `folder`/logs; none, and a line that says so, where TensorBoard is not installed."""
    try:
        return [Monitor(folder / "logs", autoencoder, notes, example_epochs)]
    except ModuleNotFoundError as error:
        print(f"no logs for TensorBoard, for {error.name} is not there: pip install tensorboard", file=sys.stderr)
        return []


class Monitor(keras.callbacks.Callback):
    """Writes event files to `logs`. example_epochs: epochs from one example to the next; 0: none."""

    def __init__(self, logs: Path, autoencoder: WaveNetAutoencoder, notes: Notes, example_epochs: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        super().__init__()
        self.logs, self.autoencoder, self.notes, self.example_epochs = logs, autoencoder, notes, example_epochs
        self.events, self.summaries, self.open = event_pb2, summary_pb2, EventFileWriter
        self.writer: Any = None
        held_back = (note for note in notes.source.notes if is_held_back(note.note_str))
        self.examples = list(itertools.islice(held_back, EXAMPLE_NOTES)) or notes.notes[:EXAMPLE_NOTES]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        step = (epoch + 1) * run.EPOCH_STEPS
        if self.writer is None:
            self.writer = self.open(str(self.logs))
            # What an interrupted training wrote of the steps that are done again is no longer shown.
            restart = self.events.SessionLog(status=self.events.SessionLog.START)
            self.writer.add_event(self.events.Event(wall_time=time.time(), step=step, session_log=restart))
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        scalars = {key: float(value) for key, value in (logs or {}).items()} | {"learning rate": rate}
        self.write(step, [self.summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()])
        if self.example_epochs and (epoch + 1) % self.example_epochs == 0:
            for note in self.examples:
                self.write(step, self.example(note))
        self.writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self.writer is not None:
            self.writer.close()

    def write(self, step: int, values: list[Any]) -> None:
        summary = self.summaries.Summary(value=values)
        self.writer.add_event(self.events.Event(wall_time=time.time(), step=step, summary=summary))

    def example(self, note: Note) -> list[Any]:
        hop = self.autoencoder.config.hop_samples
        audio = self.notes.audio(note)[: max(hop, EXAMPLE_SAMPLES // hop * hop)]
        heard = {"recorded": audio, "predicted": predicted(self.autoencoder, audio, note.pitch)}
        return [value for name, sound in heard.items() for value in self.shown(f"{note.note_str}/{name}", sound)]

    def shown(self, tag: str, audio: np.ndarray) -> list[Any]:
        """Sound and picture of audio (T,)."""
        from train import rainbowgram  # librosa takes a second to import

        summary, picture = self.summaries.Summary, rainbowgram.image(audio)[::-1]  # high pitches on top
        wav, png = io.BytesIO(), io.BytesIO()
        soundfile.write(wav, audio, SAMPLE_RATE_HZ, "PCM_16", format="WAV")
        Image.fromarray(np.ascontiguousarray(picture)).save(png, "PNG")
        sound = summary.Audio(sample_rate=SAMPLE_RATE_HZ, num_channels=1, length_frames=len(audio),
                              encoded_audio_string=wav.getvalue(), content_type="audio/wav")
        image = summary.Image(height=len(picture), width=picture.shape[1], colorspace=3,
                              encoded_image_string=png.getvalue())
        return [summary.Value(tag=tag, audio=sound), summary.Value(tag=f"{tag}/rainbowgram", image=image)]


def predicted(autoencoder: WaveNetAutoencoder, audio: np.ndarray, pitch: int) -> np.ndarray:
    """(T,) float32: each sample drawn from what the model expects after the true samples of audio (T,) before it."""
    samples = (mulaw.encode(audio) / 128).astype(np.float32)[None, :, None]
    embedding = autoencoder.encoder(encoder_frames(autoencoder.config, audio)[None])
    logits = autoencoder.logits(samples, embedding, np.array([pitch], np.int32))
    expected = keras.ops.convert_to_numpy(logits)[0].astype(np.float32)  # (T, 256)
    drawn = np.argmax(expected + np.random.default_rng(0).gumbel(size=expected.shape), axis=-1)
    return mulaw.decode(drawn - 128).astype(np.float32)
