import dataclasses
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.box import settings
from device.box.settings import Settings, read
from device.errors import TetradError
from device.synth_settings import RANGES

KEYS = [(section.name, entry) for section, entry in settings.table()]


def reading(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "box.toml").write_text(text)
    return read(tmp_path / "box.toml")


def test_an_empty_file_is_what_holds_without_one(tmp_path, monkeypatch):
    assert reading(tmp_path, "") == Settings()
    monkeypatch.setattr(settings, "SYSTEM_FILE", tmp_path / "none.toml")
    assert read() == Settings()


def test_the_systems_file_is_read_where_no_other_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "SYSTEM_FILE", tmp_path / "box.toml")
    reading(tmp_path, "[audio]\nperiods = 2\n")
    assert read().audio.periods == 2


def test_a_file_that_was_named_must_be_there(tmp_path):
    with pytest.raises(TetradError, match=r"cannot read .*none.toml"):
        read(tmp_path / "none.toml")


def test_what_stands_in_the_file_holds_and_the_rest_is_as_at_first(tmp_path):
    found = reading(tmp_path, """
[audio]
device = "hw:CARD=sndrpihifiberry"
period_frames = 64
[midi]
din = "/dev/ttyAMA0"
thru = true
[serial]
ports = ["/dev/ttyGS0", "/dev/ttyUSB0"]
[decoding]
workers = 3
[panel]
takeover = "jump"
[knobs]
filter = "resonance"
decay = ""
""")
    first = Settings()
    assert found == Settings(
        dataclasses.replace(first.audio, device="hw:CARD=sndrpihifiberry", period_frames=64),
        dataclasses.replace(first.midi, din="/dev/ttyAMA0", thru=True),
        dataclasses.replace(first.serial, ports=("/dev/ttyGS0", "/dev/ttyUSB0")),
        dataclasses.replace(first.decoding, workers=3),
        dataclasses.replace(first.panel, takeover="jump"),
        dataclasses.replace(first.knobs, filter="resonance", decay=""))


def test_the_default_file_says_what_holds_without_it(tmp_path):
    assert reading(tmp_path, settings.as_file(Settings())) == Settings()
    bare = "\n".join(line[1:] if line.startswith("#") and line[1] != " " else line
                     for line in settings.as_file(Settings()).splitlines())
    assert reading(tmp_path, bare) == Settings()
    told = tomllib.loads(bare)
    assert [(section, key) for section, keys in told.items() for key in keys] == [(s, e.name) for s, e in KEYS]


def test_a_changed_setting_is_printed_as_it_is(tmp_path):
    changed = Settings(midi=settings.Midi(thru=True), serial=settings.Serial(ports=("/dev/ttyUSB0", "/dev/x")))
    assert reading(tmp_path, settings.as_file(changed)) == changed


def test_a_port_is_for_one_thing(tmp_path):
    with pytest.raises(TetradError, match=r"/dev/x cannot be both \[midi\] din and among \[serial\] ports"):
        reading(tmp_path, '[midi]\ndin = "/dev/x"\n[serial]\nports = ["/dev/x"]\n')


def test_every_default_is_allowed():
    for section, entry in KEYS:
        assert entry.metadata["check"](entry.default), (section, entry.name)


@pytest.mark.parametrize(("section", "key", "low", "high"), [
    ("audio", "period_frames", 16, 8192), ("audio", "periods", 2, 32), ("audio", "polyphony", 1, 256),
    ("audio", "priority", 0, 90), ("midi", "mpe_members", 0, 15), ("decoding", "workers", 1, 8),
    ("decoding", "pitch_step", 0, 6), ("serial", "most_presets", 1, 10_000)])
def test_a_number_may_be_the_first_and_the_last_of_its_range_and_no_other(tmp_path, section, key, low, high):
    for value in (low, high):
        assert getattr(getattr(reading(tmp_path, f"[{section}]\n{key} = {value}"), section), key) == value
    for value in (low - 1, high + 1, f"{low}.0", "true", f'"{low}"'):
        with pytest.raises(TetradError, match=rf"box.toml: \[{section}\] {key} is not a whole number from {low} to"):
            reading(tmp_path, f"[{section}]\n{key} = {value}")


