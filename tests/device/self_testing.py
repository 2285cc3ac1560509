"""A self-test without anybody: a panel by script or by stand-ins, a person who answers, time that a test turns."""

import os
import pty
import tty
from pathlib import Path

from device.box import self_test, self_test_sound, self_test_system
from device.box.self_test_bench import Bench, Probe
from device.box.settings import Audio, Midi, Serial, Settings
from device.panel.fake import FakePanel
from device.panel.parts import KNOBS

SLOT_S = 4.0  # of the script, for a step
LONG_S = 60.0  # for tests in which nothing is waited for in vain, and steps are left out
PATIENCE_S = 6.0  # so that a step which fails ends before the one after the next begins
QUIET = Settings(audio=Audio(device="null"), midi=Midi(din=""), serial=Serial(ports=()))
PANEL = ("panel", "display", "pins", "converter", "knob", "encoder", "shutdown", "lamp")


def at(step: str) -> float:
    """When the hands begin with a step: a knob, "turn0", "corner0", "shutdown"."""
    encoders = [name for n in range(4) for name in (f"turn{n}", f"corner{n}")]
    return 4 + SLOT_S * [*KNOBS, *encoders, "shutdown"].index(step)


def turned(knob: str, first: float, then: float, slot: str = "") -> list[str]:
    begins = at(slot or knob)
    return [f"{begins} {knob} {first} over 0.5", f"{begins + 0.7} {knob} {then} over 0.5"]


def clicked(number: int, first: int, then: int, slot: int | None = None) -> list[str]:
    begins = at(f"turn{number if slot is None else slot}")
    return [f"{begins} corner{number} {first:+}", f"{begins + 1} corner{number} {then:+}"]


def hands() -> dict[str, list[str]]:
    """What a good pair of hands does on a box that is wired well, by step: lines of a script."""
    steps = {name: turned(name, 0, 1) for name in KNOBS}
    for n in range(4):
        steps[f"turn{n}"] = clicked(n, 3, -3)
        steps[f"corner{n}"] = [f"{at(f'corner{n}')} corner{n} press"]
    return steps | {"shutdown": [f"{at('shutdown')} shutdown press"]}


def script(folder: Path, steps: dict[str, list[str]]) -> Path:
    lines = sorted((line for lines in steps.values() for line in lines), key=lambda line: float(line.split()[0]))
    path = folder / "hands.txt"
    path.write_text("\n".join(lines))
    return path


class Answers:
    """Says to each question what it was told to, by a part of its words; what is not there gets no answer."""

    def __init__(self, answers=None, acts=None):
        self.answers = {"display": "y", "lamp": "y"} if answers is None else answers
        self.acts = acts or {}
        self.said, self.seen = [], []
        self._next = None

    def say(self, text):
        self.said.append(text)
        self._next = next((answer for words, answer in self.answers.items() if words in text), None)
        for words, act in self.acts.items():
            if words in text:
                act()

    def live(self, text):
        self.seen.append(text)

    def line(self):
        answer, self._next = self._next, None
        return answer


class Time:
    def __init__(self):
        self.now_s = 1_000.0

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


def played(folder, steps=None, person=None, settings=QUIET, quick=False, parts=PANEL,
           patience_s=PATIENCE_S):
    """The verdicts by part, of a panel that such hands turn."""
    probe, clock = Probe(), Time()
    panel = FakePanel(script(folder, hands() if steps is None else steps), clock, controls=probe)
    bench = Bench(settings, folder, panel, probe, person or Answers(), faked=True, patience_s=patience_s, clock=clock,
                  sleep=clock.sleep)
    return run(bench, quick, parts)


def run(bench, quick=False, parts=PANEL):
    chosen = tuple(check for check in self_test.checks(bench.settings) if check.part.startswith(parts))
    with bench.closing:
        return {verdict.part: verdict for verdict in self_test.verdicts(bench, quick, chosen)}


def checked(tmp_path, part, settings=QUIET, person=None, patience_s=1.0, folder=None):
    """The verdict on one part, None where there is none, by the clock on the wall."""
    probe = Probe()
    bench = Bench(settings, folder or tmp_path, FakePanel(controls=probe), probe, person or Answers(), faked=True,
                  has_panel=False, patience_s=patience_s)
    found = run(bench, parts=(part,))
    assert set(found) <= {part}
    return found.get(part)


def program(folder: Path, name: str, *lines: str) -> None:
    file = folder / name
    file.write_text("\n".join(["#!/bin/sh", *lines]))
    file.chmod(0o755)


def pretend_pi(monkeypatch):
    for module in (self_test_system, self_test_sound):
        monkeypatch.setattr(module, "is_raspberry_pi", lambda: True)


def own_programs(monkeypatch, tmp_path):
    """A folder whose programs come first."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def two_ends():
    ends = pty.openpty()
    for end in ends:
        tty.setraw(end)
    yield ends
    for end in ends:
        os.close(end)
