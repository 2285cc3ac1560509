"""The pictures: against the published formula, and on sounds whose picture is known."""

from pathlib import Path

import librosa
import matplotlib
import numpy as np
import pytest
import soundfile
from matplotlib.colors import rgb_to_hsv

import tetrad
from device.errors import TetradError
from device.synth import pitch_to_hz
from tests.train.tiny import note_audio
from train import rainbowgram

RATE_HZ = 16_000
PNG = b"\x89PNG\r\n\x1a\n"


def tone(hz: float, seconds: float = 2.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def size(png: Path) -> tuple[int, int]:
    """Width and height in the header of a PNG."""
    data = png.read_bytes()
    assert data[:8] == PNG
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def bin_of(pitch: float) -> int:
    return round((pitch - 36) * 40 / 12)


def hues(hz: float, pitch: float) -> np.ndarray:
    """Hue, 0 to 1, of the middle of a steady tone at the line of `pitch`."""
    pixels = rainbowgram.image(tone(hz))[bin_of(pitch), 30:-30]
    return rgb_to_hsv(pixels / 255)[:, 0]


def published(audio: np.ndarray, peak_db: float = 70.0) -> np.ndarray:
    """The recipe as the authors of NSynth gave it, step by step: phase through a colour map, a mask over it."""
    transform = librosa.cqt(audio, sr=16000, hop_length=256, bins_per_octave=40, n_bins=240, filter_scale=0.8,
                            fmin=librosa.note_to_hz("C2"))
    magnitude, phase = librosa.magphase(transform)
    unwrapped = np.unwrap(np.angle(phase))
    turned = unwrapped[:, 1:] - unwrapped[:, :-1]
    turned = np.concatenate([unwrapped[:, 0:1], turned], axis=1) / np.pi
    level = librosa.power_to_db(magnitude**2, amin=1e-13, top_db=peak_db, ref=np.max) / peak_db + 1
    colour = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(-1, 1), "rainbow").to_rgba(turned)[..., :3]
    alpha = 1 - level  # of black, which lies over the colour
    return 255 * (colour * (1 - alpha[..., None]) + np.zeros(3) * alpha[..., None])


def test_a_chirp_is_drawn_by_the_published_formula() -> None:
    chirp = librosa.chirp(fmin=80, fmax=3000, sr=RATE_HZ, duration=3).astype(np.float32)
    pixels = rainbowgram.image(chirp)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (240, 1 + 3 * RATE_HZ // 256, 3)
    difference = np.abs(pixels - published(chirp))
    assert np.mean(difference > 1) < 0.001  # where rounding tips a colour into the next of the map's 256
    assert np.median(pixels.max(axis=(1, 2))) > 200


@pytest.mark.parametrize("pitch", [48, 69, 93])
def test_a_steady_tone_is_one_line_of_one_hue(pitch: int) -> None:
    pixels = rainbowgram.image(tone(pitch_to_hz(pitch)))
    assert abs(int(np.argmax(pixels[:, 60].sum(axis=1))) - bin_of(pitch)) <= 1
    assert np.ptp(hues(pitch_to_hz(pitch), pitch)) < 0.02


def test_detuning_moves_the_hue() -> None:
    hz = pitch_to_hz(69)
    assert abs(hues(hz + 4, 69).mean() - hues(hz, 69).mean()) > 0.05  # 4 Hz: an eighth of a turn in two frames


def test_silence_is_black() -> None:
    assert not rainbowgram.image(np.zeros(RATE_HZ, np.float32)).any()


def test_brightness_falls_to_black_70_db_under_the_loudest() -> None:
    magnitude = 10 ** (np.array([0.0, -35.0, -69.0, -71.0]) / 20)
    assert rainbowgram.brightness(magnitude) == pytest.approx([1, 0.5, 1 / 70, 0], abs=1e-6)
    quiet = tone(1000) * 10 ** (-55 / 20)
    quieter = tone(1000) * 10 ** (-80 / 20)
    loud_then = [np.concatenate([tone(250), second]) for second in (quiet, quieter)]
    lines = [rainbowgram.image(audio)[bin_of(69 + 12 * np.log2(1000 / 440)), 180:220].max() for audio in loud_then]
    assert lines[0] > 25
    assert lines[1] == 0


@pytest.mark.parametrize("samples", [1, 255, 3000, 60 * RATE_HZ])
def test_sounds_of_any_length_are_drawn(samples: int) -> None:
    pixels = rainbowgram.image(np.resize(tone(440), samples) + np.float32(1e-3))
    assert pixels.shape == (240, 1 + samples // 256, 3)
    assert pixels.any()


@pytest.mark.parametrize("bad", [np.zeros(0), np.array([0, np.nan]), np.array([np.inf]), np.zeros((2, 100))])
def test_what_is_no_sound_is_refused_by_its_title(bad: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(TetradError, match=r"flute: .* has no rainbowgram"):
        rainbowgram.draw([tone(440), bad], ["fine", "flute"], tmp_path / "o.png")
    assert not (tmp_path / "o.png").exists()


def test_a_grid_has_as_many_columns_as_asked(tmp_path: Path) -> None:
    sounds, titles = [tone(220, 0.5)] * 3, ["a", "b", "c"]
    rainbowgram.draw(sounds, titles, tmp_path / "row.png", columns=3)
    rainbowgram.draw(sounds, titles, tmp_path / "column.png", columns=1)
    rainbowgram.draw(sounds, titles, tmp_path / "lines.png", [np.ones((16, 16)), None, np.zeros((16, 16))], columns=3)
    row, column, lines = (size(tmp_path / f"{name}.png") for name in ("row", "column", "lines"))
    assert row == (3 * column[0], column[1] // 3)
    assert lines[0] == row[0]
    assert lines[1] > row[1]


def test_more_sounds_than_a_picture_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TetradError, match=r"o\.png: 300 sounds in 1 columns: too many"):
        rainbowgram.draw([tone(440, 0.1)] * 300, ["a"] * 300, tmp_path / "o.png", columns=1)


def test_a_title_is_drawn_as_it_is_spelled(tmp_path: Path) -> None:
    rainbowgram.draw([tone(220, 0.5)], [r"take $\x$"], tmp_path / "o.png")  # no formula, which would be an error
    assert size(tmp_path / "o.png")[0] > 0


def test_rainbowgram_is_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for pitch in (48, 60):
        soundfile.write(tmp_path / f"reed_{pitch}.wav", note_audio(pitch, 0.6), RATE_HZ)
    wavs, out = [str(tmp_path / f"reed_{pitch}.wav") for pitch in (48, 60)], tmp_path / "o.png"
    assert tetrad.main(["rainbowgram", *wavs, "--out", str(out)]) == 0
    plain = size(out)
    assert tetrad.main(["rainbowgram", *wavs, "--out", str(out), "--embeddings", "--title", "low", "high"]) == 0
    assert size(out)[1] > plain[1]
    capsys.readouterr()
    assert tetrad.main(["rainbowgram", *wavs, "--out", str(tmp_path / "no.png"), "--title", "one"]) == 1
    assert "2 sounds and 1 titles" in capsys.readouterr().err
    assert not (tmp_path / "no.png").exists()
