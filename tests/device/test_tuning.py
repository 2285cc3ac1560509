"""Scala's files held against the specification's examples, fractions and frequencies worked out by hand."""

import math
from fractions import Fraction

import numpy as np
import pytest

from device import tuning
from device.errors import TetradError

MEANTONE = """! meanquar.scl
!
1/4-comma meantone scale. Pietro Aaron's temperament (1523)
 12
!
 76.04900
 193.15686
 310.26471
 5/4
 503.42157
 579.47057
 696.57843
 25/16
 889.73529
 1006.84314
 1082.89214
 2/1
"""
LINEAR = "0\n0\n127\n60\n69\n440.0\n0\n"


def scl(*pitches, description="a scale"):
    return f"! a.scl\n!\n{description}\n {len(pitches)}\n!\n" + "".join(f" {pitch}\n" for pitch in pitches)


def kbm(size, first=0, last=127, middle=60, reference=69, hz="440.0", octave=12, degrees=()):
    head = [size, first, last, middle, reference, hz, octave]
    return "! a.kbm\n" + "".join(f"! comment\n{value}\n" for value in (*head, *degrees))


def write(tmp_path, text, name="a.scl"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("latin-1"))
    return path


def load(tmp_path, scale, mapping=None):
    """Hertz of each key."""
    mapping = mapping and write(tmp_path, mapping, "a.kbm")
    return hz_of(tuning.load(write(tmp_path, scale), mapping))


def hz_of(offsets):
    return 440 * 2 ** ((np.arange(128) + offsets - 69) / 12)


def equal(notes, period="2/1"):
    cents = 1200 * math.log2(Fraction(period)) / notes
    return scl(*(f"{step * cents:.9f}" for step in range(1, notes)), period)


# --- scales

def test_twelve_equal_steps_are_no_offset(tmp_path):
    offsets = tuning.load(write(tmp_path, equal(12)))
    assert offsets.dtype == np.float64
    assert offsets.shape == (128,)
    assert np.abs(offsets).max() < 1e-9


def test_the_specifications_example_has_pure_thirds_and_narrow_fifths(tmp_path):
    scale = tuning.read_scale(write(tmp_path, MEANTONE))
    assert scale.description == "1/4-comma meantone scale. Pietro Aaron's temperament (1523)"
    hz = load(tmp_path, MEANTONE)
    assert hz[60] == pytest.approx(261.6255653, abs=1e-6)
    assert hz[64] / hz[60] == pytest.approx(5 / 4, rel=1e-12)
    assert hz[67] / hz[60] == pytest.approx(5 ** (1 / 4), rel=1e-6)
    assert hz[48] == pytest.approx(hz[60] / 2, rel=1e-12)
    assert hz[120] == pytest.approx(hz[60] * 32, rel=1e-12)


@pytest.mark.parametrize(("line", "cents"), [
    ("81/64", 407.8200), ("408.0", 408), ("408.", 408), ("5", 2786.3137), ("-5.0", -5), ("10/20", -1200),
    ("100.0 cents", 100), (" 100.0 C#", 100), ("\t5/4   E\\", 386.3137), ("2/1! octave", 1200), ("3 / 2", 701.9550),
    ("2147483647/2147483646", 8.06e-7), ("2/1, the octave", 1200), (".5", 0.5), ("1" + "0" * 299 + "/1" + "0" * 299, 0),
    ("0.0", 0),
])
def test_a_pitch_is_cents_with_a_period_and_else_a_ratio(tmp_path, line, cents):
    assert tuning.read_scale(write(tmp_path, scl(line))).semitones == pytest.approx([cents / 100], abs=1e-6)


@pytest.mark.parametrize("line", ["-3/2", "3/-2", "-5", "0/1", "3/0", "0", "3/2/1", "1.2.3", "701,955", "$5", "C#",
                                  "5/", "inf", "1" * 301, "1" + "0" * 300 + ".0", "9999999.9", "1" + "0" * 299 + "/1"])
def test_what_is_no_pitch_is_named_with_its_line(tmp_path, line):
    with pytest.raises(TetradError, match=r"a\.scl line 7: .*(wants a pitch|the pitch is no number)"):
        tuning.read_scale(write(tmp_path, scl("9/8", line, "2/1")))


def test_a_tone_row_that_repeats_at_the_twelfth(tmp_path):
    hz = load(tmp_path, equal(13, "3/1"))  # Bohlen and Pierce
    assert hz[73] == pytest.approx(3 * hz[60], rel=1e-12)
    assert hz[61:] / hz[60:-1] == pytest.approx(np.full(67, 3 ** (1 / 13)), rel=1e-9)


