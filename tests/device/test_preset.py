import argparse
import io
import json
import pickle
import random
import re
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.errors import TetradError
from device.preset import FRAMES, PITCHES, Preset, Synth, corner_weights, info_command, make_preset

NAMES = ("bass", "flute", "organ", "glockenspiel")


def some_preset(pitches=(60, 64), seed=1, **more) -> Preset:
    rng = np.random.default_rng(seed)
    corners = {name: {pitch: rng.normal(size=(FRAMES, 16)) for pitch in pitches} for name in NAMES}
    return make_preset(corners, name="Post", pitches=pitches, **more)


def rebuilt(data: bytes, manifest=None, members=None, version=None) -> bytes:
    """The preset's zip with changed JSON keys and members (None: left out), the digest as it was."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        there = {name: archive.read(name) for name in archive.namelist()}
    head = json.loads(there["preset.json"])
    head.update(manifest or {})
    there["preset.json"] = json.dumps(head).encode()
    there.update(members or {})
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in there.items():
            if member is not None:
                archive.writestr(name, member)
    return content.getvalue()


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def refusal(data: bytes) -> str:
    with pytest.raises(TetradError) as caught:
        Preset.from_bytes(data, "box/mine.tetrad")
    message = str(caught.value)
    assert message.startswith("box/mine.tetrad")
    assert "\n" not in message
    return message


@pytest.fixture(scope="module")
def preset() -> Preset:
    return some_preset()


def test_what_is_written_is_read_again(tmp_path, preset):
    preset = some_preset(author="A. Maker", licence="CC0-1.0", velocity=75, synth=Synth(1, 2.5, 0.5, 4), decoder="abc")
    preset.write(tmp_path / "p.tetrad")
    again = Preset.read(tmp_path / "p.tetrad")
    assert again.digest == preset.digest
    assert (again.name, again.author, again.licence, again.decoder) == ("Post", "A. Maker", "CC0-1.0", "abc")
    assert (again.pitches, again.velocities, again.synth) == ((60, 64), (75,), Synth(1, 2.5, 0.5, 4))
    for one, other in zip(again.corners, preset.corners, strict=True):
        assert (one.name, one.scale) == (other.name, other.scale)
        np.testing.assert_array_equal(one.values, other.values)
    assert [path.name for path in tmp_path.iterdir()] == ["p.tetrad"]


def test_the_same_preset_gives_the_same_bytes(preset):
    assert some_preset().to_bytes() == preset.to_bytes()
    assert Preset.from_bytes(preset.to_bytes(), "p").to_bytes() == preset.to_bytes()
    assert some_preset(seed=2).digest != preset.digest
    assert some_preset(author="other").digest != preset.digest


def test_four_random_instruments_at_16_pitches_fit_160_kb():
    rng = np.random.default_rng(0)
    corners = {name: {p: rng.uniform(-1, 1, (FRAMES, 16)) for p in PITCHES} for name in NAMES}
    assert len(PITCHES) == 16
    assert 128_000 < len(make_preset(corners, name="noise").to_bytes()) < 160_000


def test_embeddings_come_back_within_half_a_step():
    rng = np.random.default_rng(5)
    corners = {name: {60: 5 * rng.normal(size=(FRAMES, 16))} for name in NAMES}
    preset = make_preset(corners, name="p", pitches=(60,))
    for (x, y), name in zip(((0, 0), (1, 0), (0, 1), (1, 1)), NAMES, strict=True):
        exact = corners[name][60]
        error = np.abs(preset.embedding(x, y, 60) - exact).max()
        assert error <= np.abs(exact).max() / 127 * 0.501


def test_the_pad_is_bilinear_and_pitches_are_linear(preset):
    corner = {pitch: [preset.embedding(x, y, pitch) for y in (0, 1) for x in (0, 1)] for pitch in (60, 64)}
    weights = (0.7 * 0.4, 0.3 * 0.4, 0.7 * 0.6, 0.3 * 0.6)
    exact = sum(weight * (0.25 * low + 0.75 * high)
                for weight, low, high in zip(weights, corner[60], corner[64], strict=True))
    np.testing.assert_allclose(preset.embedding(0.3, 0.6, 63), exact, atol=1e-5)
    np.testing.assert_array_equal(preset.embedding(0.3, 0.6, 20), preset.embedding(0.3, 0.6, 60))
    np.testing.assert_array_equal(preset.embedding(0.3, 0.6, 90), preset.embedding(0.3, 0.6, 64))
    np.testing.assert_array_equal(preset.embedding(-1, 7, 60), preset.embedding(0, 1, 60))
    assert preset.embedding(0.3, 0.6, 63).dtype == np.float32
    np.testing.assert_allclose(corner_weights(0.3, 0.6).sum(), 1, atol=1e-6)


def test_cells_are_the_embeddings_of_the_grid_row_by_row(preset):
    cells = preset.cells(61, 5)
    assert cells.shape == (5, 5, FRAMES, 16)
    assert cells.dtype == np.float32
    for row in range(5):
        for column in range(5):
            np.testing.assert_allclose(cells[row, column], preset.embedding(column / 4, row / 4, 61), atol=1e-5)


def test_pitches_between_recordings_are_interpolated_and_outside_the_nearest():
    one, other = np.full((FRAMES, 16), 1.0), np.full((FRAMES, 16), 2.0)
    preset = make_preset({name: {40: one, 48: other} for name in NAMES}, name="p")
    for pitch, value in ((24, 1.0), (40, 1.0), (44, 1.5), (48, 2.0), (84, 2.0)):
        np.testing.assert_allclose(preset.embedding(0, 0, pitch), value, atol=2 / 127)


def test_a_silent_instrument_has_a_scale_too():
    corners = {name: {60: np.zeros((FRAMES, 16))} for name in NAMES}
    assert not Preset.from_bytes(make_preset(corners, name="p").to_bytes(), "p").embedding(0, 0, 60).any()


@pytest.mark.parametrize("embedding", [
    np.zeros((124, 16)), np.full((FRAMES, 16), np.nan), np.full((FRAMES, 16), np.inf)])
def test_bad_embeddings_are_refused_by_corner_and_pitch(embedding):
    corners = {name: {60: np.ones((FRAMES, 16))} for name in NAMES}
    corners["organ"] = {60: np.ones((FRAMES, 16)), 62: embedding}
    with pytest.raises(TetradError, match=r"'organ', pitch 62"):
        make_preset(corners, name="p")


def test_three_corners_or_an_empty_one_are_refused():
    with pytest.raises(TetradError, match="corners"):
        make_preset({name: {60: np.ones((FRAMES, 16))} for name in NAMES[:3]}, name="p")
    with pytest.raises(TetradError, match="'bass' has no recording"):
        make_preset({name: {} for name in NAMES}, name="p")


def test_a_preset_cut_anywhere_is_refused_by_name(preset):
    data = preset.to_bytes()
    for length in (0, 1, 4, 30, 500, len(data) // 2, len(data) - 22, len(data) - 1):
        assert "again" in refusal(data[:length])


def test_a_changed_value_is_refused_for_its_digest(preset):
    data = preset.to_bytes()
    values = preset.corners[2].values.copy()
    values[0, 0, 0] ^= 1
    assert "digest" in refusal(rebuilt(data, members={"corner2.npy": npy(values)}))
    assert "digest" in refusal(rebuilt(data, {"name": "Other"}))
    assert "digest" in refusal(rebuilt(data, {"digest": "0" * 64}))
    assert "digest" in refusal(rebuilt(data, {"digest": None}))


def test_a_later_version_asks_for_an_update_whatever_else_it_holds(preset):
    message = refusal(rebuilt(preset.to_bytes(), {"version": 2, "more": 1}, {"corner3.npy": None, "x": b""}))
    assert "version 2" in message
    assert "update tetrad" in message
    for version in (0, -1, True, "2", 1.0, None):
        assert "version" in refusal(rebuilt(preset.to_bytes(), {"version": version}))


def test_arrays_of_absurd_size_are_refused_before_memory_is_taken(preset):
    data = preset.to_bytes()
    bomb = rebuilt(data, members={"corner1.npy": bytes(64_000_000)})
    # the same, with sizes in the zip that lie: those of the right array
    at = bomb.rindex(b"PK\x01\x02", 0, bomb.rindex(b"corner1.npy"))
    lying = bytearray(bomb)
    lying[at + 24: at + 28] = struct.pack("<I", 4_128)
    header = io.BytesIO()
    shape = {"descr": "|i1", "fortran_order": False, "shape": (2_000_000_000, FRAMES, 16)}
    np.lib.format.write_array_header_1_0(header, shape)
    huge = rebuilt(data, members={"corner1.npy": header.getvalue() + bytes(4_000)})
    json_bomb = rebuilt(data, members={"preset.json": b" " * 50_000_000})
    assert "64000000 bytes" in refusal(bomb)
    for absurd in (bomb, bytes(lying), huge, json_bomb):
        tracemalloc.start()
        assert "corner1.npy" in refusal(absurd) or absurd is json_bomb
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2_000_000


def test_a_file_of_absurd_size_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "huge.tetrad"
    with open(path, "wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(TetradError, match=r"huge\.tetrad is longer"):
        Preset.read(path)


def test_pickled_data_is_refused_and_not_run(tmp_path, preset):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    objects = io.BytesIO()
    np.save(objects, np.array([Trap()], dtype=object), allow_pickle=True)
    for member in (pickle.dumps(Trap()), objects.getvalue()):
        assert "corner0.npy" in refusal(rebuilt(preset.to_bytes(), members={"corner0.npy": member}))
    assert not (tmp_path / "sprung").exists()


def test_arrays_of_other_types_and_shapes_are_refused(preset):
    right = preset.corners[0].values
    wrong = (right.astype(np.int16), right.astype(np.uint8), right.astype(np.float32), right[:1], right[:, :124],
             right[..., :8], right.ravel(), np.asfortranarray(right), right[None])
    for array in wrong:
        assert "corner0.npy" in refusal(rebuilt(preset.to_bytes(), members={"corner0.npy": npy(array)}))
    nested = b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 70_000
    for member in (b"", b"\x93NUMPY", npy(right)[:-1], npy(right) + b"\0", nested):
        assert "corner0.npy" in refusal(rebuilt(preset.to_bytes(), members={"corner0.npy": member}))


def test_missing_and_extra_members_are_refused(preset):
    data = preset.to_bytes()
    for name in ("preset.json", "corner0.npy", "corner3.npy"):
        assert name in refusal(rebuilt(data, members={name: None}))
    assert "more" in refusal(rebuilt(data, members={"corner4.npy": b""}))
    assert "more" in refusal(rebuilt(data, members={"../../evil": b""}))
    twice = io.BytesIO(data)
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("corner0.npy", b"")
    refusal(twice.getvalue())


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1.0, 0, 1e9, True, "1", None, 10**400])
def test_scales_that_are_no_scale_are_refused(preset, scale):
    corners = [{"name": c.name, "scale": c.scale} for c in preset.corners]
    corners[1]["scale"] = scale
    assert "scale" in refusal(rebuilt(preset.to_bytes(), {"corners": corners}))


@pytest.mark.parametrize("pitches", [
    [64, 60], [60, 60], [60, 128], [-1, 60], [60.0, 64], [], [60], list(range(200)), "60", 60])
def test_pitches_out_of_order_or_range_are_refused(preset, pitches):
    refusal(rebuilt(preset.to_bytes(), {"pitches": pitches}))


@pytest.mark.parametrize("change", [
    {"name": "a\nb"}, {"name": 5}, {"name": "x" * 65}, {"name": "\ud800"}, {"author": None}, {"decoder": "\x1b[2J"},
    {"velocities": []}, {"velocities": [0]}, {"velocities": [100, 50]}, {"velocities": 100}, {"corners": {}},
    {"corners": [1, 2, 3, 4]}, {"corners": []}, {"synth": {}}, {"synth": [1, 2, 3, 4]}, {"more": 1}, {"format": "zip"},
    {"synth": {"attack_ms": float("nan"), "decay_ms": 0, "sustain": 1, "release_ms": 0}},
    {"synth": {"attack_ms": 1, "decay_ms": 0, "sustain": 2, "release_ms": 0}},
    {"synth": {"attack_ms": 1, "decay_ms": 0, "sustain": 1, "release_ms": -1}},
])
def test_fields_that_are_wrong_are_refused(preset, change):
    refusal(rebuilt(preset.to_bytes(), change))


@pytest.mark.parametrize("head", [b"", b"[]", b"nul", b"\xff\xfe", b"[" * 16_000, b"9" * 16_000, b"{}", b"null"])
def test_json_that_is_no_preset_is_refused(preset, head):
    assert "preset.json" in refusal(rebuilt(preset.to_bytes(), members={"preset.json": head}))


def test_nothing_but_a_tetrad_error_comes_from_damaged_bytes(preset):
    whole, rng = preset.to_bytes(), random.Random(20)
    for _ in range(1_500):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 8, 64))):
            # half of the damage into the zip's own structure, at its end
            at = rng.randrange(len(data)) if rng.random() < 0.5 else len(data) - 1 - rng.randrange(420)
            kind = rng.randrange(4)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                data[at] = rng.randrange(256)
            elif kind == 2:
                del data[at: at + rng.randrange(1, 40)]
            else:
                data[at:at] = rng.randbytes(rng.randrange(1, 40))
        try:
            assert Preset.from_bytes(bytes(data), "f").digest == preset.digest
        except TetradError as error:
            assert str(error).startswith("f")  # noqa: PT017


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_nothing_but_a_tetrad_error_comes_from_random_bytes(data):
    with pytest.raises(TetradError):
        Preset.from_bytes(data, "f")


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5))


KEYS = ["format", "version", "name", "corners", "pitches", "velocities", "synth", "decoder", "digest"]


@given(st.sampled_from(KEYS), JSON)
@settings(max_examples=150, deadline=None)
def test_nothing_but_a_tetrad_error_comes_from_any_json(key, value):
    preset = some_preset((60,))
    try:
        read = Preset.from_bytes(rebuilt(preset.to_bytes(), {key: value}), "f")
    except TetradError:
        return
    assert read.digest == preset.digest


@given(st.binary(max_size=120))
@settings(max_examples=150, deadline=None)
def test_nothing_but_a_tetrad_error_comes_from_any_array_header(header):
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(FRAMES * 16)
    with pytest.raises(TetradError):
        Preset.from_bytes(rebuilt(some_preset((60,)).to_bytes(), members={"corner0.npy": member}), "f")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TetradError, match=r"none\.tetrad"):
        Preset.read(tmp_path / "none.tetrad")
    with pytest.raises(TetradError, match=re.escape(str(tmp_path))):
        Preset.read(tmp_path)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path, preset, monkeypatch):
    path = tmp_path / "p.tetrad"
    preset.write(path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(TetradError, match="No space left"):
        some_preset(seed=3).write(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_info_prints_one_line_of_json(tmp_path, preset, capsys):
    preset.write(tmp_path / "p.tetrad")
    parser = argparse.ArgumentParser()
    info_command(parser)(parser.parse_args([str(tmp_path / "p.tetrad"), "--json"]))
    shown = json.loads(capsys.readouterr().out)
    assert shown["digest"] == preset.digest
    assert shown["corners"] == list(NAMES)
    assert shown["bytes"] == len(preset.to_bytes())
