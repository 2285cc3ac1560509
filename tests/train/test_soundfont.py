"""Rendering a SoundFont: with a small one that is made here, whose notes are known, and a few notes of FluidR3."""

import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from pathlib import Path

import numpy as np
import pytest
import soxr

import tetrad
from device import jobs
from device.errors import TetradError
from device.preset import NOTE_SAMPLES, SAMPLE_RATE_HZ
from train import bench_jobs, instruments
from train.notes import FAMILIES, HELD_SAMPLES, SOURCES, Jsonwav
from train.programs import PROGRAMS, UNPITCHED
from train.soundfont import (
    BATCH_NOTES,
    OUTCOMES,
    RECIPE,
    Font,
    Key,
    check_soundfont,
    numbers,
    open_font,
    outcome,
    render,
    render_batch,
)

ROOT = Path(__file__).parents[2]
FLUID = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")  # apt: fluid-soundfont-gm

# Programs of the small font: a sine at its pitch, as often at once as it says, on keys from 60 up.
SINE, SOFT, LOUD = 0, 40, 56
LAYERS = {SINE: 1, SOFT: 1, LOUD: 6}
ROOT_PITCH, PERIOD_SAMPLES = 69, 100  # 440 Hz at 44 kHz


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def listing(kind: bytes, *chunks: bytes) -> bytes:
    return chunk(b"LIST", kind + b"".join(chunks))


