"""The box in a virtual machine with a Raspberry Pi's devices: real drivers, a real sequencer, the real service.

What is asked is what arrives, and that it comes back; not how soon: it may all be emulated (machine.py).
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hearing
import pytest
from image import Image
from machine import Machine

from device.bake import GRID, bake
from device.box import state
from device.box.bank_cache import BankCache
from device.box.store import FACTORY
from device.decoder import Decoder
from device.panel.parts import BUTTONS
from device.preset import Preset
from device.synth_settings import Synth

pytestmark = pytest.mark.rig

SCALE = [60, 62, 64, 65, 67, 69, 71, 72]
HELD_S, GAP_S = 0.8, 0.5
OFF = 0.2  # semitones, at most: where all is emulated the card runs dry now and then, and a period is missing
TRANSPOSED = 7  # of the preset that is pushed, in semitones: no other sounds so
SILENT_S = {True: 1.4, False: 3.0}  # after the plug was pulled, by whether the processor itself runs the guest: a
# second, and from the card to the recorder's other end


@pytest.fixture(scope="module")
def machine(rig_image: Image, share: Path) -> Iterator[Machine]:
    booted = Machine(rig_image, share)
    yield booted
    booted.cut()


def heard(share: Path, name: str) -> list[float]:
    return hearing.keys_heard(*hearing.read(share / "out" / name))


def test_the_guest_has_what_a_box_has(machine: Machine) -> None:
    there = machine.call("devices.names")
    assert "Loopback" in there["cards"]
    assert "Rig Keyboard" in there["cards"]
    assert there["chips"] == ["pinctrl-bcm2711"]
    assert there["products"] == ["Rig Keyboard", "Tetrad"]  # the second is the box, by its own gadget's script


# --- the engine, with ALSA's real sequencer

def test_a_scale_arrives_at_the_loopback(machine: Machine, share: Path) -> None:
    told = machine.call("engine.scale", played=SCALE, held_s=HELD_S, gap_s=GAP_S)
    messages = [data for _, kind, data in told["told"] if kind == "message"]
    assert messages == list(itertools.chain.from_iterable((f"90{key:02x}64", f"80{key:02x}40") for key in SCALE))
    assert heard(share, "scale.wav") == pytest.approx(SCALE, abs=OFF)
    assert told["problem"] == ""
    assert told["card"]["losses"] == told["keyboard"]["overruns"] == told["keyboard"]["not_copied"] == 0


def test_a_keyboard_that_is_pulled_falls_silent_and_plays_again(machine: Machine, share: Path) -> None:
    told = machine.call("engine.pulled", held=[60, 64, 67], held_s=2.0)
    ours = [(kind, data) for _, kind, data in told["told"] if kind == "message" or "Rig Keyboard" in data]
    name = ("plugged", "Rig Keyboard: Rig Keyboard MIDI 1")
    assert ours == [name, *[("message", f"90{key:02x}64") for key in (60, 64, 67)],
                    *[("message", f"80{key:02x}40") for key in (60, 64, 67)], ("unplugged", name[1]),
                    name, ("message", "903c64"), ("message", "803c40")]
    assert told["voices"] == 0
    assert 0 < told["sounding_s"] < told["pulled_s"]
    assert told["heard_s"] - told["pulled_s"] < SILENT_S[machine.slow == 1]
    assert heard(share, "again.wav") == pytest.approx([60], abs=OFF)


# --- the panel

def test_encoders_and_buttons_are_felt_through_the_real_pins(machine: Machine) -> None:
    turns = [[0, 3], [1, -2], [2, 1], [3, -3]]
    told = machine.call("panel.hands", turns=turns, each_s=0.2)
    steps = [[encoder, steps] for what, encoder, steps in told["told"] if what == "turned"]
    assert steps == [[encoder, 1 if detents > 0 else -1] for encoder, detents in turns for _ in range(abs(detents))]
    pressed = [event for event in told["told"] if event[0] == "pressed"]
    assert pressed == [["pressed", button, long] for button in BUTTONS for long in (False, True)]
    assert len(told["told"]) == len(steps) + len(pressed)  # no knob moves where there is no converter
    assert told["lamp"] == [True, False]
    assert all("SPI" in line or "I2C" in line for line in told["problems"])  # which cannot be simulated


# --- the daemon, as its unit runs it

@pytest.fixture(scope="module")
def box(machine: Machine, share: Path) -> Machine:
    """It plays the first shipped preset, of which a pitch is baked: where all is emulated, decoding takes minutes."""
    first = Preset.read(FACTORY / "first.tetrad")
    synth = {**first.synth, "transpose_semitones": TRANSPOSED, "release_ms": 50}
    pushed = replace(first, name="Pushed", synth=Synth(**synth))
    pushed.write(share / "out" / "pushed.tetrad")
    (share / "out" / "state").mkdir()
    (share / "out" / "state" / state.FILE).write_bytes(state.State(x=1.0, y=0.0).to_bytes())  # the flute's corner
    decoder, cache = Decoder(), BankCache(share / "out" / "state" / "banks", 1 << 30)
    for preset in (first, pushed):
        bake(preset, decoder, cache.open(preset, decoder.id, GRID).directory, [60])
    machine.call("box.start", timeout_s=60)
    return machine


def test_the_daemon_plays_a_scale(box: Machine, share: Path) -> None:
    box.call("box.wait_until_said", words="first plays", seconds=60 * box.slow, timeout_s=61)
    box.call("box.scale", name="daemon.wav", played=SCALE, held_s=HELD_S, gap_s=GAP_S)
    assert heard(share, "daemon.wav") == pytest.approx(SCALE, abs=OFF)


def test_the_daemon_falls_silent_when_the_keyboard_is_pulled_and_is_not_restarted(box: Machine) -> None:
    before = box.call("box.process")
    told = box.call("box.pulled", held=[60, 64, 67], held_s=2.0)
    assert 0 < told["sounding_s"] < told["pulled_s"]
    assert told["heard_s"] - told["pulled_s"] < SILENT_S[box.slow == 1]
    after = box.call("box.process")
    assert (after["ActiveState"], after["MainPID"]) == ("active", before["MainPID"])
    assert after["NRestarts"] == "0"
    assert [line for line in box.call("box.log") if "is gone" in line and "Rig Keyboard" in line]


def test_a_preset_that_smpmgr_pushes_sounds(box: Machine, share: Path) -> None:
    box.call("box.wait_until_said", words="served on /dev/ttyGS0", seconds=60 * box.slow, timeout_s=61)
    box.call("box.push", file="pushed.tetrad", name="pushed", timeout_s=60)
    assert box.call("box.own_presets") == ["pushed.tetrad"]
    assert box.call("box.tetrad", words=["select", "pushed"], timeout_s=60) == {"selected": "pushed"}
    box.call("box.wait_until_said", words="pushed plays", seconds=60 * box.slow, timeout_s=61)
    box.call("box.scale", name="pushed.wav", played=SCALE, held_s=HELD_S, gap_s=GAP_S)
    assert heard(share, "pushed.wav") == pytest.approx([key + TRANSPOSED for key in SCALE], abs=OFF)


def test_the_serial_line_comes_back_with_its_cable(box: Machine) -> None:
    process = box.call("box.process")["MainPID"]
    box.call("box.pull_cable")
    presets = box.call("box.tetrad", words=["list"], timeout_s=60)["presets"]
    assert {preset["name"]: preset["shipped"] for preset in presets}["pushed"] is False
    assert box.call("box.process")["MainPID"] == process


def test_an_encoder_changes_what_the_daemon_plays(box: Machine) -> None:
    assert box.call("box.corners") == [None] * 4
    changed = box.call("box.turned", encoder=1, seconds=20 * box.slow, timeout_s=21)
    assert [number for number, corner in enumerate(changed) if corner] == [1]


def test_holding_the_shutdown_button_switches_the_machine_off(box: Machine) -> None:
    assert box.call("box.process")["NRestarts"] == "0"
    box.begin("panel.press", button="shutdown", seconds=3.0)
    assert box.wait(60) == 0