@pytest.mark.parametrize(("text", "why"), [
    ("[audio]\nperiod_frame = 1", r"\[audio\] has no key period_frame; the nearest is period_frames, and there are"),
    ("[audio]\nworkers = 1", r"\[audio\] has no key workers: it stands in \[decoding\]"),
    ("[adio]", "has no section adio; the nearest is audio"),
    ("[qqq]", "has no section qqq; the nearest is "),
    ('["a\\nb"]', r"has no section 'a\\nb'"),
    ("audio = 3", r"audio is a section: write \[audio\]"),
    ("[audio]\nrate_hz = 22050", "rate_hz is not one of 44100, 48000"),
    ('[audio]\ndevice = ""', "device is not a line of at most 95 bytes"),
    ('[audio]\ndevice = "a\\nb"', "device is not a line"),
    (f'[audio]\ndevice = "{"ü" * 48}"', "device is not a line"),
    ("[midi]\nthru = 1", "thru is not true or false"),
    ('[midi]\ndin = "ttyAMA0"', "din is not a path that begins with /"),
    ('[serial]\nports = "/dev/ttyGS0"', "ports is not a list of at most 4"),
    ('[serial]\nports = ["/dev/ttyGS0", 3]', "ports is not a list"),
    ('[serial]\nports = ["/dev/a", "/dev/a"]', "ports is not a list of at most 4 different"),
    ('[serial]\nports = ["/1", "/2", "/3", "/4", "/5"]', "ports is not a list of at most 4"),
    ('[panel]\nkind = "PI"', 'kind is not one of "auto", "pi", "none"'),
    ('[knobs]\nfilter = "cutof_hz"', "filter is not a setting of the sound .*; did you mean cutoff_hz?"),
    ('[knobs]\nfilter = "mode"', "filter is not a setting"),
    ("[audio]\n[midi\n", "is not TOML: .*line 2"), ("[audio]\nperiods = 2\nperiods = 2\n", "is not TOML: .*line 3"),
    ("a = " + "[" * 5_000, "is not TOML"), ("#" * 70_000, "is longer than 65536 bytes")])
def test_what_is_wrong_is_told_in_one_line_with_file_and_key(tmp_path, text, why):
    with pytest.raises(TetradError, match=why) as caught:
        reading(tmp_path, text)
    assert "box.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_told(tmp_path):
    (tmp_path / "box.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TetradError, match=r"box.toml is not UTF-8"):
        read(tmp_path / "box.toml")


def test_the_command_line_goes_before_the_file(tmp_path):
    found = reading(tmp_path, '[audio]\ndevice = "hw:0"\nperiods = 2\n[serial]\nbaud_hz = 9600')
    both = found.override(audio="null", serial=["/dev/ttyUSB0"])
    assert (both.audio.device, both.audio.periods) == ("null", 2)
    assert (both.serial.ports, both.serial.baud_hz) == (("/dev/ttyUSB0",), 9_600)
    assert found.override() == found
    with pytest.raises(TetradError, match=r"the command line: \[serial\] ports is not a list"):
        found.override(serial=["ttyUSB0"])


def test_a_pot_turns_any_setting_of_the_sound_but_those_with_words():
    assert {"attack_ms", "cutoff_hz", "reverb_mix"} < set(settings.parameters()) < set(RANGES)
    assert "filter_mode" not in settings.parameters()


def test_nobody_changes_settings():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().audio.periods = 2


def test_the_document_is_what_there_is():
    assert Path("docs/settings.md").read_text() == settings.document()


ANY_VALUE = st.one_of(st.integers(), st.booleans(), st.text(max_size=8), st.floats(allow_nan=False), st.lists(
    st.one_of(st.integers(), st.sampled_from(["/a", "/b", "c"])), max_size=3))


@given(st.sampled_from(KEYS), ANY_VALUE)
def test_a_value_is_allowed_and_kept_or_refused(where, value):
    section, entry = where
    told = ""
    try:
        found = settings._settings({section: {entry.name: value}}, "it", Settings())
    except TetradError as error:
        told = str(error)
    if told:
        assert told.startswith(f"it: [{section}] {entry.name} is not ")
    else:
        kept = getattr(getattr(found, section), entry.name)
        assert kept == (tuple(value) if isinstance(value, list) else value)
        assert type(kept) is type(entry.default)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_raise(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    told = ""
    try:
        read(path)
    except TetradError as error:
        told = str(error)
    assert "\n" not in told
