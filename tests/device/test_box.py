"""The whole daemon, as a maker starts it: keyboards, panel, serial line and power, but for a sound card."""

import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from running_box import ROOT, RunningBox
from small_presets import small_disk, small_preset

from device.box import state
from device.box.store import Store

NOTE_ON, CONTROLLER, PROGRAM = 0x90, 0xB0, 0xC0


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "state"


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, ROOT / "tetrad.py", "box", *map(str, arguments)], capture_output=True,
                          text=True, timeout=60)


def script(folder: Path, *lines: str) -> tuple[str, str]:
    """A panel's script, as arguments."""
    path = folder.parent / "hands.txt"
    path.write_text("\n".join(lines))
    return "--panel-fake", str(path)


def test_it_plays_what_a_keyboard_plays_and_ends_when_it_is_told_to(folder):
    with RunningBox(folder) as box:
        box.plays()
        box.midi(NOTE_ON, 60, 100, 64, 100, 0xF8, 67, 100)  # running status, with a clock in its midst
        assert box.until(lambda status: status["voices"] == 3)["keyboards"] == 1
        box.midi(0x80, 60, 0, 64, 0, 67, 0)
        box.until(lambda status: status["voices"] == 0)
        children, began_s = box.children(), time.monotonic()
        assert children
        assert box.stop() == 0
        assert time.monotonic() - began_s < 5
        for child in children:
            with pytest.raises(ProcessLookupError):
                os.kill(child, 0)


def test_a_preset_that_is_pushed_and_selected_plays(folder):
    with RunningBox(folder) as box:
        box.plays()
        assert box.wire.upload("mine", small_preset())["off"] == len(small_preset())
        assert box.wire.ask("select", name="mine") == {}
        status = box.until(lambda status: status["preset"] == "mine" and status["decoded"] > 0)
        assert status["cells"] == 15 * 25  # one layer, every sixth key
        box.midi(NOTE_ON, 60, 100)
        box.until(lambda status: status["voices"] == 1)
        assert box.wire.ask("rename", name="mine", to="yours") == {}
        assert box.wire.ask("progress")["preset"] == "yours"
        before = box.until(lambda status: status["decoded"] > 200)["decoded"]
        assert box.wire.upload("yours", small_preset(1))["off"] == len(small_preset(1))  # it plays at once
        box.until(lambda status: 0 < status["decoded"] < before)


def test_programs_and_banks_choose_presets(folder):
    names = Store(folder).names()
    with RunningBox(folder) as box:
        box.plays()
        box.midi(PROGRAM, 3)
        box.until(lambda status: status["preset"] == names[3])
        box.midi(CONTROLLER, 32, 1, PROGRAM, 0)  # there are no 129 presets
        time.sleep(0.3)
        assert box.status()["preset"] == names[3]
        box.midi(CONTROLLER, 32, 0, PROGRAM, 1)
        box.until(lambda status: status["preset"] == names[1])


def test_hands_change_the_sound_and_it_is_the_same_after_a_power_cut(folder):
    hands = script(folder, "0.2 x 0.9", "0.4 y 0.1", "0.6 attack 0.5", "0.8 corner1 +1", "1.6 volume 0.25")
    with RunningBox(folder, "--preset", "mallets", *hands) as box:
        box.plays()
        latest_s = time.monotonic() + 20
        while not (kept := state.load(folder)).corners[1] or kept.volume > 0.5:
            assert time.monotonic() < latest_s, box.said()
            time.sleep(0.1)
        box.stop(signal.SIGKILL)
    kept = state.load(folder)
    assert kept.preset == "mallets"
    assert (kept.x, kept.y) == (pytest.approx(0.9, abs=0.02), pytest.approx(0.1, abs=0.02))
    assert kept.volume == pytest.approx(0.25, abs=0.02)
    assert 50 < kept.changes["attack_ms"] < 200
    with RunningBox(folder) as box:
        assert box.plays()["preset"] == "mallets"
        assert box.stop() == 0
    assert state.load(folder).to_bytes() == kept.to_bytes()


