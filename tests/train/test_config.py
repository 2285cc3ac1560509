import dataclasses
import json

import pytest

from device.errors import TetradError
from tests.train import tiny
from train.config import config_from_file, configuration
from train.wavenet import CONFIGS


def test_the_big_configuration_is_trained_as_published():
    config = CONFIGS["nsynth"]
    assert (config.crop_samples, config.batch, config.steps, config.average_decay) == (6144, 32, 200_000, 0.9999)
    assert config.learning_rates == ((0, 2e-4), (90_000, 4e-4 / 3), (120_000, 6e-5), (150_000, 4e-5), (180_000, 2e-5))
    assert config.gradient_norm == 0  # not clipped
    assert config.initializer == "lecun_uniform"  # uniform in +-sqrt(3 / inputs)


def write(folder, fields):
    path = folder / "mine.json"
    path.write_text(json.dumps(fields))
    return path


def test_a_file_changes_what_it_names_of_its_base(tmp_path):
    path = write(tmp_path, {"base": "nsynth", "batch": 4, "precision": "mixed_bfloat16", "learning_rates": [[0, 0.1]]})
    assert configuration(str(path)) == dataclasses.replace(
        CONFIGS["nsynth"], name="mine", batch=4, precision="mixed_bfloat16", learning_rates=((0, 0.1),))


def test_a_file_without_a_base_has_every_field_that_has_no_default(tmp_path):
    fields = dataclasses.asdict(tiny.CONFIG)
    assert config_from_file(write(tmp_path, fields)) == tiny.CONFIG
    del fields["decoder_skip"], fields["gradient_norm"]
    with pytest.raises(TetradError, match=r"mine\.json: fields missing: decoder_skip; give them, or a base"):
        config_from_file(write(tmp_path, fields))


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"decoder_widht": 3}, "unknown fields: decoder_widht"),
    ({"crop_samples": 6000}, "crop_samples 6000 is no multiple of hop_samples 512"),
    ({"crop_samples": 64512}, "crop_samples is not a whole number from 1 to 64000"),
    ({"decoder_width": -1}, "decoder_width is not a whole number"),
    ({"decoder_width": 3.5}, "decoder_width is not a whole number"),
    ({"batch": 0}, "batch is not"),
    ({"batch": True}, "batch is not"),
    ({"encoder_layers": None}, "encoder_layers is not"),
    ({"dimensions": 8}, "dimensions is not 16"),
    ({"decoder_layers": 300}, "decoder_layers is not a whole number from 1 to 256"),
    ({"encoder_input": "spectrum", "hop_samples": 256}, "hop_samples is not 512"),
    ({"encoder_input": "wav"}, "encoder_input 'wav' is none of"),
    ({"encoder_input": ["samples"]}, "encoder_input .* is none of"),
    ({"precision": "float8"}, "precision 'float8' is none of"),
    ({"initializer": "zeros"}, "initializer 'zeros' is none of"),
    ({"average_decay": 1}, "average_decay is not a number"),
    ({"average_decay": float("nan")}, "average_decay is not a number"),
    ({"gradient_norm": -1}, "gradient_norm is not a number"),
    ({"learning_rates": 1e-3}, "learning_rates is not a list"),
    ({"learning_rates": []}, "learning_rates is not a list"),
    ({"learning_rates": [[0, "fast"]]}, "a rate of learning_rates is not"),
    ({"learning_rates": [[5, 1e-3]]}, "do not ascend from 0"),
    ({"learning_rates": [[0, 1e-3], [9, 1e-4], [8, 1e-5]]}, "do not ascend from 0"),
    ({"name": "x\n"}, "name is not a line"),
    ({"base": "big"}, "base 'big' is none of nsynth, small"),
])
def test_a_configuration_that_cannot_be_is_refused_by_its_field(tmp_path, changed, complaint):
    path = write(tmp_path, {"base": "nsynth"} | changed)
    with pytest.raises(TetradError, match=complaint) as caught:
        config_from_file(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("named", "complaint"), [
    ("big", "there is no configuration 'big': give nsynth, small, or a .json file"),
    ("missing.json", "cannot read missing.json"),
])
def test_a_configuration_that_is_not_there_is_told(named, complaint):
    with pytest.raises(TetradError, match=complaint):
        configuration(named)


@pytest.mark.parametrize("text", ["{", "[]", "5"])
def test_a_file_that_is_no_configuration_is_refused_by_name(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(TetradError, match=r"x\.json is not"):
        config_from_file(tmp_path / "x.json")
