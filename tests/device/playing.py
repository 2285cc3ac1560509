"""Tables for the engine, an engine of them, what it plays of events, and what is heard in that."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import signal

from device import _engine
from device._engine import Engine

RATE_HZ = 48_000
BANK_HZ = 16_000
VOICE_GAIN = 0.5  # of engine.c: one voice at full scale and full velocity
QUICK = {_engine.ATTACK_MS: 1.0, _engine.SUSTAIN_LEVEL: 1.0, _engine.RELEASE_MS: 50.0}

Sent = tuple[int, int, int, int, float, float]  # frame, kind, channel, key, a, b
Table = tuple[int, np.ndarray, int, int, np.ndarray, np.ndarray]  # as set_bank takes it


def sine(hz: float, samples: int = 32_000, peak: float = 0.9, grid: int = 2) -> np.ndarray:
    wave = np.rint(peak * 32_767 * np.sin(2 * np.pi * hz / BANK_HZ * np.arange(samples)))
    return np.tile(wave.astype(np.int16), (grid, grid, 1))


def constant(levels: Sequence[Sequence[float]], samples: int = 32_000) -> np.ndarray:
    """A table whose cells are constants: the output shows weights, envelope and gain as they are."""
    cells = np.rint(np.asarray(levels, np.float64) * 32_768).astype(np.int16)
    return np.ascontiguousarray(np.repeat(cells[:, :, None], samples, axis=2))


def as_table(pitch: int, cells: np.ndarray, loop_start: int | None = None, loop_samples: int = 0,
             motion: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0, 0.0), levels: np.ndarray | None = None) -> Table:
    """A table for `set_bank`, of cells int16 [layers, grid, grid, samples], with the cells' own levels.

    Without `loop_start` all is body and nothing goes round. `motion` is every corner's, or float32 [layers, 4, 4].
    """
    layers, _, _, samples = cells.shape
    if levels is None:
        columns = cells.reshape(*cells.shape[:3], -1, _engine.COLUMN_SAMPLES)
        levels = np.sqrt(np.mean((columns / 32_768.0) ** 2, axis=-1))
    motion = np.ascontiguousarray(np.broadcast_to(np.asarray(motion, np.float32), (layers, 4, 4)))
    return (pitch, cells, samples if loop_start is None else loop_start, loop_samples, levels.astype(np.float32),
            motion)


def engine_of(tables: Sequence[Table], velocities: Sequence[int] = (100,), rate_hz: int = RATE_HZ, polyphony: int = 32,
              parameters: dict[int, float] = QUICK) -> Engine:
    engine = Engine(rate_hz, polyphony)
    engine.set_bank(velocities, tables)
    for parameter, value in parameters.items():
        assert engine.send(0, _engine.PARAMETER, key=parameter, a=value)
    return engine


def engine_with(cells: dict[int, np.ndarray], rate_hz: int = RATE_HZ, polyphony: int = 32,
                parameters: dict[int, float] = QUICK) -> Engine:
    """An engine of one layer and no loops: cells int16 [grid, grid, samples] of each pitch."""
    tables = [as_table(pitch, cells[pitch][None]) for pitch in sorted(cells)]
    return engine_of(tables, rate_hz=rate_hz, polyphony=polyphony, parameters=parameters)


def on(frame: int, key: int = 60, velocity: float = 1.0, channel: int = 0) -> Sent:
    return frame, _engine.NOTE_ON, channel, key, velocity, 0.0


def off(frame: int, key: int = 60, channel: int = 0) -> Sent:
    return frame, _engine.NOTE_OFF, channel, key, 0.0, 0.0


def blend(frame: int, x: float, y: float) -> Sent:
    return frame, _engine.BLEND, 0, 0, x, y


def play(engine: Engine, events: Iterable[Sent], frames: int, block: int = 1_000) -> np.ndarray:
    """Left channel, float32 [frames], rendered in blocks; checks that right is the same."""
    out = play_stereo(engine, events, frames, block)
    assert np.array_equal(out[:, 0], out[:, 1])
    return out[:, 0]


def play_stereo(engine: Engine, events: Iterable[Sent], frames: int, block: int = 1_000) -> np.ndarray:
    """float32 [frames, 2], rendered in blocks."""
    waiting = sorted(events, key=lambda event: event[0])
    out = np.full((frames, 2), np.nan, np.float32)
    for start in range(0, frames, block):
        end = min(start + block, frames)
        while waiting and waiting[0][0] < end:
            frame, *rest = waiting.pop(0)
            assert engine.send(frame - start, *rest)
        engine.render(out[start:end])
    return out


KINDS = (_engine.NOTE_ON, _engine.NOTE_OFF, _engine.BLEND, _engine.SUSTAIN, _engine.BEND, _engine.PARAMETER,
         _engine.MOD_WHEEL, _engine.PRESSURE, _engine.KEY_PRESSURE, _engine.TIMBRE, _engine.EXPRESSION,
         _engine.SOSTENUTO, _engine.SOFT, _engine.TUNE_KEY, _engine.GESTURE, _engine.ALL_NOTES_OFF,
         _engine.ALL_SOUND_OFF, 200)


def random_events(rng: np.random.Generator, count: int, frames: int) -> list[Sent]:
    """All kinds, parameters and channels, as they might come from a bad day on stage; half of them notes."""
    events = []
    for _ in range(count):
        kind = int(rng.choice([*KINDS[:2] * 8, *KINDS]))
        value = float(rng.choice([0.0, 1.0, rng.random(), rng.normal() * 10, rng.random() * 1_000, 1e30, -1e30]))
        a = float(rng.random()) if kind in (_engine.NOTE_ON, _engine.BLEND) else value
        key = int(rng.integers(len(_engine.PARAMETERS) if kind == _engine.PARAMETER and rng.random() < 0.9 else 128))
        events.append((int(rng.integers(frames)), kind, int(rng.integers(3)), key, a, float(rng.random())))
    return sorted(events, key=lambda event: event[0])


def spectrum_db(audio: np.ndarray, rate_hz: int = RATE_HZ) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and levels, dB of a full-scale sine, under a window whose sidelobes are below -120 dB."""
    window = signal.windows.kaiser(len(audio), 18)
    levels = np.abs(np.fft.rfft(audio * window)) * 2 / window.sum()
    return np.fft.rfftfreq(len(audio), 1 / rate_hz), 20 * np.log10(levels + 1e-12)


def tone_hz(audio: np.ndarray, rate_hz: int = RATE_HZ) -> float:
    """Frequency of the strongest component, by a parabola through the peak of the spectrum in dB."""
    hz, levels = spectrum_db(audio, rate_hz)
    k = int(np.argmax(levels))
    a, b, c = levels[k - 1:k + 2]
    return float(hz[k] + 0.5 * (a - c) / (a - 2 * b + c) * (hz[1] - hz[0]))


def level_of(audio: np.ndarray, hz: float) -> float:
    """Level, dB of full scale, of a component whose frequency is known: its Fourier integral under a window."""
    window = signal.windows.kaiser(len(audio), 18)
    turns = np.exp(-2j * np.pi * hz / RATE_HZ * np.arange(len(audio)))
    return float(20 * np.log10(abs(np.sum(audio * window * turns)) * 2 / window.sum() + 1e-12))


def above(audio: np.ndarray, hz: float) -> float:
    """Peak of what lies above a frequency, dB of full scale: what a click leaves behind and a low tone does not."""
    filtered = signal.sosfilt(signal.butter(8, hz, "high", fs=RATE_HZ, output="sos"), audio)
    return 20 * np.log10(np.abs(filtered[1_000:]).max())  # the first 20 ms are the filter's own start
