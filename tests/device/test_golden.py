"""The engine alone, without Python, plays the scenes of golden.c as it did when golden.npz was written.

`python tests/device/test_golden.py` writes it anew and says how far it is from the last. One should where a change is
meant to be heard, or to alter the scenes, once the other tests hold.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native import ENGINE

SCENES = "chord", "legato", "crowd", "effects"
GOLDEN = Path(__file__).with_name("golden.npz")
OTHERS = "binding.c", "alsa_binding.c", "midi_binding.c", "card.c", "keyboard.c"  # need Python or ALSA
FLAGS = ["-std=c11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra",
         "-Wno-psabi", "-Werror"]
CROSS_COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
NO_SUCH_KERNELS = 77

# Of a scene's peak. golden.npz holds 16 bits: rounded, they are off by -96 dB at most, by -101 dB on average. Machines
# and kernels differ by -105 dB at most, by -130 dB on average.
MAX_ERROR_DB, RMS_ERROR_DB = -90, -100
# Of full scale, between kernels of one machine, which differ by -141 dB.
MAX_KERNELS_DB = -130


def compiled(folder: Path, compiler: str = "gcc", flags: Sequence[str] = ()) -> Path:
    sources = [str(source) for source in sorted(ENGINE.glob("*.c")) if source.name not in OTHERS]
    program = folder / f"golden-{compiler}"
    subprocess.run([compiler, *FLAGS, *flags, f"-I{ENGINE}", str(Path(__file__).with_name("golden.c")), *sources, "-o",
                    str(program), "-lm"], check=True)
    return program


def played(command: Sequence[str | Path], scene: str, kernels: str | None = None) -> np.ndarray:
    """float32 [frames, 2]; without `kernels` those that the engine chooses. Skips where they do not run here."""
    environment = os.environ | ({"GOLDEN_KERNELS": kernels} if kernels else {})
    run = subprocess.run([*command, scene], env=environment, stdout=subprocess.PIPE)
    if kernels and run.returncode == NO_SUCH_KERNELS:
        pytest.skip(f"this processor does not run the kernels of {kernels}")
    run.check_returncode()
    return np.frombuffer(run.stdout, np.float32).reshape(-1, 2)


def packed(audio: np.ndarray) -> np.ndarray:
    """int16 [2, frames], of the peak: left, and what right has more (modulo 2 ** 16): little, where both are alike."""
    left, right = np.rint(audio.T.astype(float) / np.abs(audio).max() * 32_767).astype(np.int16)
    return np.stack([left, right - left])


def stored(scene: str) -> tuple[np.ndarray, float]:
    """float64 [frames, 2], and its peak."""
    with np.load(GOLDEN) as golden:
        (left, more), peak = golden[scene], float(golden[f"{scene}_peak"])
    return np.stack([left, left + more], axis=1) * peak / 32_767, peak


def write() -> None:
    scenes: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(Path(folder))
        for scene in SCENES:
            audio = played([program], scene)
            scenes |= {scene: packed(audio), f"{scene}_peak": np.abs(audio).max()}
            if GOLDEN.exists() and (last := stored(scene)[0]).shape == audio.shape:
                print(f"{scene}: at most {db(np.abs(audio - last).max()):.0f} dBFS from the last")
    np.savez_compressed(GOLDEN, **scenes)


def db(amplitude: float) -> float:
    return float(20 * np.log10(amplitude + 1e-12))


def assert_golden(audio: np.ndarray, scene: str) -> None:
    wanted, peak = stored(scene)
    assert audio.shape == wanted.shape
    error = (audio - wanted) / peak
    assert db(np.abs(error).max()) < MAX_ERROR_DB
    assert db(np.sqrt(np.mean(error**2))) < RMS_ERROR_DB


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    return compiled(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("kernels", ["plain", "avx2", "avx512"])
def test_scenes_sound_as_they_did(program, kernels, scene):
    audio = played([program], scene, kernels)
    assert_golden(audio, scene)
    assert db(np.abs(audio - played([program], scene, "plain")).max()) < MAX_KERNELS_DB


@pytest.fixture(scope="module")
def emulated(tmp_path_factory) -> list[str | Path]:
    """For a Raspberry Pi 4, on whatever runs the test."""
    for tool, package in ((CROSS_COMPILER, "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"), (EMULATOR, "qemu-user")):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}: sudo apt-get install {package}")
    return [EMULATOR, compiled(tmp_path_factory.mktemp("golden"), CROSS_COMPILER, ["-mcpu=cortex-a72", "-static"])]


@pytest.mark.full
@pytest.mark.parametrize("scene", SCENES)
def test_scenes_sound_the_same_on_arm(emulated, scene):
    assert_golden(played(emulated, scene), scene)


if __name__ == "__main__":
    write()
