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
PARAMETER: Final[int]  #       parameter  value, brought into its range
ALL_NOTES_OFF: Final[int]  # channel
ALL_SOUND_OFF: Final[int]  # channel
MOD_WHEEL: Final[int]  # channel          0..1
PRESSURE: Final[int]  # channel           0..1
KEY_PRESSURE: Final[int]  # channel key   0..1
TIMBRE: Final[int]  # channel             0..1, 0.5 at rest
EXPRESSION: Final[int]  # channel         0..1, 1 at first
SOSTENUTO: Final[int]  # channel          >= 0.5 is down
SOFT: Final[int]  # channel               >= 0.5 is down
GESTURE: Final[int]  #                    0: off, 1: record the blend's moves, 2: play them round and round
TUNE_KEY: Final[int]  #        key        semitones off equal temperament

# parameters; what they mean stands in engine/parameters.h:
ATTACK_MS: Final[int]  # 1..60000, 5 at first
DECAY_MS: Final[int]  # 1..60000, 500 at first
SUSTAIN_LEVEL: Final[int]  # 0..1, 1 at first
RELEASE_MS: Final[int]  # 1..60000, 200 at first
VOLUME: Final[int]  # 0..2, 1 at first
VELOCITY_CURVE: Final[int]  # 0..8, 2 at first
START_MS: Final[int]  # 0..2000, 0 at first
MODE: Final[int]  # 0..2, 0 at first
PRIORITY: Final[int]  # 0..2, 0 at first
UNISON: Final[int]  # 1..8, 1 at first
DETUNE_CENTS: Final[int]  # 0..100, 10 at first
SPREAD: Final[int]  # 0..1, 0 at first
TRANSPOSE_SEMITONES: Final[int]  # -48..48, 0 at first
TUNE_CENTS: Final[int]  # -100..100, 0 at first
GLIDE_MS: Final[int]  # 0..10000, 0 at first
FILTER_MODE: Final[int]  # 0..3, 0 at first
CUTOFF_HZ: Final[int]  # 20..20000, 20000 at first
RESONANCE: Final[int]  # 0..1, 0 at first
FILTER_KEY: Final[int]  # 0..2, 0 at first
FILTER_VELOCITY_SEMITONES: Final[int]  # -96..96, 0 at first
FILTER_ENVELOPE_SEMITONES: Final[int]  # -96..96, 0 at first
FILTER_ATTACK_MS: Final[int]  # 1..60000, 5 at first
FILTER_DECAY_MS: Final[int]  # 1..60000, 500 at first
FILTER_SUSTAIN_LEVEL: Final[int]  # 0..1, 0 at first
FILTER_RELEASE_MS: Final[int]  # 1..60000, 200 at first
FILTER_TIMBRE_SEMITONES: Final[int]  # -96..96, 24 at first
LFO_SHAPE: Final[int]  # 0..3, 0 at first
LFO_RATE_HZ: Final[int]  # 0.01..50, 5 at first
LFO_BEATS: Final[int]  # 0..64, 0 at first
LFO_RETRIGGER: Final[int]  # 0..1, 0 at first
LFO_DELAY_MS: Final[int]  # 0..10000, 0 at first
LFO_WHEEL: Final[int]  # 0..1, 0 at first
LFO_PITCH_CENTS: Final[int]  # 0..2400, 0 at first
LFO_FILTER_SEMITONES: Final[int]  # -96..96, 0 at first
LFO_BLEND_X: Final[int]  # -1..1, 0 at first
LFO_BLEND_Y: Final[int]  # -1..1, 0 at first
LFO_LEVEL_DB: Final[int]  # 0..40, 0 at first
TEMPO_BPM: Final[int]  # 20..300, 120 at first
KEEP_BLEND: Final[int]  # 0..1, 0 at first
CHORUS_MIX: Final[int]  # 0..1, 0 at first
CHORUS_RATE_HZ: Final[int]  # 0.05..8, 0.5 at first
CHORUS_DEPTH_MS: Final[int]  # 0..10, 3 at first
DELAY_MIX: Final[int]  # 0..1, 0 at first
DELAY_MS: Final[int]  # 1..2000, 375 at first
DELAY_BEATS: Final[int]  # 0..4, 0 at first
DELAY_FEEDBACK: Final[int]  # 0..0.95, 0.4 at first
DELAY_TONE_HZ: Final[int]  # 100..20000, 6000 at first
DELAY_PING_PONG: Final[int]  # 0..1, 0 at first
REVERB_MIX: Final[int]  # 0..1, 0 at first
REVERB_DECAY_S: Final[int]  # 0.2..20, 2 at first
REVERB_DAMPING_HZ: Final[int]  # 200..20000, 6000 at first
REVERB_PREDELAY_MS: Final[int]  # 0..250, 20 at first
PARAMETERS: Final[dict[str, tuple[float, float, float]]]  # by name: at first, least, most

