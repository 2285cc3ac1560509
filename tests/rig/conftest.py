"""The image, made where it is not there yet, and the folder that all machines share."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parent / "device")]  # helpers of the other tests, too

import image  # noqa: E402
import machine  # noqa: E402


@pytest.fixture(scope="session")
def rig_image() -> image.Image:
    return image.image()


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return machine.make_share(tmp_path_factory.mktemp("rig"))
