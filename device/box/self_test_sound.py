"""Checks of what sounds and what is played on: sound card, keyboards, DIN sockets."""

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import serial

from device import _engine
from device.box.self_test_bench import OK, Bench, Verdict, failed, not_here, ok, wire
from device.box.sound import Sound, best_card, cards
from device.box.thru import open_din
from device.errors import TetradError
from device.panel.events import Event
from device.panel.parts import is_raspberry_pi
from device.synth_settings import RANGES

if TYPE_CHECKING:
    from device._engine import Table

SILENCE_S = 1.0  # that a card plays while its xruns are counted
KEYBOARDS_S = 0.5  # in which a sequencer tells what is plugged in
LOOP_S = 1.0  # that messages through the loop cable may take; they take 4 ms
LOOP_MESSAGES = tuple(bytes((0xBF, 119, value)) for value in (1, 85, 42, 127))  # a controller that sets nothing
NOTE_ON = 0x90
TONE_PITCH, TONE_HZ, TONE_LEVEL = 71, 500, 0.3  # whole cycles in a table's column
TONE_S, APART_S, AGAIN_S = 0.4, 0.6, 2.4  # how long; from left to right; from one left to the next
CONFIG = "/boot/firmware/config.txt"


# --- Sound.

class Ears:
    """The engine with card and keyboards as the box has them, and a tone in place of a preset."""

    def __init__(self, bench: Bench) -> None:
        self.din: serial.Serial | None = None
        self.din_problem = ""
        if port := bench.settings.din_port():
            try:
                self.din = open_din(port)
                bench.closing.callback(self.din.close)
            except TetradError as error:
                self.din_problem = str(error)
        self.sound = Sound(bench.settings, self.din and self.din.fileno())
        self.sound.engine.set_bank([127], [tone_table()], 2)
        self.names: list[str] = []  # of keyboards
        self.sound.start()
        bench.closing.callback(self.sound.stop)

    def messages(self) -> list[bytes]:
        """What keyboards and the DIN cable said since the last time."""
        from device._alsa import HOST, MESSAGE, PLUGGED

        polled = self.sound.keyboard.poll()
        self.names += [data.decode(errors="replace") for _, kind, data in polled if kind == PLUGGED]
        return [data for _, kind, data in polled if kind in (MESSAGE, HOST)]


def tone_table() -> "Table":
    """A sine that holds as long as its key does."""
    columns = 16
    at = np.arange(columns * _engine.COLUMN_SAMPLES) * TONE_HZ / _engine.BANK_RATE_HZ
    wave = np.rint(32767 * TONE_LEVEL * np.sin(2 * np.pi * at)).astype(np.int16)
    cells = np.ascontiguousarray(np.broadcast_to(wave, (1, 2, 2, wave.size)))
    levels = np.full((1, 2, 2, columns), TONE_LEVEL / 2 ** 0.5, np.float32)
    return TONE_PITCH, cells, 0, (columns - 2) * _engine.COLUMN_SAMPLES, levels, np.zeros((1, 4, 4), np.float32)


def sound_card(bench: Bench) -> Verdict | None:
    device = bench.settings.audio.device
    if device == "null":
        return not_here("[audio] device is null")
    sound = bench.once(Ears).sound
    before = sound.meters()["xruns"]
    bench.watch(SILENCE_S)
    meters = sound.meters()
    if problem := sound.problem():
        dac = wire("dac", "BCK", "DIN", "LRCK")
        return failed(f"{problem}; for the DAC, {CONFIG} needs dtoverlay=hifiberry-dac, and its wires are {dac}")
    if meters["state"] != "running":
        return failed(f"{device} does not play: it is {meters['state']}; another program may have it")
    if xruns := meters["xruns"] - before:
        return failed(f"{xruns} xruns in {SILENCE_S:g} s of silence: take more [audio] period_frames, and see "
                      "docs/service.md for real-time rights")
    if device == "auto":
        device = best_card(cards(), bench.settings.audio.rate_hz) or device
    return ok(f"{device}, {meters['channels']} channels {meters['format']}, {meters['periods']} periods of "
              f"{meters['period_frames']} frames, no xruns")


def tone(bench: Bench) -> Verdict | None:
    """Left and right in turn: the first two echoes of a delay that goes from side to side."""
    if bench.settings.audio.device == "null":
        return None
    sound = bench.once(Ears).sound
    if sound.meters()["state"] != "running":
        return None  # the card's verdict has told
    player = _Tone(sound.engine)
    before = sound.meters()["xruns"]
    try:
        verdict = bench.asked(
            "Does a tone sound, first on the left, then on the right?",
            f"the card plays: see amplifier and cable, and of the DAC {wire('dac', 'BCK', 'DIN', 'LRCK', 'XSMT')}; of "
            f"the socket {wire('line_out')}: with the sides changed, tip and ring are swapped",
            "left and right", player.turn)
    finally:
        player.stop()
    xruns = sound.meters()["xruns"] - before
    if xruns and verdict.state == OK:
        return failed(f"{xruns} xruns while it sounded: take more [audio] period_frames")
    return verdict