def test_a_script_that_ends_ends_the_box(folder):
    with RunningBox(folder, *script(folder, "1.0 end")) as box:
        assert box.process.wait(20) == 0


def test_a_controller_is_learnt_and_remembered(folder):
    hands = script(folder, "0.2 release 0.5", "0.4 corner1 press")
    with RunningBox(folder, *hands) as box:
        box.plays()
        time.sleep(1.0)
        box.midi(CONTROLLER, 21, 10)
        box.midi(CONTROLLER, 21, 90)
        latest_s = time.monotonic() + 10
        while "release" not in json.dumps(state.load(folder).controllers.to_json()):
            assert time.monotonic() < latest_s, box.said()
            time.sleep(0.1)
    with RunningBox(folder) as box:
        box.plays()
        box.midi(CONTROLLER, 21, 127)
        latest_s = time.monotonic() + 10
        while state.load(folder).changes.get("release_ms") != 20_000:
            assert time.monotonic() < latest_s, box.said()
            time.sleep(0.1)


def test_turning_over_many_programs_it_waits_for_the_last_alone(folder):
    names = Store(folder).names()
    with RunningBox(folder) as box:
        box.plays()
        for _ in range(100):
            box.midi(*(byte for program in range(10) for byte in (PROGRAM, program)))
        box.midi(PROGRAM, 12)
        box.until(lambda status: status["preset"] == names[12], 3.0)
        assert box.said().count("preset ") < 200


def test_a_preset_of_the_command_line_begins_without_what_was_changed_of_another(folder):
    folder.mkdir()
    corner = state.CornerChoice("keys", 1)
    state.save(folder, state.State(preset="first", changes={"cutoff_hz": 300.0}, corners=(corner,) * 4).to_bytes())
    with RunningBox(folder, "--preset", "mallets") as box:
        assert box.plays()["preset"] == "mallets"
        box.stop()
    kept = state.load(folder)
    assert (kept.preset, kept.changes, kept.corners) == ("mallets", {}, (None,) * 4)


def test_volume_by_midi_is_the_boxs_volume(folder):
    with RunningBox(folder) as box:
        box.plays()
        box.midi(0xF0, 0x7F, 0x7F, 0x04, 0x01, 0x00, 0x20, 0xF7)  # master volume, a quarter
        box.until(lambda status: bool(state.load(folder).volume < 1))
        kept = state.load(folder)
        box.midi(PROGRAM, 2)
        box.until(lambda status: status["preset"] != "first")
        box.stop()
    assert state.load(folder).volume == kept.volume == pytest.approx(0.25, abs=0.01)
    assert "volume" not in kept.changes


def test_a_damaged_preset_of_the_first_ones_name_keeps_no_box_from_starting(folder):
    (folder / "presets").mkdir(parents=True)
    (folder / "presets" / "first.tetrad").write_bytes(b"damaged")
    with RunningBox(folder) as box:
        assert box.plays()["preset"] == "keys"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_from_a_disk_that_takes_nothing_any_more_it_plays(folder):
    folder.mkdir()
    with small_disk(folder, 1 << 20):
        Store(folder).add("mine", small_preset())
        (folder / "presets" / ".x.tmp").write_bytes(b"of a power cut")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with RunningBox(folder, "--preset", "mine") as box:
            box.plays()
            box.midi(NOTE_ON, 60, 100)
            box.until(lambda status: status["voices"] == 1)
            assert box.stop() == 0


def test_a_clock_sets_the_tempo_until_it_is_silent(folder):
    with RunningBox(folder) as box:
        assert box.plays()["tempo_bpm"] == 120
        next_s = time.monotonic()
        for _ in range(96):  # two beats and more, at 90 a minute
            box.midi(0xF8)
            next_s += 60 / 90 / 24
            time.sleep(max(next_s - time.monotonic(), 0))
        assert box.status()["tempo_bpm"] == pytest.approx(90, abs=3)
        box.until(lambda status: status["tempo_bpm"] == 120)


