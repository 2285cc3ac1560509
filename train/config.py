"""Configurations of the autoencoder: by name, by a file, and as a run holds them.

A file is a JSON object with the fields of train.wavenet.Config, of which those that are not there are taken from the
configuration that `base` names: {"base": "nsynth", "batch": 8, "precision": "mixed_bfloat16"}.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device import files
from device.errors import TetradError
from device.preset import DIMENSIONS, HOP_SAMPLES, NOTE_SAMPLES
from train.wavenet import CONFIGS, Config

LIMIT_BYTES = 1 << 20  # of a file of a configuration

# field: its least and its most. An embedding's shape is what the rest of the project reads, 256 layers what is sampled.
WHOLE = {
    "encoder_width": (1, 1 << 14), "encoder_layers": (1, 1000), "encoder_cycle": (1, 16),
    "decoder_width": (1, 1 << 14), "decoder_skip": (1, 1 << 14), "decoder_layers": (1, 256), "decoder_cycle": (1, 16),
    "pitch_dimensions": (0, 1 << 10), "dimensions": (DIMENSIONS, DIMENSIONS), "crop_samples": (1, NOTE_SAMPLES),
    "hop_samples": (HOP_SAMPLES, HOP_SAMPLES), "batch": (1, 1 << 16), "steps": (1, 10_000_000),
}  # fmt: skip
NUMBERS = {"average_decay": (0.0, 0.999999), "gradient_norm": (0.0, 1e6)}
CHOICES = {"encoder_input": ("samples", "spectrum"), "initializer": ("glorot_uniform", "lecun_uniform"),
           "precision": ("float32", "mixed_bfloat16", "mixed_float16")}
NAME_LENGTH = 64


def configuration(named: str) -> Config:
    """The configuration of that name, or that of the file. Raises TetradError where there is neither."""
    if named in CONFIGS:
        return CONFIGS[named]
    if Path(named).suffix != ".json":
        raise TetradError(f"there is no configuration {named!r}: give {', '.join(sorted(CONFIGS))}, or a .json file")
    return config_from_file(Path(named))


def config_from_file(path: Path) -> Config:
    """Named after the file unless it says otherwise. Raises TetradError naming the field that is unknown or missing,
    or cannot be."""
    given = files.parse_json(files.read_whole(path, LIMIT_BYTES), str(path))
    if not isinstance(given, dict):
        raise TetradError(f"{path} is not an object of a configuration's fields")
    base = given.pop("base", None)
    if base is not None and (not isinstance(base, str) or base not in CONFIGS):
        raise TetradError(f"{path}: base {base!r} is none of {', '.join(sorted(CONFIGS))}")
    held = {} if base is None else json.loads(json.dumps(dataclasses.asdict(CONFIGS[base])))
    return config_from(held | {"name": path.stem} | given, str(path))


def config_from(given: Mapping[str, Any], what: str) -> Config:
    """The configuration of these fields, as JSON has them. Fields with a default may be left out.

    Raises TetradError, beginning with `what`.
    """
    known = {field.name: field for field in dataclasses.fields(Config)}
    unknown = sorted(given.keys() - known)
    missing = [name for name, field in known.items() if name not in given and field.default is dataclasses.MISSING]
    if unknown:
        raise TetradError(f"{what}: unknown fields: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    if missing:
        raise TetradError(f"{what}: fields missing: {', '.join(missing)}; give them, or a base: "
                          f"{', '.join(sorted(CONFIGS))}")
    try:
        config = Config(**{name: _value(name, value) for name, value in given.items()})
        _fit_together(config)
    except TetradError as error:
        raise TetradError(f"{what}: {error}") from error
    return config


def _value(name: str, value: Any) -> Any:
    if name in WHOLE:
        return files.whole_number(value, *WHOLE[name], name)
    if name in NUMBERS:
        return float(files.number(value, *NUMBERS[name], name))
    if name == "learning_rates":
        return _rates(value)
    if name in CHOICES and value not in CHOICES[name]:
        raise TetradError(f"{name} {value!r} is none of {', '.join(CHOICES[name])}")
    return files.text(value, NAME_LENGTH, name)


def _rates(value: Any) -> tuple[tuple[int, float], ...]:
    what = "learning_rates"
    pairs = [files.items(pair, 2, 2, f"a pair [step, rate] of {what}") for pair in files.items(value, 1, 1000, what)]
    rates = tuple((files.whole_number(step, 0, 10_000_000, f"a step of {what}"),
                   float(files.number(rate, 0, 10, f"a rate of {what}"))) for step, rate in pairs)
    steps = [step for step, _ in rates]
    if steps[0] != 0 or steps != sorted(steps):
        raise TetradError(f"the steps of {what} do not ascend from 0")
    return rates


def _fit_together(config: Config) -> None:
    hop = config.hop_samples
    if config.crop_samples % hop:
        raise TetradError(f"crop_samples {config.crop_samples} is no multiple of hop_samples {hop}")
