"""Trainings in a process of their own, which may be killed, limited, or given devices."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.train import tiny

CONFIG = dataclasses.replace(tiny.CONFIG, steps=15, crop_samples=512)
EPOCH_STEPS = 5

SCRIPT = """
import sys
{before}
import tetrad
from train import run
run.EPOCH_STEPS = {epoch_steps}
sys.exit(tetrad.main(sys.argv[1:]))
"""


def write_config(path: Path, **changed: object) -> Path:
    path.write_text(json.dumps(dataclasses.asdict(CONFIG) | changed))
    return path


def start(arguments: list[object], before: str = "", **environment: str) -> "subprocess.Popen[str]":
    """`tetrad train autoencoder` with these arguments; `before` is Python that runs ahead of it."""
    script = SCRIPT.format(before=before, epoch_steps=EPOCH_STEPS)
    command = [sys.executable, "-c", script, "train", "autoencoder", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment)


def train(arguments: list[object], before: str = "", **environment: str) -> tuple[int, str, str]:
    """Exit status, what it printed, and the last line of its errors."""
    process = start(arguments, before, **environment)
    out, errors = process.communicate(timeout=300)
    return process.returncode, out, (errors.strip().splitlines() or [""])[-1]


def curve(folder: Path) -> dict[int, float]:
    """Loss by step."""
    with (folder / "history.csv").open() as file:
        return {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}
