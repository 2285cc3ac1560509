"""Songs and knob movements as events for the engine: a MIDI file, a CSV of breakpoints.

A MIDI file means to the engine what the same bytes mean on the box's cable (engine/midi.h; docs/engine.md lists it).
Programs, volumes and pans mean nothing to an instrument that has one sound at a time.
"""

import csv
import io
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import mido

from device import _engine, files
from device.errors import TetradError

CENTRE = (0.5, 0.5)  # where the knobs stand before a song or a path moves them
DRUM_CHANNEL = 9  # channel 10, General MIDI's drums

KNOB_STEP_S = 0.005  # between two points of a knob path; the engine rounds the rest
MAX_SONG_S = 3_600.0  # an hour: 700 MB of WAV
MAX_MIDI_BYTES = 16 << 20
MAX_KNOBS_BYTES = 16 << 20


class Event(NamedTuple):
    """Something for the engine to do at a time; kind, channel, key, a and b as in device/_engine.pyi."""

    time_s: float
    kind: int
    channel: int = 0
    key: int = 0
    a: float = 0.0
    b: float = 0.0


def song_events(path: Path | str) -> list[Event]:
    """The events of a MIDI file, drums too, in order of time. Raises TetradError where it is none, cut or too long."""
    path = Path(path)
    content = files.read_whole(path, MAX_MIDI_BYTES)
    events: list[Event] = []
    midi = _engine.Midi()
    time_s = 0.0
    try:
        song = mido.MidiFile(file=io.BytesIO(content))
        playable = song.type != 2 and song.ticks_per_beat > 0  # below 0 it counts in frames of film
        for message in song if playable else ():
            time_s += message.time
            if not message.is_meta:
                events.extend(Event(time_s, *event) for event in midi.receive(bytes(message.bytes())))
    except Exception as error:  # mido has no error of its own: EOFError, OSError, ValueError, KeyError, TypeError ...
        raise TetradError(f"{path} is no MIDI file, or cut or damaged: export it again as a .mid file") from error
    if not playable:
        raise TetradError(f"{path} is MIDI of type 2 or in SMPTE time: export it as type 0 or 1 in ticks a beat")
    if not 0 <= time_s <= MAX_SONG_S:
        raise TetradError(f"{path} lasts {time_s:.0f} s, more than {MAX_SONG_S:.0f}: cut it into pieces")
    return events


def read_knobs(path: Path | str) -> list[tuple[float, float, float]]:
    """The breakpoints (time_s, x, y) of a CSV file with the header `time_s,x,y`. Raises TetradError naming the line."""
    try:
        rows = list(csv.reader(files.read_whole(Path(path), MAX_KNOBS_BYTES).decode("utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise TetradError(f"{path} is no CSV file of time_s,x,y: export it again as UTF-8 text") from error
    if not rows or [name.strip() for name in rows[0]] != ["time_s", "x", "y"]:
        raise TetradError(f"{path} line 1: the header must be time_s,x,y")
    points: list[tuple[float, float, float]] = []
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        try:
            time_s, x, y = map(float, row)
        except ValueError as error:
            raise TetradError(f"{path} line {line}: wants three numbers, time_s,x,y") from error
        if not (0 <= x <= 1 and 0 <= y <= 1 and 0 <= time_s <= MAX_SONG_S):
            raise TetradError(f"{path} line {line}: x and y go from 0 to 1, time_s from 0 to {MAX_SONG_S:.0f}")
        if points and time_s < points[-1][0]:
            raise TetradError(f"{path} line {line}: time_s is before that of the line above; sort the lines")
        points.append((time_s, x, y))
    if not points:
        raise TetradError(f"{path} holds no line after the header: add one such as 0,0.5,0.5")
    return points


def knob_path(points: Sequence[tuple[float, float, float]]) -> list[Event]:
    """The knobs' way through breakpoints (time_s, x, y), straight from each to the next, a point every 5 ms.

    Before the first one they stand there already. Two points of one time are a jump.
    """
    if not points:
        return []
    events = [Event(0.0, _engine.BLEND, a=points[0][1], b=points[0][2])]
    for (start_s, x0, y0), (end_s, x1, y1) in pairwise(points):
        steps = max(1, math.ceil((end_s - start_s) / KNOB_STEP_S))
        for step in range(1, steps + 1):
            part = step / steps
            events.append(Event(start_s + part * (end_s - start_s), _engine.BLEND,
                                a=(1 - part) * x0 + part * x1, b=(1 - part) * y0 + part * y1))
    return events
