import dataclasses
import io
import json
import resource
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

import tetrad
from device import _engine, decoder, render, song
from device.bank import Bank, Pad
from device.corner import Note, make_preset
from device.errors import TetradError
from device.preset import FRAMES, Preset
from device.song import Event
from device.synth_settings import Synth

SYNTH = Synth(attack_ms=1.0, decay_ms=100.0, sustain=1.0, release_ms=50.0)
TICKS = 480  # a beat, half a second at 120 beats a minute


def midi_bytes(*messages: mido.Message | mido.MetaMessage, **head: int) -> bytes:
    file = mido.MidiFile(**{"ticks_per_beat": TICKS, **head})
    file.tracks.append(mido.MidiTrack(messages))
    content = io.BytesIO()
    file.save(file=content)
    return content.getvalue()


def note(key: int, ticks: int = TICKS, velocity: int = 100, channel: int = 0) -> list[mido.Message]:
    return [mido.Message("note_on", note=key, velocity=velocity, channel=channel),
            mido.Message("note_off", note=key, time=ticks, channel=channel)]


def control(number: int, value: int, time: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("control_change", control=number, value=value, time=time, channel=channel)


@pytest.fixture
def midi(tmp_path):
    def write(*messages: mido.Message | mido.MetaMessage, **head: int) -> Path:
        path = tmp_path / "song.mid"
        path.write_bytes(midi_bytes(*messages, **head))
        return path
    return write


def tone(hz: float, samples: int = 16_128) -> np.ndarray:
    return np.rint(20_000 * np.sin(2 * np.pi * hz / 16_000 * np.arange(samples))).astype(np.int16)


def bank_of(directory: Path, tables: dict[int, np.ndarray], preset: str = "p") -> Bank:
    """Of tables int16 [grid, grid, samples], without loop and release."""
    bank = Bank.create(directory, preset, "d", len(next(iter(tables.values()))), (100,))
    for pitch, table in tables.items():
        bank = bank.store(pitch, pad_of(table[None], table.shape[-1], 0))
    return bank


def pad_of(cells: np.ndarray, loop_start: int, loop_samples: int, motion=(0, 0, 0, 0)) -> Pad:
    """Of cells int16 [layers, grid, grid, samples]."""
    columns = cells.reshape(*cells.shape[:3], -1, 256) / 32_768
    levels = np.sqrt(np.mean(columns**2, axis=-1)).astype(np.float32)
    return Pad(cells, levels, loop_start, loop_samples, np.full((len(cells), 4, 4), motion, np.float32))


@pytest.fixture
def bank(tmp_path) -> Bank:
    """One pitch, A4 = 440 Hz in each cell, a second long."""
    return bank_of(tmp_path / "bank", {69: np.tile(tone(440), (2, 2, 1))})


def heard_hz(audio: np.ndarray, rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 1 << 18))
    return float(np.argmax(spectrum) * rate_hz / (1 << 18))


# --- songs

def test_notes_come_at_their_time_through_tempo_changes_on_all_channels(midi):
    events = song.song_events(midi(*note(60), mido.MetaMessage("set_tempo", tempo=1_000_000), *note(62, channel=5)))
    assert [(e.time_s, e.kind, e.channel, e.key) for e in events] == [
        (0.0, _engine.NOTE_ON, 0, 60), (0.5, _engine.NOTE_OFF, 0, 60),
        (0.5, _engine.NOTE_ON, 5, 62), (1.5, _engine.NOTE_OFF, 5, 62)]
    assert events[0].a == pytest.approx(100 / 127)


def test_a_note_on_of_velocity_zero_is_a_note_off(midi):
    events = song.song_events(midi(mido.Message("note_on", note=60, velocity=0)))
    assert [e.kind for e in events] == [_engine.NOTE_OFF]


def test_pedal_wheels_and_knobs_are_read(midi):
    wheel = mido.Message("pitchwheel", pitch=-8192, channel=2)
    events = song.song_events(midi(control(64, 127, channel=3), wheel, control(1, 127, channel=4), control(16, 127),
                                   control(17, 0)))
    assert events == [Event(0, _engine.SUSTAIN, 3, a=1.0), Event(0, _engine.BEND, 2, a=-2.0),
                      Event(0, _engine.MOD_WHEEL, 4, a=1.0),
                      Event(0, _engine.BLEND, a=1.0, b=0.5), Event(0, _engine.BLEND, a=1.0, b=0.0)]


