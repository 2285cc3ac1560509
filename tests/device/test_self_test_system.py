"""The self-test of the machine: power, heat, disk, rights, decoder, serial line."""

import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from self_testing import QUIET, checked, own_programs, pretend_pi, program, two_ends

from device.box import self_test_system
from device.box.self_test_bench import FAILED, NOT_HERE, OK
from device.box.settings import Audio, Decoding, Serial
from device.model_file import FACTORY_DECODER

on_a_pi = pytest.fixture(pretend_pi)
programs = pytest.fixture(own_programs)
terminals = pytest.fixture(two_ends)


# --- The machine.

@pytest.mark.parametrize(("word", "state", "said"), [
    ("0", OK, "no under-voltage"), ("50005", FAILED, "under-voltage now, throttled now (0x50005): take a supply"),
    ("10000", FAILED, "under-voltage since the start (0x10000): take a supply of 5.1 V"),
    ("80008", FAILED, "at its soft limit of temperature now (0x80008): give it a heat sink"),
    ("20000", FAILED, "its clock is held down since the start")])
def test_power(tmp_path, monkeypatch, programs, word, state, said):
    file = tmp_path / "get_throttled"
    file.write_text(f"{word}\n")
    monkeypatch.setattr(self_test_system, "THROTTLED", file)
    verdict = checked(tmp_path, "power")
    assert (verdict.state, verdict.text[:len(said)]) == (state, said)
    file.unlink()
    program(programs, "vcgencmd", f"echo throttled=0x{word}")
    assert checked(tmp_path, "power") == verdict


def test_power_where_there_is_no_firmware(tmp_path, programs):
    assert checked(tmp_path, "power").state == NOT_HERE
    program(programs, "vcgencmd", "echo 'VCHI initialization failed'; exit 1")
    assert checked(tmp_path, "power").state == NOT_HERE


@pytest.mark.parametrize(("millis", "state"), [("51234", OK), ("81000", FAILED), (None, NOT_HERE)])
def test_temperature(tmp_path, monkeypatch, millis, state):
    file = tmp_path / "temp"
    if millis:
        file.write_text(millis)
    monkeypatch.setattr("device.box.report.THERMOMETER", file)
    verdict = checked(tmp_path, "temperature")
    assert verdict.state == state
    assert millis is None or verdict.text.startswith(f"{millis[:2]} °C")


def test_disk(tmp_path, monkeypatch):
    assert checked(tmp_path, "disk").text.startswith(f"{tmp_path} can be written")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    verdict = checked(tmp_path, "disk", folder=tmp_path / "file" / "state")
    assert verdict.state == FAILED
    assert "cannot be written" in verdict.text
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=150 << 20))
    assert checked(tmp_path, "disk").text.startswith(f"150 MB are free in {tmp_path}, 200 are wanted")


def test_real_time(tmp_path, monkeypatch, programs):
    program(programs, "systemctl", "echo 0")
    asked = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda *words: asked.append(words[1]))
    assert checked(tmp_path, "real time").text == "SCHED_FIFO 60 is allowed"
    assert asked == [os.SCHED_FIFO]

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    verdict = checked(tmp_path, "real time")
    assert verdict.state == FAILED
    assert "/etc/security/limits.d/audio.conf" in verdict.text
    assert f"(limit {resource.getrlimit(resource.RLIMIT_RTPRIO)[0]})" in verdict.text
    program(programs, "systemctl", 'test "$*" = "show tetrad --property=LimitRTPRIO --value" && echo 95')
    assert "LimitRTPRIO=95" in checked(tmp_path, "real time").text
    settings = replace(QUIET, audio=Audio(device="null", priority=0))
    assert checked(tmp_path, "real time", settings).state == NOT_HERE


def test_the_threads_of_the_test_keep_their_own_priority(tmp_path):
    checked(tmp_path, "real time")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


# --- Decoder.

def test_the_decoder_says_where_it_runs_and_how_fast(tmp_path):
    verdict = checked(tmp_path, "decoder")
    assert verdict.state == OK
    words = verdict.text.split()
    assert words[0] == "CPU,"
    assert float(words[1]) > 1
    assert verdict.text.endswith("no Edge TPU: there is no model compiled for it beside the decoder")


def test_an_edge_tpu_that_does_not_answer_leaves_the_cpu(tmp_path):
    shutil.copy(FACTORY_DECODER, tmp_path / "decoder.tflite")
    (tmp_path / "decoder_edgetpu.tflite").write_bytes(b"nothing")
    settings = replace(QUIET, decoding=Decoding(decoder=str(tmp_path / "decoder.tflite")))
    verdict = checked(tmp_path, "decoder", settings)
    assert verdict.state == OK
    assert verdict.text.startswith("CPU, ")
    assert "; Edge TPU: " in verdict.text


def test_a_decoder_that_cannot_be_used(tmp_path):
    (tmp_path / "broken.tflite").write_bytes(b"nothing")
    settings = replace(QUIET, decoding=Decoding(decoder=str(tmp_path / "broken.tflite"), edge_tpu=False))
    verdict = checked(tmp_path, "decoder", settings)
    assert verdict.state == FAILED
    assert "broken.tflite" in verdict.text


# --- Serial line.

def on_port(port):
    return replace(QUIET, serial=Serial(ports=(port,)))


def test_a_serial_port_opens(tmp_path, terminals):
    port = os.ttyname(terminals[1])
    assert checked(tmp_path, f"serial line {port}", on_port(port)).state == OK


def test_a_serial_port_that_is_not_there(tmp_path):
    verdict = checked(tmp_path, "serial line /dev/ttyUSB77", on_port("/dev/ttyUSB77"))
    assert verdict.state == FAILED
    assert "[serial] ports" in verdict.text


def test_a_file_is_no_serial_port(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert checked(tmp_path, f"serial line {file}", on_port(str(file))).state == FAILED


def test_a_serial_port_that_another_program_has(tmp_path, terminals):
    import serial

    port = os.ttyname(terminals[1])
    with serial.Serial(port, exclusive=True):
        verdict = checked(tmp_path, f"serial line {port}", on_port(port))
    assert verdict.state == FAILED
    assert "another program has it" in verdict.text


@pytest.mark.skipif(Path("/dev/ttyGS0").exists(), reason="this is a USB device")
def test_the_usb_gadget(tmp_path, monkeypatch, on_a_pi):
    port = on_port("/dev/ttyGS0")
    monkeypatch.setattr(self_test_system, "CONTROLLERS", tmp_path / "udc")
    for part in ("serial line /dev/ttyGS0", "USB gadget"):
        verdict = checked(tmp_path, part, port)
        assert verdict.state == FAILED
        assert "dtoverlay=dwc2" in verdict.text
    controller = tmp_path / "udc" / "fe980000.usb"
    controller.mkdir(parents=True)
    (controller / "state").write_text("not attached\n")
    assert "sudo systemctl start tetrad-gadget" in checked(tmp_path, "serial line /dev/ttyGS0", port).text
    assert checked(tmp_path, "USB gadget", port).state == NOT_HERE
    (controller / "state").write_text("configured\n")
    assert checked(tmp_path, "USB gadget", port).state == OK


@pytest.mark.skipif(Path("/dev/ttyGS0").exists(), reason="this is a USB device")
def test_the_usb_gadget_is_not_expected_of_a_laptop(tmp_path):
    assert checked(tmp_path, "serial line /dev/ttyGS0", on_port("/dev/ttyGS0")).state == NOT_HERE
    assert checked(tmp_path, "USB gadget", on_port("/dev/ttyGS0")) is None
