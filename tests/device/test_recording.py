import numpy as np
import pytest
import soundfile

from device.errors import TetradError
from device.preset import NOTE_SAMPLES, SAMPLE_RATE_HZ
from device.recording import NOTE_PEAK, as_note, load_recording


def sine(seconds: float, hz: float = 440.0, rate_hz: int = SAMPLE_RATE_HZ, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def test_a_16_khz_mono_recording_comes_back_as_it_is(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(0.5), SAMPLE_RATE_HZ, subtype="FLOAT")
    audio = load_recording(tmp_path / "a.wav")
    assert audio.dtype == np.float32
    np.testing.assert_array_equal(audio, sine(0.5))


@pytest.mark.parametrize(("name", "subtype", "rate_hz", "channels"), [
    ("a.wav", "PCM_U8", 8_000, 1), ("a.wav", "PCM_24", 96_000, 2), ("a.wav", "ULAW", 11_025, 1),
    ("a.flac", "PCM_16", 44_100, 2), ("a.aiff", "PCM_16", 48_000, 6), ("a.wav", "DOUBLE", 192_000, 1),
    ("a.ogg", "VORBIS", 44_100, 2),
])
def test_any_rate_channels_and_depth_are_converted(tmp_path, name, subtype, rate_hz, channels):
    sound = np.tile(sine(1, rate_hz=rate_hz)[:, None], channels)
    soundfile.write(tmp_path / name, sound, rate_hz, subtype=subtype)
    audio = load_recording(tmp_path / name)
    assert audio.shape == (SAMPLE_RATE_HZ,)
    middle = slice(2_000, 14_000)
    assert np.abs(audio[middle] - sine(1)[middle]).max() < 0.03


def test_what_lies_above_8_khz_does_not_fold_down(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(1, 1_000, 48_000) + sine(1, 11_000, 48_000), 48_000)
    power = np.abs(np.fft.rfft(load_recording(tmp_path / "a.wav") * np.hanning(SAMPLE_RATE_HZ)))  # 1 Hz a bin
    assert power[5_000] < 1e-3 * power[1_000]


def written(path, samples):
    soundfile.write(path, np.asarray(samples, np.float32), SAMPLE_RATE_HZ, subtype="FLOAT")


@pytest.mark.parametrize(("samples", "word"), [
    ([], "empty"), (np.zeros(8_000), "silent"), (np.full(8_000, 0.3), "silent"), (1e-4 * sine(1), "silent"),
    ([0.5, np.nan, 0.1], "NaN"), ([0.5, np.inf, 0.1], "NaN"), ([0.5, -np.inf] * 9, "NaN"),
])
def test_recordings_without_a_sound_are_refused_by_name(tmp_path, samples, word):
    written(tmp_path / "flute_60.wav", samples)
    with pytest.raises(TetradError, match=word) as caught:
        load_recording(tmp_path / "flute_60.wav")
    assert "flute_60.wav" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"hello " * 100, b"\x00" * 4_000, b"RIFF\x24\x00\x00\x00WAVEfmt "])
@pytest.mark.parametrize("name", ["a.wav", "a.raw", "a"])
def test_what_is_not_audio_is_refused_by_name(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TetradError, match=name):
        load_recording(tmp_path / name)


def test_missing_files_and_folders_are_refused_by_name(tmp_path):
    with pytest.raises(TetradError, match=r"none\.wav.*no such file"):
        load_recording(tmp_path / "none.wav")
    with pytest.raises(TetradError, match=str(tmp_path)):
        load_recording(tmp_path)


def test_damaged_wavs_give_sound_or_a_tetrad_error(tmp_path):
    path, rng = tmp_path / "a.wav", np.random.default_rng(3)
    soundfile.write(path, sine(0.1), SAMPLE_RATE_HZ)
    whole = path.read_bytes()
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(0, 60, rng.integers(1, 4)):
            data[at] = rng.integers(256)
        path.write_bytes(data[: rng.integers(20, len(data))])
        try:
            assert np.isfinite(load_recording(path)).all()
        except TetradError as error:
            assert "a.wav" in str(error)  # noqa: PT017


def test_a_recording_of_hours_is_refused_before_it_is_read(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.zeros(700 * 8_000, np.int16), 8_000)
    with pytest.raises(TetradError, match="longer than 600 s"):
        load_recording(tmp_path / "a.flac")


def test_a_note_of_four_seconds_only_changes_its_level():
    note = as_note(sine(4))
    assert note.shape == (NOTE_SAMPLES,)
    assert note.dtype == np.float32
    np.testing.assert_allclose(np.abs(note).max(), NOTE_PEAK, rtol=1e-6)
    np.testing.assert_allclose(note, sine(4) * (NOTE_PEAK / 0.5), atol=1e-4)


def test_silence_before_the_onset_is_cut_but_for_10_ms():
    room = np.random.default_rng(0).normal(0, 5e-4, SAMPLE_RATE_HZ).astype(np.float32)
    note = as_note(np.concatenate([room, sine(2)]))
    onset = int(np.argmax(np.abs(note) > 0.05))
    assert 155 <= onset <= 170
    assert np.abs(note[2 * SAMPLE_RATE_HZ + 200:]).max() == 0


def test_a_long_sound_is_released_from_3_s_to_4_s():
    note = as_note(sine(9))
    level = np.abs(note).reshape(-1, 800).max(axis=1)  # 50 ms each
    np.testing.assert_allclose(level[:60], NOTE_PEAK, rtol=0.01)
    assert (np.diff(level[60:]) < 0).all()
    assert level[-1] < 0.01
    assert abs(note[-1]) < 1e-9


def test_a_short_sound_is_padded_with_zeros():
    note = as_note(sine(0.5))
    assert np.abs(note[7_000:8_000]).max() > 0.6
    assert not note[8_001:].any()


def test_an_offset_does_not_hide_the_onset():
    note = as_note(np.concatenate([np.zeros(8_000, np.float32), sine(3)]) + np.float32(0.2))
    assert np.argmax(np.abs(note) > 0.1) < 300


@pytest.mark.parametrize("audio", [np.zeros(0, np.float32), np.zeros(100, np.float32), np.ones(100, np.float32)])
def test_silence_is_no_note(audio):
    with pytest.raises(TetradError, match="silent"):
        as_note(audio)


def test_a_cut_wav_is_refused_though_it_could_be_read(tmp_path):
    path = tmp_path / "cut_60.wav"
    soundfile.write(path, np.sin(np.arange(32_000) / 5), 16_000, "PCM_16")
    data = path.read_bytes()
    path.write_bytes(data[:20_000])
    with pytest.raises(TetradError, match=r"cut_60\.wav is cut, 44044 bytes are missing"):
        load_recording(path)
    for unknown in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"):  # as programs write that stream
        path.write_bytes(data[:4] + unknown + data[8:])
        assert len(load_recording(path)) == 32_000


def test_a_click_is_no_recording(tmp_path):
    soundfile.write(tmp_path / "click.wav", np.sin(np.arange(200) / 5), 16_000, "PCM_16")
    with pytest.raises(TetradError, match="shorter than 50 ms"):
        load_recording(tmp_path / "click.wav")
