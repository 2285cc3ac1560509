import argparse
import dataclasses
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

from device.corner import Note, make_preset
from device.errors import TetradError
from device.preset import (
    FRAMES,
    MOST_MOTION,
    MOTION,
    PITCHES,
    Corner,
    Preset,
    corner_weights,
    grid_weights,
    mix_motion,
)
from device.preset_command import info_command
from device.synth_settings import Synth

NAMES = ("bass", "flute", "organ", "glockenspiel")
KINDS = ("", ".partials", ".motion")
MEMBERS = [f"corner{number}{kind}.npy" for number in range(4) for kind in KINDS]


def some_note(rng) -> Note:
    return Note(rng.uniform(-2, 2, (FRAMES, 16)), rng.uniform(-3_000, 3_000, 100), rng.uniform(0, MOST_MOTION))


def some_preset(pitches=(60, 64), seed=1, velocities=(50, 100), **more) -> Preset:
    rng = np.random.default_rng(seed)
    corners = {name: [{pitch: some_note(rng) for pitch in pitches} for _ in velocities] for name in NAMES}
    return make_preset(corners, name="Post", pitches=pitches, velocities=velocities, **more)


def every_corner(notes) -> dict:
    """The same notes in a single layer of all corners."""
    return {name: [notes] for name in NAMES}


def constant(value: float, **more) -> Note:
    return Note(np.full((FRAMES, 16), value), **more)


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
    preset = some_preset(author="A. Maker", licence="CC0-1.0", velocities=(25, 75, 127),
                         synth=Synth(attack_ms=1, decay_ms=2.5, sustain=0.5, cutoff_hz=400),
                         decoder="abc")
    preset.write(tmp_path / "p.tetrad")
    again = Preset.read(tmp_path / "p.tetrad")
    assert again.digest == preset.digest
    assert (again.name, again.author, again.licence, again.decoder) == ("Post", "A. Maker", "CC0-1.0", "abc")
    assert (again.pitches, again.velocities, again.synth) == (
        (60, 64), (25, 75, 127), Synth(attack_ms=1, decay_ms=2.5, sustain=0.5, cutoff_hz=400))
    for one, other in zip(again.corners, preset.corners, strict=True):
        assert (one.name, one.scale) == (other.name, other.scale)
        for stored, exact in zip(one.arrays(), other.arrays(), strict=True):
            assert stored.dtype == exact.dtype
            np.testing.assert_array_equal(stored, exact)
    assert [path.name for path in tmp_path.iterdir()] == ["p.tetrad"]


def test_the_same_preset_gives_the_same_bytes(preset):
    assert some_preset().to_bytes() == preset.to_bytes()
    assert Preset.from_bytes(preset.to_bytes(), "p").to_bytes() == preset.to_bytes()
    assert some_preset(seed=2).digest != preset.digest
    assert some_preset(author="other").digest != preset.digest


def test_the_digest_covers_every_array(preset):
    for number in range(4):
        for kind in ("values", "partials", "motion"):
            corners = list(preset.corners)
            array = getattr(corners[number], kind).copy()
            array[-1, -1, -1] += 1
            corners[number] = dataclasses.replace(corners[number], **{kind: np.clip(array, 0, 200)})
            assert dataclasses.replace(preset, corners=tuple(corners)).digest != preset.digest


def test_a_layer_of_four_random_instruments_at_16_pitches_fits_160_kb():
    for layers in (1, 2, 4):
        data = some_preset(PITCHES, velocities=tuple(range(100, 100 + layers))).to_bytes()
        assert len(PITCHES) == 16
        assert 128_000 < len(data) / layers < 160_000
    assert len(Preset.from_bytes(data, "p").velocities) == 4


def test_embeddings_come_back_within_half_a_step():
    rng = np.random.default_rng(5)
    corners = {name: [{60: Note(5 * rng.normal(size=(FRAMES, 16)))}] for name in NAMES}
    preset = make_preset(corners, name="p", pitches=(60,))
    for (x, y), name in zip(((0, 0), (1, 0), (0, 1), (1, 1)), NAMES, strict=True):
        exact = corners[name][0][60].embedding
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