def test_another_preset_keeps_the_clocks_tempo(folder):
    with RunningBox(folder) as box:
        box.plays()
        running = threading.Event()

        def tick() -> None:
            while not running.wait(60 / 90 / 24):
                box.midi(0xF8)

        clock = threading.Thread(target=tick)
        clock.start()
        try:
            box.until(lambda status: 80 < status["tempo_bpm"] < 95)
            box.midi(PROGRAM, 4)
            box.until(lambda status: status["preset"] != "first" and status["decoded"] > 0)
            time.sleep(0.3)
            assert 80 < box.status()["tempo_bpm"] < 95
        finally:
            running.set()
            clock.join()


def test_on_a_disk_that_is_full_it_plays_on(folder):
    folder.mkdir()
    with small_disk(folder, 60_000), RunningBox(folder, *script(folder, "0.5 attack 0.2", "3.0 attack 0.8")) as box:
        box.plays()
        assert box.wire.upload("mine", small_preset())["off"] == len(small_preset())
        refused = box.wire.upload("more", small_preset(0, 4))
        assert refused.get("rc") or refused.get("err"), refused
        assert box.wire.ask("select", name="mine") == {}
        box.until(lambda status: status["preset"] == "mine" and status["decoded"] > 30)
        box.midi(NOTE_ON, 60, 100)
        box.until(lambda status: status["voices"] == 1)
        assert box.stop() == 0
        assert "Traceback" not in (folder.parent / "state.log").read_text()
        assert Store(folder).data("mine") == small_preset()


def test_what_comes_in_goes_out_again_where_that_is_wanted(folder):
    with RunningBox(folder, thru="true") as box:
        box.plays()
        box.midi(NOTE_ON, 60, 100, 62, 100)
        assert box.thru(6) == bytes((NOTE_ON, 60, 100, NOTE_ON, 62, 100))
    with RunningBox(folder) as box:
        box.plays()
        box.midi(NOTE_ON, 60, 100)
        assert box.thru(1, 0.5) == b""


def test_a_decoder_that_dies_is_started_again_and_the_notes_go_on(folder):
    with RunningBox(folder) as box:
        box.plays()
        box.midi(NOTE_ON, 60, 100)
        box.until(lambda status: status["voices"] == 1)
        os.kill(box.children()[0], signal.SIGKILL)
        status = box.until(lambda status: status["restarts"] == 1)
        assert status["voices"] == 1
        before = status["decoded"]
        box.until(lambda status: status["decoded"] > before and not status["faults"])


def test_without_its_card_it_goes_on_and_says_so(folder):
    with RunningBox(folder, "--audio", "hw:CARD=nothere") as box:
        status = box.until(lambda status: status["decoded"] > 0 and "nothere" in status["faults"])
        assert status["audio"] == "absent"


def test_systemd_is_told_that_it_is_ready_and_that_it_lives(folder, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        with RunningBox(folder, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="300000") as box:
            told: list[str] = []
            while told.count("WATCHDOG=1") < 5 or "READY=1" not in told:
                told.append(systemd.recv(1000).decode())
            assert any(line.startswith("STATUS=first") for line in told)
            box.stop()
            systemd.setblocking(False)
            left = []
            try:
                while True:
                    left.append(systemd.recv(1000).decode())
            except BlockingIOError:
                assert "STOPPING=1" in left


def test_a_preset_that_is_there_no_more_gives_way_to_the_first(folder):
    folder.mkdir()
    state.save(folder, state.State(preset="gone").to_bytes())
    with RunningBox(folder) as box:
        assert box.plays()["preset"] == "first"
        assert "gone" in box.said()


def test_a_file_may_be_played_without_being_stored(folder, tmp_path):
    (tmp_path / "p.tetrad").write_bytes(small_preset())
    with RunningBox(folder, "--preset", str(tmp_path / "p.tetrad")) as box:
        assert box.plays()["preset"] == "p"


@pytest.mark.parametrize(("file", "said"), [
    ("[audio]\nrate = 1\n", "rate_hz"), ("[audio\n", "not TOML"),
    ('[serial]\npairing_key_file = "/nothing"\n', "/nothing"), ('[decoding]\ndecoder = "/nothing"\n', "/nothing")])
def test_settings_that_cannot_be_are_one_line(folder, tmp_path, file, said):
    (tmp_path / "s.toml").write_text(file)
    done = run("--settings", tmp_path / "s.toml", "--state", folder, "--audio", "null")
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if said in line]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr


