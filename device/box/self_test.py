"""`tetrad box --self-test`: every part of a box that was just wired, a verdict a line.

    FAILED    encoder1 top right turned: turning right came as left: A (GPIO23, header pin 16) and B (GPIO24, ...

CHECKS is the table. First comes what needs no hands (all that --quick does), then what asks for them. Verdicts go to
stdout; what is asked and seen goes to stderr, so that `> report.txt` keeps the verdicts alone.
"""

import contextlib
import json
import os
import select
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TextIO

from device import files
from device.box import self_test_panel as on_panel
from device.box.command import SCRIPTLESS, is_faked
from device.box.self_test_bench import (
    FAILED,
    NOT_HERE,
    OK,
    PATIENCE_S,
    SKIPPED,
    Bench,
    Probe,
    Skipped,
    Verdict,
    failed,
)
from device.box.settings import Settings
from device.errors import TetradError
from device.panel.events import Panel
from device.panel.parts import KNOBS

LONGEST_GAP_S = 0.05  # between two looks at a script's clock
LIVE_COLUMNS = 78
STOP = "stop it, `sudo systemctl stop tetrad`, and start it behind the test, `sudo systemctl start tetrad`"


@dataclass(frozen=True)
class Check:
    part: str
    run: Callable[[Bench], Verdict | None]
    hands: bool = False  # it asks for something


def checks(settings: Settings) -> tuple[Check, ...]:
    """In the order in which they are made."""
    from device.box import self_test_sound as sound  # the engine
    from device.box import self_test_system as system

    return (
        Check("panel", on_panel.panel),
        Check("display", on_panel.display),
        Check("pins", on_panel.pins),
        Check("converter", on_panel.converter),
        *(Check(f"knob {name} at rest", partial(on_panel.knob_at_rest, name=name)) for name in KNOBS),
        *(Check(f"{name} at rest", partial(on_panel.encoder_at_rest, number=number))
          for number, name in enumerate(on_panel.ENCODER_NAMES)),
        Check("shutdown at rest", partial(on_panel.button_at_rest, name="shutdown")),
        Check("sound card", sound.sound_card),
        Check("keyboards", sound.keyboards),
        Check("MIDI port", sound.din),
        Check("MIDI loop", sound.din_loop),
        *(Check(f"serial line {port}", partial(system.serial_port, port=port)) for port in settings.serial.ports),
        Check("USB gadget", system.gadget),
        Check("decoder", system.decoder),
        Check("disk", system.disk),
        Check("power", system.power),
        Check("temperature", system.temperature),
        Check("real time", system.real_time),
        Check("display picture", on_panel.picture, hands=True),
        Check("lamp", on_panel.lamp, hands=True),
        *(Check(f"knob {name} turned", partial(on_panel.knob_turned, name=name), hands=True) for name in KNOBS),
        *(check for number, name in enumerate(on_panel.ENCODER_NAMES) for check in (
            Check(f"{name} turned", partial(on_panel.encoder_turned, number=number), hands=True),
            Check(f"{name} pressed", _press(f"corner{number}"), hands=True))),
        Check("shutdown pressed", _press("shutdown"), hands=True),
        Check("tone", sound.tone, hands=True),
        Check("MIDI in", sound.din_note, hands=True),
    )


def _press(button: str) -> Callable[[Bench], Verdict | None]:
    return partial(on_panel.pressed, name=button, called=on_panel.PUSHES[button])


def verdicts(bench: Bench, quick: bool, chosen: Sequence[Check]) -> Iterator[Verdict]:
    for check in chosen:
        if quick and check.hands:
            continue
        try:
            verdict = check.run(bench)
        except Skipped:
            verdict = Verdict(SKIPPED, "")
        except (TetradError, OSError) as error:  # a part that fails in a way that nobody thought of
            verdict = failed(str(error))
        if verdict:
            yield replace(verdict, part=check.part)


