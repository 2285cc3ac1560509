from pathlib import Path

import pytest

from train import reference


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """Where `make test` installs the reference implementation; without it these tests fail, and say how to get it."""
    reference.load()
    return reference.FOLDER