def test_notes_may_stand_in_any_order_and_below_the_first(tmp_path):
    hz = load(tmp_path, scl("3/2", "-100.0", "2/1"))
    ratios = [Fraction(1), Fraction(3, 2), 2 ** (-1 / 12), 2, 3, 2 * 2 ** (-1 / 12), 4]
    assert hz[60:67] / hz[60] == pytest.approx(list(map(float, ratios)), rel=1e-12)
    assert hz[59] / hz[60] == pytest.approx(2 ** (-1 / 12) / 2, rel=1e-12)


def test_a_scale_of_no_notes_is_one_pitch(tmp_path):
    assert load(tmp_path, scl(), LINEAR) == pytest.approx(np.full(128, 440.0), rel=1e-12)


@pytest.mark.parametrize("text", [
    MEANTONE.replace("\n", "\r\n"), MEANTONE.replace("\n", "\r"), MEANTONE.rstrip(), MEANTONE + "\n\ntrailing text\n",
    MEANTONE.replace("1/4-comma", "\x85 Aar\xf3n, 1/4-comma"), b"\xef\xbb\xbf" + MEANTONE.encode(),
    MEANTONE.replace("1/4-comma meantone scale. Pietro Aaron's temperament (1523)", ""),
    MEANTONE.replace("!\n 76", "\n 76"),
])
def test_line_ends_character_sets_and_descriptions_do_not_matter(tmp_path, text):
    reference = load(tmp_path, MEANTONE)
    assert np.array_equal(load(tmp_path, text), reference)


@pytest.mark.parametrize(("text", "message"), [
    ("", "holds no scale"), ("! only\n! comments\n", "holds no scale"), ("a name", "ends before how many notes"),
    ("a name\ntwelve\n", "line 2: how many notes"), ("a name\n-1\n", "line 2: how many notes"),
    ("a name\n1.5\n", "line 2: how many notes"), ("a name\n99999999999\n", "line 2: how many notes"),
    ("a name\n3\n9/8\n\n2/1\n", "ends after 2 of the 3 notes that line 2 announces"),
    (MEANTONE.encode("utf-16"), "no plain text"), ("a" * (1 << 20) + "\n", "longer than"),
])
def test_what_is_no_scale_is_one_line_that_names_the_file(tmp_path, text, message):
    with pytest.raises(TetradError, match=rf"a\.scl.*{message}") as error:
        tuning.read_scale(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TetradError, match=r"none\.scl: No such file"):
        tuning.load(tmp_path / "none.scl")
    with pytest.raises(TetradError, match=r"none\.kbm: No such file"):
        tuning.load(write(tmp_path, MEANTONE), tmp_path / "none.kbm")


# --- mappings

def test_the_reference_key_has_the_reference_frequency(tmp_path):
    for reference, hz in ((69, 432.0), (60, 256.0), (0, 8.0), (127, 12_000.5)):
        found = load(tmp_path, MEANTONE, kbm(0, reference=reference, hz=hz))
        assert found[reference] == pytest.approx(hz, rel=1e-12)
        assert found[72] / found[60] == pytest.approx(2, rel=1e-12)


def test_the_first_degree_lies_on_the_middle_key(tmp_path):
    hz = load(tmp_path, scl("9/8", "3/2", "2/1"), kbm(0, middle=62, reference=62, hz="100"))
    assert hz[59:67] == pytest.approx([50, 56.25, 75, 100, 112.5, 150, 200, 225], rel=1e-12)


def test_seven_notes_on_the_white_keys(tmp_path):
    major = scl("9/8", "5/4", "4/3", "3/2", "5/3", "15/8", "2/1")
    white = kbm(12, octave=7, reference=60, hz="240", degrees=[0, "x", 1, "X ! black", 2, 3, "x", 4, "x", 5, "x", 6])
    hz = load(tmp_path, major, white)
    black = np.isin(np.arange(128) % 12, [1, 3, 6, 8, 10])
    assert np.array_equal(np.isnan(hz), black)
    assert hz[[48, 60, 62, 64, 65, 67, 69, 71, 72]] == pytest.approx([120, 240, 270, 300, 320, 360, 400, 450, 480])


def test_keys_at_the_end_of_a_map_may_be_left_out(tmp_path):
    hz = load(tmp_path, equal(12), kbm(12, reference=60, hz="261.6255653", degrees=[0, 2, 4]))
    assert np.array_equal(np.isnan(hz), np.arange(128) % 12 > 2)
    assert hz[61] / hz[60] == pytest.approx(2 ** (2 / 12), rel=1e-9)
    assert hz[74] / hz[60] == pytest.approx(2 ** (16 / 12), rel=1e-9)


