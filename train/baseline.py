"""NSynth's baseline: a convolutional autoencoder of log-magnitude spectrograms, phase found by Griffin and Lim.

Engel et al., 2017 (arXiv 1704.01279), section 2.2: one embedding of 1984 numbers a note, the pitch given to the
decoder as a learned vector. What the WaveNet autoencoder is to be compared with.
"""

import dataclasses
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import librosa
import numpy as np
from keras import layers, ops

from device import console
from device.errors import TetradError
from device.preset import NOTE_SAMPLES, SAMPLE_RATE_HZ
from device.recording import NOTE_PEAK
from train.crops import Batches, Notes
from train.run import fit, keep_to_notes, load_weights, open_run, read_config

KIND = "baseline"
WINDOW_SAMPLES, STEP_SAMPLES = 1024, 256
BINS, FRAMES = 512, 256  # of what the network sees: without the Nyquist bin, and with empty frames at the end
NOTE_FRAMES = 1 + NOTE_SAMPLES // STEP_SAMPLES  # 251
RANGE_DB = 120.0  # under the loudest bin
WEIGHT_AT_0_HZ, FLAT_FROM_HZ = 10.0, 4000.0  # of the loss: it falls in a line to 1
LEAK = 0.1  # slope of the leaky ReLU
NORM_EPSILON = 1e-3
PITCHES = 128
ITERATIONS = 100  # of accelerated Griffin-Lim
MOMENTUM = 0.99


@dataclass(frozen=True)
class BaselineConfig:
    """Shape and training. A convolution halves both axes but for the innermost of the encoder and the outermost of the
    decoder, which halve and double frequency alone."""

    name: str
    encoder_channels: tuple[int, ...]  # of nine convolutions: 5x5, then 4x4
    decoder_channels: tuple[int, ...]  # of nine transposed ones: 4x4, the last two 5x5
    hidden: int  # channels on either side of the embedding
    embedding: int
    pitch_dimensions: int
    norm_momentum: float  # of batch normalisation's averages
    batch: int
    learning_rates: tuple[tuple[int, float], ...]  # (from this step on, rate)
    adam_beta_1: float
    gradient_norm: float  # that gradients are clipped to; 0: they are not, as published
    average_decay: float  # of the weights' moving average; 0: none, as published
    steps: int


CONFIGS = {
    "nsynth": BaselineConfig(
        name="nsynth", encoder_channels=(128, 128, 128, 256, 256, 256, 512, 512, 512),
        decoder_channels=(512, 512, 256, 256, 256, 128, 128, 128, 128), hidden=1024, embedding=1984,
        pitch_dimensions=128, norm_momentum=0.999, batch=8, learning_rates=((0, 1e-4),), adam_beta_1=0.5,
        gradient_norm=0.0, average_decay=0.0,
        steps=500_000,  # NSynth's notes 14 times over; the authors' code trains until it is stopped
    ),
    # What two cores can teach in half an hour: the same layers, narrow where the picture is large.
    "small": BaselineConfig(
        name="small", encoder_channels=(16, 24, 32, 64, 64, 64, 128, 128, 128),
        decoder_channels=(128, 128, 64, 64, 64, 32, 24, 16, 8), hidden=256, embedding=1984, pitch_dimensions=128,
        norm_momentum=0.99, batch=8, learning_rates=((0, 2e-3), (2500, 1e-3), (3800, 3e-4)), adam_beta_1=0.5,
        gradient_norm=1.0, average_decay=0.998, steps=4500,
    ),
}  # fmt: skip


def spectrograms(audio: np.ndarray) -> np.ndarray:
    """Notes float32 [N, NOTE_SAMPLES] -> log magnitudes float32 [N, BINS, FRAMES], 0 to 1 over RANGE_DB up to each
    note's loudest bin; the frames behind the note are 0."""
    magnitudes = np.abs(librosa.stft(audio, n_fft=WINDOW_SAMPLES, hop_length=STEP_SAMPLES))  # [N, 513, 251]
    loudest = np.maximum(magnitudes.max(axis=(1, 2), keepdims=True), 1e-9)  # a silent note has no loudest bin
    levels_db = 20 * np.log10(np.maximum(magnitudes / loudest, 1e-9))
    scaled = np.maximum(levels_db / RANGE_DB + 1, 0)[:, :BINS]
    return np.pad(scaled, [(0, 0), (0, 0), (0, FRAMES - NOTE_FRAMES)]).astype(np.float32)


