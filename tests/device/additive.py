"""A decoder without a network: its latents are the levels of four partials and of noise; and presets for it."""

import os
import signal
import time

import numpy as np

from device.corner import Note, make_preset
from device.preset import FRAMES, Preset
from device.synth import Excitation

PARTIALS = 4
COLUMN_SAMPLES = 256
REACH = 7  # columns on either side that its filter averages over, as a network's would
NOISE = 0.005
CENTS_OFF = np.array([0, -580, 250, 0] + [0] * 96)


class Additive:
    """Waits `slowness_s` a note; dies at the pitch `poison`."""

    def __init__(self, name: str = "additive", slowness_s: float = 0.0, poison: int | None = None) -> None:
        self.id, self.slowness_s, self.poison = name, slowness_s, poison
        self.pitches: list[int] = []

    def decode_columns(self, tracks: np.ndarray, pitch: float, excitation: Excitation, cycle_samples: int = 0,
                       loop_start: int = 0, before: int = 0, after: int = 0) -> np.ndarray:
        if pitch not in self.pitches:
            self.pitches.append(pitch)
            time.sleep(self.slowness_s)
        if pitch == self.poison:
            os.kill(os.getpid(), signal.SIGKILL)
        notes, columns, _ = tracks.shape
        padded = np.pad(tracks, [(0, 0), (REACH, REACH), (0, 0)])
        sums = np.cumsum(np.pad(padded, [(0, 0), (1, 0), (0, 0)]), axis=1, dtype=np.float64)
        means = (sums[:, 2 * REACH + 1 :] - sums[:, : -2 * REACH - 1]) / (2 * REACH + 1)
        columns -= before + after
        levels = np.maximum(means[:, before : before + columns, : PARTIALS + 1], 0).astype(np.float32)
        ramp = (np.arange(COLUMN_SAMPLES, dtype=np.float32) / COLUMN_SAMPLES)[:, None]
        following = np.concatenate([levels[:, 1:], levels[:, -1:]], axis=1)
        levels = levels[:, :, None] + (following - levels)[:, :, None] * ramp
        levels = levels.reshape(notes, columns * COLUMN_SAMPLES, PARTIALS + 1)
        waves = self.partials(pitch, excitation.cents, columns * COLUMN_SAMPLES, cycle_samples)  # (corners, K, N)
        heard = np.einsum("nc,ckt->nkt", excitation.weights, waves, optimize=True)
        return np.einsum("ntk,nkt->nt", levels[..., :PARTIALS], heard) + levels[..., PARTIALS] * self.noise(
            columns * COLUMN_SAMPLES, cycle_samples, loop_start)

    @staticmethod
    def partials(pitch: float, cents: np.ndarray, samples: int, cycle_samples: int) -> np.ndarray:
        ratios = np.arange(1, PARTIALS + 1) * 2 ** (cents[:, :PARTIALS].astype(np.float64) / 1200)
        cycles = 440.0 * 2 ** ((pitch - 69) / 12) / 16_000  # a sample
        if cycle_samples:
            cycles = np.rint(cycles * cycle_samples) / cycle_samples
            ratios = np.rint(ratios * cycles * cycle_samples) / cycle_samples / cycles
        return 0.1 * np.sin(2 * np.pi * ((ratios * cycles)[..., None] * np.arange(samples) % 1.0)).astype(np.float32)

    @staticmethod
    def noise(samples: int, cycle_samples: int, loop_start: int) -> np.ndarray:
        at = np.arange(samples)
        if cycle_samples:
            at = np.where(at < loop_start, at, loop_start + (at - loop_start) % cycle_samples)
        return NOISE * np.random.default_rng(7).standard_normal(samples, np.float32)[at]


def some_note(rng: np.random.Generator, decay_db_per_s: float = 0.0, level: float = 1.0) -> Note:
    """Levels of four partials and a little noise, which wander round a mean and end in the last second."""
    values = np.zeros((FRAMES, 16))
    values[:, :5] = level * rng.uniform(0.2, 1, 5)
    values[:, :5] *= 1 + 0.3 * np.sin(2 * np.pi * np.arange(FRAMES) / rng.uniform(60, 90))[:, None]
    values[94:] *= np.linspace(1, 0, FRAMES - 94)[:, None]
    return Note(values, CENTS_OFF * rng.uniform(-1, 1), np.array([5.5, 20, 0.3, decay_db_per_s]))


def some_preset(seed: int = 1, decays: tuple[float, ...] = (0, 1, 10, 40), levels: tuple[float, ...] = (1, 1, 1, 1),
                velocities: tuple[int, ...] = (50, 100)) -> Preset:
    rng = np.random.default_rng(seed)
    corners = {name: [{60: some_note(rng, decay, level), 72: some_note(rng, decay, level)} for _ in velocities]
               for name, decay, level in zip("abcd", decays, levels, strict=True)}
    return make_preset(corners, name="p", pitches=(60, 64, 68, 72), velocities=velocities)