class _Tone:
    def __init__(self, engine: _engine.Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock = engine, clock
        for parameter, value in ((_engine.DELAY_PING_PONG, 1.0), (_engine.DELAY_MIX, 1.0),
                                 (_engine.DELAY_MS, 1000 * APART_S), (_engine.DELAY_TONE_HZ, 20_000.0),
                                 (_engine.RELEASE_MS, 10.0), (_engine.VOLUME, RANGES["volume"][0])):
            self._set(parameter, value)
        self._began_s = clock() - AGAIN_S
        self._steps: list[tuple[float, int, float]] = []

    def turn(self) -> None:
        now_s = self._clock()
        if now_s - self._began_s >= AGAIN_S:
            self._began_s = now_s
            # The echo on the right is the last: before it comes, nothing goes round any more
            self._steps = [(0.0, _engine.NOTE_ON, 0.0), (TONE_S, _engine.NOTE_OFF, 0.0),
                           (APART_S + TONE_S + 0.1, _engine.PARAMETER, 0.0)]
            self._set(_engine.DELAY_FEEDBACK, RANGES["delay_feedback"][2])
        while self._steps and now_s - self._began_s >= self._steps[0][0]:
            _, kind, value = self._steps.pop(0)
            if kind == _engine.PARAMETER:
                self._set(_engine.DELAY_FEEDBACK, value)
            else:
                self._engine.send(0, kind, 0, TONE_PITCH, 1.0)

    def stop(self) -> None:
        self._engine.send(0, _engine.ALL_SOUND_OFF)
        self._set(_engine.DELAY_MIX, 0.0)

    def _set(self, parameter: int, value: float) -> None:
        self._engine.send(0, _engine.PARAMETER, 0, parameter, value)


# --- MIDI.

def keyboards(bench: Bench) -> Verdict | None:
    ears = bench.once(Ears)
    end_s = time.monotonic() + KEYBOARDS_S
    while time.monotonic() < end_s:
        ears.messages()
        time.sleep(0.01)
    if not ears.sound.keyboard.meters()["sequencer"]:
        text = "ALSA's sequencer is not there: sudo modprobe snd_seq"
        return failed(text) if is_raspberry_pi() else not_here(text)
    names = ", ".join(ears.names)
    return ok(names) if names else not_here("no keyboard is plugged in by USB")


def din(bench: Bench) -> Verdict | None:
    ears = bench.once(Ears)
    if not bench.settings.din_port():
        return not_here('[midi] din is "", or "auto" where there is no Raspberry Pi')
    return failed(ears.din_problem) if ears.din_problem else ok(f"{bench.settings.din_port()} opens")


def din_loop(bench: Bench) -> Verdict | None:
    """Whether a cable goes from MIDI OUT to MIDI IN, and brings all."""
    ears = bench.once(Ears)
    if ears.din is None:
        return None
    came = bench.once(_looped)
    if not came:
        return not_here("no cable from MIDI OUT to MIDI IN; with one, both are checked without a keyboard")
    if came < len(LOOP_MESSAGES):
        return failed(f"{came} of {len(LOOP_MESSAGES)} messages came back: {_midi_in()}; {_midi_out()}")
    return ok("MIDI OUT and IN: what was sent came back")


def _looped(bench: Bench) -> int:
    """How many of the messages that were sent came back."""
    ears = bench.once(Ears)
    if ears.din is None:
        return 0
    ears.messages()
    os.write(ears.din.fileno(), b"".join(LOOP_MESSAGES))
    waiting = set(LOOP_MESSAGES)
    end_s = time.monotonic() + LOOP_S
    while waiting and time.monotonic() < end_s:
        waiting.difference_update(ears.messages())
        time.sleep(0.005)
    return len(LOOP_MESSAGES) - len(waiting)


def din_note(bench: Bench) -> Verdict | None:
    """A note by cable, where no loop has told more already."""
    ears = bench.once(Ears)
    if ears.din is None or bench.once(_looped):
        return None
    ears.messages()
    seen: list[bytes] = []
    malformed = ears.sound.keyboard.meters()["malformed"]

    def done(_: list[Event]) -> bool:
        seen.extend(message for message in ears.messages()
                    if message[0] & 0xF0 == NOTE_ON and message[2] > 0)
        return bool(seen)

    if bench.wait("Play a note on a keyboard at MIDI IN.", done):
        return ok(f"note {seen[0][1]}, velocity {seen[0][2]}")
    if wrong := ears.sound.keyboard.meters()["malformed"] - malformed:
        return failed(f"{wrong} bytes came that are no message: is it MIDI OUT of the keyboard? {_midi_in()}")
    return failed(f"no note was seen: is it MIDI OUT of the keyboard? {_midi_in()}")


def _midi_in() -> str:
    return (f"wires of {wire('midi_coupler', 'output', 'GND', 'VCC')}, and of the socket {wire('midi_in', '4', '5')}, "
            "which may be swapped")


def _midi_out() -> str:
    return f"{wire('midi_out_sink', '1')} to MIDI OUT, {wire('midi_out', '4', '5', '2')}"
