"""The command itself, at a terminal and without."""

import json
import os
import pty
import subprocess
import sys
import time
from collections import Counter

import pytest
from running_box import ROOT
from self_testing import QUIET, Answers, own_programs, program, two_ends

from device import files
from device.box import self_test
from device.box.self_test_bench import Bench, Probe
from device.box.settings import Settings
from device.errors import TetradError
from device.panel.fake import FakePanel

programs = pytest.fixture(own_programs)
terminals = pytest.fixture(two_ends)
COMMAND = [sys.executable, ROOT / "tetrad.py", "box", "--self-test"]


# --- The command.

def box(*arguments, **environment):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, env=os.environ | environment)


def test_quick_on_a_machine_without_parts(tmp_path):
    done = box("--quick", "--audio", "null", "--state", tmp_path / "state", "--panel-fake")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("  ")[0].strip() for line in done.stdout.splitlines()]
    assert set(rows) <= {"ok", "not here"}
    assert "ok        decoder: CPU, " in done.stdout
    assert "not here  panel: " in done.stdout
    assert "not here  sound card: [audio] device is null\n" in done.stdout


def test_json_is_one_line_and_the_code_tells_of_faults(tmp_path):
    script = tmp_path / "hands.txt"
    script.write_text("0 corner2 hold 99\n0.1 x 0.5")
    done = box("--quick", "--json", "--audio", "null", "--state", tmp_path / "state", "--panel-fake", script)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert (told["passed"], told["failed"], told["skipped"]) == (False, 1, 0)
    counts = Counter(row["verdict"] for row in told["checks"])
    assert counts == {"ok": told["ok"], "FAILED": 1, "not here": told["not_here"]}
    wrong = next(row for row in told["checks"] if row["verdict"] == "FAILED")
    assert wrong["part"] == "encoder2 bottom left at rest"
    assert "GPIO13" in wrong["text"]
    assert done.stderr == f"tetrad: 1 of {len(told['checks'])} checks failed: mend the first, and run it again\n"


def test_quick_and_json_go_with_the_test_alone(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "tetrad.py", "box", "--quick", "--state", tmp_path],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--self-test" in done.stderr


def test_without_a_terminal_only_quick_can_be_done(tmp_path):
    done = box("--audio", "null", "--state", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "add --quick" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_box_that_runs_is_left_alone(tmp_path):
    held = files.lock_folder(tmp_path, "box")
    done = box("--quick", "--audio", "null", "--state", tmp_path)
    os.close(held)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "a box runs" in done.stderr
    assert "`sudo systemctl stop tetrad`" in done.stderr


def test_the_service_is_found_where_its_folder_cannot_be_seen(tmp_path, programs):
    program(programs, "systemctl", 'test "$*" = "is-active tetrad" && echo active')
    done = box("--quick", "--audio", "null", "--state", tmp_path / "state", PATH=os.environ["PATH"])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tetrad: the box runs as a service: stop it, `sudo systemctl stop tetrad`")


def test_while_it_tests_no_box_can_begin(tmp_path):
    held = self_test.refuse_if_running(tmp_path)
    with pytest.raises(TetradError, match="another box's"):
        files.lock_folder(tmp_path, "box")
    os.close(held)
    (tmp_path / "file").write_text("")
    assert self_test.refuse_if_running(tmp_path / "file") is None  # the disk's verdict tells


def test_a_part_that_fails_in_its_own_way_is_a_verdict(tmp_path):
    def broken(_):
        raise OSError(5, "Input/output error")

    probe = Probe()
    bench = Bench(QUIET, tmp_path, FakePanel(controls=probe), probe, Answers())
    found = list(self_test.verdicts(bench, True, (self_test.Check("it", broken), self_test.Check("that", broken))))
    assert [str(verdict) for verdict in found] == ["FAILED    it: [Errno 5] Input/output error",
                                                   "FAILED    that: [Errno 5] Input/output error"]


# --- At a terminal.

def test_what_was_typed_before_is_no_answer(terminals):
    ours, theirs = terminals
    with open(os.devnull, "w") as nowhere:
        terminal = self_test.Terminal(theirs, nowhere)
        os.write(ours, b"y\n")
        time.sleep(0.05)
        terminal.say("does it?")
        assert terminal.line() is None
        os.write(ours, b"n")
        time.sleep(0.05)
        assert terminal.line() is None
        os.write(ours, b"o\n\n")
        time.sleep(0.05)
        assert [terminal.line() for _ in range(3)] == ["no", "", None]


def test_the_live_line_is_wiped_before_a_verdict(terminals):
    ours, theirs = terminals
    with open(theirs, "w", closefd=False) as told:
        terminal = self_test.Terminal(theirs, told)
        for text in ("x 1", "x 1", "x 2"):
            terminal.live(text)
        terminal.wipe()
        terminal.wipe()
    shown = ""
    while not shown.endswith("\r" + " " * self_test.LIVE_COLUMNS + "\r"):  # it comes in parts
        shown += os.read(ours, 1_000).decode()
    assert shown.count("x 1") == shown.count("x 2") == 1


def test_the_script_s_time_stands_still_while_nobody_looks():
    now_s = [5.0]
    clock = self_test.ScriptClock(lambda: now_s[0])
    assert clock() == 0
    now_s[0] += 0.02
    assert clock() == pytest.approx(0.02)
    now_s[0] += 30
    assert clock() == pytest.approx(0.07)


def test_at_a_terminal_each_step_can_be_skipped(tmp_path):
    script = tmp_path / "hands.txt"
    script.write_text("0 corner2 press\n0 x 0.5\n1 corner2 +1")
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, "--audio", "null", "--state", tmp_path / "state", "--panel-fake", script],
                               stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    asked = 0
    for line in process.stderr:
        if "Enter skips" in line:
            asked += 1
            os.write(ours, b"\n")
    out = process.stdout.read()
    assert process.wait(30) == 0
    os.close(ours)
    assert asked == out.count("skipped ") == 2 + 1 + 1 + 1  # picture, lamp, x, the encoder, its push
    assert "skipped   knob x turned: \n" in out


def test_settings_have_no_default_that_the_table_leaves_out():
    parts = [check.part for check in self_test.checks(Settings())]
    assert len(parts) == len(set(parts))
    assert "serial line /dev/ttyGS0" in parts