def sounds(pictures: np.ndarray, iterations: int = ITERATIONS, seed: int = 0) -> np.ndarray:
    """Spectrograms [N, BINS, FRAMES] as `spectrograms` makes them -> notes float32 [N, NOTE_SAMPLES] at peak NOTE_PEAK.

    The phase is what `iterations` of Griffin and Lim (1984), accelerated as by Perraudin et al. (2013), make of a
    random one. The paper takes 1000 without acceleration: no nearer (0.08 dB of log-mel distance, where the magnitudes
    are true, for both), and eight times slower.
    """
    magnitudes = 10 ** ((np.pad(pictures[:, :, :NOTE_FRAMES], [(0, 0), (0, 1), (0, 0)]) - 1) * (RANGE_DB / 20))
    audio = np.stack([librosa.griffinlim(m, n_iter=iterations, hop_length=STEP_SAMPLES, momentum=MOMENTUM,
                                         length=NOTE_SAMPLES, random_state=seed) for m in magnitudes])
    peaks = np.abs(audio).max(axis=1, keepdims=True)
    return (audio * (NOTE_PEAK / np.maximum(peaks, 1e-6))).astype(np.float32)


def loss_weights() -> np.ndarray:
    """float32 [BINS]: from WEIGHT_AT_0_HZ in a line to 1 at the last bin under FLAT_FROM_HZ, and 1 from there."""
    falling = int(np.ceil(FLAT_FROM_HZ * WINDOW_SAMPLES / SAMPLE_RATE_HZ))
    return np.concatenate([np.linspace(WEIGHT_AT_0_HZ, 1, falling), np.ones(BINS - falling)]).astype(np.float32)


def normalized(x: keras.KerasTensor, layer: layers.Layer, config: BaselineConfig, name: str) -> keras.KerasTensor:
    """A layer without bias, and batch normalisation without scale, as published."""
    norm = layers.BatchNormalization(momentum=config.norm_momentum, epsilon=NORM_EPSILON, scale=False,
                                     name=f"norm_{name}")
    return norm(layer(x))


def build_encoder(config: BaselineConfig) -> keras.Model:
    """Spectrograms (B, BINS, FRAMES, 1) -> embeddings (B, 1, 1, embedding)."""
    x = h = keras.Input((BINS, FRAMES, 1), name="spectrogram")
    last = len(config.encoder_channels) - 1
    for i, channels in enumerate(config.encoder_channels):
        convolution = layers.Conv2D(channels, 4 if i else 5, (2, 1 if i == last else 2), "same", use_bias=False,
                                    name=f"down_{i}")
        h = layers.LeakyReLU(LEAK)(normalized(h, convolution, config, f"down_{i}"))
    hidden = layers.Conv2D(config.hidden, 1, use_bias=False, name="hidden")
    h = layers.LeakyReLU(LEAK)(normalized(h, hidden, config, "hidden"))
    z = normalized(h, layers.Conv2D(config.embedding, 1, use_bias=False, name="embedding"), config, "embedding")
    return keras.Model(x, z, name="encoder")


def build_decoder(config: BaselineConfig) -> keras.Model:
    """Embeddings (B, 1, 1, embedding) and MIDI pitches (B,) -> spectrograms (B, BINS, FRAMES, 1)."""
    z = keras.Input((1, 1, config.embedding), name="embedding")
    pitch = keras.Input((), dtype="int32", name="pitch")
    vector = layers.Embedding(PITCHES, config.pitch_dimensions, name="pitch_vector",
                              embeddings_initializer=keras.initializers.RandomNormal(stddev=1.0))(pitch)
    h = layers.Concatenate()([z, vector[:, None, None, :]])
    hidden = layers.Conv2DTranspose(config.hidden, 1, use_bias=False, name="hidden")
    h = layers.LeakyReLU(LEAK)(normalized(h, hidden, config, "hidden"))
    last = len(config.decoder_channels) - 1
    for i, channels in enumerate(config.decoder_channels):
        convolution = layers.Conv2DTranspose(channels, 4 if i < last - 1 else 5, (2, 1 if i == last else 2), "same",
                                             use_bias=False, name=f"up_{i}")
        h = layers.LeakyReLU(LEAK)(normalized(h, convolution, config, f"up_{i}"))
    y = layers.Conv2D(1, 1, activation="sigmoid", name="magnitude")(h)
    return keras.Model([z, pitch], y, name="decoder")


class Baseline:
    """Encoder and decoder of one configuration."""

    def __init__(self, config: BaselineConfig) -> None:
        self.config = config
        self.encoder = build_encoder(config)
        self.decoder = build_decoder(config)


class BaselineTrainer(keras.Model):
    """Its output is its loss, (B,): the weighted squared error of the spectrogram."""

    def __init__(self, baseline: Baseline) -> None:
        super().__init__()
        self.encoder, self.decoder = baseline.encoder, baseline.decoder

    def call(self, inputs: dict[str, keras.KerasTensor], training: bool | None = None) -> keras.KerasTensor:
        x = inputs["spectrogram"][..., None]
        y = self.decoder([self.encoder(x, training=training), inputs["pitch"]], training=training)
        return ops.mean(loss_weights()[:, None, None] * ops.square(x - y), axis=(1, 2, 3))


