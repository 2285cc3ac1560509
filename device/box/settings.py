"""What a box is told once: one TOML file, all of whose keys may be missing.

The dataclasses below are the table: each line is a key with its type, what it is at first, what is allowed, and what it
means. The reader, its messages, the default file (`tetrad box --print-settings`) and docs/settings.md (`python -m
device.box.settings`) follow from them.
"""

import difflib
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from device import files
from device.errors import TetradError
from device.panel import parts

SYSTEM_FILE = Path("/etc/tetrad.toml")  # is read where no other is named; it need not be there
MOST_BYTES = 65_536  # ten times the default file

RATES_HZ = (44_100, 48_000, 88_200, 96_000, 176_400, 192_000)
POTS = ("attack", "decay", "sustain", "release", "filter", "volume")


def toml(value: object) -> str:
    """A default or a choice, as it is written in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def key(first: Any, allowed: str, check: Callable[[Any], bool], meaning: str) -> Any:
    """A key that holds what `check` is true of, which `allowed` says to a person."""
    return field(default=first, metadata={"allowed": allowed, "check": check, "meaning": meaning})


def whole(first: int, low: int, high: int, meaning: str) -> Any:
    return key(first, f"a whole number from {low} to {high}", lambda value: low <= value <= high, meaning)


def one_of(first: Any, choices: Sequence[Any], meaning: str) -> Any:
    return key(first, "one of " + ", ".join(map(toml, choices)), lambda value: value in choices, meaning)


def switch(first: bool, meaning: str) -> Any:
    return key(first, "true or false", lambda value: True, meaning)


def path(first: str, meaning: str) -> Any:
    return key(first, 'a path that begins with / (or "")', lambda value: value == "" or _is_path(value), meaning)


def pot(first: str, meaning: str) -> Any:
    """A potentiometer; `parameters` is only asked when a file names one, as it loads the engine."""
    return key(first, 'a setting of the sound (docs/engine.md) or ""', lambda value: value in ("", *parameters()),
               meaning)


def parameters() -> tuple[str, ...]:
    """The settings of a sound that a potentiometer can turn: all but those with words."""
    from device.synth_settings import RANGES, WORDS

    return tuple(name for name in RANGES if name not in WORDS)


def _is_path(value: str) -> bool:
    return value.startswith("/") and len(value) <= 255 and value.isprintable()


def _are_ports(value: Sequence[str]) -> bool:
    return len(value) <= 4 and len(set(value)) == len(value) and all(map(_is_path, value))


def _is_name(value: str) -> bool:  # shorter than CARD_NAME_BYTES of the engine's card.h
    return 0 < len(value.encode(errors="replace")) < 96 and value.isprintable()


@dataclass(frozen=True)
class Audio:
    """The sound card."""

    device: str = key("auto", "a line of at most 95 bytes", _is_name,
                      'an ALSA name such as "hw:CARD=sndrpihifiberry"; "auto": the first card that plays, I2S or USB '
                      'before HDMI; "null": none')
    rate_hz: int = one_of(48_000, RATES_HZ, "frames a second")
    period_frames: int = whole(128, 16, 8192, "frames that are rendered at a time; 64 is quicker, 256 safer")
    periods: int = whole(3, 2, 32, "of them in the card's buffer")
    polyphony: int = whole(32, 1, 256, "voices at most; fewer sound where the processor has no time for them")
    priority: int = whole(60, 0, 90, "of the audio thread (SCHED_FIFO); 0: as other threads")


@dataclass(frozen=True)
class Midi:
    """Keyboards and clocks."""

    din: str = key("auto", 'a path that begins with /, "auto" or ""',
                   lambda value: value in ("", "auto") or _is_path(value),
                   f'the UART of the DIN sockets; "auto": {parts.DIN_PORT} of a Raspberry Pi; "": there is none')
    thru: bool = switch(False, "what keyboards send goes out of the DIN socket, too")
    mpe_members: int = whole(0, 0, 15, "channels of an MPE zone; 0: none until a keyboard asks for it")
    program_change: bool = switch(True, "program changes choose presets")
    clock: bool = switch(True, "MIDI clock sets the tempo")


@dataclass(frozen=True)
class Serial:
    """The line over which presets come and go."""

    ports: tuple[str, ...] = key(("/dev/ttyGS0",), "a list of at most 4 different paths that begin with /", _are_ports,
                                 "serial ports that are served; /dev/ttyGS0 is the USB cable's")
    baud_hz: int = whole(115_200, 1_200, 4_000_000, "of ports that are a UART")
    pairing_key_file: str = path("", 'a file with the key that must be given before anything is changed; "": no key')
    most_presets: int = whole(500, 1, 10_000, "own presets that are kept")
    most_mb: int = whole(256, 1, 65_536, "that they may take, in MB")


@dataclass(frozen=True)
class Decoding:
    """How presets become wavetables."""

    workers: int = whole(1, 1, 8, "processes that decode")
    decoder: str = path("", 'a decoder.tflite instead of the shipped one; "": the shipped one')
    edge_tpu: bool = switch(True, "a Coral Edge TPU decodes, where there is one")
    memory_mb: int = whole(0, 0, 65_536, "for the wavetables of a preset, in MB; 0: half of what is free")
    cache_mb: int = whole(4_096, 0, 1_048_576, "for those of other presets on the disk, in MB")
    worker_memory_mb: int = whole(700, 200, 65_536, "that a process may take before it is begun anew, in MB")
    pitch_step: int = whole(0, 0, 6, "semitones from one decoded pitch to the next; 0: as memory allows")


@dataclass(frozen=True)
class Panel:
    """Knobs, display and lamp."""

    kind: str = one_of("auto", ("auto", "pi", "none"), '"auto": the Pi\'s where it is one')
    takeover: str = one_of("pickup", ("pickup", "jump"), "what a potentiometer does after another preset was chosen: "
                           "nothing until it meets the value, or at once")


@dataclass(frozen=True)
class Knobs:
    """What the potentiometers turn, beside those of the blend."""

    attack: str = pot("attack_ms", "what this one turns")
    decay: str = pot("decay_ms", "what this one turns")
    sustain: str = pot("sustain", "what this one turns")
    release: str = pot("release_ms", "what this one turns")
    filter: str = pot("cutoff_hz", "what this one turns")
    volume: str = pot("volume", "what this one turns")


@dataclass(frozen=True)
class Settings:
    audio: Audio = Audio()
    midi: Midi = Midi()
    serial: Serial = Serial()
    decoding: Decoding = Decoding()
    panel: Panel = Panel()
    knobs: Knobs = Knobs()

    def din_port(self) -> str:
        """The path of the UART that [midi] din is; empty where there is none."""
        if self.midi.din != "auto":
            return self.midi.din
        return parts.DIN_PORT if parts.is_raspberry_pi() and parts.DIN_PORT not in self.serial.ports else ""

    def override(self, audio: str | None = None, serial: Sequence[str] | None = None) -> "Settings":
        """With what the command line says of [audio] device and [serial] ports. Raises TetradError as `read`."""
        given: dict[str, dict[str, object]] = {}
        if audio is not None:
            given["audio"] = {"device": audio}
        if serial is not None:
            given["serial"] = {"ports": list(serial)}
        return _settings(given, "the command line", self)


def read(file: Path | None = None) -> Settings:
    """The settings in `file`, or else in SYSTEM_FILE where it is there.

    Raises TetradError: file, key, and what is allowed.
    """
    if file is None:
        if not SYSTEM_FILE.exists():
            return Settings()
        file = SYSTEM_FILE
    try:
        given = tomllib.loads(files.read_whole(file, MOST_BYTES).decode())
    except UnicodeDecodeError as error:
        raise TetradError(f"{file} is not UTF-8 text: write it anew") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise TetradError(f"{file} is not TOML: {str(error) or 'nested too deeply'}") from error
    return _settings(given, str(file), Settings())


def _settings(given: Mapping[str, object], what: str, base: Settings) -> Settings:
    sections: dict[str, Any] = {section.name: getattr(base, section.name) for section in fields(base)}
    for name, entries in given.items():
        if name not in sections:
            raise TetradError(_unknown(name, list(sections), what, "section"))
        if not isinstance(entries, dict):
            raise TetradError(f"{what}: {name} is a section: write [{name}] and its keys on lines of their own")
        keys = {each.name: each for each in fields(sections[name])}
        for entry in entries:
            if entry not in keys:
                raise TetradError(_unknown(entry, list(keys), f"{what}: [{name}]", "key"))
        values = {entry: _value(keys[entry], value, f"{what}: [{name}] {entry}") for entry, value in entries.items()}
        sections[name] = replace(sections[name], **values)
    found = Settings(**sections)
    if found.midi.din in found.serial.ports:
        raise TetradError(f"{what}: {found.midi.din} cannot be both [midi] din and among [serial] ports")
    return found


def _value(entry: "Field[Any]", value: Any, what: str) -> Any:
    """`value`, if its type is that of what the key is at first, and it is allowed."""
    if isinstance(entry.default, tuple):
        right = isinstance(value, list) and all(type(item) is str for item in value)
        value = tuple(value) if right else value
    else:
        right = type(value) is type(entry.default)  # true is no number here
    if not right or not entry.metadata["check"](value):
        raise TetradError(f"{what} is not {entry.metadata['allowed']}{_nearest_word(entry, value)}")
    return value


def _nearest_word(entry: "Field[Any]", value: object) -> str:
    choices = parameters() if entry.name in POTS and isinstance(value, str) else ()
    near = difflib.get_close_matches(str(value), choices, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _unknown(name: str, known: Sequence[str], what: str, kind: str) -> str:
    """A line about what nobody knows, with the nearest that is known."""
    shown = name if len(name) <= 40 and name.isprintable() else ascii(name[:40])
    elsewhere = [section.name for section, entry in table() if entry.name == name] if kind == "key" else []
    if elsewhere:
        return f"{what} has no {kind} {shown}: it stands in [{elsewhere[0]}]"
    near = difflib.get_close_matches(name, known, 1, 0)[0]
    return f"{what} has no {kind} {shown}; the nearest is {near}, and there are {', '.join(known)}"


def table() -> Iterator[tuple["Field[Any]", "Field[Any]"]]:
    """Every section with each of its keys, in their order."""
    first = Settings()
    for section in fields(first):
        for entry in fields(getattr(first, section.name)):
            yield section, entry


def as_file(settings: Settings) -> str:
    """The file with every key; those that are as without a file are commented out."""
    lines = ["# Tetrad's settings. Those behind a # are as they are without this file; to change one, take the # away."]
    seen = ""
    for section, entry in table():
        if section.name != seen:
            seen = section.name
            lines += ["", f"# {type(section.default).__doc__}", f"[{seen}]"]
        value = getattr(getattr(settings, section.name), entry.name)
        lines += [f"# {entry.metadata['meaning']} ({entry.metadata['allowed']})",
                  f"{'#' * (value == entry.default)}{entry.name} = {toml(value)}"]
    return "\n".join(lines) + "\n"


def document() -> str:
    """docs/settings.md."""
    lines = ["# Settings", "",
             "A box reads `/etc/tetrad.toml`, or the file that `tetrad box --settings FILE` names. Every key may be",
             "missing; `tetrad box --print-settings` checks the file and prints it whole. A key or a section",
             "that is not in this table is an error, and so is a value that is not allowed: the box does not begin.",
             "`--audio` and `--serial` go before the file.",
             "This page is made by `python -m device.box.settings > docs/settings.md`.", "",
             "| section | key | at first | allowed | |", "|---|---|---|---|---|"]
    lines += [f"| {section.name} | {entry.name} | `{toml(entry.default)}` | {entry.metadata['allowed']} "
              f"| {entry.metadata['meaning']} |" for section, entry in table()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
