"""The published implementation of NSynth, where it is installed: an oracle for tests and a peer for benchmarks.

It is the package `magenta` 2.1.4 on PyPI, whose `__init__` imports far more than NSynth's models need. So it is kept in
a folder of its own, without its dependencies, and only `magenta.models.nsynth` is imported from there.
"""

import importlib
import sys
from argparse import ArgumentParser
from pathlib import Path
from types import ModuleType

from device.errors import TetradError

FOLDER = Path(sys.prefix) / "reference"
PACKAGES = "magenta==2.1.4 tf_slim==1.1.0"


def add_option(parser: ArgumentParser) -> None:
    parser.add_argument("--reference", type=Path, default=FOLDER, metavar="DIR",
                        help="the reference implementation's folder; default: %(default)s. To install it there: "
                             f"pip install --no-deps --target DIR {PACKAGES}")


def load(folder: Path = FOLDER, module: str = "wavenet.h512_bo16") -> ModuleType:
    """A module of `magenta.models.nsynth`: the one with `Config` and `FastGenerationConfig` of h512_bo16 by default.

    Both build TensorFlow 1 graphs, inside `with tf.Graph().as_default()`. Raises TetradError where `folder` lacks it.
    """
    package = Path(folder) / "magenta"
    if not (package / "models" / "nsynth").is_dir():
        raise TetradError(f"{folder} does not hold the reference implementation: "
                          f"pip install --no-deps --target {folder} {PACKAGES}")
    bare = sys.modules.setdefault("magenta", ModuleType("magenta"))  # without running its __init__
    bare.__path__ = [str(package)]
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last, so that it shadows nothing; tf_slim is found there
    return importlib.import_module(f"magenta.models.nsynth.{module}")
