"""The command itself."""

import importlib
import json
import re
import tomllib
from pathlib import Path

import pytest

import tetrad

ROOT = Path(tetrad.__file__).parent


@pytest.mark.parametrize("name", tetrad.COMMANDS)
def test_each_command_tells_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        tetrad.main([*name.split(), "--help"])
    assert end.value.code == 0
    assert f"usage: tetrad {name}" in capsys.readouterr().out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert tetrad.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in tetrad.COMMANDS)


@pytest.mark.parametrize("words", [[], ["sing"], ["preset", "break"]])
def test_bad_use_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert tetrad.main(words) == 2
    assert "usage" in capsys.readouterr().err


def test_a_missing_option_exits_with_2() -> None:
    with pytest.raises(SystemExit) as end:
        tetrad.main(["decode"])
    assert end.value.code == 2


@pytest.mark.parametrize(("module", "advice"), [("keras", "'.[train]'"), ("matplotlib.pyplot", "'.[picture]'"),
                                                ("ai_edge_litert", "'.'")])
def test_what_is_not_installed_is_named(module: str, advice: str, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert tetrad.main(["train", "student"]) == 1
    error = capsys.readouterr().err
    assert f"needs {module}" in error
    assert error.strip().endswith(f"pip install {advice}")


@pytest.mark.parametrize("words", [["embed", "a.wav", "--out", "file/folder"], ["demo", "--out", "file"],
                                   ["render", "a.mid", "--preset", "a.tetrad", "--out", "file/song.wav"]])
def test_an_output_that_cannot_be_is_one_line(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    assert tetrad.main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("tetrad: ")
    assert "file" in error
    assert len(error.strip().splitlines()) == 1


def test_documents_link_to_what_is_there_and_hold_no_gaps() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "device" / "factory" / "README.md"]:
        text = document.read_text()
        for link in re.findall(r"\]\(([^)]+)\)", text):
            assert link.startswith("https://") or (document.parent / link).exists(), f"{document.name}: {link}"
        assert not re.search(r"^[A-Z]{4,}$", text, re.MULTILINE), f"{document.name} holds a gap"


def test_the_readme_shows_the_tree_that_is_there() -> None:
    readme = (ROOT / "README.md").read_text()
    tree = "train/" + readme.split("```\ntrain/", 1)[1].split("```", 1)[0]
    folder, shown = ROOT, 0
    for line in tree.splitlines():
        name = line.split()[0]
        inside = folder / name if line.startswith("  ") else ROOT / name
        assert inside.exists() or inside.with_suffix(".py").exists(), f"{name} is not there"
        folder, shown = folder if line.startswith("  ") else inside, shown + 1
    assert shown > 8


def test_the_readme_lists_the_presets_that_are_shipped() -> None:
    library = json.loads((ROOT / "device" / "factory" / "library.json").read_text())
    rows = re.findall(r"^\| \[(.+)\]\(docs/examples/(.+)\.opus\) \| (.+) \|$", (ROOT / "README.md").read_text(), re.M)
    assert [(name, f"{file}.tetrad", corners.split(" | ")) for name, file, corners in rows] == [
        (preset["name"], preset["file"], [corner["name"] for corner in preset["corners"]])
        for preset in library["presets"]]


def test_every_stage_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {".".join(path.parent.relative_to(ROOT).parts) for stage in ("device", "enclosure", "quantize", "train")
                for path in (ROOT / stage).rglob("__init__.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == packages
    sources = {extension["name"]: extension["sources"] for extension in project["tool"]["setuptools"]["ext-modules"]}
    assert {*sources["device._engine"], *sources["device._alsa"]} == {
        str(p.relative_to(ROOT)) for p in (ROOT / "device" / "engine").glob("*.c")}
