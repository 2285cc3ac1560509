"""A card's frames held against numpy's arithmetic in double precision, and against what dither is for."""

import ctypes

import numpy as np
import pytest
from native import library

S32, S24, S24_3, FLOAT, S16 = FORMATS = range(5)
BYTES = {S32: 4, S24: 4, S24_3: 3, FLOAT: 4, S16: 2}
WHOLE = (S32, S24, S24_3)
BITS = {S32: 32, S24: 24, S24_3: 24, S16: 16}
SENTINEL = 0xA5


class Dither(ctypes.Structure):
    _fields_ = [("sample", ctypes.c_uint32)]


def converted(sample_format, channels, stereo, dither=None, blocks=None):
    """The bytes of all frames, given in blocks; what lies behind them must not be written to."""
    stereo = np.ascontiguousarray(stereo, np.float32)
    frame_bytes = BYTES[sample_format] * channels
    out = np.full(len(stereo) * frame_bytes + 64, SENTINEL, np.uint8)
    dither = dither or Dither(0)
    at = 0
    for frames in blocks or [len(stereo)]:
        run = np.ascontiguousarray(stereo[at:at + frames])
        library("sample_format.c").sample_convert(
            sample_format, channels, run.ctypes.data_as(ctypes.c_void_p), len(run),
            ctypes.c_void_p(out.ctypes.data + at * frame_bytes), ctypes.byref(dither))
        at += frames
    assert at >= len(stereo)
    assert (out[len(stereo) * frame_bytes:] == SENTINEL).all()
    return out[:len(stereo) * frame_bytes].tobytes()


def read(sample_format, channels, data):
    """Numbers [frames, channels]; those of FLOAT as they are, others whole."""
    if sample_format == S24_3:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int64)
        whole = parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16
        return (whole - (whole >> 23 << 24)).reshape(-1, channels)
    kind = {S32: "<i4", S24: "<i4", FLOAT: "<f4", S16: "<i2"}[sample_format]
    numbers = np.frombuffer(data, kind).reshape(-1, channels)
    return numbers if sample_format == FLOAT else numbers.astype(np.int64)


def rounded(samples, bits):
    """In double precision: halves away from 0, ends kept."""
    scaled = np.asarray(samples, np.float64) * 2.0 ** (bits - 1)
    whole = np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)
    return np.clip(whole, -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1).astype(np.int64)


def hard_samples():
    """Around ends, halves of steps and zero, and noise of all sizes."""
    rng = np.random.default_rng(1)
    steps = np.array([0, 0.49999997, 0.5, 0.50000006, 1, 1.5, 2.5, 3.5, 8_388_607, 8_388_607.5, 4_194_303.5, 32_767.5])
    edges = np.concatenate([steps / 2.0 ** 23, steps[:8] / 2.0 ** 15, steps[:8] / 2.0 ** 31, [1.0, 0.99999994, 1e-40]])
    loud = rng.uniform(-1, 1, 3_000)
    soft = loud * 10.0 ** rng.uniform(-8, 0, 3_000)
    return np.concatenate([edges, -edges, loud, soft]).astype(np.float32).reshape(-1, 2)


@pytest.mark.parametrize("sample_format", WHOLE)
def test_whole_numbers_are_the_nearest_and_ends_are_kept(sample_format):
    stereo = hard_samples()
    got = read(sample_format, 2, converted(sample_format, 2, stereo))
    np.testing.assert_array_equal(got, rounded(stereo, BITS[sample_format]))


def test_float_is_kept_as_it_is():
    stereo = hard_samples()
    np.testing.assert_array_equal(read(FLOAT, 2, converted(FLOAT, 2, stereo)), stereo)


@pytest.mark.parametrize("sample_format", FORMATS)
def test_what_is_beyond_the_ends_is_the_end_and_no_number_is_silence(sample_format):
    wild = np.array([[1.5, -1.5], [np.inf, -np.inf], [3e38, -3e38], [np.nan, -np.nan]], np.float32).repeat(100, 0)
    got = read(sample_format, 2, converted(sample_format, 2, wild)).astype(np.float64)
    most = 1.0 if sample_format == FLOAT else 2.0 ** (BITS[sample_format] - 1) - 1
    least = -1.0 if sample_format == FLOAT else -(2.0 ** (BITS[sample_format] - 1))
    near = 2 if sample_format == S16 else 0  # dither may lead inwards
    assert np.abs(got[:300, 0] - most).max() <= near
    assert np.abs(got[:300, 1] - least).max() <= near
    assert np.abs(got[300:]).max() <= near / 2


