import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tetrad
from device.encoder import Encoder
from device.errors import TetradError
from device.library import make_library, read_library
from device.preset import Preset
from device.synth_settings import Synth

FACTORY_LIST = Path(tetrad.__file__).parent / "device" / "factory" / "library.json"
INSTRUMENTS = [f"reed_synthetic_00{i}" for i in range(5)]


class Levels:
    """An encoder: the level of each frame, sixteen times."""

    embedded = 0

    def embed(self, audio: np.ndarray) -> np.ndarray:
        self.embedded += 1
        return np.sqrt(np.mean(audio.reshape(125, 512) ** 2, axis=1))[:, None].repeat(16, axis=1)


def write_notes(folder: Path) -> None:
    """Five instruments, at two pitches and two velocities."""
    examples = {}
    (folder / "audio").mkdir(parents=True)
    for number, name in enumerate(INSTRUMENTS):
        for pitch in (48, 72):
            for velocity in (50, 100):
                time_s = np.arange(64_000) / 16_000
                wave = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time_s) * np.exp(-time_s * (number + 1))
                note = f"{name}-{pitch:03}-{velocity:03}"
                soundfile.write(folder / "audio" / f"{note}.wav", velocity / 200 * wave, 16_000)
                examples[note] = {"pitch": pitch, "velocity": velocity}
    (folder / "examples.json").write_text(json.dumps(examples))


def some_list() -> dict:
    def preset(file: str, instruments: list[str], **synth: float) -> dict:
        return {"name": file.title(), "file": f"{file}.tetrad", "synth": synth,
                "corners": [{"name": f"reed {one[-1]}", "instrument": one} for one in instruments]}

    return {"author": "me", "licence": "CC0-1.0", "velocities": [50, 100],
            "presets": [preset("one", INSTRUMENTS[:4], attack_ms=7), preset("two", INSTRUMENTS[4:0:-1])]}


def written(folder: Path, told: object) -> Path:
    path = folder / "list.json"
    path.write_text(json.dumps(told))
    return path


def test_every_preset_of_a_list_is_made(tmp_path: Path) -> None:
    write_notes(tmp_path / "notes")
    encoder = Levels()
    library = read_library(written(tmp_path, some_list()))
    paths = make_library(library, tmp_path / "notes", tmp_path / "out", encoder, "abc")
    assert encoder.embedded == 5 * 2 * 2  # each instrument once, though three are in both
    one, two = map(Preset.read, paths)
    assert [path.name for path in paths] == ["one.tetrad", "two.tetrad"]
    assert (one.name, one.author, one.licence, one.decoder) == ("One", "me", "CC0-1.0", "abc")
    assert one.velocities == two.velocities == (50, 100)
    assert (one.synth, two.synth) == (Synth(attack_ms=7), Synth())
    assert [corner.name for corner in two.corners] == ["reed 4", "reed 3", "reed 2", "reed 1"]
    np.testing.assert_array_equal(one.corners[2].values, two.corners[2].values)
    assert (one.corners[1].values != one.corners[2].values).any()


@pytest.mark.parametrize(("change", "said"), [
    (lambda told: told.pop("author"), "lacks `author`"),
    (lambda told: told.update(velocities=[100, 50]), "ascending"),
    (lambda told: told.update(presets=[]), "`presets`"),
    (lambda told: told["presets"][1].update(file="one.tetrad"), "two presets are called one.tetrad"),
    (lambda told: told["presets"][1].update(file="../two.tetrad"), "'../two.tetrad'"),
    (lambda told: told["presets"][1].update(file="two.wav"), "two.wav"),
    (lambda told: told["presets"][1].update(synth={"sustain": 2}), "sustain is not a number"),
    (lambda told: told["presets"][1].update(synth={"loudness": 1}), "`synth` of Two"),
    (lambda told: told["presets"][1]["corners"].pop(), "`corners` of Two"),
    (lambda told: told["presets"][1]["corners"][0].update(name="reed 3"), "two corners of Two"),
])
def test_a_list_that_is_none_is_one_line(change, said: str, tmp_path: Path) -> None:
    told = some_list()
    change(told)
    with pytest.raises(TetradError, match=r"list\.json is no list of presets: .*" + said.replace(".", r"\.")):
        read_library(written(tmp_path, told))


def test_nothing_is_written_where_an_instrument_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_notes(tmp_path / "notes")
    told = some_list()
    told["presets"][1]["corners"][3]["instrument"] = "reed_synthetic_009"
    with pytest.raises(TetradError, match="no instrument reed_synthetic_009"):
        make_library(read_library(written(tmp_path, told)), tmp_path / "notes", tmp_path / "out", Levels(), "abc")
    assert not (tmp_path / "out").exists()


def test_the_factorys_list_is_a_library_of_the_first_fonts_instruments() -> None:
    library = read_library(FACTORY_LIST)
    assert len(library.presets) >= 12
    assert len(library.instruments) >= 24
    assert len({preset.name for preset in library.presets}) == len(library.presets)
    assert all(len(one.rsplit("_", 1)[1]) == 3 for one in library.instruments)  # a second font's begin at 1000


def test_the_command_makes_a_library_for_the_shipped_decoder(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    write_notes(tmp_path / "notes")
    monkeypatch.setattr(Encoder, "embed", Levels().embed)
    assert tetrad.main(["preset", "library", str(written(tmp_path, some_list())), "--notes", str(tmp_path / "notes"),
                        "--out", str(tmp_path / "out"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["presets"], result["instruments"], result["layers"]) == (["one.tetrad", "two.tetrad"], 5, 2)
    assert result["bytes"] == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