def test_a_preset_that_is_asked_for_and_not_there_is_one_line(folder):
    done = run("--state", folder, "--audio", "null", "--preset", "nowhere", "--panel-fake")
    assert done.returncode == 1
    assert "there is no preset nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_script_that_cannot_be_read_is_one_line(folder, tmp_path):
    (tmp_path / "s.txt").write_text("1.0 elbow 3\n")
    done = run("--state", folder, "--panel-fake", tmp_path / "s.txt")
    assert done.returncode == 1
    assert "s.txt" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_settings_are_printed():
    done = run("--print-settings")
    assert done.returncode == 0
    assert "[decoding]" in done.stdout


def until(happens: Callable[[], object]) -> None:
    latest_s = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < latest_s
        time.sleep(0.02)


def with_setting(data: bytes, name: str) -> bytes:
    """A preset's file with one more setting of its sound."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    head = json.loads(members["preset.json"])
    head["synth"][name] = 1
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for member, content in (members | {"preset.json": json.dumps(head).encode()}).items():
            archive.writestr(member, content)
    return made.getvalue()


def test_a_decoder_that_cannot_be_started_again_costs_no_sound(folder):
    """As where there are no file descriptors, or there is no memory, for another process."""
    with RunningBox(folder) as box:
        box.plays()
        allowed = resource.prlimit(box.process.pid, resource.RLIMIT_NOFILE)
        used = max(int(number) for number in os.listdir(f"/proc/{box.process.pid}/fd")) + 1
        resource.prlimit(box.process.pid, resource.RLIMIT_NOFILE, (used, allowed[1]))
        os.kill(box.children()[0], signal.SIGKILL)
        until(lambda: "no process can be started" in box.said())
        resource.prlimit(box.process.pid, resource.RLIMIT_NOFILE, allowed)
        assert box.stop() == 0


def test_a_preset_with_a_setting_that_means_something_to_python_ends_no_box(folder):
    with RunningBox(folder) as box:
        box.plays()
        (folder / "presets" / "evil.tetrad").write_bytes(with_setting(small_preset(1), "self"))
        box.wire.upload("other", small_preset(2))
        box.until(lambda status: "there is no setting 'self'" in box.said())
        assert box.stop() == 0


def test_two_boxes_do_not_share_a_folder(folder):
    with RunningBox(folder) as box:
        box.plays()
        second = run("--audio", "null", "--panel-fake", "--state", folder)
        assert second.returncode == 1
        assert second.stderr == f"tetrad: {folder} is another box's, which runs: end that one, or name another folder\n"


@pytest.mark.parametrize("key", [None, ""])
def test_without_its_pairing_key_it_does_not_begin(folder, tmp_path, key):
    if key is not None:
        (tmp_path / "key").write_text(key)
    (tmp_path / "s.toml").write_text(f'[serial]\npairing_key_file = "{tmp_path / "key"}"\n')
    ended = run("--audio", "null", "--panel-fake", "--state", folder, "--settings", tmp_path / "s.toml")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "[serial] pairing_key_file" in ended.stderr


def test_what_the_player_does_while_a_preset_is_saved_stays(folder, tmp_path):
    """On a disk that takes its time."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\nsync = os.fsync\nos.fsync = lambda number: (time.sleep(1.5), sync(number))\n")
    names = Store(folder).names()
    with RunningBox(folder, *script(folder, "3 corner2 press"), PYTHONPATH=str(tmp_path)) as box:
        until(lambda: list((folder / "presets").glob(".*")))  # it is being written
        box.midi(PROGRAM, 3)
        chosen = box.until(lambda status: status["preset"] == names[3])["preset"]
        until(lambda: list((folder / "presets").glob("*.tetrad")))
        time.sleep(1)
        assert box.status()["preset"] == chosen