@pytest.mark.parametrize("sample_format", FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 3, 8, 64])
def test_stereo_is_in_the_first_two_channels_and_the_others_are_silent(sample_format, channels):
    stereo = np.random.default_rng(2).uniform(-0.9, 0.9, (201, 2)).astype(np.float32)
    got = read(sample_format, channels, converted(sample_format, channels, stereo))
    wanted = stereo if channels > 1 else stereo.mean(1, dtype=np.float32)[:, None]
    scale = 1.0 if sample_format == FLOAT else 2.0 ** (BITS[sample_format] - 1)
    error = got[:, :2].astype(np.float64) - wanted.astype(np.float64) * scale
    assert np.abs(error).max() <= {FLOAT: 0.0, S16: 1.5}.get(sample_format, 0.5)
    assert not got[:, 2:].any()


@pytest.mark.parametrize("sample_format", FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_blocks_do_not_show(sample_format, channels):
    stereo = np.random.default_rng(3).uniform(-1, 1, (1_000, 2)).astype(np.float32)
    cut = converted(sample_format, channels, stereo, blocks=[1, 0, 63, 64, 65, 2, 129, 7, 600, 69])
    assert cut == converted(sample_format, channels, stereo)


# --- dither, as JAES 40(5) says of two uniform numbers: the error's mean is 0 and its power 1/4 step^2, at any level

DITHERED_FRAMES = 200_000


def errors(stereo):
    got = read(S16, 2, converted(S16, 2, stereo))
    return got - np.asarray(stereo, np.float64) * 32_768


@pytest.mark.parametrize("level", [0.0, 0.25, 0.5, 1.3, 1_000.75])
def test_the_error_of_16_bits_does_not_depend_on_the_signal(level):
    error = errors(np.full((DITHERED_FRAMES, 2), level / 32_768, np.float32))
    assert np.abs(error).max() <= 1.5
    assert error.mean() == pytest.approx(0, abs=0.005)
    assert error.var() == pytest.approx(0.25, rel=0.02)


def test_dither_is_a_triangle():
    silence = read(S16, 2, converted(S16, 2, np.zeros((DITHERED_FRAMES, 2), np.float32)))
    shares = [np.mean(silence == step) for step in (-1, 0, 1)]
    assert shares == pytest.approx([1 / 8, 3 / 4, 1 / 8], abs=0.003)  # of a triangle from -1 to 1, beyond +-1/2


def test_dither_is_white_and_its_channels_are_strangers():
    error = errors(np.zeros((DITHERED_FRAMES, 2), np.float32))
    left, right = error.T
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.01
    for lag in (1, 2, 3, 64, 128, 1_000):
        assert abs(np.corrcoef(left[lag:], left[:-lag])[0, 1]) < 0.01
    power = (np.abs(np.fft.rfft(left[:196_608].reshape(-1, 1_024) * np.hanning(1_024))) ** 2).mean(0)[8:-8]
    assert 10 * np.log10(power.max() / power.min()) < 4


def test_a_tone_of_less_than_half_a_step_is_heard_undistorted():
    frames = np.arange(DITHERED_FRAMES)
    tone = 0.4 / 32_768 * np.sin(2 * np.pi * frames / 100)
    got = read(S16, 2, converted(S16, 2, np.stack([tone, tone], 1)))[:, 0]
    levels = np.abs(np.fft.rfft(got)) * 2 / len(got)
    base = len(got) // 100
    assert levels[base] == pytest.approx(0.4, rel=0.03)
    assert max(levels[base * n] for n in (2, 3, 4, 5, 7)) < 0.01


def test_dither_does_not_go_round_within_a_day_of_sound():
    near_the_end = Dither(2 ** 32 - 100)
    stereo = np.zeros((200, 2), np.float32)
    assert len(converted(S16, 2, stereo, near_the_end)) == 800
    assert near_the_end.sample == 300
