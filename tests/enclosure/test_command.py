"""`tetrad enclosure`, as a maker says it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tetrad import main

ROOT = Path(__file__).parents[2]


def test_everything_is_written_and_the_pictures_show_something(tmp_path):
    """In a process of its own: VTK's drawing without a screen ends one that has TensorFlow's libraries in it."""
    case = tmp_path / "case"
    done = subprocess.run([sys.executable, ROOT / "tetrad.py", "enclosure", "--out", case, "--board", "pi5", "--json"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    files = {path.relative_to(case).as_posix() for path in case.rglob("*") if path.is_file()}
    assert told["files"] == len(files)
    assert {"solids/body.stl", "solids/tetrad.step", "laser/panel.dxf", "laser/base.svg", "wiring/tetrad.yml",
            "parts/bom.csv"} <= files
    pictures = sorted((tmp_path / "case/pictures").iterdir())
    assert {path.stem for path in pictures} == {"assembled", "exploded", "rear", "panel", "inside"}
    for path in pictures:
        pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
        white = (pixels > 250).all(axis=1).mean()
        assert 0.2 < white < 0.9, path  # the case, on white
        assert len(np.unique(pixels, axis=0)) > 100, path
        edge = np.asarray(Image.open(path).convert("L"))
        assert min(side.min() for side in (edge[0], edge[-1], edge[:, 0], edge[:, -1])) > 250, path  # all of it


@pytest.mark.parametrize(("options", "said"), [
    (["--set", "width_mm=180"], "encoder1 and the right wall overlap by 3.7 mm"),
    (["--kerf", "-1"], "a kerf is from 0 to 1 mm, not -1"),
    (["--kerf", "nan"], "a kerf is from 0 to 1 mm, not nan"),
    (["--set", "height=3"], "'height=3' is no NAME=MM"),
])
def test_what_cannot_be_is_a_line_and_nothing_is_written(tmp_path, capsys, options, said):
    assert main(["enclosure", "--out", str(tmp_path / "case"), *options]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert said in told[0]
    assert not (tmp_path / "case").exists()
