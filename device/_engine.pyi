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
MOD_WHEEL: Final[int]  # channel          0..1

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
MAX_LAYERS: Final[int]  # of velocity
COLUMN_SAMPLES: Final[int]  # of a table, to a level

class Meters(TypedDict):
    voices: int  # sounding now
    stolen: int  # voices cut short for newer notes
    ignored: int  # events that mean nothing here, and notes without a bank
    dropped: int  # events that found the queue full

Table = tuple[
    int,  # pitch
    NDArray[Any],  # cells, int16 [layers, grid (y), grid (x), samples]
    int,  # loop_start, in samples
    int,  # loop_samples
    NDArray[Any],  # levels, float32 [layers, grid, grid, samples / COLUMN_SAMPLES]: RMS of each column
    NDArray[Any],  # motion, float32 [layers, corners, 4]: vibrato's Hz, cents to either side, delay in s; decay in dB/s
]

@final
class Engine:
    """A polyphonic player of a bank. ValueError where a number is out of range.

    `send` may be called while another thread renders; the others then raise RuntimeError.
    """

    def __init__(self, sample_rate_hz: int = 48000, polyphony: int = 32) -> None: ...
    def set_bank(self, velocities: Sequence[int], tables: Sequence[Table]) -> None:
        """Takes a table a pitch, ascending, with a layer for each of 1..4 ascending MIDI velocities.

        The arrays are held, not copied. `samples` are whole columns, and so is the body, loop_start + loop_samples; its
        last loop_samples go round while a note is held (0: it ends), and what is behind it is the release. What sounds
        fades out within 3 ms. No tables are no bank. ValueError, and nothing changed, where they are not so shaped.
        """

    def send(self, frame: int, kind: int, channel: int = 0, key: int = 0, a: float = 0.0, b: float = 0.0) -> bool:
        """Sends an event for `frame` from the start of the next block on. False where the queue (1024) is full."""

    def render(self, out: NDArray[Any]) -> None:
        """Fills a float32 array [frames, 2]; |sample| <= 1. Without the GIL."""

    def meters(self) -> Meters: ...