def test_between_velocities_an_embedding_is_interpolated_and_outside_the_nearest(preset):
    soft, loud = preset.embedding(0.3, 0.6, 61, 50), preset.embedding(0.3, 0.6, 61, 100)
    np.testing.assert_allclose(preset.embedding(0.3, 0.6, 61, 60), 0.8 * soft + 0.2 * loud, atol=1e-5)
    np.testing.assert_array_equal(preset.embedding(0.3, 0.6, 61, 1), soft)
    np.testing.assert_array_equal(preset.embedding(0.3, 0.6, 61, 127), loud)
    np.testing.assert_array_equal(preset.embedding(0.3, 0.6, 61), loud)
    assert np.abs(soft - loud).max() > 1


def test_cells_are_the_embeddings_of_the_grid_row_by_row_layer_by_layer(preset):
    cells = preset.cells(61, 5)
    assert cells.shape == (2, 5, 5, FRAMES, 16)
    assert cells.dtype == np.float32
    for layer, velocity in enumerate(preset.velocities):
        for row in range(5):
            for column in range(5):
                np.testing.assert_allclose(cells[layer, row, column],
                                           preset.embedding(column / 4, row / 4, 61, velocity), atol=1e-5)
    np.testing.assert_allclose(preset.at(61), cells[:, [0, 0, 4, 4], [0, 4, 0, 4]], atol=1e-6)
    np.testing.assert_allclose(grid_weights(5)[1, 2], corner_weights(0.5, 0.25))


def test_pitches_between_recordings_are_interpolated_and_outside_the_nearest():
    preset = make_preset(every_corner({40: constant(1), 48: constant(2)}), name="p")
    for pitch, value in ((24, 1.0), (40, 1.0), (44, 1.5), (48, 2.0), (84, 2.0)):
        np.testing.assert_allclose(preset.embedding(0, 0, pitch), value, atol=2 / 127)


def test_partials_are_those_of_the_nearest_pitch_recorded_and_stored():
    low, high = np.linspace(-3_000, 3_000, 100), np.linspace(100, -100, 100)
    notes = {40: constant(1, partials_cents=low), 50: constant(1, partials_cents=high)}
    preset = make_preset(every_corner(notes), name="p")
    assert preset.partials(40).shape == (1, 4, 100)
    assert preset.partials(40).dtype == np.float32
    for pitch, exact in ((0, low), (44, low), (45.9, low), (46, low), (46.1, high), (48, high), (127, high)):
        np.testing.assert_allclose(preset.partials(pitch)[0], np.tile(exact, (4, 1)), atol=0.0501)


def test_partials_too_far_off_are_as_far_as_can_be_stored():
    preset = make_preset(every_corner({60: constant(1, partials_cents=np.full(100, 9e9))}), name="p")
    np.testing.assert_allclose(preset.partials(60), 3_276.7, atol=0.01)


def test_motion_is_linear_between_pitches_and_a_rate_counts_by_its_depth():
    notes = {40: constant(1, motion=np.array([4, 10, 1, 20])), 48: constant(1, motion=np.array([7, 20, 2, 40])),
             56: constant(1)}
    preset = make_preset(every_corner(notes), name="p")
    assert preset.motion(40).shape == (1, 4, 4)
    assert preset.motion(40).dtype == np.float32
    for pitch, exact in ((30, (4, 10, 1, 20)), (44, (6, 15, 1.5, 30)), (48, (7, 20, 2, 40)), (52, (7, 10, 1, 20)),
                         (56, (0, 0, 0, 0)), (90, (0, 0, 0, 0)), (46, (6 + 5 / 35 * 4, 17.5, 1.75, 35))):
        np.testing.assert_allclose(preset.motion(pitch), np.tile(exact, (1, 4, 1)), rtol=1e-5, atol=1e-5)


