"""Several embeddings to a folder of WAVs."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tetrad
from device import decode_many
from device.decoder import Decoder
from device.errors import TetradError
from device.pitch import pitch_from_sound
from device.preset import Preset

FACTORY = Path(decode_many.__file__).parent / "factory"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Embeddings of notes, and one that is twice as long."""
    (tmp_path / "embeddings").mkdir()
    preset = Preset.read(FACTORY / "first.tetrad")
    for pitch in (52, 60, 67):
        np.save(tmp_path / "embeddings" / f"flute_{pitch}.npy", preset.embedding(1, 0, pitch))
    np.save(tmp_path / "embeddings" / "long_55.npy", np.repeat(preset.embedding(1, 0, 55), 2, axis=0))
    return tmp_path / "embeddings"


def test_a_folder_is_decoded_at_the_pitches_in_its_names(folder: Path, tmp_path: Path,
                                                         capsys: pytest.CaptureFixture) -> None:
    assert tetrad.main(["decode", str(folder), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sounds": 4, "folder": str(tmp_path / "out"), "seconds": 20.0}
    for name, pitch in (("flute_52", 52), ("flute_60", 60), ("flute_67", 67), ("long_55", 55)):
        audio, rate_hz = soundfile.read(tmp_path / "out" / f"{name}.wav", dtype="float32")
        assert rate_hz == 16_000
        assert len(audio) == (128_000 if name == "long_55" else 64_000)
        assert pitch_from_sound(audio[1000:40_000]) == pytest.approx(pitch, abs=0.2)
    assert not list(tmp_path.glob(".*.chunks"))


def test_several_are_decoded_to_the_bytes_of_each_alone(folder: Path, tmp_path: Path) -> None:
    paths = [str(folder / f"flute_{pitch}.npy") for pitch in (60, 67)]
    assert tetrad.main(["decode", *paths, "--pitch", "61.5@0,50@2", "--out", str(tmp_path / "out")]) == 0
    for path in map(Path, paths):
        alone = tmp_path / "alone.wav"
        assert tetrad.main(["decode", str(path), "--pitch", "61.5@0,50@2", "--out", str(alone)]) == 0
        assert (tmp_path / "out" / f"{path.stem}.wav").read_bytes() == alone.read_bytes()


@pytest.mark.parametrize(("damage", "complaint"), [
    (lambda folder: (folder / "none.npy").write_bytes(b"x"), "none.npy as an embedding"),
    (lambda folder: np.save(folder / "flute.npy", np.zeros((125, 16))), "flute.npy has no pitch in its name"),
    (lambda folder: [path.unlink() for path in folder.iterdir()], "has no embeddings"),
])
def test_what_cannot_be_decoded_is_one_line_and_no_folder(folder: Path, tmp_path: Path, damage, complaint: str,
                                                          capsys: pytest.CaptureFixture) -> None:
    damage(folder)
    assert tetrad.main(["decode", str(folder), "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert not (tmp_path / "out").exists()


def test_two_of_a_name_are_refused(folder: Path, tmp_path: Path) -> None:
    words = ["decode", str(folder), str(folder / "flute_60.npy"), "--out", str(tmp_path / "out")]
    assert tetrad.main(words) == 1


def test_another_decoder_on_a_worker_is_refused(folder: Path) -> None:
    found = list(decode_many.embeddings_at([folder]))[:1]
    assert decode_many.decode_chunk(None, Decoder().id, None, found)
    with pytest.raises(TetradError, match="is another one here"):
        decode_many.decode_chunk(None, "0" * 16, None, found)