def small_font(layers: dict[int, int] = LAYERS, gain: float = 1.0) -> bytes:
    """A SoundFont file (version 2.01, sections 5 to 7): one instrument, and a preset for each of `layers`."""
    wave = (32000 * gain * np.sin(2 * np.pi * np.arange(4400) / PERIOD_SAMPLES)).astype("<i2").tobytes() + bytes(2 * 46)
    gen_key_range, gen_attenuation, gen_instrument, gen_sample, gen_sample_modes = 43, 48, 41, 53, 54
    phdr, pbag, pgen = b"", b"", b""
    for program, voices in layers.items():
        phdr += struct.pack("<20s3H3I", f"P{program}".encode(), program, 0, len(pbag) // 4, 0, 0, 0)
        for _ in range(voices):
            pbag += struct.pack("<2H", len(pgen) // 4, 0)
            pgen += struct.pack("<2H", gen_key_range, 127 << 8 | 60)
            pgen += struct.pack("<2H", gen_attenuation, 1400 if program == SOFT else 0)  # tenths of a dB
            pgen += struct.pack("<2H", gen_instrument, 0)
    phdr += struct.pack("<20s3H3I", b"EOP", 0, 0, len(pbag) // 4, 0, 0, 0)
    pbag += struct.pack("<2H", len(pgen) // 4, 0)
    inst = struct.pack("<20sH20sH", b"I", 0, b"EOI", 1)
    ibag = struct.pack("<4H", 0, 0, 2, 0)
    igen = struct.pack("<4H", gen_sample_modes, 1, gen_sample, 0) + bytes(4)
    shdr = struct.pack("<20s5IBbHH", b"S", 0, 4400, 100, 4300, 44000, ROOT_PITCH, 0, 0, 1)
    shdr += struct.pack("<20s5IBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    return chunk(b"RIFF", b"sfbk" + b"".join((
        listing(b"INFO", chunk(b"ifil", struct.pack("<2H", 2, 1)), chunk(b"isng", b"EMU8000\0"),
                chunk(b"INAM", b"small\0")),
        listing(b"sdta", chunk(b"smpl", wave)),
        listing(b"pdta", chunk(b"phdr", phdr), chunk(b"pbag", pbag), chunk(b"pmod", bytes(10)),
                chunk(b"pgen", pgen + bytes(4)), chunk(b"inst", inst), chunk(b"ibag", ibag), chunk(b"imod", bytes(10)),
                chunk(b"igen", igen), chunk(b"shdr", shdr)),
    )))


@pytest.fixture
def font(tmp_path):
    path = tmp_path / "small.sf2"
    path.write_bytes(small_font())
    return path


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pitch_hz(audio):
    """By the peak of the spectrum of the held part: right for a sine, and for tones whose fundamental is strongest."""
    spectrum = np.abs(np.fft.rfft(audio[4000:HELD_SAMPLES] * np.hanning(HELD_SAMPLES - 4000), 1 << 18))
    return np.argmax(spectrum) * SAMPLE_RATE_HZ / (1 << 18)


def test_a_rendered_folder_is_nsynths(font, tmp_path):
    counts = render([font], tmp_path / "out", [SINE], [60, 69], [50, 100])
    assert counts["notes"] == counts["rendered"] == 4
    examples = json.loads((tmp_path / "out" / "examples.json").read_text())
    assert list(examples) == [f"keyboard_acoustic_000-{p:03}-{v:03}" for p in (60, 69) for v in (50, 100)]
    assert examples["keyboard_acoustic_000-069-100"] == {
        "note": 69 * 128 + 100, "note_str": "keyboard_acoustic_000-069-100", "pitch": 69, "velocity": 100,
        "instrument": 0, "instrument_str": "keyboard_acoustic_000", "instrument_family": 4,
        "instrument_family_str": "keyboard", "instrument_source": 0, "instrument_source_str": "acoustic",
        "sample_rate": 16000, "qualities": [0] * 10, "qualities_str": [],
        "program": 0, "program_name": "Acoustic Grand Piano",
    }
    assert sorted(path.stem for path in (tmp_path / "out" / "audio").iterdir()) == sorted(examples)


@pytest.mark.parametrize("pitch", [60, 69, 84, 100])
def test_a_note_has_its_pitch_and_is_held_for_three_seconds(font, tmp_path, pitch):
    render([font], tmp_path / "out", [SINE], [pitch], [100])
    audio = Jsonwav(tmp_path / "out").audio(f"keyboard_acoustic_000-{pitch:03}-100")
    assert audio.shape == (NOTE_SAMPLES,)
    assert 1200 * abs(np.log2(pitch_hz(audio) / (440 * 2 ** ((pitch - 69) / 12)))) < 3  # cents
    assert np.abs(audio[HELD_SAMPLES - 1000 : HELD_SAMPLES]).max() > 0.1
    assert np.abs(audio[HELD_SAMPLES + 2000 :]).max() < 0.001


def test_what_is_above_8_khz_does_not_fold_back(font, tmp_path):
    """12.5 kHz cannot be heard at 16 kHz; without a low-pass it would be a loud tone of 3.5 kHz."""
    assert pytest.approx(12544, abs=1) == 440 * 2 ** ((127 - 69) / 12)
    counts = render([font], tmp_path / "out", [SINE], [110, 127], [100])
    assert (counts["rendered"], counts["silent"]) == (1, 1)


def test_velocities_keep_their_relative_levels(font, tmp_path):
    render([font], tmp_path / "out", [SINE], [69], [50, 100])
    notes = Jsonwav(tmp_path / "out")
    soft, loud = (np.abs(notes.audio(f"keyboard_acoustic_000-069-{velocity:03}")).max() for velocity in (50, 100))
    assert 20 * np.log10(loud / soft) == pytest.approx(40 * np.log10(100 / 50), abs=0.2)  # SF2.01, 8.4.1


def test_silent_and_clipped_and_unplayable_notes_are_dropped_and_counted(font, tmp_path):
    counts = render([font], tmp_path / "out", [SINE, SOFT, LOUD], [48, 69], [127])
    assert (counts["rendered"], counts["silent"], counts["clipped"]) == (1, 4, 1)
    assert [note.note_str for note in Jsonwav(tmp_path / "out").notes] == ["keyboard_acoustic_000-069-127"]
    assert outcome(np.array([0.5, -1.0], np.float32)) == "clipped"


def test_two_runs_give_the_same_bytes(font, tmp_path):
    for name in "ab":
        render([font], tmp_path / name, [SINE, SOFT], range(60, 84), [50, 100])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.full)])