def test_what_was_measured_out_of_range_is_the_nearest_in_it():
    preset = make_preset(every_corner({60: constant(1, motion=np.array([-1, 1e6, 5, 1e9]))}), name="p")
    np.testing.assert_allclose(preset.motion(60)[0, 0], [0, 200, 4, 200])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_mixed_motion_is_never_out_of_range(seed):
    rng = np.random.default_rng(seed)
    motion = (rng.uniform(0, MOST_MOTION, (3, 4, 4)) * rng.integers(0, 2, (3, 4, 4))).astype(np.float32)
    for mixed in (mix_motion(motion, rng.dirichlet(np.ones(4))), mix_motion(np.full((4, 4), MOST_MOTION, np.float32),
                                                                            rng.dirichlet(np.ones(4)))):
        assert ((mixed >= 0) & (mixed <= np.array(MOST_MOTION, np.float32))).all()
        assert mixed.dtype == np.float32


def test_a_silent_instrument_has_a_scale_too():
    preset = make_preset(every_corner({60: constant(0)}), name="p")
    assert not Preset.from_bytes(preset.to_bytes(), "p").embedding(0, 0, 60).any()


@pytest.mark.parametrize("embedding", [
    np.zeros((124, 16)), np.full((FRAMES, 16), np.nan), np.full((FRAMES, 16), np.inf)])
def test_bad_embeddings_are_refused_by_corner_and_pitch(embedding):
    corners = every_corner({60: constant(1)})
    corners["organ"] = [{60: constant(1), 62: Note(embedding)}]
    with pytest.raises(TetradError, match=r"'organ', pitch 62"):
        make_preset(corners, name="p")


@pytest.mark.parametrize("bad", [{"partials_cents": np.full(100, np.nan)}, {"motion": np.array([1, np.inf, 1, 1])}])
def test_what_was_measured_must_be_finite(bad):
    with pytest.raises(TetradError, match=r"'bass'.*finite"):
        make_preset(every_corner({60: constant(1, **bad)}), name="p")


def test_three_corners_or_an_empty_one_are_refused():
    with pytest.raises(TetradError, match="corners"):
        make_preset({name: [{60: constant(1)}] for name in NAMES[:3]}, name="p")
    for empty in ([{}], [], [{60: constant(1)}, {}]):
        with pytest.raises(TetradError, match="'bass' has no recording"):
            make_preset(dict.fromkeys(NAMES, empty), name="p")


def test_corners_of_other_layers_or_pitches_are_refused(preset):
    with pytest.raises(TetradError, match="'bass' have 2 layers of 3"):
        dataclasses.replace(preset, velocities=(1, 2, 3))
    with pytest.raises(TetradError, match="2 pitches of 1"):
        dataclasses.replace(preset, pitches=(60,))
    for kind in ("values", "partials", "motion"):
        corner = dataclasses.replace(preset.corners[3], **{kind: getattr(preset.corners[3], kind)[:, :1]})
        with pytest.raises(TetradError, match=f"{kind} of corner 'glockenspiel' have 2 layers of 2 and 1 pitches of 2"):
            dataclasses.replace(preset, corners=(*preset.corners[:3], corner))