def test_channel_mode_messages_are_read(midi):
    events = song.song_events(midi(control(120, 0), control(121, 0, channel=1), control(123, 0, channel=2)))
    assert (events[0].kind, events[0].channel) == (_engine.ALL_SOUND_OFF, 0)
    assert {event.kind for event in events[1:-1]} >= {_engine.SUSTAIN, _engine.BEND, _engine.MOD_WHEEL}
    assert all(event.channel == 1 for event in events[1:-1])
    assert (events[-1].kind, events[-1].channel) == (_engine.ALL_NOTES_OFF, 2)


def test_a_song_means_what_it_means_on_the_boxs_cable(midi):
    bend_range = [control(101, 0), control(100, 0), control(6, 12)]
    events = song.song_events(midi(
        *bend_range, mido.Message("pitchwheel", pitch=-8192), control(66, 127), control(67, 127), control(11, 0),
        mido.Message("aftertouch", value=127), mido.Message("polytouch", note=60, value=127)))
    assert [(e.kind, e.key, e.a) for e in events[-6:]] == [
        (_engine.BEND, 0, -12.0), (_engine.SOSTENUTO, 0, 1.0), (_engine.SOFT, 0, 1.0), (_engine.EXPRESSION, 0, 0.0),
        (_engine.PRESSURE, 0, 1.0), (_engine.KEY_PRESSURE, 60, 1.0)]


def test_midis_bytes_may_be_cut_anywhere():
    cut = _engine.Midi()
    assert cut.receive(b"\x90\x3c") == []
    assert cut.receive(b"\x7f") == [(_engine.NOTE_ON, 0, 60, 1.0, 0.0)]
    assert cut.receive(b"\x3d\x00") == [(_engine.NOTE_OFF, 0, 61, 0.0, 0.0)]  # the status goes on
    with pytest.raises(TypeError):
        cut.receive("x")


SOME_SONG = midi_bytes(mido.MetaMessage("set_tempo", tempo=400_000), *note(60), control(16, 9, 30), *note(64),
                       mido.Message("sysex", data=(1, 2, 3)), mido.Message("pitchwheel", pitch=77))


@pytest.mark.parametrize("length", range(len(SOME_SONG)))
def test_a_midi_file_that_is_cut_is_refused_by_name(tmp_path, length):
    path = tmp_path / "cut.mid"
    path.write_bytes(SOME_SONG[:length])
    with pytest.raises(TetradError, match=r"cut\.mid is no MIDI file, or cut"):
        song.song_events(path)