def test_a_killed_run_is_completed_to_the_same_bytes(font, tmp_path, workers):
    options = ["--programs", f"{SINE},{SOFT}", "--pitches", "60:109:1", "--velocities", "50-55", "--workers", workers]
    command = ["notes", "render", "--soundfont", str(font), *options, "--out"]
    process = subprocess.Popen([sys.executable, "-m", "tetrad", *command, str(tmp_path / "killed")], cwd=ROOT)
    audio = tmp_path / "killed" / "audio"
    while process.poll() is None and not (audio.is_dir() and len(os.listdir(audio)) > 40):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    found = len(os.listdir(audio))
    assert 40 < found < 300
    assert not (tmp_path / "killed" / "examples.json").exists()
    with pytest.raises(TetradError, match="run that again"):
        Jsonwav(tmp_path / "killed")
    (tmp_path / "killed" / "note.part").write_bytes(b"RIFF")  # as a kill in the middle of a note leaves it

    assert tetrad.main([*command, str(tmp_path / "killed")]) == 0
    assert tetrad.main([*command, str(tmp_path / "whole"), "--workers", "1"]) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(contents(tmp_path / "whole")) == 300 + 3


def test_a_worker_with_another_font_or_fluidsynth_refuses(font, tmp_path):
    digest = jobs.digest_of(font)
    made_by = {"fluidsynth": open_font(font, digest).fluidsynth, "soxr": soxr.__version__}
    becomes, sounds = jobs.unpack(render_batch(font, digest, made_by, [Key(SINE, 69, 100), Key(SOFT, 69, 100)]))
    assert [OUTCOMES[number] for number in becomes] == ["rendered", "silent"]
    assert (sounds.shape, sounds.dtype) == ((1, NOTE_SAMPLES), np.int16)
    with pytest.raises(TetradError, match="install the same FluidSynth"):
        render_batch(font, digest, {**made_by, "fluidsynth": "1.0"}, [Key(SINE, 69, 100)])
    font.write_bytes(font.read_bytes() + b"\0")
    open_font.cache_clear()
    with pytest.raises(TetradError, match="is not the same file on all machines"):
        render_batch(font, digest, made_by, [Key(SINE, 69, 100)])


def test_what_is_there_is_not_rendered_again(font, tmp_path):
    render([font], tmp_path / "out", [SINE], [60, 69], [100])
    before = contents(tmp_path / "out")
    counts = render([font], tmp_path / "out", [SINE], [60, 69], [100])
    assert (counts["found"], counts["rendered"]) == (2, 0)
    assert contents(tmp_path / "out") == before


def test_a_folder_of_other_notes_is_left_alone(font, tmp_path):
    render([font], tmp_path / "out", [SINE], [60], [100])
    with pytest.raises(TetradError, match="other options: give another --out"):
        render([font], tmp_path / "out", [SINE], [61], [100])
    (tmp_path / "out" / RECIPE).unlink()
    with pytest.raises(TetradError, match="not rendered here"):
        render([font], tmp_path / "out", [SINE], [60], [100])
    with pytest.raises(TetradError, match="cannot make the folder"):
        render([font], font, [SINE], [60], [100])


@pytest.fixture
def second(tmp_path):
    """The same notes but for their levels: of lower ones."""
    path = tmp_path / "second.sf2"
    path.write_bytes(small_font(gain=0.5))
    return path


def test_the_second_fonts_instruments_are_numbered_from_1000(font, second, tmp_path):
    counts = render([font, second], tmp_path / "out", [SINE, LOUD], [69], [60])
    assert (counts["notes"], counts["rendered"], counts["instruments"]) == (4, 4, 4)
    examples = json.loads((tmp_path / "out" / "examples.json").read_text())
    assert list(examples) == ["keyboard_acoustic_000-069-060", "brass_acoustic_056-069-060",
                              "keyboard_acoustic_1000-069-060", "brass_acoustic_1056-069-060"]
    numbers_of = [(note["instrument"], note["program"], note["note"]) for note in examples.values()]
    assert numbers_of == [(n, p, (n * 128 + 69) * 128 + 60) for n, p in ((0, 0), (56, 56), (1000, 0), (1056, 56))]
    notes = Jsonwav(tmp_path / "out")
    first, other = (np.abs(notes.audio(f"keyboard_acoustic_{number}-069-060")).max() for number in ("000", "1000"))
    assert 20 * np.log10(other / first) == pytest.approx(-6.02, abs=0.1)
    recipe = json.loads((tmp_path / "out" / RECIPE).read_text())
    assert [(of["soundfont"], of["programs"]) for of in recipe["fonts"]] == [("small.sf2", [0, 56]),
                                                                            ("second.sf2", [0, 56])]


