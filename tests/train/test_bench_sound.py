"""The figures of the sound, on made sounds whose faults are known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tetrad
from device import sustain
from device.analysis import analyse
from device.bake import bake, decode_pad
from device.corner import Note as CornerNote
from device.corner import make_preset
from device.decoder import FACTORY_DECODER
from device.errors import TetradError
from device.library import Entry, Library
from device.preset import DIMENSIONS, FRAMES, NOTE_SAMPLES, Preset
from device.synth import pitch_to_hz
from device.synth_settings import Synth
from tests.device.additive import Additive
from tests.train import tiny
from train import bench_sound, measure, note_figures, pad_figures, partials, sound_figures
from train.bench_sound import sets_of, spread
from train.notes import Note

TIME_S = np.arange(NOTE_SAMPLES) / 16_000


def tone(pitch: float, harmonics: int = 6) -> np.ndarray:
    hz = pitch_to_hz(pitch) * np.arange(1, harmonics + 1)[:, None]
    return (0.2 * np.sum(0.6 ** np.arange(harmonics)[:, None] * np.sin(2 * np.pi * hz * TIME_S), axis=0)).astype(
        np.float32)


def bell(hz: list[float], db: list[float]) -> np.ndarray:
    waves = [10 ** (level / 20) * np.sin(2 * np.pi * f * TIME_S + i) for i, (f, level) in
             enumerate(zip(hz, db, strict=True))]
    return (0.1 * np.exp(-2 * TIME_S) * np.sum(waves, axis=0)).astype(np.float32)


@pytest.mark.parametrize("pitch", [36, 60, 84])
def test_a_note_12_cents_off_fails_and_one_8_cents_off_passes(pitch: int) -> None:
    recorded, good, bad = (measure.heard_pitch(tone(pitch + cents / 100)) for cents in (0, 7, -12.9))
    asked = np.full(3, float(pitch))
    found = sound_figures.pitch_figures(asked, np.full(3, recorded), np.array([recorded, good, bad]))
    assert found["notes"] == 3
    assert found["within_10_cents_percent"] == pytest.approx(200 / 3)


def test_pitch_is_judged_where_the_recording_has_one() -> None:
    nan = float("nan")
    found = sound_figures.pitch_figures(np.array([60.0, 60, 60, 60]), np.array([60.0, 72, nan, 60.1]),
                                        np.array([60.05, 60, 60, nan]))
    assert found["notes"] == 2
    assert found["within_10_cents_percent"] == 50
    assert found["median_cents"] == pytest.approx(5)
    silent = sound_figures.pitch_figures(np.array([60.0]), np.array([nan]), np.array([60.0]))
    assert silent == {"notes": 0, "within_10_cents_percent": None, "median_cents": None}


def test_a_difference_has_its_level_whatever_the_gain() -> None:
    random = np.random.default_rng(0)
    signal, noise = random.standard_normal((2, 16_000))
    assert measure.snr_db(signal, 0.3 * signal) > 120
    assert measure.snr_db(signal, 0.3 * (signal + 0.1 * noise)) == pytest.approx(20, abs=0.2)


def test_an_onset_is_told_from_what_follows() -> None:
    recording = tone(60)
    hiss = np.random.default_rng(1).standard_normal(800).astype(np.float32)
    recording[:800] += 0.05 * hiss
    onset, later = measure.onset_distances_db(tone(60), recording)
    assert onset > 3
    assert later < 0.1
    assert measure.onset_distances_db(recording, recording) == (0, 0)


@pytest.mark.parametrize("gain_db", [-6.0, 4.0])
def test_the_noise_of_an_onset_is_told_in_decibels(gain_db: float) -> None:
    hiss = np.zeros(NOTE_SAMPLES, np.float32)
    hiss[:800] = 0.02 * np.random.default_rng(2).standard_normal(800)
    other = tone(60) + np.float32(10 ** (gain_db / 20)) * hiss
    assert measure.noise_difference_db(other, tone(60) + hiss) == pytest.approx(gain_db, abs=0.5)
    assert measure.noise_difference_db(0.5 * (tone(60) + hiss), tone(60) + hiss) == pytest.approx(0, abs=1e-3)


HZ, DB = [500.0, 1377.0, 2701.0, 4469.0, 6677.0], [0.0, -6.0, -12.0, -18.0, -24.0]


def test_the_strongest_partials_are_found() -> None:
    found = partials.strongest(bell([*HZ, 7000.0, 300.0], [*DB, -28.0, -40.0]))
    np.testing.assert_allclose(found.hz, HZ, atol=0.1)
    np.testing.assert_allclose(found.db, DB, atol=0.3)
    few = partials.strongest(bell(HZ[:3], [0.0, -10.0, -33.0]))  # the third is too soft to count
    np.testing.assert_allclose(few.hz, HZ[:2], atol=0.1)
    noise = np.random.default_rng(3).standard_normal(NOTE_SAMPLES).astype(np.float32)
    np.testing.assert_allclose(partials.strongest(bell(HZ[:1], [0.0]) + 0.005 * noise).hz, HZ[:1], atol=0.5)


def test_partials_off_in_pitch_or_level_or_lost_fail() -> None:
    moved = [500.0, 1377.0 * 2 ** (12 / 1200), 2701.0 * 2 ** (8 / 1200), 4469.0, 900.0]
    cents, db = partials.errors(bell(HZ, DB), bell(moved, [0.0, -6.0, -12.0, -21.5, -24.0]))
    np.testing.assert_allclose(cents[:4], [0, 12, 8, 0], atol=0.3)
    np.testing.assert_allclose(db[:4], [0, 0, 0, -3.5], atol=0.2)
    assert np.isnan(cents[4]) or db[4] < -30  # nothing is there
    found = sound_figures.partial_figures([{"cents": note_figures.as_told(cents), "db": note_figures.as_told(db)}])
    assert found["partials"] == 5
    assert found["both_percent"] == pytest.approx(40)
    assert found["within_3_db_percent"] == pytest.approx(60)


def test_a_silent_sound_has_lost_all_partials() -> None:
    cents, db = partials.errors(bell(HZ, DB), np.zeros(NOTE_SAMPLES, np.float32))
    assert np.isnan(cents).all()
    assert np.isnan(db).all()


def test_vibrato_is_kept_within_a_tenth() -> None:
    found = sound_figures.vibrato_figures([None, [[5.0, 20.0], [5.4, 18.5]], [[5.0, 20.0], [5.0, 23.0]],
                                           [[5.0, 20.0], [0.0, 0.0]]])
    assert found["notes"] == 3
    assert found["rate_percent"] == pytest.approx(200 / 3)
    assert found["depth_percent"] == found["both_percent"] == pytest.approx(100 / 3)


@pytest.mark.parametrize("click_db", [-60.0, -40.0])
def test_a_seam_is_found_and_measured(click_db: float) -> None:
    sound = np.tile(np.sin(2 * np.pi * np.arange(3200) / 100), 3)  # a loop of whole cycles
    assert pad_figures.seam_db(sound, 3200, 3200) < -120
    sound[6400 : 6400 + pad_figures.SEAM_SAMPLES] *= 1 + 10 ** (click_db / 20)
    assert pad_figures.seam_db(sound, 3200, 3200) == pytest.approx(click_db, abs=0.1)


def test_a_seam_needs_what_comes_after_the_loop() -> None:
    with pytest.raises(ValueError, match="behind the loop"):
        pad_figures.seam_db(np.ones(1000), 500, 500)


def made_preset(levels: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)) -> Preset:
    """Each corner one partial of its own, so loud, and a trace of the others, which ripples."""
    def note(corner: int) -> CornerNote:
        embedding = np.zeros((FRAMES, DIMENSIONS), np.float32)
        embedding[:, corner] = levels[corner]
        embedding[:, (corner + 1) % 4] = 0.05 * (1 + np.sin(0.1 * np.arange(FRAMES)))
        return CornerNote(embedding)

    return make_preset({str(corner): [{60: note(corner)}] for corner in range(4)}, name="made", pitches=(60,))


def test_seams_are_those_of_the_cells_that_are_baked() -> None:
    preset, listening = made_preset(), pad_figures.Listening(Additive())
    heard, plain = decode_pad(preset, listening, 60, 3), decode_pad(preset, Additive(), 60, 3)
    np.testing.assert_array_equal(heard.cells, plain.cells)
    assert len(listening.seams_db) == 9
    assert max(listening.seams_db) < -80


def test_a_decoder_that_does_not_repeat_itself_has_seams() -> None:
    class Wandering(Additive):
        def decode_columns(self, *args: object, **kwargs: object) -> np.ndarray:
            sound = super().decode_columns(*args, **kwargs)
            return sound * (1 + 1e-3 * np.arange(sound.shape[1]) / 16_000)

    listening = pad_figures.Listening(Wandering())
    decode_pad(made_preset(), listening, 60, 2)
    assert -70 < min(listening.seams_db) <= max(listening.seams_db) < -50


def test_levels_of_paths_are_held_against_what_lies_between_the_corners(tmp_path: Path) -> None:
    assert pad_figures.between_db([0, -10, -20, -30], 0.5, 0.5) == pytest.approx(-15)
    assert pad_figures.between_db([0, -10, -20, -30], 1.0, 0.25) == pytest.approx(-15)
    points = pad_figures.path_points()
    assert len(points) == 45
    assert set(pad_figures.CORNERS) | set(pad_figures.MIDDLES) <= set(points)
    bank = bake(made_preset(), Additive(), tmp_path / "bank", [60])
    sounds = {(x, y): note_figures.played(bank, 60, x, y, 1.0)[:16_000] for x, y in [*points[::4], (0.5, 0.5)]}
    sounds |= {corner: note_figures.played(bank, 60, *corner, 1.0)[:16_000] for corner in pad_figures.CORNERS}
    assert np.abs(pad_figures.path_errors_db(sounds)).max() < 1.5
    sounds[0.5, 0.5] = 10 ** (2 / 20) * sounds[0.5, 0.5]
    assert 1 < np.abs(pad_figures.path_errors_db(sounds)).max() < 3.5


def test_a_spectrum_between_two_is_told_from_another() -> None:
    rise = np.minimum(4 * TIME_S, 1).astype(np.float32)  # a sudden beginning would sound in every band
    low, high, outside = (rise * bell([hz], [0.0]) for hz in (400.0, 1600.0, 5000.0))
    between = low + high
    assert pad_figures.centroid_octaves(high) - pad_figures.centroid_octaves(low) == pytest.approx(2, abs=0.05)
    below, at, above = map(pad_figures.centroid_octaves, (low, between, high))
    assert below < at < above
    assert pad_figures.outside_db(0.5 * between, [low, high]) < 0.1
    assert pad_figures.outside_db(outside, [low, high]) > 1


@pytest.mark.parametrize(("hz", "depth_db", "heard"), [(6.0, 3.0, True), (0.5, 3.0, False), (40.0, 3.0, False)])
def test_flutter_is_what_moves_between_2_and_15_hz(hz: float, depth_db: float, heard: bool) -> None:
    still = tone(60)[:32_000] * np.exp(-2 * TIME_S[:32_000]).astype(np.float32)
    moving = still * 10 ** (depth_db / 20 * np.sin(2 * np.pi * hz * TIME_S[:32_000]))
    assert pad_figures.modulation_db(still) < 0.1
    if heard:
        assert pad_figures.modulation_db(moving) == pytest.approx(depth_db / 2**0.5, rel=0.1)
        assert pad_figures.beating_db(moving, [still]) > 20
        assert pad_figures.beating_db(moving, [still, moving]) == 0
    else:
        assert pad_figures.modulation_db(moving) < 0.3


def test_the_middles_of_a_preset_are_judged_by_the_corners_next_to_them() -> None:
    sounds = dict.fromkeys([*pad_figures.CORNERS, *pad_figures.MIDDLES], tone(60)[:32_000])
    sounds[1.0, 1.0] = np.random.default_rng(5).standard_normal(32_000).astype(np.float32)  # without a pitch
    sounds[0.5, 0.0] = tone(60.15)[:32_000]
    rows = {(row["x"], row["y"]): row for row in pad_figures.morph_figures(sounds, 60)}
    assert [rows[point]["is_pitched"] for point in pad_figures.MIDDLES] == [True, False, True, False, False]
    assert rows[0.5, 0.0]["cents"] == pytest.approx(15, abs=3)
    assert abs(rows[0.0, 0.5]["cents"]) < 3
    assert rows[0.5, 1.0]["cents"] is None
    assert rows[0.0, 0.5]["is_between"]
    summed = sound_figures.pads_of([{"pitch": 60, "path_errors_db": [0.1, -2.0], "seams_db": [-90.0, -85.0],
                                     "morphs": list(rows.values())}])
    assert summed["level_worst_db"] == 2
    assert summed["seam_worst_db"] == -85
    assert summed["within_10_cents_percent"] == 50


def test_the_engine_plays_a_recordings_vibrato() -> None:
    moved = tone(60)  # the decoder's own sound has none: the tone that was measured tells of it
    heard = note_figures.Listened(moved, replace(analyse(moved, 60), rate_hz=5.5, depth_cents=30.0, delay_s=0.3),
                                  np.pad(np.ones((FRAMES, 2), np.float32), [(0, 0), (0, DIMENSIONS - 2)]))
    again = analyse(note_figures.by_engine(heard, 60, Additive()), 60)
    assert again.rate_hz == pytest.approx(5.5, rel=0.05)
    assert again.depth_cents == pytest.approx(30, rel=0.1)


def note(instrument: str, pitch: int, velocity: int) -> Note:
    return Note(f"{instrument}-{pitch:03}-{velocity:03}", pitch, velocity, 7, 0, (0,) * 10)


def test_notes_are_spread_over_instruments() -> None:
    notes = [note(f"reed_acoustic_{i:03}", pitch, velocity) for i in range(5) for pitch in range(36, 85, 3)
             for velocity in (50, 100)]
    some = spread(notes, 20)
    assert some == [one for one in notes if one in some]
    assert [sum(one.instrument_str.endswith(str(i)) for one in some) for i in range(5)] == [4] * 5
    assert len({one.pitch for one in some}) > 8
    assert spread(notes, None) == notes
    assert spread(notes, 0) == []


def test_what_is_tested_teaches_nobody(tmp_path: Path) -> None:
    folder = tiny.write_notes(tmp_path / "notes", range(30, 60, 6))
    names = [f"reed_synthetic_{i:03}" for i in range(3)]
    entry = Entry("One", "one.tetrad", dict.fromkeys("abcd", names[0]), Synth())
    library = Library("", "", (100,), (entry,))
    with pytest.raises(TetradError, match=r"test-instruments\.txt"):
        sets_of(folder, library, 10)
    (folder / "test-instruments.txt").write_text(f"{names[1]}\n")
    sets = sets_of(folder, library, 3)
    assert {one.instrument_str for one in sets.learned.notes} == {names[2]}
    assert len(sets.learned.notes) == 3
    assert [one.instrument_str for one in sets.tested["factory"].notes] == [names[0]] * 4  # 36 to 54
    assert {one.instrument_str for one in sets.tested["unseen"].notes} == {names[1]}
    with pytest.raises(TetradError, match="has no notes of reed_synthetic_009"):
        sets_of(folder, replace(library, presets=(replace(entry, corners={"a": "reed_synthetic_009"}),)), 3)


def test_goals_say_whether_they_are_reached() -> None:
    def own(pitch: float, db: float, lost: float) -> dict:
        told = {"recordings": 90.0, "int8 student": 90.0 - lost}
        return {"pitch": {"within_10_cents_percent": pitch}, "int8": {"more_db": 0.05, "snr_db": 31.0},
                "log_mel_db": {"int8 student": db, "baseline": 3.0}, "partials": {"both_percent": None},
                "where_the_teacher_plays_db": {"int8 student": db, "teacher": None},
                "vibrato": {"both_percent": 100.0},
                "recognised": {of: {key: {"value": value} for key in sound_figures.RECOGNISED}
                               for of, value in told.items()}}

    pads = {"level_worst_db": 1.6, "seam_worst_db": -90.0, "within_10_cents_percent": 100.0,
            "centroid_between_percent": 99.0, "no_beating_percent": 100.0}
    timed = {"x_realtime": 120.0, "reference_ratio": None, "pad": {"wall_s": 50.0}}
    rows = sound_figures.goals({"factory": own(98.5, 1.2, 1.0), "unseen": own(95.5, 2.3, 1.0)}, pads, timed)
    reached = {row["what"].split(",")[0]: row["reached"] for row in rows}
    assert reached["pitch within 10 cents"]
    assert reached["log-mel distance"] is False  # by one of two
    assert reached["strongest partials within 10 cents and 3 dB"] is None
    assert reached["level along paths between corners"] is False
    assert reached["loop seam"]
    assert reached["family recognised"]
    assert [row["unseen"] for row in rows if row["what"].startswith("loop seam")] == [None]


def test_the_margin_behind_a_loop_is_enough_for_its_seam() -> None:
    columns = sustain.loop_columns(60)
    track = sustain.body(np.zeros((1, sustain.NOTE_COLUMNS, 16), np.float32), np.zeros(1), columns)
    behind = track.shape[1] * sustain.COLUMN_SAMPLES - sustain.loop_start_samples(columns) - 256 * columns
    assert behind >= pad_figures.SEAM_SAMPLES


def test_the_command_measures_both_sets_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, runs = tiny.write_notes(tmp_path / "notes"), tiny.write_runs(tmp_path / "runs")
    (folder / "test-instruments.txt").write_text("reed_synthetic_001\n")
    corners = [{"name": name, "instrument": "reed_synthetic_000"} for name in "abcd"]
    library = {"author": "", "licence": "", "velocities": [100], "presets": [
        {"name": "One", "file": "one.tetrad", "synth": {}, "corners": corners}]}
    (tmp_path / "library.json").write_text(json.dumps(library))
    made_preset().write(tmp_path / "one.tetrad")
    timed = {"x_realtime": 99.0, "reference_samples_per_s": None, "reference_ratio": None, "pad": {
        "wall_s": 1.0, "notes": 81, "jobs": 2, "nsynth_super_notes": 1, "nsynth_super_notes_hours": 1.0}}
    monkeypatch.setattr(bench_sound, "speed", lambda *of: timed)
    monkeypatch.setattr(bench_sound, "PAD_PITCHES", (60,))
    assert tetrad.main(["bench", "sound", "--notes", str(folder), "--out", str(tmp_path / "out"), "--most", "2",
                        "--most-train", "3", "--epochs", "1", "--teacher-notes", "1", "--run", str(runs["student"]),
                        "--decoder", str(FACTORY_DECODER), "--baseline", str(runs["baseline"]), "--library",
                        str(tmp_path / "library.json"), "--workers", "1"]) == 0
    result = json.loads((tmp_path / "out" / "sound.json").read_text())
    assert {row["what"]: row["reached"] for row in result["goals"]}["decoding, one thread, x real time"] is False
    for name in ("factory", "unseen"):
        own = result["sets"][name]
        assert own["notes"] == own["pitch"]["notes"] == 2
        assert own["log_mel_db"]["int8 student"] > own["log_mel_db"]["mu-law"] > 0
        assert own["where_the_teacher_plays_db"]["notes"] == 1
        assert own["partials"]["notes"] == own["vibrato"]["notes"] == 0
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert [row["instrument"] for row in result["sets"]["unseen"]["by_instrument"]] == ["reed_synthetic_001"]
    assert result["presets"]["by_preset"]["made"]["morphs"] == 5
    assert "| loop seam, worst, dB |" in (tmp_path / "out" / "sound.md").read_text()
    assert not (tmp_path / ".out.chunks").exists()


def test_a_run_of_ones_own_needs_its_decoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tetrad.main(["bench", "sound", "--notes", str(tmp_path), "--out", str(tmp_path / "out"), "--run",
                        str(tmp_path)]) == 1
    assert "give it to --decoder" in capsys.readouterr().err
