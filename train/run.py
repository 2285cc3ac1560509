"""A training run: a folder with `config.json`, `history.csv`, weights, and the state from which it resumes."""

import csv
import dataclasses
import hashlib
import io
import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from device import files
from device.console import progress
from device.errors import TetradError

STATE = "state.weights.h5"  # raw weights and optimizer, to resume from; the others hold the moving average
ENTRY_BYTES = 4096  # at most, of what HDF5 writes around an array
STEP = "step"  # attribute of the state's file: how many steps it has been trained
COMPILED_SIZE = 10_000_000  # parameters from which the half minute that XLA takes is made good within some steps
EPOCH_STEPS = 100  # steps between two rows of the history, and two saved states


def save_weights(model: keras.Model, path: Path) -> None:
    """A file of weights that is whole or not there. Raises TetradError where the disk refuses."""
    with put_in_place([path]) as [temporary]:
        write_weights(model, temporary)


def write_weights(model: keras.Model, path: Path) -> None:
    """Has the disk set the place aside first: where it is full, HDF5 does not come back with an error, but crashes."""
    variables = [*model.variables, *(model.optimizer.variables if getattr(model, "optimizer", None) else [])]
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, sum(4 * math.prod(v.shape) + ENTRY_BYTES for v in variables))
    model.save_weights(path)


@contextmanager
def put_in_place(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Temporary names, whose files take the places of `paths` together when the block ends well; else all old files
    stay. Raises TetradError where the disk refuses."""
    temporaries = [path.with_name(f".part-{path.name}") for path in paths]  # keeps the suffix, which Keras looks at
    try:
        yield temporaries
        for temporary in temporaries:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        for temporary, path in zip(temporaries, paths, strict=True):
            os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # h5py's, the second
        raise TetradError(f"cannot write {paths[0].parent}: {reason(error)}; the files before stay: make room and "
                          "start again, it goes on") from error
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def reason(error: Exception) -> str:
    """Why the system refused, without what HDF5 tells around it."""
    number = getattr(error, "errno", None) or next(iter(re.findall(r"errno = (\d+)", str(error))), None)
    return os.strerror(int(number)) if number else (str(error).splitlines() or [type(error).__name__])[0]


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
        held = with_defaults(read_config(run), config)
        differing = sorted(key for key in wanted.keys() | held.keys() if wanted.get(key) != held.get(key))
        fixed = [key for key in differing if key not in ("steps", "learning_rates")]
        if fixed:
            raise TetradError(f"{run}: holds a run of another configuration ({', '.join(fixed)}); "
                              "give another --out, or the same options to resume")
    files.make_folder(run)
    for left in run.glob(f".*{files.TEMPORARY}"):  # by a kill
        left.unlink(missing_ok=True)
    with files.atomic(run / "config.json") as file:
        file.write(json.dumps(wanted, indent=1).encode() + b"\n")


def keep_to_notes(run: Path, note_strs: Iterable[str]) -> None:
    """Writes which notes a run learns from, or refuses to go on with others: fewer, say, of a dataset that was cut."""
    names = sorted(note_strs)
    told = {"notes": len(names), "sha256": hashlib.sha256("\n".join(names).encode()).hexdigest()}
    path = run / "notes.json"
    if not path.exists():
        with files.atomic(path) as file:
            file.write(json.dumps(told).encode() + b"\n")
        return
    held = files.parse_json(files.read_whole(path, ENTRY_BYTES), str(path))
    if held != told:
        count = held.get("notes") if isinstance(held, dict) else None
        raise TetradError(f"{run} has learned from {count} notes, and these {len(names)} are others: give the same "
                          "--notes to go on, or another --out")


def with_defaults(held: dict[str, Any], config: Any) -> dict[str, Any]:
    """What a run's config.json says, with the defaults of the fields that there were not yet when it was written."""
    filled = dict(held)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value) and isinstance(held.get(field.name), dict):
            filled[field.name] = with_defaults(held[field.name], value)
        elif field.default is not dataclasses.MISSING:
            filled.setdefault(field.name, field.default)
    return filled


def load_weights(model: keras.Model, path: Path) -> None:
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TetradError(f"{path}: not this model's weights ({first}); train the run again") from error


def schedule(rates: Sequence[tuple[int, float]]) -> keras.optimizers.schedules.LearningRateSchedule:
    """(from this step on, rate). One rate is a schedule, too: a bare number would be loaded again with a run's state.
    """
    last_steps = [step - 1 for step, _ in rates[1:]] or [0]
    values = [rate for _, rate in rates]
    return keras.optimizers.schedules.PiecewiseConstantDecay(last_steps, values if rates[1:] else 2 * values)