class Terminal:
    """The person at a terminal."""

    def __init__(self, asked: int, told: TextIO) -> None:
        """asked: a file descriptor that is typed on."""
        self._asked, self._told = asked, told
        self._typed = b""
        self._shown = ""

    def say(self, text: str) -> None:
        with contextlib.suppress(termios.error):  # no terminal
            termios.tcflush(self._asked, termios.TCIFLUSH)
        self._typed = b""
        self.wipe()
        print(text, file=self._told, flush=True)

    def live(self, text: str) -> None:
        if text != self._shown and self._told.isatty():
            self._shown = text
            print(f"\r{text[:LIVE_COLUMNS]:<{LIVE_COLUMNS}}", end="", file=self._told, flush=True)

    def wipe(self) -> None:
        """Takes away what `live` showed."""
        if self._shown:
            self._shown = ""
            print("\r" + " " * LIVE_COLUMNS, end="\r", file=self._told, flush=True)

    def line(self) -> str | None:
        if select.select([self._asked], [], [], 0)[0]:
            self._typed += os.read(self._asked, 1024)
        line, end, rest = self._typed.partition(b"\n")
        if not end:
            return None
        self._typed = rest
        return line.decode(errors="replace")


class ScriptClock:
    """The fake's time: it stands still while nobody looks, as where a decoder is waited for. So a script need not know
    how long each check takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_s, self._now_s = clock(), 0.0

    def __call__(self) -> float:
        before_s, self._looked_s = self._looked_s, self._clock()
        self._now_s += min(self._looked_s - before_s, LONGEST_GAP_S)
        return self._now_s


def refuse_if_running(folder: Path) -> int | None:
    """A file descriptor that holds the state folder, None where it cannot be had, which another check tells.

    Raises TetradError where a box runs: it has the parts. The service's folder is another user's, so systemd is asked,
    too.
    """
    from device.box.self_test_system import service_runs

    if service_runs():
        raise TetradError(f"the box runs as a service: {STOP}")
    try:
        files.make_folder(folder)
        probe = os.open(folder, os.O_RDONLY)
    except (OSError, TetradError):
        return None
    os.close(probe)
    try:
        return files.lock_folder(folder, "box")
    except TetradError as error:
        raise TetradError(f"a box runs and has {folder}: {STOP}") from error


def run(settings: Settings, folder: Path, script: Path | None, quick: bool, as_json: bool) -> None:
    """Prints the verdicts. Raises TetradError where one is FAILED, and where nothing can be checked."""
    if not quick and not sys.stdin.isatty():
        raise TetradError("nobody can answer, stdin is no terminal: add --quick, or by ssh the option -t")
    held = refuse_if_running(folder)
    probe = Probe()
    panel, faked = _panel(settings, script, probe)
    terminal = Terminal(sys.stdin.fileno() if not quick else -1, sys.stderr)
    has_panel = not faked or script not in (None, SCRIPTLESS)
    bench = Bench(settings, folder, panel, probe, terminal, faked, has_panel, PATIENCE_S)
    found: list[Verdict] = []
    try:
        with bench.closing:
            for verdict in verdicts(bench, quick, checks(settings)):
                found.append(verdict)
                terminal.wipe()
                if not as_json:
                    print(verdict, flush=True)
    finally:
        if held is not None:
            os.close(held)
    wrong = sum(verdict.state == FAILED for verdict in found)
    if as_json:
        print(as_line(found))
    if wrong:
        raise TetradError(f"{wrong} of {len(found)} checks failed: mend the first, and run it again")


def _panel(settings: Settings, script: Path | None, probe: Probe) -> tuple[Panel, bool]:
    """The panel with the probe in it, and whether it is a fake."""
    if is_faked(settings.panel.kind, script):
        from device.panel.fake import FakePanel

        return FakePanel(None if script == SCRIPTLESS else script, clock=ScriptClock(), controls=probe), True
    from device.panel.hardware import PiPanel

    return PiPanel(controls=probe), False


def as_line(found: Sequence[Verdict]) -> str:
    """The verdicts as JSON."""
    counts = {state.replace(" ", "_").lower(): sum(verdict.state == state for verdict in found)
              for state in (OK, FAILED, NOT_HERE, SKIPPED)}
    rows = [{"part": verdict.part, "verdict": verdict.state, "text": verdict.text} for verdict in found]
    return json.dumps({"passed": not counts["failed"], **counts, "checks": rows})

