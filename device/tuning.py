"""Scala's scales (.scl) and keyboard mappings (.kbm) as an offset for each MIDI key.

The formats: huygens-fokker.org/scala/scl_format.html and huygens-fokker.org/scala/help.htm#mappings. Both are lines of
text in any 8-bit character set; lines that begin with ! are comments. A scale repeats at its last degree, 2/1 or not.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device import files
from device.errors import TetradError

KEYS = 128
A4_KEY, A4_HZ = 69, 440.0
MIDDLE_C_KEY = 60
MIDDLE_C_HZ = A4_HZ * 2 ** ((MIDDLE_C_KEY - A4_KEY) / 12)

MAX_FILE_BYTES = 1 << 20  # the largest of Scala's archive is some 10 KB
MOST_CENTS = 120_000.0  # a hundred octaves: what is further off is a slip of the pen
MOST_HZ = 1e6
MOST_DEGREE = 100_000  # of a mapping, either way

LINE_END = re.compile(r"\r\n|\r|\n")  # not splitlines(): byte 85 is an ellipsis in Windows' texts
WHOLE_VALUE = r"(?!\d|/|[.,]\d)"  # 701,955 is not 701, and 3/2/1 not 3/2; other text may follow
CENTS = re.compile(r"\s*(-?(?:\d{1,300}\.\d{0,300}|\.\d{1,300}))" + WHOLE_VALUE)
RATIO = re.compile(r"\s*(\d{1,300})(?:\s*/\s*(\d{1,300}))?" + WHOLE_VALUE)
WHOLE = re.compile(r"\s*(-?\d{1,9})" + WHOLE_VALUE)
HZ = re.compile(r"\s*(\d{1,9}(?:\.\d{0,300})?(?:[eE][+-]?\d{1,2})?)" + WHOLE_VALUE)
UNMAPPED = re.compile(r"\s*[xX](?!\w)")


@dataclass(frozen=True)
class Scale:
    """`semitones` are those of degree 1, 2 ... above degree 0; the last is where the scale repeats. May be empty."""

    description: str
    semitones: tuple[float, ...]

    def pitch(self, degree: int) -> float:
        """Semitones of any degree above degree 0, below the scale and beyond it, too."""
        if not self.semitones:
            return 0.0  # there is no other note than 1/1
        octaves, within = divmod(degree, len(self.semitones))
        return octaves * self.semitones[-1] + (self.semitones[within - 1] if within else 0.0)


@dataclass(frozen=True)
class Mapping:
    """Degrees on keys; as it stands here, degree 0 on middle C at its usual pitch, and a key for each degree.

    `degrees` are those of `middle` and the keys above it, None where a key has none; after them the pattern begins
    again, `octave` degrees higher (0: the scale's last). Empty is a key for each degree. Keys out of `first`..`last`
    are not retuned.
    """

    degrees: tuple[int | None, ...] = ()
    first: int = 0
    last: int = KEYS - 1
    middle: int = MIDDLE_C_KEY
    reference: int = MIDDLE_C_KEY
    reference_hz: float = MIDDLE_C_HZ
    octave: int = 0

    def pitch(self, key: int, scale: Scale) -> float | None:
        """Semitones of a key above degree 0, None where the key has no degree."""
        steps = key - self.middle
        if not self.degrees:
            return scale.pitch(steps)
        patterns, place = divmod(steps, len(self.degrees))
        degree = self.degrees[place]
        if degree is None:
            return None
        return patterns * scale.pitch(self.octave or len(scale.semitones)) + scale.pitch(degree)


def read_scale(path: Path | str) -> Scale:
    """The scale in a .scl file. Raises TetradError naming the line."""
    lines = _lines(Path(path))
    _, description = next(lines, (0, None))
    if description is None:
        raise TetradError(f"{path} holds no scale, only comments: give a .scl file")
    number, count = _whole(path, lines, 0, MAX_FILE_BYTES, "how many notes the scale has")
    semitones: list[float] = []
    while len(semitones) < count:
        line, text = next(((at, text) for at, text in lines if text.strip()), (0, ""))
        if not line:
            raise TetradError(f"{path} ends after {len(semitones)} of the {count} notes that line {number} announces: "
                              f"add the others, or correct the number")
        semitones.append(_semitones(path, line, text))
    return Scale(description.strip(), tuple(semitones))


def read_mapping(path: Path | str) -> Mapping:
    """The keyboard mapping in a .kbm file. Raises TetradError naming the line."""
    lines = ((at, text) for at, text in _lines(Path(path)) if text.strip())
    at, size = _whole(path, lines, 0, MOST_DEGREE, "the size of the map")
    _, first = _whole(path, lines, 0, KEYS - 1, "the first key to retune")
    last_line, last = _whole(path, lines, 0, KEYS - 1, "the last key to retune")
    if last < first:
        raise TetradError(f"{path} line {last_line}: the last key to retune, {last}, is below the first, {first}; "
                          f"swap them")
    _, middle = _whole(path, lines, 0, KEYS - 1, "the key that the map begins at")
    reference_line, reference = _whole(path, lines, 0, KEYS - 1, "the reference key")
    hz = _frequency(path, lines)
    _, octave = _whole(path, lines, -MOST_DEGREE, MOST_DEGREE, "the degree that is the formal octave")
    degrees = [_degree(path, line, text) for line, text in lines]
    if len(degrees) > size:
        raise TetradError(f"{path} holds {len(degrees)} degrees, more than the {size} that line {at} announces: "
                          f"correct the number, or delete some")
    degrees += [None] * (size - len(degrees))
    if degrees and degrees[(reference - middle) % size] is None:
        raise TetradError(f"{path} line {reference_line}: the reference key {reference} has no degree in the map, so "
                          f"its frequency tunes nothing; name a key that has one")
    return Mapping(tuple(degrees), first, last, middle, reference, hz, octave)


def offsets(scale: Scale, mapping: Mapping | None = None) -> np.ndarray:
    """Semitones that each key lies off equal temperament at A4 = 440 Hz, float64 [128].

    NaN where the mapping gives a key no degree; 0 out of the mapping's range. Without a mapping degree 0 is middle C.
    """
    mapping = mapping or Mapping()
    at_reference = mapping.pitch(mapping.reference, scale)
    if at_reference is None:
        raise TetradError(f"the reference key {mapping.reference} has no degree in the map: name a key that has one")
    degree_0 = A4_KEY + 12 * math.log2(mapping.reference_hz / A4_HZ) - at_reference
    away = np.zeros(KEYS)
    for key in range(mapping.first, mapping.last + 1):
        pitch = mapping.pitch(key, scale)
        away[key] = math.nan if pitch is None else degree_0 + pitch - key
    return away


def load(scale: Path | str, mapping: Path | str | None = None) -> np.ndarray:
    """What `offsets` gives for two files. Raises TetradError naming file and line."""
    return offsets(read_scale(scale), None if mapping is None else read_mapping(mapping))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are no comments, with their numbers."""
    data = files.read_whole(path, MAX_FILE_BYTES)
    if b"\0" in data:
        raise TetradError(f"{path} is no plain text: save it again as text of 8 bits a character")
    with_mark = data.startswith(b"\xef\xbb\xbf")  # of UTF-8; what else is not ASCII stands in comments and descriptions
    text = data.decode("utf-8-sig", "replace") if with_mark else data.decode("latin-1")
    lines = LINE_END.split(text)
    if not lines[-1]:
        lines.pop()  # the end of the last line begins no other
    return ((number, line) for number, line in enumerate(lines, 1) if not line.startswith("!"))


def _next(path: Path | str, lines: Iterator[tuple[int, str]], what: str) -> tuple[int, str]:
    line = next(lines, None)
    if line is None:
        raise TetradError(f"{path} ends before {what}: is it whole? Copy it again")
    return line


def _whole(path: Path | str, lines: Iterator[tuple[int, str]], low: int, high: int, what: str) -> tuple[int, int]:
    """The number of the next line, and the whole number on it."""
    at, text = _next(path, lines, what)
    found = WHOLE.match(text)
    if not found or not low <= int(found[1]) <= high:
        raise TetradError(f"{path} line {at}: {what} is not a whole number from {low} to {high}; correct it")
    return at, int(found[1])


def _frequency(path: Path | str, lines: Iterator[tuple[int, str]]) -> float:
    at, text = _next(path, lines, "the reference frequency")
    found = HZ.match(text)
    if not found or not 0 < float(found[1]) <= MOST_HZ:
        raise TetradError(f"{path} line {at}: the reference frequency is not a number above 0 Hz such as 440.0; "
                          f"correct it")
    return float(found[1])


def _degree(path: Path | str, at: int, text: str) -> int | None:
    if UNMAPPED.match(text):
        return None
    found = WHOLE.match(text)
    if not found or abs(int(found[1])) > MOST_DEGREE:
        raise TetradError(f"{path} line {at}: wants a degree of the scale, or x for a key without one")
    return int(found[1])


def _semitones(path: Path | str, at: int, text: str) -> float:
    """A pitch: with a period it is in cents, else it is a ratio; what follows it on the line does not count."""
    if found := CENTS.match(text):
        cents = float(found[1])
    elif found := RATIO.match(text):
        cents = _cents_of(int(found[1]), int(found[2] or 1))
    else:
        raise TetradError(f"{path} line {at}: wants a pitch, in cents with a period such as 701.955, or as a ratio "
                          f"above 0 such as 3/2")
    if not abs(cents) <= MOST_CENTS:
        raise TetradError(f"{path} line {at}: the pitch is no number of cents from {-MOST_CENTS:.0f} to "
                          f"{MOST_CENTS:.0f}, nor such a ratio; correct it")
    return cents / 100


def _cents_of(numerator: int, denominator: int) -> float:
    """NaN where it is no ratio above 0."""
    try:
        return 1200 * math.log2(numerator / denominator)  # whole numbers, rounded once
    except (ValueError, ZeroDivisionError):
        return math.nan