def baseline_batches(notes: Notes, config: BaselineConfig, seed: int, workers: int = 1) -> Batches:
    """Batches of (spectrogram, pitch) of whole notes for BaselineTrainer."""

    def draw(random: np.random.Generator) -> dict[str, np.ndarray]:
        drawn = [notes.notes[i] for i in random.integers(0, len(notes.notes), config.batch)]
        return {"spectrogram": spectrograms(np.stack([notes.audio(note) for note in drawn])),
                "pitch": np.array([note.pitch for note in drawn], np.int32)}

    return Batches(draw, config.batch, seed, config.steps, workers)


def train_baseline(notes: Notes, config: BaselineConfig, run: Path, seed: int = 0, workers: int = 1) -> Baseline:
    """Trains a run to its end, or goes on with it, and returns the baseline with the averages of its weights.

    workers: threads that read notes and make spectrograms; the run is the same however many.
    """
    open_run(run, config, KIND)
    keep_to_notes(run, [note.note_str for note in notes.notes])
    keras.utils.set_random_seed(seed)
    baseline = Baseline(config)
    parts = {"encoder": baseline.encoder, "decoder": baseline.decoder}
    fit(BaselineTrainer(baseline), baseline_batches(notes, config, seed, workers), run, parts, config.steps,
        config.learning_rates, config.average_decay, config.gradient_norm, beta_1=config.adam_beta_1)
    return load_baseline(run)


def config_of(run: Path) -> BaselineConfig:
    fields = read_config(run)
    if fields.pop("kind", None) != KIND:
        raise TetradError(f"{run}: not a run of a baseline; give the folder `tetrad train baseline` wrote")
    known = {field.name for field in dataclasses.fields(BaselineConfig)}
    if set(fields) != known:
        odd = ", ".join(sorted(set(fields) ^ known))
        raise TetradError(f"{run}/config.json: fields missing or unknown: {odd}; train the run with this version")
    try:
        rates = tuple((int(step), float(rate)) for step, rate in fields.pop("learning_rates"))
        encoder, decoder = (tuple(map(int, fields.pop(f"{part}_channels"))) for part in ("encoder", "decoder"))
        numbers = {key: value if key == "name" else type(getattr(CONFIGS["small"], key))(value)
                   for key, value in fields.items()}
    except (TypeError, ValueError) as error:
        raise TetradError(f"{run}/config.json: {error}; it is damaged: train the run again") from error
    return BaselineConfig(**numbers, encoder_channels=encoder, decoder_channels=decoder, learning_rates=rates)


def load_baseline(run: Path) -> Baseline:
    """The baseline of a run, with the moving averages of its weights. Raises TetradError where it is none."""
    baseline = Baseline(config_of(run))
    load_weights(baseline.encoder, run / "encoder.weights.h5")
    load_weights(baseline.decoder, run / "decoder.weights.h5")
    return baseline


def embed(baseline: Baseline, audio: np.ndarray) -> np.ndarray:
    """Notes float32 [N, NOTE_SAMPLES] -> embeddings float32 [N, embedding]."""
    z = baseline.encoder.predict(spectrograms(audio)[..., None], baseline.config.batch, verbose=0)
    return np.asarray(z)[:, 0, 0]


def decode(baseline: Baseline, embeddings: np.ndarray, pitches: np.ndarray) -> np.ndarray:
    """Embeddings [N, embedding] and MIDI pitches [N], whole -> spectrograms float32 [N, BINS, FRAMES]."""
    inputs = [embeddings[:, None, None].astype(np.float32), np.asarray(pitches, np.int32)]
    return np.asarray(baseline.decoder.predict(inputs, baseline.config.batch, verbose=0))[..., 0]


def reconstruct(baseline: Baseline, audio: np.ndarray, pitch: np.ndarray, iterations: int = ITERATIONS,
                seed: int = 0) -> np.ndarray:
    """Notes float32 [N, NOTE_SAMPLES] at MIDI pitches [N], whole -> what the baseline makes of them, alike."""
    return sounds(decode(baseline, embed(baseline, audio), pitch), iterations, seed)


def train_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--notes", type=Path, required=True, help="what to learn from: a jsonwav folder or a "
                        ".tfrecord file of notes")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an interrupted run is resumed")
    parser.add_argument("--config", choices=sorted(CONFIGS), default="small")
    parser.add_argument("--steps", type=console.whole_number(1, 10_000_000),
                        help="steps in all, instead of the configuration's; its learning rates are stretched to fit")
    parser.add_argument("--workers", type=console.whole_number(1, 256), default=2,
                        help="threads that read notes and make spectrograms (default: %(default)s)")

    def run(args: Namespace) -> None:
        config = CONFIGS[args.config]
        steps = args.steps or config.steps
        rates = tuple((step * steps // config.steps, rate) for step, rate in config.learning_rates)
        config = dataclasses.replace(config, steps=steps, learning_rates=rates)
        train_baseline(Notes(args.notes), config, args.out, workers=args.workers)

    return run
