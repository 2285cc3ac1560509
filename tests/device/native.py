"""Stages of the engine, each compiled alone, so that a test can compare it with an independent reference."""

import ctypes
import subprocess
import tempfile
from functools import cache
from pathlib import Path

ENGINE = Path(__file__).parents[2] / "device/engine"
FLAGS = ["-std=c11", "-O2", "-ffp-contract=fast", "-fno-math-errno", "-Wall", "-Wextra", "-Wno-psabi", "-Werror",
         "-shared", "-fPIC"]
_FOLDER = tempfile.TemporaryDirectory(prefix="tetrad-native-")


@cache
def library(*sources: str) -> ctypes.CDLL:
    """Files of device/engine/ as one shared library; "x.c" names."""
    out = Path(_FOLDER.name) / ("-".join(source.removesuffix(".c") for source in sources) + ".so")
    subprocess.run(["gcc", *FLAGS, f"-I{ENGINE}", *(str(ENGINE / source) for source in sources), "-o", str(out), "-lm"],
                   check=True)
    return ctypes.CDLL(str(out))
