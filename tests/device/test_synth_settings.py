import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from playing import constant, engine_with, on, play

import tetrad
from device import _engine
from device.errors import TetradError
from device.preset import Preset
from device.synth_settings import FIRST, PARAMETERS, RANGES, WORDS, Synth, read_synth, setting


def test_every_parameter_of_the_engine_is_a_setting():
    assert len(PARAMETERS) == len(_engine.PARAMETERS)
    assert PARAMETERS["sustain"] == _engine.SUSTAIN_LEVEL
    assert PARAMETERS["filter_sustain_level"] == _engine.FILTER_SUSTAIN_LEVEL
    assert RANGES["cutoff_hz"] == (20_000, 20, 20_000)
    Synth(**{name: most for name, (_, _, most) in RANGES.items()})


def test_settings_are_those_given_and_the_first_envelope():
    assert dict(Synth()) == FIRST
    assert dict(Synth(resonance=0.5, attack_ms=9)) == FIRST | {"attack_ms": 9, "resonance": 0.5}
    assert list(Synth(resonance=0.5, attack_ms=9)) == list(Synth(attack_ms=9, resonance=0.5))
    assert Synth(release_ms=FIRST["release_ms"]) == Synth()


@pytest.mark.parametrize(("settings", "why"), [
    ({"attack": 1}, "there is no setting 'attack'; there are attack_ms,"), ({"attack_ms": 0}, "attack_ms is not"),
    ({"resonance": float("nan")}, "resonance is not a number from 0 to 1"), ({"resonance": "1"}, "resonance is not"),
    ({"mode": True}, "mode is not")])
def test_other_settings_are_refused(settings, why):
    with pytest.raises(TetradError, match=why):
        Synth(**settings)
    with pytest.raises(TetradError, match=f"the preset: {why}"):
        read_synth(settings, "the preset")


def test_what_is_no_object_is_refused():
    with pytest.raises(TetradError, match="the preset is not an object"):
        read_synth([1], "the preset")


def test_the_command_line_takes_numbers_and_words():
    assert setting("attack_ms=20") == ("attack_ms", 20)
    assert setting("filter_mode=band") == ("filter_mode", 2)
    assert setting("lfo_shape=3") == ("lfo_shape", 3)
    for text, why in {"attack_ms": "no NAME=VALUE", "attack_ms=fast": "is no number", "attack_ms=-1": "from 1",
                      "filter_mode=notch": "none of off, low, band, high", "volum=1": "no setting 'volum'",
                      "resonance=nan": "from 0 to 1"}.items():
        with pytest.raises(argparse.ArgumentTypeError, match=why):
            setting(text)


def test_sending_sets_all_parameters_those_of_the_preset_before_too():
    engine = engine_with({60: constant([[0.5] * 2] * 2)}, parameters={})
    Synth(attack_ms=1, volume=0.25).send(engine)
    quiet = play(engine, [on(0)], 8_000)[-1]
    Synth(attack_ms=1).send(engine)
    assert play(engine, [], 8_000)[-1] == pytest.approx(4 * quiet, rel=1e-3)


def test_a_preset_is_edited(tmp_path, capsys):
    source, out = tmp_path / "a.tetrad", tmp_path / "b.tetrad"
    source.write_bytes(Preset.read("device/factory/first.tetrad").to_bytes())
    before = source.read_bytes()
    assert tetrad.main(["preset", "edit", str(source), "--synth", "filter_mode=low", "--synth", "cutoff_hz=800",
                        "--name", "Dark", "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["name"], printed["filter_mode"], printed["cutoff_hz"]) == ("Dark", 1, 800)
    first, dark = Preset.read(source), Preset.read(out)
    assert dark.synth == Synth(**{**first.synth, "filter_mode": 1, "cutoff_hz": 800})
    assert all(np.array_equal(a.scale, b.scale) for a, b in zip(first.corners, dark.corners, strict=True))
    assert source.read_bytes() == before
    with pytest.raises(SystemExit):
        tetrad.main(["preset", "edit", str(source), "--synth", "cutoff_hz=5", "--out", str(out)])
    assert "cutoff_hz is not a number from 20 to 20000" in capsys.readouterr().err


def test_the_documents_table_is_what_there_is():
    rows = [line.split("|")[1:5] for line in Path("docs/engine.md").read_text().splitlines() if line.startswith("| ")]
    told = {name.strip(): tuple(cell.strip() for cell in cells) for name, *cells in rows if name.strip() in RANGES}

    def word(name: str, value: float) -> str:
        return WORDS[name][int(value)] if name in WORDS else f"{value:g}"
    assert told == {name: tuple(word(name, value) for value in (FIRST.get(name, first), least, most))
                    for name, (first, least, most) in RANGES.items()}


@pytest.mark.parametrize("name", ["self", "settings", "value", "__class__", ""])
def test_names_that_mean_something_to_python_are_refused_as_others(name):
    with pytest.raises(TetradError, match="it: there is no setting"):
        read_synth({name: 1}, "it")
