"""Text in pixels, with the fonts that come with luma.core: no file of a font is shipped here."""

import unicodedata
from functools import lru_cache
from typing import Any

import numpy as np
from luma.core.legacy.font import ATARI_FONT, LCD_FONT
from PIL import Image

HEIGHT = 8  # rows of a line, descenders included
MOST_LETTERS = 200  # more than a display has room for
NAME_WORDS = 3  # that a name has at most
LEAST_STEM = 3  # letters that tell a word when it gives way
SPECIAL = str.maketrans({  # letters that no accent falls off, and the marks of typesetters
    "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D",
    "\u0131": "i", "\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})


class Font:
    """A font of luma.core: a character is a tuple of columns, the lowest bit on top."""

    def __init__(self, glyphs: Any, space: int) -> None:
        self._columns = {code: self._trim(glyphs[code]) for code in range(33, 127)} | {32: (0,) * space}

    @staticmethod
    def _trim(columns: Any) -> tuple[int, ...]:
        used = [n for n, column in enumerate(columns) if column]
        return tuple(columns[used[0] : used[-1] + 1]) if used else ()

    def columns(self, text: str) -> list[int]:
        columns: list[int] = []
        for character in text:
            columns += (*self._columns[ord(character)], 0)
        return columns[:-1]


LARGE = Font(LCD_FONT, space=3)  # 7 rows, some 6 columns a letter
SMALL = Font(ATARI_FONT, space=2)  # 6 rows, some 4 columns a letter


def plain(text: str) -> str:
    """The start of `text` in the characters that the fonts have: accents fall off, what is left over becomes a question
    mark."""
    letters = unicodedata.normalize("NFKD", text.translate(SPECIAL))[:MOST_LETTERS]
    return "".join(letter if 32 <= ord(letter) < 127 else " " if letter.isspace() else "?"
                   for letter in letters if not unicodedata.combining(letter))


def width(text: str, font: Font = LARGE) -> int:
    return len(font.columns(plain(text)))


@lru_cache(maxsize=256)
def line(text: str, font: Font = LARGE, scale: int = 1) -> Image.Image:
    """`text` as a mask to paste through, 1 where there is ink."""
    columns = np.array(font.columns(plain(text)) or [0], np.uint8)
    bits = np.unpackbits(columns[None], axis=0, bitorder="little")  # [8, columns]
    return Image.fromarray(bits.repeat(scale, 0).repeat(scale, 1) * np.uint8(255)).convert("1")


@lru_cache(maxsize=256)
def fit(text: str, most: int, font: Font = LARGE) -> str:
    """`text` shortened to `most` columns. Of a name the words before the last give way first: "electric piano" and
    "electric grand" stay two. What has more words is cut at its end."""
    words = plain(text).split()
    if len(words) > NAME_WORDS:
        words = [" ".join(words)]
    while words and width(" ".join(words), font) > most:
        stems = [word.removesuffix(".").rstrip() for word in words]
        at = max(range(len(words) - 1), key=lambda n: len(stems[n]), default=-1)
        if len(stems[at]) <= LEAST_STEM:
            at = -1
        if len(stems[at]) > 1:
            words[at] = stems[at][:-1].rstrip() + "."
        else:
            words.pop()
    return " ".join(words)


def wrap(text: str, most: int, lines: int, font: Font = LARGE) -> list[str]:
    """`text` broken at spaces into lines of at most `most` columns; the last is shortened where it is too long."""
    words = plain(text).split()
    found: list[str] = []
    while words and len(found) < lines - 1:
        count = 1
        while count < len(words) and width(" ".join(words[: count + 1]), font) <= most:
            count += 1
        found.append(fit(" ".join(words[:count]), most, font))
        words = words[count:]
    rest = " ".join(words)
    if width(rest, font) > most:  # the end of a sentence, not the end of a name: cut behind
        while rest and width(rest + "..", font) > most:
            rest = rest[:-1]
        rest += ".."
    return [*found, rest] if rest else found