def test_a_preset_cut_anywhere_is_refused_by_name(preset):
    data = preset.to_bytes()
    for length in (0, 1, 4, 30, 500, len(data) // 2, len(data) - 22, len(data) - 1):
        assert "again" in refusal(data[:length])


def test_a_changed_value_is_refused_for_its_digest(preset):
    data = preset.to_bytes()
    for kind in ("values", "partials", "motion"):
        values = getattr(preset.corners[2], kind).copy()
        values[0, 0, 0] = values[0, 1, 0]
        name = f"corner2.{kind}.npy".replace(".values", "")
        assert "digest" in refusal(rebuilt(data, members={name: npy(values)}))
    assert "digest" in refusal(rebuilt(data, {"name": "Other"}))
    assert "digest" in refusal(rebuilt(data, {"digest": "0" * 64}))
    assert "digest" in refusal(rebuilt(data, {"digest": None}))


def test_a_later_version_asks_for_an_update_whatever_else_it_holds(preset):
    message = refusal(rebuilt(preset.to_bytes(), {"version": 3, "more": 1}, {"corner3.npy": None, "x": b""}))
    assert "version 3" in message
    assert "update tetrad" in message
    for version in (0, -1, True, "2", 2.0, None):
        assert "version" in refusal(rebuilt(preset.to_bytes(), {"version": version}))


def test_the_first_version_is_to_be_made_anew(preset):
    older = dict.fromkeys(name for name in MEMBERS if "partials" in name or "motion" in name)
    message = refusal(rebuilt(preset.to_bytes(), {"version": 1, "velocities": [100]}, older))
    assert message == ("box/mine.tetrad: it is a preset of version 1, and this tetrad reads 2: "
                       "make it anew with `tetrad preset make`")


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_absurd_size_are_refused_before_memory_is_taken(preset, kind):
    data, name = preset.to_bytes(), f"corner1{kind}.npy"
    bomb = rebuilt(data, members={name: bytes(64_000_000)})
    # the same, with sizes in the zip that lie: those of the right array
    at = bomb.rindex(b"PK\x01\x02", 0, bomb.rindex(name.encode()))
    lying = bytearray(bomb)
    lying[at + 24: at + 28] = struct.pack("<I", len(npy(preset.corners[1].arrays()[KINDS.index(kind)])))
    header = io.BytesIO()
    shape = {"descr": "|i1", "fortran_order": False, "shape": (2_000_000_000, FRAMES, 16)}
    np.lib.format.write_array_header_1_0(header, shape)
    huge = rebuilt(data, members={name: header.getvalue() + bytes(100)})
    json_bomb = rebuilt(data, members={"preset.json": b" " * 50_000_000})
    assert "64000000 bytes" in refusal(bomb)
    for absurd in (bomb, bytes(lying), huge, json_bomb):
        tracemalloc.start()
        assert name in refusal(absurd) or absurd is json_bomb
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
    for name in MEMBERS:
        for member in (pickle.dumps(Trap()), objects.getvalue()):
            assert name in refusal(rebuilt(preset.to_bytes(), members={name: member}))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_other_types_and_shapes_are_refused(preset, kind):
    right, name = preset.corners[0].arrays()[KINDS.index(kind)], f"corner0{kind}.npy"
    assert right.dtype in (np.int8, np.int16, np.float32)
    wrong = [right.astype(kind) for kind in (np.int8, np.int16, ">i2", np.uint8, np.float32, ">f4", np.float64)
             if np.dtype(kind) != right.dtype]
    wrong += [right[:1], right[:, :1], right[..., :-1], right.ravel(), np.asfortranarray(right), right[None],
              right.repeat(2, axis=0)]
    for array in wrong:
        assert name in refusal(rebuilt(preset.to_bytes(), members={name: npy(array)}))
    nested = b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 70_000
    for member in (b"", b"\x93NUMPY", npy(right)[:-1], npy(right) + b"\0", nested):
        assert name in refusal(rebuilt(preset.to_bytes(), members={name: member}))


@pytest.mark.parametrize(("column", "word"), list(enumerate(MOTION)))
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -0.01, 201.0])
def test_motion_out_of_range_is_refused_by_name(preset, column, word, value):
    motion = preset.corners[2].motion.copy()
    motion[1, 0, column] = value
    message = refusal(rebuilt(preset.to_bytes(), members={"corner2.motion.npy": npy(motion)}))
    assert "'organ'" in message
    assert word in message


@pytest.mark.parametrize("kind", ["values", "partials", "motion"])
def test_a_corner_holds_what_its_file_holds_and_nothing_else(preset, kind):
    right = getattr(preset.corners[1], kind)
    for array in (right[0], right[..., 1:], right.astype(np.float64)):
        with pytest.raises(TetradError, match=f"{kind} of corner 'flute' are"):
            dataclasses.replace(preset.corners[1], **{kind: array})


