"""The device part on a Raspberry Pi's processor, emulated (arm.py): it installs, and does there what it does here."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from arm import (
    ARCHITECTURE,
    FASTEST,
    MACHINE,
    PACKAGES_PLACE,
    PROCESSORS,
    PYTHON,
    SPEEDS_LIBRARY,
    TETRAD,
    VARIABLES,
    Arm,
    NoArm,
    arm,
)
from image import ROOT

from device.preset import FACTORY_PRESET, Preset
from device.service.environment import MACHINES

sys.path.append(str(ROOT / "tests" / "device"))
from wire import Wire

pytestmark = pytest.mark.rig

PITCH = 60
# Of the greatest difference (full scale), and of the average (of the sound's own). Decoded: -26 and -30 dB, on each of
# the processors; int8 networks round as their kernels do, and LiteRT's kernels of one PC differ by -27 and -33 dB.
# Played: a 16-bit step, here and there.
DECODED_DB, PLAYED_DB = (-23, -27), (-88, -100)
BOX_S = 240.0  # until the box has decoded its first notes, and until it has ended

# Files of tests/device that pass there within half a minute each. Of the others some need a C compiler, jackd, or a
# virtual machine's devices (card, engine, golden, kernels, keyboard, most of midi_*, state, service_install ...), some
# the checkout's tetrad.py (box*, jobs, render, serial_kill ...), some TensorFlow (decoder, encoder), thru a UART's own
# speed, which QEMU does not know; some take minutes where all is emulated (analysis, bake, bench_*, midi_clock ...).
FAST = ("bank", "bank_cache", "conditioning", "corner", "engine_tables", "files", "hands", "notify", "panel_encoders",
        "panel_fake", "panel_knobs", "panel_parts", "pitch", "preset", "recording", "serial_frames", "serial_messages",
        "service", "service_boot", "service_setup", "settings", "spectrum", "store", "synth_settings", "tuning")
TESTS_S = 900.0  # a minute and a half where nothing else runs

SETTINGS = """
[midi]
din = "{din}"
[panel]
kind = "none"
[decoding]
pitch_step = 6
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Iterator[Arm]:
    share = tmp_path_factory.mktemp("share")
    try:
        with arm(share) as system:
            yield system
    except NoArm as error:
        pytest.skip(str(error))


def here(*arguments: object) -> str:
    """The command `tetrad` of this machine: what it prints."""
    return subprocess.run([sys.executable, ROOT / "tetrad.py", *map(str, arguments)], check=True, capture_output=True,
                          text=True, timeout=60).stdout


def test_the_wheel_is_installed_for_its_processor_with_all_that_it_needs(system):
    asked = ("import json, platform, importlib.metadata, device._alsa, device._engine\n"
             "told = importlib.metadata.distribution('tetrad').read_text\n"
             "print(json.dumps([platform.machine(), device._engine.__file__, told('WHEEL'), told('direct_url.json')]))")
    machine, engine, wheel, came_from = json.loads(system.run(PYTHON, "-c", asked))
    assert machine == MACHINE
    assert "site-packages" in engine
    assert f"Tag: cp311-abi3-linux_{MACHINE}\n" in wheel
    assert json.loads(came_from)["url"].startswith("file:///share/tetrad-")  # by its own pip, not from outside
    assert system.run(PYTHON, "-m", "pip", "check").strip() == "No broken requirements found."
    programs = {path.read_bytes()[18] for path in (system.root / PACKAGES_PLACE).rglob("*.so*")}
    assert programs == {MACHINES[ARCHITECTURE][1]}


def test_the_command_tells_what_it_does_as_it_does_here(system):
    assert system.run(TETRAD, "--help") == here("--help")
    shutil.copy(FACTORY_PRESET, system.share)
    told = json.loads(system.run(TETRAD, "preset", "info", f"/share/{FACTORY_PRESET.name}", "--json"))
    assert told.pop("file") == f"/share/{FACTORY_PRESET.name}"
    assert told.items() < json.loads(here("preset", "info", FACTORY_PRESET, "--json")).items()


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_note_is_decoded_to_the_same_sound(system, processor):
    notes = system.share / "notes"
    notes.mkdir(exist_ok=True)
    np.save(notes / "middle.npy", Preset.read(FACTORY_PRESET).embedding(0.4, 0.7, PITCH))
    system.run(TETRAD, "decode", "/share/notes/middle.npy", "--pitch", str(PITCH), "--out", "/share/notes/arm.wav",
               QEMU_CPU=processor)
    here("decode", notes / "middle.npy", "--pitch", PITCH, "--out", notes / "here.wav")
    assert_same_sound(notes / "arm.wav", notes / "here.wav", *DECODED_DB)


