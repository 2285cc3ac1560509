import subprocess
import sys
import venv
from pathlib import Path

import keras
import pytest
from tiny_models import gated_stack, samples

from quantize.convert import to_int8

RUNTIME = ("tflite-runtime==2.14.0", "numpy<2")


@pytest.fixture(scope="session")
def student() -> keras.Model:
    return gated_stack()


@pytest.fixture(scope="session")
def student_int8(student: keras.Model) -> bytes:
    return to_int8(student, samples(student.input_shape, 8))


@pytest.fixture(scope="session")
def runtime_python() -> Path:
    """The Python of an environment that holds tflite-runtime's last release, which wants numpy below 2. It is kept in
    the repository's .cache; the mark is written last, so that a broken installation is made anew."""
    if sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime 2.14 has no wheel for this Python")
    folder = Path(__file__).parents[2] / ".cache" / "venv-tflite-runtime"
    python, mark = folder / "bin" / "python", folder / "installed"
    if not mark.exists() or mark.read_text() != " ".join(RUNTIME):
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *RUNTIME], check=True)
        mark.write_text(" ".join(RUNTIME))
    return python