def test_a_fonts_notes_are_the_same_beside_another(font, second, tmp_path):
    render([font, second], tmp_path / "both", [SINE, SOFT], [60, 69], [100])
    render([second], tmp_path / "alone", [SINE, SOFT], [60, 69], [100])
    both, alone = (Jsonwav(tmp_path / name) for name in ("both", "alone"))
    for pitch in (60, 69):
        np.testing.assert_array_equal(both.audio(f"keyboard_acoustic_1000-{pitch:03}-100"),
                                      alone.audio(f"keyboard_acoustic_000-{pitch:03}-100"))


def test_several_fonts_are_gone_on_with(font, second, tmp_path):
    render([font, second], tmp_path / "whole", [SINE], [60, 69, 72], [60])
    render([font, second], tmp_path / "out", [SINE], [60, 69, 72], [60])
    names = ("keyboard_acoustic_000-069-060", "keyboard_acoustic_1000-060-060", "keyboard_acoustic_1000-072-060")
    for name in names[:2]:
        (tmp_path / "out" / "audio" / f"{name}.wav").unlink()
    (tmp_path / "out" / "audio" / f"{names[2]}.wav").write_bytes(b"RIFF")  # as a power cut leaves it
    (tmp_path / "out" / "examples.json").unlink()
    counts = render([font, second], tmp_path / "out", [SINE], [60, 69, 72], [60])
    assert (counts["notes"], counts["found"], counts["rendered"]) == (6, 3, 3)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    for other in ([second, font], [font], [font, second, second]):
        with pytest.raises(TetradError, match="another font, or with other options"):
            render(other, tmp_path / "out", [SINE], [60, 69, 72], [60])


def test_each_fonts_own_programs_are_taken_where_none_are_asked_for(font, tmp_path):
    fewer = tmp_path / "fewer.sf2"
    fewer.write_bytes(small_font(layers={SOFT: 1, LOUD: 2}))
    render([font, fewer], tmp_path / "out", None, [69], [60])
    recipe = json.loads((tmp_path / "out" / RECIPE).read_text())
    assert [of["programs"] for of in recipe["fonts"]] == [[SINE, SOFT, LOUD], [SOFT, LOUD]]
    with pytest.raises(TetradError, match=rf"{fewer} has no program 0 \(Acoustic Grand Piano\): leave it out"):
        render([font, fewer], tmp_path / "other", [SINE], [69], [60])


