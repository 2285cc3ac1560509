"""A training run: a folder with `config.json`, `history.csv`, weights, and the state from which it resumes."""

import csv
import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from device import files
from device.console import progress
from device.errors import TetradError

STATE = "state.weights.h5"  # raw weights and optimizer, to resume from; the others hold the moving average
EPOCH_STEPS = 100  # steps between two rows of the history, and two saved states
GRADIENT_NORM = 1.0


def save_weights(model: keras.Model, path: Path) -> None:
    """Weights beside `path`, then in its place, so that a kill leaves the old file or the new one."""
    temporary = path.with_name(f".part-{path.name}")  # keeps the suffix, which Keras looks at
    try:
        model.save_weights(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_config(run: Path) -> dict[str, Any]:
    path = run / "config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise TetradError(f"{path}: not a training run ({error}); give the folder that `tetrad train` wrote") from error
    if not isinstance(config, dict):
        raise TetradError(f"{path}: not a training run; give the folder that `tetrad train` wrote")
    return config


def open_run(run: Path, config: Any, kind: str) -> None:
    """Makes the folder and writes its configuration, or refuses a folder that holds another one.

    How long it trains, and at what rates, may change: a finished run is gone on with so.
    """
    wanted = json.loads(json.dumps({"kind": kind, **asdict(config)}))
    if (run / "config.json").exists():
        held = read_config(run)
        differing = sorted(key for key in wanted.keys() | held.keys() if wanted.get(key) != held.get(key))
        fixed = [key for key in differing if key not in ("steps", "learning_rates")]
        if fixed:
            raise TetradError(f"{run}: holds a run of another configuration ({', '.join(fixed)}); "
                              "give another --out, or the same options to resume")
    files.make_folder(run)
    with files.atomic(run / "config.json") as file:
        file.write(json.dumps(wanted, indent=1).encode() + b"\n")


def load_weights(model: keras.Model, path: Path) -> None:
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TetradError(f"{path}: not this model's weights ({first}); train the run again") from error


def schedule(rates: Sequence[tuple[int, float]]) -> keras.optimizers.schedules.LearningRateSchedule | float:
    if len(rates) == 1:
        return rates[0][1]
    boundaries, values = [step for step, _ in rates[1:]], [rate for _, rate in rates]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)


class Recorder(keras.callbacks.Callback):
    """After each epoch: the state, the averaged weights of each part, and a row in the history."""

    def __init__(self, run: Path, parts: Mapping[str, keras.Model], steps: int) -> None:
        super().__init__()
        self.run, self.parts, self.steps = run, parts, steps
        self.began_s = time.monotonic() - trained_s(run / "history.csv")

    def save_averages(self) -> None:
        variables = self.model.trainable_variables
        raw = [keras.ops.convert_to_numpy(v).copy() for v in variables]
        self.model.optimizer.finalize_variable_values(variables)
        for name, part in self.parts.items():
            save_weights(part, self.run / f"{name}.weights.h5")
        for variable, value in zip(variables, raw, strict=True):
            variable.assign(value)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.save_averages()
        save_weights(self.model, self.run / STATE)
        step = (epoch + 1) * EPOCH_STEPS
        row = {"step": step, "wall_s": round(time.monotonic() - self.began_s, 1),
               **{key: round(float(value), 5) for key, value in (logs or {}).items()}}
        append_row(self.run / "history.csv", row)
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def trained_s(history: Path) -> float:
    """How long a run has been trained by its last row, which an interrupted training goes on from."""
    if not history.exists():
        return 0.0
    with history.open(newline="") as file:
        return max((float(row["wall_s"]) for row in csv.DictReader(file)), default=0.0)


def append_row(path: Path, row: Mapping[str, object]) -> None:
    """Appends to a history, dropping rows of steps that are being done again after a kill."""
    rows = []
    if path.exists():
        with path.open(newline="") as file:
            rows = [r for r in csv.DictReader(file) if float(r["step"]) < float(str(row["step"]))]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(row), restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows([*rows, row])
    with files.atomic(path) as target:
        target.write(text.getvalue().encode())


class Advance(keras.callbacks.Callback):
    def __init__(self, bar: Any) -> None:
        super().__init__()
        self.bar = bar

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.bar.advance()
        self.bar.note(f"loss {float((logs or {}).get('loss', float('nan'))):.3f}")


def fit(trainer: keras.Model, batches: Any, run: Path, parts: Mapping[str, keras.Model], steps: int,
        rates: Sequence[tuple[int, float]], average_decay: float) -> None:
    """Trains `trainer`, whose output is its loss (B,), until `steps` in all; goes on from the run's state.

    batches: train.crops.Batches of the whole training; `first_step` is set to where it goes on. `steps` are rounded up
    to whole epochs.
    """
    optimizer = keras.optimizers.Adam(schedule(rates), epsilon=1e-8, global_clipnorm=GRADIENT_NORM, use_ema=True,
                                      ema_momentum=average_decay)
    # JAX is slow uncompiled; TensorFlow gains nothing from XLA on a processor, and waits for it.
    trainer.compile(optimizer, loss=lambda unused, loss: keras.ops.mean(loss),
                    jit_compile=keras.backend.backend() == "jax")
    trainer(batches[0][0])
    optimizer.build(trainer.trainable_variables)
    if (run / STATE).exists():
        load_weights(trainer, run / STATE)
    done = int(optimizer.iterations)
    epochs = -(-steps // EPOCH_STEPS)
    batches.first_step, batches.steps = done, epochs * EPOCH_STEPS
    if done // EPOCH_STEPS >= epochs:
        return
    with progress("training", total=steps) as bar:
        bar.advance(done)
        recorder = Recorder(run, parts, steps)
        try:
            trainer.fit(batches, epochs=epochs, initial_epoch=done // EPOCH_STEPS, steps_per_epoch=EPOCH_STEPS,
                        shuffle=False, verbose=0, callbacks=[recorder, Advance(bar)])
        except Exception:
            if batches.failure:  # a damaged note, say: one line instead of the backend's page
                raise batches.failure from None
            raise
