"""Checks of the rest of the machine: serial line, decoder, disk, power, temperature, rights."""

import errno
import os
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from device import files
from device.box.decoder_process import CPU, TPU, DecoderProcess, Fault, Options, Work
from device.box.decoding import WITHIN_S, can_use_edge_tpu
from device.box.report import temperature_c
from device.box.self_test_bench import Bench, Verdict, failed, not_here, ok
from device.errors import TetradError
from device.panel.parts import is_raspberry_pi
from device.preset import CORNERS, FACTORY_PRESET, SAMPLE_RATE_HZ, Preset
from device.serial_line.line import Line

GADGET_PORT = "/dev/ttyGS0"
CONTROLLERS = Path("/sys/class/udc")
LEAST_FREE_BYTES = 200 << 20  # a handful of decoded presets
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
SUPPLY = "take a supply of 5.1 V and 3 A with a short cable of its own (27 W on a Pi 5)"
COOL = "give it a heat sink and air"
POWER_BITS = {  # of the firmware's word: now, and 16 higher since it was started
    0: ("under-voltage", SUPPLY), 1: ("its clock is held down", COOL), 2: ("throttled", COOL),
    3: ("at its soft limit of temperature", COOL)}
SINCE = 16
HOTTEST_C = 80.0  # where a Raspberry Pi becomes slower
SERVICE = "tetrad"


# --- Serial line.

def serial_port(bench: Bench, port: str) -> Verdict | None:
    try:
        Line(port, bench.settings.serial.baud_hz).close()
    except (OSError, ValueError) as error:  # SerialException is an OSError
        number = getattr(error, "errno", None)
        if port == GADGET_PORT and number == errno.ENOENT:
            return failed(_no_gadget()) if is_raspberry_pi() else not_here(f"{port}: no Raspberry Pi")
        todo = {errno.ENOENT: "plug its cable in, or name another in [serial] ports",
                errno.EACCES: "sudo adduser $USER dialout, and log in again",
                errno.EAGAIN: "another program has it: stop that"}.get(number or 0, "name another in [serial] ports")
        return failed(f"{os.strerror(number) if number else error}: {todo}")
    return ok("opens")


def _no_gadget() -> str:
    if any(CONTROLLERS.glob("*")):
        return f"{GADGET_PORT} is not there: sudo systemctl start tetrad-gadget"
    return (f"{GADGET_PORT} is not there: /boot/firmware/config.txt needs dtoverlay=dwc2 and a new start "
            "(docs/service.md); where the USB port takes keyboards, set [serial] ports to others or to []")


def gadget(bench: Bench) -> Verdict | None:
    if GADGET_PORT not in bench.settings.serial.ports or not is_raspberry_pi():
        return None
    states = [path.read_text().strip() for path in CONTROLLERS.glob("*/state")]
    if not states:
        return failed(_no_gadget())
    if "configured" in states:
        return ok("a computer sees the box at its USB cable")
    return not_here(f"no computer is at the USB cable ({states[0]})")


# --- Decoder.

def decoder(bench: Bench) -> Verdict | None:
    """One pitch of the factory preset, as the box would decode it: by the Edge TPU, or else by the CPU."""
    given = bench.settings.decoding
    options = Options(Path(given.decoder) if given.decoder else None, given.edge_tpu, given.worker_memory_mb << 20)
    tpu = "" if given.edge_tpu else "; [decoding] edge_tpu is false"
    if can_use_edge_tpu(options):
        try:
            return ok(f"{TPU}, {_speed(options):.0f} times real time")
        except (TetradError, Fault) as error:
            tpu = f"; {TPU}: {error}"
    elif given.edge_tpu:
        tpu = f"; no {TPU}: there is no model compiled for it beside the decoder"
    try:
        speed = _speed(Options(options.decoder, False, options.memory_bytes))
    except (TetradError, Fault) as error:
        return failed(f"{CPU}: {error}; see [decoding], or install it again{tpu}")
    return ok(f"{CPU}, {speed:.1f} times real time{tpu}")