def test_a_song_is_played_to_the_same_sound(system):
    songs = system.share / "songs"
    songs.mkdir()
    song = mido.MidiFile(ticks_per_beat=480)  # at 120 beats a minute
    song.tracks.append(mido.MidiTrack([
        mido.Message("note_on", note=60, velocity=100), mido.Message("note_on", note=64, velocity=60, time=240),
        mido.Message("control_change", control=16, value=120, time=120), mido.Message("pitchwheel", pitch=4000),
        mido.Message("note_off", note=60, time=480), mido.Message("note_off", note=64)]))
    song.save(songs / "song.mid")
    shutil.copy(FACTORY_PRESET, songs / "preset.tetrad")

    def render(folder: str | Path, out: str) -> tuple[str, ...]:
        return ("render", f"{folder}/song.mid", "--preset", f"{folder}/preset.tetrad", "--bank", f"{folder}/bank",
                "--out", f"{folder}/{out}")
    here(*render(songs, "here.wav"))
    system.run(TETRAD, *render("/share/songs", "arm.wav"))
    assert_same_sound(songs / "arm.wav", songs / "here.wav", *PLAYED_DB)


def assert_same_sound(path: Path, other: Path, most_db: float, rms_db: float) -> None:
    """The difference: at most, dB of full scale, and on average, dB of the sound's own average."""
    (ours, rate_hz), (theirs, their_rate_hz) = soundfile.read(path), soundfile.read(other)
    assert (ours.shape, rate_hz) == (theirs.shape, their_rate_hz)
    assert np.abs(theirs).max() > 0.05
    off = ours - theirs
    found_db = 20 * np.log10([np.abs(off).max() + 1e-9, np.std(off) / np.std(theirs) + 1e-9])
    print(f"{other}: {found_db.round(1)} dB")
    assert (found_db < (most_db, rms_db)).all()


class Box:
    """`tetrad box` there, its keyboard and its serial line in a test's hands."""

    def __init__(self, system: Arm) -> None:
        ours, theirs = zip(*(os.openpty() for _ in range(2)), strict=True)
        self._ends, self._keyboard = (*ours, *theirs), ours[0]
        for end in self._ends:
            tty.setraw(end)
        folder = system.share / "box"
        folder.mkdir()
        (folder / "settings.toml").write_text(SETTINGS.format(din=os.ttyname(theirs[0])))
        self._log = open(folder / "log", "w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            system.command("env", f"LD_PRELOAD={SPEEDS_LIBRARY}", TETRAD, "box", "--audio", "null", "--settings",
                           "/share/box/settings.toml", "--state", "/share/box/state", "--serial",
                           os.ttyname(theirs[1])), stderr=self._log, env=VARIABLES | {"QEMU_CPU": FASTEST})
        self._wire = Wire(ours[1], lambda: self.process.poll() is None)

    def midi(self, *message: int) -> None:
        os.write(self._keyboard, bytes(message))

    def until(self, happens: Callable[[dict], bool]) -> dict:
        """The first status of which it is so."""
        latest_s = time.monotonic() + BOX_S
        status: dict = {}
        while time.monotonic() < latest_s and self.process.poll() is None:
            with contextlib.suppress(TimeoutError):  # it does not answer yet
                status = self._wire.ask("status", 20.0) | self._wire.ask("progress", 20.0)
                if happens(status):
                    return status
            time.sleep(0.2)
        self._log.seek(0)
        raise AssertionError(f"it did not happen: {status}\n{self._log.read()}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()
        for end in self._ends:
            os.close(end)


def test_the_box_plays_a_keyboards_note_answers_and_ends(system):
    with contextlib.closing(Box(system)) as box:
        assert box.until(lambda status: status["decoded"] > 0)["preset"] == FACTORY_PRESET.stem
        box.midi(0x90, PITCH, 100)
        box.until(lambda status: status["voices"] == 1)
        box.midi(0x80, PITCH, 0)
        box.until(lambda status: status["voices"] == 0)
        box.process.terminate()
        assert box.process.wait(BOX_S) == 0


def test_the_device_parts_fast_tests_pass(system):
    files = [f"tests/device/test_{name}.py" for name in FAST]
    told = system.run("env", "-C", "/checkout", PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2",
                      "--dist", "loadfile", "-m", "not full", *files, within_s=TESTS_S, QEMU_CPU=FASTEST,
                      PYTHONPATH="/opt/testers", HYPOTHESIS_STORAGE_DIRECTORY="/tmp/hypothesis",
                      CI="1")  # hypothesis has no deadlines there
    print(told.splitlines()[-1])
