"""What a note sounds like to a listener that is not ours to fool: pitch, family and qualities, learned on recordings.

The paper (arXiv 1704.01279, section 4) trains such a classifier on originals and applies it to reconstructions: what it
still recognises, the reconstruction has kept. Its network is not published; this one sees a constant-Q spectrum, in
which a pitch is a shift.
"""

from collections.abc import Sequence

import keras
import librosa
import numpy as np
from keras import layers, ops

from device.preset import SAMPLE_RATE_HZ
from train.notes import FAMILIES, QUALITIES, Note

LOWEST, PITCHES = 21, 88  # MIDI pitches 21 to 108: NSynth's
BINS_PER_SEMITONE = 3
BINS = 291  # from A0 to 7.6 kHz
STEP_SAMPLES = 2048
FRAMES = 32  # of a note
RANGE_DB = 80.0  # under the loudest bin, in 255 steps
BELOW_BINS, ABOVE_BINS = 12, 108  # about a pitch's own bin, within which the pitch is looked for: up to harmonic 8
OUTPUTS = {"pitch": PITCHES, "family": len(FAMILIES), "qualities": len(QUALITIES)}
PATTERNS = 48
LEARNING_RATE = 2e-3
MOMENTUM = 0.9  # of batch statistics: a short training has few batches


def features(audio: np.ndarray) -> np.ndarray:
    """A note, float32 [64000] -> uint8 [BINS, FRAMES]: constant-Q magnitude in dB, 0 to 255 over RANGE_DB."""
    spectrum = np.abs(librosa.cqt(audio, sr=SAMPLE_RATE_HZ, hop_length=STEP_SAMPLES, fmin=librosa.midi_to_hz(LOWEST),
                                  n_bins=BINS, bins_per_octave=12 * BINS_PER_SEMITONE, filter_scale=0.8))[:, :FRAMES]
    level_db = 20 * np.log10(np.maximum(spectrum, 1e-12) / max(float(spectrum.max()), 1e-6))
    return np.rint(255 * np.maximum(level_db / RANGE_DB + 1, 0)).astype(np.uint8)


def normalized(h: keras.KerasTensor) -> keras.KerasTensor:
    return ops.relu(layers.BatchNormalization(momentum=MOMENTUM)(h))


def build() -> keras.Model:
    """uint8 (B, BINS, FRAMES) -> logits {"pitch": (B, 88), "family": (B, 11), "qualities": (B, 10)}."""
    x = keras.Input((BINS, FRAMES), name="features")
    h = layers.Rescaling(1 / 255)(x)[..., None]
    for width, taps, pool in ((16, 5, 2), (32, 5, 2), (32, 5, 2)):
        h = layers.Conv2D(width, (taps, 3), padding="same", use_bias=False)(h)
        h = layers.MaxPooling2D((1, pool))(normalized(h))  # in the end (B, BINS, FRAMES / 8, 32)
    # Patterns of harmonics, looked for at each pitch: where the first one lies is the pitch, and what else there is,
    # wherever it is, tells the instrument.
    line = layers.Dense(32, activation="relu")(layers.Reshape((BINS, -1))(h))  # (B, BINS, 32): time has become channels
    line = layers.ZeroPadding1D((BELOW_BINS, ABOVE_BINS))(line)
    patterns = layers.Conv1D(1 + PATTERNS, BELOW_BINS + ABOVE_BINS + 1, name="patterns")(line)  # (B, BINS, ...)
    pitch = patterns[:, : PITCHES * BINS_PER_SEMITONE : BINS_PER_SEMITONE, 0]
    heard = layers.GlobalMaxPooling1D()(patterns[..., 1:])
    hidden = layers.Dropout(0.2)(layers.Dense(64, activation="relu")(normalized(heard)))
    outputs = {"pitch": layers.Identity(name="pitch")(pitch)}
    outputs |= {name: layers.Dense(OUTPUTS[name], name=name)(hidden) for name in ("family", "qualities")}
    return keras.Model(x, outputs, name="classifier")


def labels(notes: Sequence[Note], qualities: np.ndarray) -> dict[str, np.ndarray]:
    """Targets of `train`, (B,), (B,) and (B, 10); a pitch outside NSynth's range is its nearest."""
    pitch = np.clip([note.pitch for note in notes], LOWEST, LOWEST + PITCHES - 1) - LOWEST
    return {"pitch": pitch.astype(np.int32), "family": np.array([n.instrument_family for n in notes], np.int32),
            "qualities": qualities.astype(np.float32)}


def train(inputs: np.ndarray, targets: dict[str, np.ndarray], epochs: int, batch: int = 64, seed: int = 0,
          ) -> keras.Model:
    """A classifier that has learned from features uint8 (N, BINS, FRAMES) and `labels`."""
    keras.utils.set_random_seed(seed)
    model = build()
    steps = epochs * -(-len(inputs) // batch)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
                  loss={"pitch": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                        "family": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                        "qualities": keras.losses.BinaryCrossentropy(from_logits=True)})
    model.fit(inputs, targets, batch_size=batch, epochs=epochs, verbose=0)
    return model


def predict(model: keras.Model, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Features (N, BINS, FRAMES) -> MIDI "pitch" (N,), "family" (N,), "qualities" (N, 10) of 0 and 1."""
    logits = model.predict(inputs, batch_size=64, verbose=0)
    return {"pitch": logits["pitch"].argmax(-1) + LOWEST, "family": logits["family"].argmax(-1),
            "qualities": (logits["qualities"] > 0).astype(np.int32)}