# of MODE, PRIORITY, FILTER_MODE and LFO_SHAPE:
POLY: Final[int]
MONO: Final[int]
LEGATO: Final[int]
LAST: Final[int]
LOW: Final[int]
HIGH: Final[int]
FILTER_OFF: Final[int]
FILTER_LOW: Final[int]
FILTER_BAND: Final[int]
FILTER_HIGH: Final[int]
LFO_SINE: Final[int]
LFO_TRIANGLE: Final[int]
LFO_SQUARE: Final[int]
LFO_RANDOM: Final[int]

BANK_RATE_HZ: Final[int]
MIN_RATE_HZ: Final[int]
MAX_RATE_HZ: Final[int]
MAX_POLYPHONY: Final[int]
MAX_LAYERS: Final[int]  # of velocity
COLUMN_SAMPLES: Final[int]  # of a table, to a level

class Meters(TypedDict):
    voices: int  # sounding now
    limit: int  # of voices, at most the polyphony
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
class Midi:
    """MIDI in (engine/midi.h), as the box hears it: channels, controllers, registered parameters, MPE, tunings."""

    def __init__(self) -> None: ...
    def receive(self, data: bytes) -> list[tuple[int, int, int, float, float]]:
        """Events (kind, channel, key, a, b) of MIDI's bytes. A message may be cut: the next call has its rest."""

@final
class Engine:
    """A polyphonic player of a bank. ValueError where a number is out of range.

    While one thread renders, others may call everything else.
    """

    def __init__(self, sample_rate_hz: int = 48000, polyphony: int = 32) -> None: ...
    def set_bank(self, velocities: Sequence[int], tables: Sequence[Table], grid: int = 0) -> None:
        """Takes a table a pitch, ascending, with a layer for each of 1..4 ascending MIDI velocities.

        grid: the cells' a side, to be said where all tables hold cells that are alike: [layers, 1, 1, samples], for
        each layer the sound that stands in all places.

        The arrays are held until another bank has taken their place, not copied. `samples` are whole columns, and so is
        the body, loop_start + loop_samples; its last loop_samples go round while a note is held (0: it ends), and what
        is behind it is the release. What sounds fades out within 2 ms. No tables are no bank. ValueError, and nothing
        changed, where they are not so shaped.
        """

    def add_table(self, table: Table) -> bool:
        """Adds a table to the bank set last. Keys that are held, and to which it is nearer, go over to it within 2 ms.

        False where too much (256) is on its way. ValueError, and nothing changed, where it does not fit the bank, or
        the bank has one of its pitch.
        """

    def collect(self) -> None:
        """Lets go of arrays that the engine has done with, as `render` and the setting of banks and cells do, too."""

    def send(self, frame: int, kind: int, channel: int = 0, key: int = 0, a: float = 0.0, b: float = 0.0) -> bool:
        """Sends an event for `frame` from the start of the next block on. False where the queue (1024) is full."""

    def render(self, out: NDArray[Any]) -> None:
        """Fills a float32 array [frames, 2]; |sample| <= 1. Without the GIL."""

    def swap_cell(self, pitch: int, layer: int, row: int, column: int, sound: NDArray[Any],
                  levels: NDArray[Any]) -> bool:
        """Another sound, int16 [samples], and its levels, float32 [samples / COLUMN_SAMPLES], for a cell of the bank
        set last. Voices in which it is heard go over to it within 8 ms. The arrays are held until their place is taken.

        False where too many (256) are on their way. ValueError where the bank has no such cell.
        """

    def capsule(self) -> object:
        """The engine, for device._alsa."""

    def lend(self, lent: bool) -> None:
        """To a card, or back from it: while it is lent `render` is a RuntimeError."""

    def limit_voices(self, voices: int) -> None:
        """No more voices than that from the next block on, 1..256; what is too many fades out within 3 ms."""

    def meters(self) -> Meters:
        """As they were at the end of the last block."""
