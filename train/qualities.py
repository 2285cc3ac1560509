"""Those of NSynth's ten note qualities that can be measured, for rendered notes that nobody has listened to.

The dataset's page describes each in words (https://magenta.tensorflow.org/datasets/nsynth); the limits here are ours,
set so that each quality is had by a fifth to a third of FluidR3's notes. The other six stay 0.
"""

import numpy as np

from device.preset import SAMPLE_RATE_HZ
from device.synth import pitch_to_hz
from train.notes import HELD_SAMPLES, QUALITIES

MEASURED = ("bright", "dark", "fast_decay", "long_release")
UPPER = 3.5  # times the fundamental: from the fourth harmonic on
BRIGHT_SHARE, DARK_SHARE = 0.2, 0.003  # of the energy is above that
DARK_HIGH_HZ, DARK_HIGH_SHARE = 2000.0, 0.01  # and of a dark note no more than this above that, whatever its pitch
DECAY_DB = -25.0  # level at note-off against the loudest
RELEASE_DB = -30.0  # level at the end against that at note-off
FRAME_SAMPLES = SAMPLE_RATE_HZ // 10


def levels_db(audio: np.ndarray) -> np.ndarray:
    """RMS level of each tenth of a second, dB."""
    frames = audio[: len(audio) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES).astype(np.float64)
    return 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)


def measured(audio: np.ndarray, pitch: float) -> tuple[int, ...]:
    """A note, float32 [64000], and its MIDI pitch -> 0 or 1 for each of QUALITIES."""
    held = audio[:HELD_SAMPLES].astype(np.float64) * np.hanning(HELD_SAMPLES)
    energy = np.abs(np.fft.rfft(held)) ** 2
    frequency_hz = np.fft.rfftfreq(HELD_SAMPLES, 1 / SAMPLE_RATE_HZ)
    total = energy.sum() + 1e-12
    upper = energy[frequency_hz > UPPER * pitch_to_hz(pitch)].sum() / total
    high = energy[frequency_hz > DARK_HIGH_HZ].sum() / total
    level = levels_db(audio)
    before_off = level[HELD_SAMPLES // FRAME_SAMPLES - 1]
    decayed = before_off < level.max() + DECAY_DB
    there = {
        "bright": upper > BRIGHT_SHARE,
        "dark": upper < DARK_SHARE and high < DARK_HIGH_SHARE,
        "fast_decay": decayed,
        "long_release": not decayed and level[-1] > before_off + RELEASE_DB,
    }
    return tuple(int(there.get(name, False)) for name in QUALITIES)
