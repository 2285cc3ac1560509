"""How a preset shapes its sound: the engine's parameters by name, such as attack_ms or filter_mode.

Names, ranges and meanings are those of engine/parameters.h, in small letters; SUSTAIN_LEVEL is called sustain.
"""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator, Mapping

from device import _engine, files
from device.errors import TetradError

PARAMETERS = {("sustain" if name == "SUSTAIN_LEVEL" else name.lower()): getattr(_engine, name)
              for name in _engine.PARAMETERS}
RANGES = dict(zip(PARAMETERS, _engine.PARAMETERS.values(), strict=True))  # at first, least, most
# A decoded note has its own attack and decay; its release is as long as what is decoded of it.
FIRST = {"attack_ms": 2.0, "decay_ms": 200.0, "sustain": 1.0, "release_ms": 1_000.0}
WORDS = {"mode": ("poly", "mono", "legato"), "priority": ("last", "low", "high"),
         "filter_mode": ("off", "low", "band", "high"), "lfo_shape": ("sine", "triangle", "square", "random")}


class Synth(Mapping[str, float]):
    """Settings that are not as the engine has them at first. Raises TetradError where there is none of a name, or its
    value is out of range."""

    def __init__(self, /, **settings: float) -> None:
        for name, value in settings.items():
            if name not in RANGES:
                raise TetradError(f"there is no setting {name!r}; there are {', '.join(RANGES)}")
            files.number(value, *RANGES[name][1:], name)
        given = FIRST | settings
        self._values = {name: given[name] for name in RANGES if name in given}

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Synth({', '.join(f'{name}={value:g}' for name, value in self.items())})"

    def send(self, engine: _engine.Engine, frame: int = 0) -> None:
        """Sets every parameter of the engine, to what it is at first where nothing else is said."""
        for name, number in PARAMETERS.items():
            engine.send(frame, _engine.PARAMETER, key=number, a=self._values.get(name, RANGES[name][0]))


def read_synth(value: object, what: str) -> Synth:
    """Settings as they stand in JSON. Raises TetradError that begins with `what`."""
    if not isinstance(value, dict):
        raise TetradError(f"{what} is not an object of settings")
    try:
        return Synth(**value)
    except TetradError as error:
        raise TetradError(f"{what}: {error}") from error


def setting(text: str) -> tuple[str, float]:
    """NAME=VALUE of a command line; some values have words (WORDS)."""
    name, equals, value = text.partition("=")
    words = WORDS.get(name, ())
    try:
        number = float(words.index(value) if value in words else value)
        Synth(**{name: number})
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no NAME=VALUE such as attack_ms=20 or filter_mode=low" if not equals else
                                f"{name} is none of {', '.join(words)}" if words else f"{name} is no number") from None
    except TetradError as error:
        raise ArgumentTypeError(str(error)) from error
    return name, number


def add_synth_option(parser: ArgumentParser) -> None:
    parser.add_argument("--synth", action="append", default=[], type=setting, metavar="NAME=VALUE", help=(
        "a setting of the sound, such as attack_ms=20 or filter_mode=low; docs/engine.md lists them; may be repeated"))
