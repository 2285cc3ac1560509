"""Sound cards and keyboards by ALSA (device/engine/card.h and keyboard.h), as Python sees them.

The module is missing where it was built without ALSA's headers; there the engine renders, but plays on no card.
"""

from typing import Final, TypedDict, final

from device._engine import Engine

# kinds of what Keyboard.poll returns:
MESSAGE: Final[int]  # a whole MIDI message
HOST: Final[int]  # one that is the host's own, too: controllers, programs, clock, SysEx that the engine does not heed
PLUGGED: Final[int]  # a port's name, when it is heard
UNPLUGGED: Final[int]  # and when it is not any more; its notes have ended

# zones of MPE:
LOWER: Final[int]
UPPER: Final[int]

class Description(TypedDict):
    device: str  # for Card.start
    name: str
    error: str  # empty, or why the rest is not known, as where another program plays on it
    rates_hz: list[int]
    formats: list[str]
    channels: tuple[int, int]  # least, most
    period_frames: tuple[int, int]

def cards() -> list[Description]:
    """The cards that play, as `hw:CARD=…,DEV=…`."""

def describe(device: str) -> Description:
    """One device, by any of ALSA's names."""

class CardMeters(TypedDict):
    state: str  # "stopped", "clock" (no card asked for), "running", "absent" (see Card.problem)
    format: str  # of the card, as the next four
    channels: int
    period_frames: int
    periods: int
    mapped: bool
    real_time: bool  # False where SCHED_FIFO was asked for and not allowed: warn of it
    locked: bool  # the same of memory
    blocks: int  # rendered since it was started; they go on where there is no card
    frames: int
    xruns: int
    suspends: int
    losses: int  # times that the card went away
    late: int  # blocks that took longer to render than to play
    dropped: int  # MIDI's events that found no room
    sounds_since_ns: int  # of time.CLOCK_MONOTONIC: the latest block that sounds, after one of zeros, was handed to the
    # card, or rendered where there is none; 0: none has
    load: float  # time to render / time to play, of the last block
    worst_load: float
    voices: int  # the limit
    strained: bool  # it is lower than asked for, as the processor has no more time

@final
class Card:
    """A sound card on which an engine plays; the engine's own `render` is not to be called between start and stop.

    sample_rate_hz: the engine's.
    """

    def __init__(self, engine: Engine, sample_rate_hz: int = 48000) -> None: ...
    def start(self, device: str | None, channels: int = 2, period_frames: int = 128, periods: int = 3,
              priority: int = 60, lock_memory: bool = True) -> None:
        """Plays on a device of ALSA's, with the nearest channels and periods that it has; None and "null" are no card.

        priority: of SCHED_FIFO; 0 is as other threads have. lock_memory: the process's, all of it. A card that cannot
        be opened is no error: the engine goes on by the clock, and each second it is tried again. ValueError where a
        number is out of range, RuntimeError where it is started already, OSError where there is no thread to be had.
        """

    def stop(self) -> None:
        """Fades out and closes the card, within 100 ms or what two periods last."""

    def meters(self) -> CardMeters: ...
    def problem(self) -> str:
        """Why there is no card, and what it has instead of what was asked for; empty where there is one."""

    def clock(self) -> tuple[int, int]:
        """When the block that is being rendered began, in ns of time.CLOCK_MONOTONIC, and its first frame's number."""

    def limit_voices(self, voices: int) -> None:
        """In place of Engine.limit_voices while it plays. ValueError where it is out of range."""

    def forget_worst(self) -> None:
        """A new start for worst_load."""

class KeyboardMeters(TypedDict):
    sequencer: bool  # ALSA's is there; it is looked for each second
    din: bool
    real_time: bool  # as in CardMeters
    sources: int  # ports that are heard
    messages: int
    overruns: int  # of the sequencer's queue; all notes were ended
    ignored: int  # events that are no MIDI message, or of ports beyond 32
    malformed: int  # bytes of no message, SysEx cut short or too long
    not_copied: int  # messages that were played, but not kept for poll

@final
class Keyboard:
    """MIDI in, to a card's engine. All but start and stop raise RuntimeError where it is not started.

    Events are played one period after they arrived, to the frame. One keyboard a card.
    """

    def __init__(self, card: Card) -> None: ...
    def start(self, connect: bool = True, din_fd: int = -1, priority: int = 65, blend_x_cc: int = 16,
              blend_y_cc: int = 17, device_id: int = 0) -> None:
        """Listens to the sequencer's port "Tetrad" and to a DIN cable's file descriptor, which stays the caller's.

        connect: to all keyboards that there are and that are plugged in. din_fd: a UART, raw and at 31250 baud, or
        whatever else gives MIDI's bytes. priority: of SCHED_FIFO, to be over the card's. OSError where there is no
        thread to be had.
        """

    def stop(self) -> None:
        """Ends what is held. What was not polled is gone."""

    def poll(self) -> list[tuple[int, int, bytes]]:
        """What has come since the last time: (ns of time.CLOCK_MONOTONIC, kind, a MIDI message or a port's name)."""

    def map(self, controller: int, parameter: int | None, low: float = 0.0, high: float = 1.0,
            exponential: bool = False) -> None:
        """Has a controller set one of the engine's parameters, low at 0 and high at 127; None takes that back.

        Bank select, data entry and the modes keep to what they do. ValueError where a number is out of range.
        """

    def set_blend(self, x: float, y: float) -> None:
        """Where other knobs have moved the blend, so that one coordinate by MIDI leaves the other."""

    def set_zone(self, zone: int, members: int) -> None:
        """MPE without its configuration message: LOWER or UPPER, 0..15 members; 0 is off."""

    def meters(self) -> KeyboardMeters: ...