def test_missing_and_extra_members_are_refused(preset):
    data = preset.to_bytes()
    for name in ("preset.json", *MEMBERS):
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
    {"velocities": []}, {"velocities": [0, 50]}, {"velocities": [100, 50]}, {"velocities": 100}, {"corners": {}},
    {"velocities": [100, 100]}, {"velocities": [50.0, 100]}, {"velocities": [100]}, {"velocities": [50, 128]},
    {"velocities": [1, 2, 3]}, {"velocities": [1, 2, 3, 4, 5]}, {"velocities": {"1": 2}}, {"velocities": None},
    {"corners": [1, 2, 3, 4]}, {"corners": []}, {"synth": {"attack": 1}}, {"synth": [1, 2, 3, 4]}, {"more": 1},
    {"format": "zip"},
    {"synth": {"attack_ms": float("nan")}},
    {"synth": {"sustain": 2}},
    {"synth": {"filter_mode": True}},
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
            at = rng.randrange(len(data)) if rng.random() < 0.5 else len(data) - 1 - rng.randrange(1_000)
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
    data = some_preset((60,), velocities=(100,)).to_bytes()
    for kind, size in zip(KINDS, (FRAMES * 16, 200, 16), strict=True):
        member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(size)
        with pytest.raises(TetradError):
            Preset.from_bytes(rebuilt(data, members={f"corner0{kind}.npy": member}), "f")


@given(st.sampled_from(MEMBERS), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_nothing_but_a_tetrad_error_comes_from_any_array(name, seed):
    """Right headers and random content, whose digest is right too: only what a preset may hold is read."""
    rng = np.random.default_rng(seed)
    preset = some_preset((60,), velocities=(100,))
    number, kind = int(name[6]), KINDS.index(name[7:-4])
    right = preset.corners[number].arrays()[kind]
    array = np.frombuffer(rng.bytes(right.nbytes), right.dtype).reshape(right.shape)
    data = rebuilt(preset.to_bytes(), members={name: npy(array)})
    corner = preset.corners[number]
    try:
        arrays = [array if at == kind else there for at, there in enumerate(corner.arrays())]
        changed = Corner(corner.name, corner.scale, *arrays)
    except TetradError as error:
        assert kind == 2
        assert str(error) in refusal(data)  # noqa: PT017
        return
    corners = tuple(changed if at == number else there for at, there in enumerate(preset.corners))
    digest = dataclasses.replace(preset, corners=corners).digest
    read = Preset.from_bytes(rebuilt(data, {"digest": digest}), "f")
    assert np.isfinite(read.cells(60, 2)).all()
    assert np.isfinite(read.partials(60)).all()
    assert np.isfinite(read.motion(60)).all()


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


def shown(tmp_path, capsys, preset: Preset, *words: str) -> str:
    preset.write(tmp_path / "p.tetrad")
    parser = argparse.ArgumentParser()
    info_command(parser)(parser.parse_args([str(tmp_path / "p.tetrad"), *words]))
    return capsys.readouterr().out


def test_info_prints_one_line_of_json(tmp_path, preset, capsys):
    told = json.loads(shown(tmp_path, capsys, preset, "--json"))
    assert told["digest"] == preset.digest
    assert told["corners"] == list(NAMES)
    assert told["bytes"] == len(preset.to_bytes())
    assert (told["layers"], told["velocities"]) == (2, [50, 100])


def test_info_tells_of_each_corner_its_vibrato_and_whether_it_is_harmonic(tmp_path, capsys):
    bell = np.zeros(100)
    bell[1] = -580
    stretched = np.linspace(0, 9, 100)
    notes = {"flute": constant(1, motion=np.array([5.04, 20, 0.3, 0])), "bass": constant(1, partials_cents=stretched),
             "organ": constant(1), "glockenspiel": constant(1, partials_cents=bell)}
    corners = {name: [{60: notes[name]}] for name in NAMES}
    corners["organ"] = [{30: notes["glockenspiel"], 40: notes["organ"]}]  # at a few pitches alone
    preset = make_preset(corners, name="p")
    told = json.loads(shown(tmp_path, capsys, preset, "--json"))
    assert told["vibrato_hz"] == [0, 5.0, 0, 0]
    assert told["vibrato_cents"] == [0, 20, 0, 0]
    assert told["inharmonic"] == [False, False, False, True]
    lines = shown(tmp_path, capsys, preset).splitlines()
    assert "vibrato hz: 0, 5, 0, 0" in lines
    assert "layers: 1" in lines
