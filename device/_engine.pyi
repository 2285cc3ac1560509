"""The C engine (device/engine/), as Python sees it. Kinds of events and parameters are those of engine/engine.h."""

from collections.abc import Sequence
from typing import Any, Final, TypedDict, final

from numpy.typing import NDArray

# kinds of events:     channel key        a               b
NOTE_ON: Final[int]  # channel key        velocity 0..1
NOTE_OFF: Final[int]  # channel key
BLEND: Final[int]  #                      x 0..1, right   y 0..1, down
SUSTAIN: Final[int]  # channel            >= 0.5 is down
BEND: Final[int]  # channel               semitones
PARAMETER: Final[int]  #       parameter  value
ALL_NOTES_OFF: Final[int]  # channel
ALL_SOUND_OFF: Final[int]

# parameters:
ATTACK_MS: Final[int]  # 1..60000, notes that begin later
DECAY_MS: Final[int]  # 1..60000, notes that begin later
SUSTAIN_LEVEL: Final[int]  # 0..1, notes that begin later
RELEASE_MS: Final[int]  # 1..60000, notes that are released later
VOLUME: Final[int]  # 0..2

BANK_RATE_HZ: Final[int]
MIN_RATE_HZ: Final[int]
MAX_RATE_HZ: Final[int]
MAX_POLYPHONY: Final[int]

class Meters(TypedDict):
    voices: int  # sounding now
    stolen: int  # voices cut short for newer notes
    ignored: int  # events that mean nothing here, and notes without a bank
    dropped: int  # events that found the queue full

@final
class Engine:
    """A polyphonic player of a bank. ValueError where a number is out of range.

    `send` may be called while another thread renders; the others then raise RuntimeError.
    """

    def __init__(self, sample_rate_hz: int = 48000, polyphony: int = 32) -> None: ...
    def set_bank(self, pitches: Sequence[int], tables: Sequence[NDArray[Any]]) -> None:
        """Takes tables int16 [grid (y), grid (x), samples], one an ascending pitch; they are held, not copied.

        What sounds fades out within 3 ms. ValueError, and nothing changed, where the tables are not of one such shape.
        """

    def send(self, frame: int, kind: int, channel: int = 0, key: int = 0, a: float = 0.0, b: float = 0.0) -> bool:
        """Sends an event for `frame` from the start of the next block on. False where the queue (1024) is full."""

    def render(self, out: NDArray[Any]) -> None:
        """Fills a float32 array [frames, 2]; |sample| <= 1. Without the GIL."""

    def meters(self) -> Meters: ...