def _speed(options: Options) -> float:
    """Seconds of sound that a second gives. Raises TetradError or Fault."""
    preset = Preset.read(FACTORY_PRESET)
    process = DecoderProcess(options)
    try:
        process.about()
        process.take_preset(preset)
        process.decode(Work(preset.pitches[0], 0), WITHIN_S)  # the first has more to do
        began_s = time.monotonic()
        sounds = process.decode(Work(preset.pitches[1], 0), WITHIN_S).sounds
        return CORNERS * sounds.shape[1] / SAMPLE_RATE_HZ / (time.monotonic() - began_s)
    finally:
        process.kill()


# --- The machine.

def disk(bench: Bench) -> Verdict | None:
    folder = bench.folder
    try:
        files.make_folder(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"tetrad")
            file.flush()
            os.fsync(file.fileno())
        free_mb = shutil.disk_usage(folder).free >> 20
    except (OSError, TetradError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return failed(f"{folder} cannot be written: {why}; see `findmnt -T {folder}` and whose it is, or give --state")
    if free_mb < LEAST_FREE_BYTES >> 20:
        return failed(f"{free_mb} MB are free in {folder}, {LEAST_FREE_BYTES >> 20} are wanted: sudo apt clean, remove "
                      "presets, or take a larger card")
    return ok(f"{folder} can be written, {free_mb} MB are free")


def power(_: Bench) -> Verdict | None:
    word = _throttled()
    if word is None:
        return not_here("no Raspberry Pi's firmware to ask")
    now = [bit for bit in POWER_BITS if word >> bit & 1]
    since = [bit for bit in POWER_BITS if word >> bit + SINCE & 1 and bit not in now]
    if not now and not since:
        return ok("no under-voltage since it was started")
    said = [f"{POWER_BITS[bit][0]} now" for bit in now] + [f"{POWER_BITS[bit][0]} since the start" for bit in since]
    todo = dict.fromkeys(POWER_BITS[bit][1] for bit in (*now, *since))
    return failed(f"{', '.join(said)} ({word:#x}): {'; '.join(todo)}")


def _throttled() -> int | None:
    try:
        return int(THROTTLED.read_text(), 16)
    except (OSError, ValueError):
        pass
    try:
        told = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5).stdout
        return int(told.partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def temperature(_: Bench) -> Verdict | None:
    found_c = temperature_c()
    if not found_c:
        return not_here("no thermometer")
    return ok(f"{found_c:.0f} °C") if found_c < HOTTEST_C else failed(f"{found_c:.0f} °C: {COOL}")


def real_time(bench: Bench) -> Verdict | None:
    """Whether the audio thread may have its priority: by this user, or as the service."""
    priority = bench.settings.audio.priority
    if not priority:
        return not_here("[audio] priority is 0")
    if _may_have(priority):
        return ok(f"SCHED_FIFO {priority} is allowed")
    service = _service_limit()
    if service >= priority:
        return ok(f"SCHED_FIFO {priority} is allowed to the service (LimitRTPRIO={service}), not to this user")
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    return failed(f"SCHED_FIFO {priority} is not allowed (limit {limit}), sound may break off: install the service, or "
                  "put `@audio - rtprio 95` into /etc/security/limits.d/audio.conf and log in again")


def _may_have(priority: int) -> bool:
    """Tried by a thread of its own, which ends with it."""
    found: list[bool] = []

    def attempt() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
            found.append(True)
        except OSError:
            found.append(False)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return found[0]


def _service_limit() -> int:
    told = systemctl("show", SERVICE, "--property=LimitRTPRIO", "--value")
    return int(told) if told.isdecimal() else 0


def service_runs() -> bool:
    return systemctl("is-active", SERVICE) in ("active", "activating", "reloading")


def systemctl(*words: str) -> str:
    """What it says; empty where there is none."""
    try:
        return subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