def test_the_font_that_is_damaged_is_named(font, second, tmp_path, capsys):
    second.write_bytes(small_font()[:5000])
    fonts = ["--soundfont", str(font), str(second)]
    assert tetrad.main(["notes", "render", *fonts, "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{second} is cut" in line
    assert not (tmp_path / "out").exists()
    assert tetrad.main(["notes", "render", *fonts[:2], str(tmp_path / "none.sf2"), "--out", str(tmp_path / "out")]) == 1
    assert "none.sf2" in capsys.readouterr().err


def test_instruments_for_tests_are_listed(font, second, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(instruments, "is_test_instrument", lambda name: name.endswith(("_1000", "_056", "_040")))
    fonts = ["--soundfont", str(font), str(second), "--programs", f"{SINE},{SOFT},{LOUD}", "--pitches", "69"]
    assert tetrad.main(["notes", "render", *fonts, "--velocities", "60", "--out", str(tmp_path / "out"),
                        "--json"]) == 0
    told = capsys.readouterr()
    listed = tmp_path / "out" / "test-instruments.txt"
    assert listed.read_text() == "brass_acoustic_056\nkeyboard_acoustic_1000\n"  # string_acoustic_040 is silent
    assert f"2 of 4 instruments are for tests ({listed}): no training hears them" in told.err
    assert json.loads(told.out)["test_instruments"] == 2
    assert instruments.test_instruments(tmp_path / "out") == {"brass_acoustic_056", "keyboard_acoustic_1000"}


@pytest.mark.parametrize("takes", ["all", "none"])
def test_some_instruments_are_always_left_to_learn_from(font, tmp_path, capsys, monkeypatch, takes):
    monkeypatch.setattr(instruments, "is_test_instrument", lambda name: takes == "all")
    counts = render([font], tmp_path / "out", [SINE], [69], [60])
    assert counts["test_instruments"] == 0
    assert "0 of 1 instruments are for tests" in capsys.readouterr().err
    assert (tmp_path / "out" / "test-instruments.txt").read_text() == ""
    assert instruments.test_instruments(tmp_path / "out") == frozenset()


def test_the_rule_takes_one_in_eight(tmp_path):
    names = [f"{family}_{source}_{number:03}" for number, (_, family, source) in enumerate(PROGRAMS[:UNPITCHED])]
    names += [f"{name[:-3]}1{name[-3:]}" for name in names]
    assert 16 <= instruments.write_test_instruments(tmp_path, names) <= 40
    listed = instruments.test_instruments(tmp_path)
    assert listed == {name for name in names if instruments.is_test_instrument(name)}
    assert instruments.write_test_instruments(tmp_path, names[:100]) < len(listed)  # written over
    (tmp_path / instruments.LIST).write_bytes(b"flute_\xff")
    with pytest.raises(TetradError, match=r"test-instruments\.txt is no text"):
        instruments.test_instruments(tmp_path)
    with pytest.raises(TetradError, match=r"cannot write .*test-instruments\.txt"):
        instruments.write_test_instruments(tmp_path / "none", names)


def test_the_bench_renders_what_the_command_does(font, second):
    function, keys, chunk = bench_jobs.rendering(font, 60)
    assert (len(keys), chunk) == (60, BATCH_NOTES)
    becomes, sounds = jobs.unpack(function(keys[44:60]))
    assert [key.pitch for key in keys[44:60:2]] == list(range(58, 66))
    assert [OUTCOMES[number] for number in becomes] == ["silent"] * 4 + ["rendered"] * 12  # its lowest key is 60
    assert len(sounds) == 12
    second.write_bytes(small_font()[:5000])
    with pytest.raises(TetradError, match=f"{second} is cut"):
        bench_jobs.rendering(second, 60)


def test_a_program_that_the_font_lacks_is_named(font, tmp_path):
    with pytest.raises(TetradError, match=r"has no program 1 \(Bright Acoustic Piano\), 9 \(Glockenspiel\)"):
        render([font], tmp_path / "out", [SINE, 1, 9], [60], [100])
    assert not (tmp_path / "out").exists()
    assert render([font], tmp_path / "out", None, [60], [100])["instruments"] == 1  # asked for none: those that it has


def test_a_font_that_plays_nothing_of_what_was_asked_is_an_error(font, tmp_path):
    with pytest.raises(TetradError, match=rf"{font}: nothing to hear of the notes"):
        render([font], tmp_path / "out", [SINE], [20], [100])
    assert not (tmp_path / "out" / RECIPE).exists()


@pytest.mark.parametrize(("kept", "complaint"), [(0, "not a SoundFont"), (11, "not a SoundFont"), (12, "is cut"),
                                                 (5000, "is cut"), (-1, "is cut")])
def test_a_cut_font_is_refused_by_name(tmp_path, capsys, kept, complaint):
    path = tmp_path / "cut.sf2"
    path.write_bytes(small_font()[:kept])
    assert tetrad.main(["notes", "render", "--soundfont", str(path), "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert str(path) in line
    assert not (tmp_path / "out").exists()


def test_what_is_no_font_is_refused_by_name(tmp_path):
    for path in (tmp_path, tmp_path / "none.sf2"):
        with pytest.raises(TetradError, match="cannot read the SoundFont"):
            check_soundfont(path)
    (tmp_path / "a.sf2").write_bytes(chunk(b"RIFF", b"WAVE" + bytes(100)))
    with pytest.raises(TetradError, match="is not a SoundFont 2 file"):
        check_soundfont(tmp_path / "a.sf2")
    (tmp_path / "b.sf2").write_bytes(chunk(b"RIFF", b"sfbk" + listing(b"INFO") + listing(b"sdta")))
    with pytest.raises(TetradError, match="is damaged"):
        check_soundfont(tmp_path / "b.sf2")
    (tmp_path / "c.sf2").write_bytes(chunk(b"RIFF", b"sfbk" + listing(b"INFO") + listing(b"sdta") + listing(b"pdta")))
    with pytest.raises(TetradError, match="FluidSynth does not take"):
        Font(tmp_path / "c.sf2")


def test_the_check_of_a_font_survives_any_header(tmp_path):
    chance = random.Random(2)
    whole = small_font()
    check = tmp_path / "fuzzed.sf2"
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.choice([*range(20), chance.randrange(len(whole))])] = chance.randrange(256)
        check.write_bytes(damaged[: chance.choice([len(whole), chance.randrange(len(whole))])])
        try:
            check_soundfont(check)
        except TetradError:
            refused += 1
    assert 150 < refused < 300


def test_lists_and_ranges_of_numbers():
    assert numbers("3,0-2, 9", low=0) == [0, 1, 2, 3, 9]
    assert numbers("24:96:36", low=0) == [24, 60, 96]
    for wrong in ("", "a", "5-3", "0-128", "1:2:0", "-1", "1,,2"):
        with pytest.raises(ArgumentTypeError, match="is not"):
            numbers(wrong, low=0)
    with pytest.raises(ArgumentTypeError, match="ascending from 1"):
        numbers("0", low=1)


def test_the_programs_are_those_of_general_midi():
    assert len(PROGRAMS) == 128
    assert UNPITCHED == 112
    assert len({name for name, _, _ in PROGRAMS}) == 128
    assert {family for _, family, _ in PROGRAMS[:UNPITCHED]} == set(FAMILIES)
    assert {source for _, _, source in PROGRAMS} == set(SOURCES)
    landmarks = {0: "Acoustic Grand Piano", 9: "Glockenspiel", 16: "Drawbar Organ", 32: "Acoustic Bass", 40: "Violin",
                 56: "Trumpet", 73: "Flute", 80: "Square Lead", 88: "New Age Pad", 104: "Sitar", 127: "Gunshot"}
    assert {program: PROGRAMS[program][0] for program in landmarks} == landmarks


needs_fluid = pytest.mark.skipif(not FLUID.exists(), reason="apt install fluid-soundfont-gm")


@needs_fluid
def test_a_note_does_not_depend_on_its_neighbours():
    """With pads, effects and a stereo piano: FluidSynth's voices keep their filters and panning."""
    keys = [Key(program, pitch, 100) for program in (97, 5, 27, 9, 0, 48, 100, 102) for pitch in (45, 72)]
    assert len(keys) == BATCH_NOTES
    with Font(FLUID) as font:
        together = font.render(keys)
        backwards = font.render(keys[::-1])[::-1]
        assert np.array_equal(together, backwards)
    for index in (0, 5, 9, 13):
        with Font(FLUID) as font:
            assert np.array_equal(font.render([keys[index]])[0], together[index]), keys[index]


@needs_fluid
@pytest.mark.parametrize(("program", "pitch"), [(73, 72), (40, 69), (32, 43)])
def test_a_real_fonts_notes_have_their_pitch(program, pitch):
    librosa = pytest.importorskip("librosa")
    with Font(FLUID) as font:
        (audio,) = font.render([Key(program, pitch, 100)])
    f0_hz, voiced, _ = librosa.pyin(audio[8000:24000], fmin=60, fmax=1200, sr=SAMPLE_RATE_HZ)
    assert voiced.mean() > 0.5
    cents = 1200 * np.log2(np.nanmedian(f0_hz[voiced]) / (440 * 2 ** ((pitch - 69) / 12)))
    assert abs(cents) < 20