def test_a_damaged_midi_file_is_read_or_refused_and_nothing_else(tmp_path):
    rng = np.random.default_rng(7)
    path, refused = tmp_path / "bad.mid", 0
    for _ in range(600):
        content = bytearray(SOME_SONG)
        for _ in range(rng.integers(1, 6)):
            content[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(content)
        try:
            assert all(0 <= event.time_s <= song.MAX_SONG_S for event in song.song_events(path))
        except TetradError:
            refused += 1
    assert 100 < refused < 600


@pytest.mark.parametrize("content", [b"", b"RIFF1234WAVE", b"MThd", bytes(1_000)])
def test_what_is_no_midi_file_is_refused(tmp_path, content):
    (tmp_path / "no.mid").write_bytes(content)
    with pytest.raises(TetradError, match=r"no\.mid is no MIDI file"):
        song.song_events(tmp_path / "no.mid")


def test_a_missing_midi_file_is_refused(tmp_path):
    with pytest.raises(TetradError, match=r"cannot read .*gone\.mid"):
        song.song_events(tmp_path / "gone.mid")


def test_a_song_of_a_kind_that_cannot_be_played_is_refused(midi):
    with pytest.raises(TetradError, match="type 2"):
        song.song_events(midi(*note(60), type=2))
    with pytest.raises(TetradError, match="SMPTE"):
        song.song_events(midi(*note(60), ticks_per_beat=-7_640))


def test_a_song_without_end_is_refused(midi):
    with pytest.raises(TetradError, match="lasts"):
        song.song_events(midi(mido.Message("note_on", note=60, time=TICKS * 2 * 3_700)))


# --- knobs

def test_a_knob_path_goes_straight_from_point_to_point():
    events = song.knob_path([(0.1, 0.0, 1.0), (1.1, 1.0, 0.5), (1.1, 0.2, 0.2)])
    assert events[0] == Event(0.0, _engine.BLEND, a=0.0, b=1.0)
    assert max(b.time_s - a.time_s for a, b in pairwise(events[1:])) <= song.KNOB_STEP_S + 1e-9
    for event in events[1:-1]:
        assert event.a == pytest.approx(event.time_s - 0.1)
        assert event.b == pytest.approx(1 - 0.5 * (event.time_s - 0.1))
    assert events[-1] == Event(1.1, _engine.BLEND, a=0.2, b=0.2)


def test_knobs_are_read_from_a_file(tmp_path):
    (tmp_path / "k.csv").write_text("time_s,x,y\n0,0,1\n\n1.5, 0.25 ,1\n", encoding="utf-8-sig")
    assert song.read_knobs(tmp_path / "k.csv") == [(0, 0, 1), (1.5, 0.25, 1)]


@pytest.mark.parametrize(("text", "where"), [
    ("", "line 1"), ("t,x,y\n0,0,0\n", "line 1"), ("time_s,x,y\n", "no line"), ("time_s,x,y\n0,0\n", "line 2"),
    ("time_s,x,y\n0,0,0\n1,a,0\n", "line 3"), ("time_s,x,y\n0,0,1.01\n", "line 2"), ("time_s,x,y\n0,nan,0\n", "line 2"),
    ("time_s,x,y\ninf,0,0\n", "line 2"), ("time_s,x,y\n-1,0,0\n", "line 2"), ("time_s,x,y\n2,0,0\n\n1,0,0\n", "line 4"),
    ('time_s,x,y\n0,0,"\n', "line 2"), ("\xff\xfe\x00", "CSV"), ("time_s,x,y\n0,\x00,0\n", "")])
def test_knobs_that_are_none_are_refused_by_file_and_line(tmp_path, text, where):
    (tmp_path / "k.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(TetradError, match=rf"k\.csv.*{where}"):
        song.read_knobs(tmp_path / "k.csv")


# --- rendering

@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_a_note_sounds_at_its_pitch_from_its_time_to_its_release(bank, rate_hz):
    events = [Event(0.25, _engine.NOTE_ON, key=72, a=0.8), Event(0.75, _engine.NOTE_OFF, key=72)]
    audio = render.render(events, bank, SYNTH, rate_hz)
    assert audio.dtype == np.float32
    assert audio.shape[1] == 2
    start, end = round(0.25 * rate_hz), round(0.8 * rate_hz)
    assert np.all(audio[:start] == 0)
    assert np.abs(audio[start:start + 100]).max() > 0.001
    assert np.all(audio[end + 10:] == 0)
    assert len(audio) < end + 4 * render.BLOCK_FRAMES
    assert heard_hz(audio[start + 100:end - 3_000, 0], rate_hz) == pytest.approx(440 * 2 ** (3 / 12), abs=0.5)


def test_the_knobs_stand_in_the_middle_until_they_move_and_sounding_notes_follow(tmp_path):
    cells = np.stack([np.stack([tone(hz) for hz in row]) for row in ((400, 700), (1_100, 1_600))])
    bank = bank_of(tmp_path / "corners", {60: cells})
    events = [Event(0.0, _engine.NOTE_ON, key=60, a=1.0), Event(0.4, _engine.BLEND, a=0.0, b=1.0)]
    audio = render.render(events, bank, SYNTH)[:, 0]
    levels = np.abs(np.fft.rfft(audio[2_000:18_000]))
    found = [levels[round(hz * 16_000 / 48_000)] for hz in (400, 700, 1_100, 1_600)]
    assert max(found) < 1.02 * min(found)
    assert heard_hz(audio[22_000:40_000], 48_000) == pytest.approx(1_100, abs=1)


def test_knob_moves_after_the_last_note_do_not_make_it_longer(bank):
    events = [Event(0.0, _engine.NOTE_ON, key=69, a=1.0), Event(0.1, _engine.NOTE_OFF, key=69)]
    path = song.knob_path([(0, 0, 0), (60, 1, 1)])
    assert len(render.render(events + path, bank, SYNTH)) < 20_000


def test_a_tail_that_does_not_end_is_ended(bank, monkeypatch):
    monkeypatch.setattr(render, "MAX_TAIL_S", 0.3)
    audio = render.render([Event(0.0, _engine.NOTE_ON, key=69, a=1.0)], bank, SYNTH)
    assert len(audio) < 18_000
    assert np.abs(audio[12_000:14_000]).max() > 0.1
    assert np.all(audio[-800:] == 0)


def test_more_events_at_once_than_the_queue_holds_are_all_done(bank):
    events = [Event(0.1, _engine.BLEND, a=0.5, b=0.5)] * 5_000 + [Event(0.1, _engine.NOTE_ON, key=69, a=1.0)]
    assert np.abs(render.render(events, bank, SYNTH)).max() > 0.1


def test_polyphony_is_as_asked(bank):
    engine = render.start_engine(bank, SYNTH, 48_000, 3)
    list(render.play(engine, [Event(0.01 * i, _engine.NOTE_ON, key=60 + i, a=0.5) for i in range(5)], 48_000))
    assert engine.meters()["stolen"] == 2


def test_pitches_with_missing_cells_are_not_played(tmp_path):
    bank = bank_of(tmp_path / "b", {60: np.tile(tone(300), (2, 2, 1)), 62: np.tile(tone(2_000), (2, 2, 1))})
    bank.entries[62].valid[0, 1] = False
    audio = render.render([Event(0.0, _engine.NOTE_ON, key=62, a=1.0)], bank, SYNTH)
    assert heard_hz(audio[2_000:20_000, 0], 48_000) == pytest.approx(300 * 2 ** (2 / 12), abs=1)
    bank.entries[60].valid[0, 0] = False
    with pytest.raises(TetradError, match="no whole pitch"):
        render.start_engine(bank, SYNTH)


@pytest.fixture
def layered(tmp_path) -> Bank:
    """A4, soft 440 Hz and loud 880 Hz with it; 0.2 s of it loop (a whole number of cycles), and its release is a second
    of 1320 Hz, fading."""
    body, fade = 44 * 256, np.linspace(1, 0, 62 * 256)
    cells = [np.concatenate([tone(440, body) // 2 + tone(880, body) // 2 * layer, (tone(1_320, 62 * 256) * fade)])
             for layer in (0, 1)]
    table = np.tile(np.rint(np.array(cells)[:, None, None]).astype(np.int16), (1, 2, 2, 1))
    bank = Bank.create(tmp_path / "layered", "p", "d", 2, (40, 120))
    return bank.store(69, pad_of(table, body - 3_200, 3_200))


def note_of(seconds: float, velocity: float = 0.8) -> list[Event]:
    return [Event(0.0, _engine.NOTE_ON, key=69, a=velocity), Event(seconds, _engine.NOTE_OFF, key=69)]


def test_a_held_note_goes_on_and_is_released_with_its_own_release(layered):
    audio = render.render(note_of(4.0), layered, Synth())[:, 0]
    assert heard_hz(audio[3 * 48_000 : 4 * 48_000], 48_000) == pytest.approx(440, abs=1)
    before, after = np.abs(audio[150_000:190_000]).max(), np.abs(audio[194_000:200_000]).max()
    assert after > 0.3 * before
    assert heard_hz(audio[194_000:210_000], 48_000) == pytest.approx(1_320, abs=3)
    assert 4.5 < len(audio) / 48_000 < 5.5
    short = render.render(note_of(4.0), layered, Synth(release_ms=100))
    assert len(short) / 48_000 < 4.4


def test_velocity_moves_between_the_layers(layered):
    def share(velocity: int) -> float:
        audio = render.render(note_of(0.45, velocity / 127), layered, Synth())[2_000:20_000, 0]
        levels = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 48_000))
        return levels[880] / levels[440]

    assert share(20) == pytest.approx(0, abs=0.01)
    assert share(40) < share(80) < share(120) == pytest.approx(share(127), rel=0.02)


def some_preset() -> Preset:
    rng = np.random.default_rng(3)
    corners = {name: [{pitch: Note(rng.uniform(0.2, 1, (FRAMES, 16))) for pitch in (60, 72)}] for name in "abcd"}
    return make_preset(corners, name="p", pitches=(60, 64, 68, 72))


def test_each_key_is_decoded_at_its_own_pitch_the_most_used_first():
    events = [Event(0, _engine.NOTE_ON, key=key) for key in (61, 62, 63, 62, 20, 127)]
    events.append(Event(0, _engine.NOTE_OFF, key=68))
    assert render.needed_pitches(events) == [62, 21, 61, 63, 108]


class SineDecoder:
    """Stands in for the shipped decoder: a sine at the pitch."""

    id, opened = "sine", 0

    def __init__(self, path: Path | None = None) -> None:
        SineDecoder.opened += 1

    def decode_columns(self, tracks, pitch, excitation, cycle_samples=0, loop_start=0, before=0, after=0):
        cycles = 440 * 2 ** ((pitch - 69) / 12) / 16_000
        cycles = round(cycles * cycle_samples) / cycle_samples
        wave = 0.5 * np.sin(2 * np.pi * cycles * np.arange(256 * (tracks.shape[1] - before - after)))
        return np.tile(wave.astype(np.float32), (len(tracks), 1))


@pytest.fixture
def box(tmp_path, monkeypatch):
    """A folder with a preset and a song, the decoder replaced; returns a function that runs `tetrad render` in it."""
    monkeypatch.setattr(decoder, "Decoder", SineDecoder)
    monkeypatch.chdir(tmp_path)
    Path("p.tetrad").write_bytes(some_preset().to_bytes())
    Path("song.mid").write_bytes(midi_bytes(*note(61), *note(62)))

    def run(*more: str) -> int:
        return tetrad.main(["render", "song.mid", "--preset", "p.tetrad", "--out", "out.wav", *more])
    return run


def test_a_song_becomes_a_wav_file(box, capsys):
    assert box("--json") == 0
    audio, rate_hz = soundfile.read("out.wav")
    info = soundfile.info("out.wav")
    assert (rate_hz, info.channels, info.subtype) == (48_000, 2, "PCM_16")
    assert heard_hz(audio[2_000:22_000, 0], rate_hz) == pytest.approx(440 * 2 ** (-8 / 12), abs=1)
    second = audio[38_000:47_000, 0]  # and the release of the first
    levels = np.abs(np.fft.rfft(second * np.hanning(len(second)), 48_000))
    assert levels[round(440 * 2 ** (-7 / 12))] > 5 * np.median(levels[200:400])
    result = json.loads(capsys.readouterr().out)
    assert result["notes"] == 2
    assert result["seconds"] == pytest.approx(len(audio) / rate_hz)
    assert result["peak"] == pytest.approx(np.abs(audio).max(), abs=1e-4)


def test_the_same_song_gives_the_same_bytes(box):
    box("--bank", "bank")
    first = Path("out.wav").read_bytes()
    box("--bank", "bank", "--polyphony", "8")
    assert Path("out.wav").read_bytes() == first


def test_a_bank_of_another_decoder_is_replaced(box, monkeypatch, capsys):
    preset = some_preset()
    Path("p.tetrad").write_bytes(dataclasses.replace(preset, decoder="sine").to_bytes())
    monkeypatch.setattr(SineDecoder, "id", "older")
    assert box("--bank", "bank") == 0
    assert "made for decoder sine, this is older" in capsys.readouterr().err
    monkeypatch.setattr(SineDecoder, "id", "sine")
    assert box("--bank", "bank") == 0
    assert Bank.open("bank").decoder == "sine"
    assert not capsys.readouterr().err


def test_a_bank_is_kept_and_a_whole_one_needs_no_decoder(box, monkeypatch):
    assert box("--bank", "bank") == 0
    assert Bank.open("bank").pitches == (61, 62)
    opened = SineDecoder.opened
    assert box("--bank", "bank") == 0
    assert SineDecoder.opened == opened
    Path("song.mid").write_bytes(midi_bytes(*note(61), *note(72)))
    assert box("--bank", "bank") == 0
    assert Bank.open("bank").pitches == (61, 62, 72)
    (Path("bank") / "bank.json").write_text("{")
    assert box("--bank", "bank") == 0


def test_knobs_of_a_file_go_before_those_of_the_song(box, monkeypatch):
    Path("song.mid").write_bytes(midi_bytes(control(16, 127), *note(60)))
    Path("k.csv").write_text("time_s,x,y\n0,0.25,0.75\n")
    seen = []
    monkeypatch.setattr(render, "_render_to", lambda path, events, *rest: seen.extend(events) or {})
    assert box("--knobs", "k.csv") == 0
    assert [(e.a, e.b) for e in seen if e.kind == _engine.BLEND] == [(0.25, 0.75)]


def test_drums_are_left_out_and_said_so_in_a_line(box, capsys):
    Path("song.mid").write_bytes(midi_bytes(*note(61), *note(36, channel=9), *note(38, channel=9)))
    assert box() == 0
    assert "2 notes of channel 10" in capsys.readouterr().err
    Path("song.mid").write_bytes(midi_bytes(*note(36, channel=9)))
    assert box() == 1
    assert "holds no notes but drums" in capsys.readouterr().err


@pytest.mark.parametrize("spoil", [
    lambda: Path("song.mid").write_bytes(SOME_SONG[:40]), lambda: Path("song.mid").write_bytes(midi_bytes()),
    lambda: Path("p.tetrad").write_bytes(b"PK"), lambda: Path("song.mid").unlink(), lambda: Path("p.tetrad").unlink()])
def test_a_failed_render_is_one_line_and_leaves_nothing(box, capsys, spoil):
    spoil()
    assert box() == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("tetrad: ")
    assert not list(Path().glob("*out.wav*"))


def test_a_folder_that_is_not_there_is_said_before_the_work(box, capsys):
    assert tetrad.main(["render", "song.mid", "--preset", "p.tetrad", "--out", "gone/out.wav"]) == 1
    assert "there is no folder gone" in capsys.readouterr().err


@pytest.mark.parametrize("bad", [["--rate-hz", "8000"], ["--polyphony", "0"], ["--polyphony", "many"]])
def test_numbers_out_of_range_are_bad_use(box, bad):
    with pytest.raises(SystemExit) as stop:
        box(*bad)
    assert stop.value.code == 2


FULL_DISK = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from device.errors import TetradError
from device.recording import write_wav
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_wav(Path("out.wav"), [np.zeros((1_024, 2), np.float32)] * 100, 48_000)
except TetradError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on file sizes")
def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL_DISK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("cannot write out.wav")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


# --- settings and tunings

def test_settings_of_the_command_line_stand_over_the_presets(box):
    assert box() == 0
    plain = soundfile.read("out.wav")[0]
    assert box("--synth", "volume=0.5") == 0
    quiet = soundfile.read("out.wav")[0]
    assert np.abs(quiet[9_000:20_000]).max() == pytest.approx(np.abs(plain[9_000:20_000]).max() / 2, rel=0.01)


def test_a_scale_of_scalas_tunes_the_keys_and_leaves_out_those_without_a_pitch(box, capsys):
    Path("half.scl").write_text("half\n1\n50.0\n")  # quarter tones: key 61 lies half a semitone over middle C
    Path("some.kbm").write_text("1\n61\n62\n60\n60\n261.6255653\n0\nx\n")  # and of a mapping of nothing, nothing
    assert box("--scale", "half.scl", "--json") == 0
    assert json.loads(capsys.readouterr().out)["notes"] == 2
    audio, rate_hz = soundfile.read("out.wav")
    tone = audio[rate_hz // 10 : rate_hz // 2, 0]
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone)), 1 << 19))
    assert np.argmax(spectrum) * rate_hz / (1 << 19) == pytest.approx(440 * 2 ** ((60.5 - 69) / 12), rel=1e-3)
    with pytest.raises(SystemExit):
        box("--keys", "some.kbm")
    assert "--keys maps the keys to a --scale" in capsys.readouterr().err


def test_notes_of_keys_without_a_pitch_are_left_out():
    semitones = np.zeros(128)
    semitones[60], semitones[61] = np.nan, 0.25
    events = [Event(1, _engine.NOTE_ON, key=60), Event(1, _engine.NOTE_ON, key=61), Event(2, _engine.NOTE_OFF, key=60)]
    assert render.tuned(events, semitones) == [Event(0.0, _engine.TUNE_KEY, key=61, a=0.25), events[1]]