def test_a_pattern_begins_again_at_the_formal_octave(tmp_path):
    for octave, ratio in ((19, 2.0), (0, 2.0), (38, 4.0), (11, 2 ** (11 / 19)), (-19, 0.5)):
        hz = load(tmp_path, equal(19), kbm(4, octave=octave, reference=60, hz="256", degrees=[0, 3, -2, 21]))
        assert hz[60:64] == pytest.approx(256 * 2 ** (np.array([0, 3, -2, 21]) / 19), rel=1e-9)
        assert hz[64:68] / hz[60:64] == pytest.approx(np.full(4, ratio), rel=1e-9)
        assert hz[56:60] * ratio == pytest.approx(hz[60:64], rel=1e-9)


def test_keys_out_of_the_range_stay_as_they_are(tmp_path):
    path = write(tmp_path, kbm(0, first=40, last=50, reference=69, hz="500"), "a.kbm")
    offsets = tuning.load(write(tmp_path, equal(12)), path)
    inside = (np.arange(128) >= 40) & (np.arange(128) <= 50)
    assert not offsets[~inside].any()
    assert offsets[inside] == pytest.approx(np.full(11, 12 * math.log2(500 / 440)), abs=1e-9)


@pytest.mark.parametrize("hz", ["440", "440.0 Hz", " 4.4e2", "440.000000!A"])
def test_frequencies_are_written_in_many_ways(tmp_path, hz):
    assert np.abs(load(tmp_path, equal(12), kbm(0, hz=hz)) / hz_of(np.zeros(128)) - 1).max() < 1e-9


@pytest.mark.parametrize(("text", "message"), [
    ("", "ends before the size of the map"), ("! nothing\n", "ends before the size of the map"),
    ("12\n0\n127\n60\n", "ends before the reference key"), ("0\n0\n127\n60\n69\n", "ends before the reference freq"),
    (kbm("x"), "line 3: the size of the map"), (kbm(-1), "line 3: the size of the map"),
    (kbm(0, first=128), "line 5: the first key"), (kbm(0, last=-1), "line 7: the last key"),
    (kbm(0, first=70, last=60), "line 7: the last key to retune, 60, is below the first, 70"),
    (kbm(0, middle="C4"), "line 9: the key that the map begins at"),
    (kbm(0, reference=200), "line 11: the reference key"),
    (kbm(0, hz="0"), "line 13: the reference frequency"), (kbm(0, hz="-440"), "line 13: the reference frequency"),
    (kbm(0, hz="440,5"), "line 13: the reference frequency"), (kbm(0, hz="nan"), "line 13: the reference frequency"),
    (kbm(0, hz="1e99"), "line 13: the reference frequency"),
    (kbm(0, octave="x"), "line 15: the degree that is the formal"),
    (kbm(2, degrees=[0, "y"]), "line 19: wants a degree"), (kbm(2, degrees=[0, 1.5]), "line 19: wants a degree"),
    (kbm(2, degrees=[0, 1, 2]), "holds 3 degrees, more than the 2 that line 3 announces"),
    (kbm(0, degrees=[0]), "holds 1 degrees, more than the 0"),
    (kbm(12, degrees=[0, 2, 4]), "line 11: the reference key 69 has no degree"),
])
def test_what_is_no_mapping_is_one_line_that_names_file_and_line(tmp_path, text, message):
    with pytest.raises(TetradError, match=rf"a\.kbm.*{message}") as error:
        tuning.read_mapping(write(tmp_path, text, "a.kbm"))
    assert "\n" not in str(error.value)


def test_a_mapping_made_by_hand_is_held_to_the_same_rule():
    mapping = tuning.Mapping(degrees=(0, None), reference=61)
    with pytest.raises(TetradError, match="reference key 61 has no degree"):
        tuning.offsets(tuning.Scale("", (2.0,)), mapping)


def test_any_bytes_are_a_tuning_or_one_line(tmp_path):
    rng = np.random.default_rng(5)
    parts = [b"!", b"\n", b"\r", b"0", b"12", b"127", b"60", b"440.0", b"x", b"2/1", b"-", b".", b",", b" ", b"\xff"]
    tunings, lines = [], []
    for _ in range(400):
        text = b"".join(parts[k] for k in rng.integers(0, len(parts), rng.integers(0, 60)))
        scale, mapping = write(tmp_path, text), write(tmp_path, LINEAR, "a.kbm")
        if rng.integers(2):
            scale, mapping = write(tmp_path, MEANTONE), write(tmp_path, text, "a.kbm")
        try:
            tunings.append(tuning.load(scale, mapping))
        except TetradError as error:
            lines.append(str(error))
    assert not np.isinf(tunings).any()
    assert len(lines) > 300
    assert not any("\n" in line for line in lines)