class Recorder(keras.callbacks.Callback):
    """After each epoch: the averaged weights of each part, a row in the history, and, last, the state."""

    def __init__(self, run: Path, parts: Mapping[str, keras.Model]) -> None:
        super().__init__()
        self.run, self.parts = run, parts
        self.began_s = time.monotonic() - trained_s(run / "history.csv")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        step = (epoch + 1) * EPOCH_STEPS
        names = [f"{name}.weights.h5" for name in self.parts]
        with put_in_place([self.run / name for name in (*names, STATE)]) as [*averages, state]:
            self.save(averages, state, step)
            row = {"step": step, "wall_s": round(time.monotonic() - self.began_s, 1),
                   **{key: round(float(value), 5) for key, value in (logs or {}).items()}}
            append_row(self.run / "history.csv", row)  # before the state: if it is killed between, it is done again
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)

    def save(self, averages: Sequence[Path], state: Path, step: int) -> None:
        variables = self.model.trainable_variables
        raw = [keras.ops.convert_to_numpy(v).copy() for v in variables]
        if not all(np.isfinite(value).all() for value in raw):
            raise TetradError(lost(self.run, step, "the weights are no longer finite"))
        write_weights(self.model, state)
        with h5py.File(state, "a") as file:
            file.attrs[STEP] = step
        self.model.optimizer.finalize_variable_values(variables)
        for path, part in zip(averages, self.parts.values(), strict=True):
            write_weights(part, path)
        for variable, value in zip(variables, raw, strict=True):
            variable.assign(value)


def lost(run: Path, step: int, what: str) -> str:
    return (f"{run}: {what} at step {step}; the state of the last whole {EPOCH_STEPS} steps stays: train anew with a "
            "lower learning rate or a norm to clip gradients to")


class Guard(keras.callbacks.Callback):
    """Moves the bar with the steps, and ends the training where the loss is no number."""

    def __init__(self, run: Path, bar: Any, step: int) -> None:
        super().__init__()
        self.run, self.bar, self.step = run, bar, step

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.step += 1
        loss = float((logs or {}).get("loss", float("nan")))
        if not math.isfinite(loss):
            raise TetradError(lost(self.run, self.step, f"the loss is {loss}"))
        self.bar.advance()
        self.bar.note(f"loss {loss:.3f}")


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


def compile_trainer(trainer: keras.Model, rates: Sequence[tuple[int, float]], average_decay: float,
                    gradient_norm: float, beta_1: float = 0.9) -> None:
    """Adam as published (epsilon 1e-8) and a moving average of the weights, for a trainer whose output is its loss."""
    optimizer = keras.optimizers.Adam(schedule(rates), beta_1=beta_1, epsilon=1e-8,
                                      global_clipnorm=gradient_norm or None, use_ema=True, ema_momentum=average_decay)
    trainer.compile(optimizer, loss=lambda unused, loss: loss, jit_compile=worth_compiling(trainer))


def worth_compiling(trainer: keras.Model) -> bool:
    """Whether XLA is to compile the step. JAX is slow without; with TensorFlow a small model is trained sooner than its
    compiler is done. Over several devices, TensorFlow cannot."""
    if keras.backend.backend() == "jax":
        return True
    parameters = sum(math.prod(variable.shape) for variable in trainer.trainable_variables)
    return parameters > COMPILED_SIZE and trainer.distribute_strategy.num_replicas_in_sync == 1


def steps_done(state: Path, trainer: keras.Model) -> int:
    """Of a state that was loaded. The optimizer's own count leaves out steps whose float16 gradients overflowed."""
    with h5py.File(state, "r") as file:
        return int(file.attrs.get(STEP, int(trainer.optimizer.iterations)))


def fit(trainer: keras.Model, batches: Any, run: Path, parts: Mapping[str, keras.Model], steps: int,
        rates: Sequence[tuple[int, float]], average_decay: float, gradient_norm: float = 1.0,
        callbacks: Sequence[keras.callbacks.Callback] = (), beta_1: float = 0.9) -> None:
    """Trains `trainer`, whose output is its loss (B,), until `steps` in all; goes on from the run's state.

    batches: train.crops.Batches of the whole training; `first_step` is set to where it goes on. `steps` are rounded up
    to whole epochs. gradient_norm: what the gradient is clipped to; 0: it is not. beta_1: Adam's.
    """
    compile_trainer(trainer, rates, average_decay, gradient_norm, beta_1)
    trainer(batches[0][0])
    trainer.optimizer.build(trainer.trainable_variables)
    done = 0
    if (run / STATE).exists():
        load_weights(trainer, run / STATE)
        done = steps_done(run / STATE, trainer)
    epochs = -(-steps // EPOCH_STEPS)
    batches.first_step, batches.steps = done, epochs * EPOCH_STEPS
    if done // EPOCH_STEPS >= epochs:
        return
    with progress("training", total=steps) as bar:
        bar.advance(done)
        try:
            trainer.fit(batches, epochs=epochs, initial_epoch=done // EPOCH_STEPS, steps_per_epoch=EPOCH_STEPS,
                        shuffle=False, verbose=0, callbacks=[Guard(run, bar, done), Recorder(run, parts), *callbacks])
        except Exception:
            if batches.failure:  # a damaged note, say: one line instead of the backend's page
                raise batches.failure from None
            raise
