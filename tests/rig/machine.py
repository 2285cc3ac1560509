"""The virtual machine: it boots the image, calls functions in the guest, and loses its power.

The guest finds the checkout's own code, its scripts (guest/) and room for what it records in a shared folder (9p); its
root forgets everything with the machine. Where KVM does not do QEMU emulates the processor, which is some 100 times
slower for numbers: then all time-outs are `slow` times longer.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Timer
from typing import Any

from disk import Disk
from image import Image, RigError

from device.service import setup
from device.service.environment import COMMAND, own_wheel

GUEST = Path(__file__).with_name("guest")
BOOT_S, CALL_S = 20.0, 20.0
SLOW = 10.0  # times as long, where all is emulated
MACHINE = ("-machine", "q35,sata=off,smbus=off,usb=off", "-m", "2048", "-smp", "2", "-nodefaults", "-no-reboot",
           "-display", "none", "-monitor", "none")
KVM, EMULATED = ("-accel", "kvm", "-cpu", "host"), ("-accel", "tcg,thread=multi", "-cpu", "max")
COMMAND_LINE = ("console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr random.trust_cpu=on tsc=unstable "
                "audit=0 apparmor=0 nowatchdog cryptomgr.notests systemd.show_status=no")
PROBE_S = 15.0
EMULATED_BOOTS = 3  # now and then one fails: two emulated processors disagree on code that the kernel has patched

# Of the box: its settings, and what of its unit is other in the rig, as it is slow and no Raspberry Pi.
SETTINGS = {
    "etc/tetrad.toml": """[audio]
device = "hw:CARD=Loopback,DEV=0"
period_frames = 2048
periods = 4
[panel]
kind = "pi"
""",
    "etc/systemd/system/tetrad.service.d/rig.conf": """[Service]
Environment=RPI_LGPIO_REVISION=c03111 RPI_LGPIO_CHIP=0
TimeoutStartSec=300
WatchdogSec=100
""",
}


@cache
def has_kvm(image: Image) -> bool:
    """Whether the processor itself runs a guest. That there is a /dev/kvm does not say so: where this machine is a
    virtual one, too, it may not know all that a kernel does. So one is booted, without a root: it panics, and ends."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command = ["qemu-system-x86_64", *MACHINE, *KVM, "-kernel", str(image.kernel), "-append", "panic=-1"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as qemu:
        timer = Timer(PROBE_S, qemu.kill)
        timer.start()
        failed = b"KVM" in qemu.stderr.readline()  # it stands still then
        timer.cancel()
        qemu.kill() if failed else qemu.wait()
    return qemu.returncode == 0


def make_share(folder: Path) -> Path:
    """The folder that guests share: the scripts, the checkout as it is installed (`site` its packages, `root` the files
    of its service), and `out` for what is recorded, or brought."""
    folder.chmod(0o755)  # the box's user is to read it
    shutil.copytree(GUEST, folder / "guest", ignore=shutil.ignore_patterns("__pycache__"))
    with tempfile.TemporaryDirectory() as making, zipfile.ZipFile(own_wheel(Path(making), "amd64")) as wheel:
        wheel.extractall(folder / "site")
    setup.place(folder / "root")
    for name, text in SETTINGS.items():
        (folder / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "root" / name).write_text(text)
    command = folder / "root" / "opt/tetrad/bin/tetrad"
    command.parent.mkdir(parents=True)
    command.write_text(COMMAND)
    command.chmod(0o755)
    (folder / "out").mkdir()
    return folder


class Machine:
    """A guest that has booted, with a disk that outlives it, or without. `line` is our end of a UART that is the
    guest's /dev/ttyS1. Raises RigError."""

    def __init__(self, image: Image, share: Path, disk: Disk | None = None) -> None:
        kvm = has_kvm(image)
        self.slow = 1.0 if kvm else SLOW
        self._console = share / "console.log"
        for left in reversed(range(1 if kvm else EMULATED_BOOTS)):
            try:
                self._boot(image, share, KVM if kvm else EMULATED, disk.arguments() if disk else ())
                return
            except RigError as error:
                self.cut()
                if not left or b"Kernel panic" not in self._console.read_bytes():
                    raise
                print(f"rig: {error}", file=sys.stderr)

    def _boot(self, image: Image, share: Path, processor: Sequence[str], disk: Sequence[str]) -> None:
        (self._port, agents), (self.line, uarts) = socket.socketpair(), socket.socketpair()
        command = [
            "qemu-system-x86_64", *MACHINE, *processor, "-serial", f"file:{self._console}",
            "-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", COMMAND_LINE,
            "-drive", f"file={image.root},format=raw,if=none,id=root,snapshot=on",
            "-device", "virtio-blk-pci,drive=root", *disk, "-device", "virtio-rng-pci",
            "-virtfs", f"local,path={share},mount_tag=rig,security_model=none,multidevs=remap",
            "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,fd={agents.fileno()}",
            "-device", "virtserialport,chardev=agent,name=rig",
            "-chardev", f"socket,id=line,fd={uarts.fileno()}", "-serial", "chardev:line"]
        self._qemu = subprocess.Popen(command, pass_fds=[agents.fileno(), uarts.fileno()], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        agents.close()
        uarts.close()
        self._lines = self._port.makefile("rb")
        self._reply(BOOT_S)

    def call(self, function: str, timeout_s: float = CALL_S, **arguments: object) -> Any:
        """What a guest's function, "module.function", returns. RigError where it fails, or takes longer than that."""
        self.begin(function, **arguments)
        reply = self._reply(timeout_s)
        if "error" in reply:
            raise RigError(reply["error"])
        return reply["result"]

    def begin(self, function: str, **arguments: object) -> None:
        """Has a function run, without waiting for it."""
        self._port.sendall(json.dumps({"function": function, "arguments": arguments}).encode() + b"\n")

    def _reply(self, timeout_s: float) -> dict[str, Any]:
        self._port.settimeout(timeout_s * self.slow)
        try:
            line = self._lines.readline()
        except TimeoutError:
            waited_s = timeout_s * self.slow
            raise RigError(f"the guest does not answer within {waited_s:g} s:\n{self._last_words()}") from None
        if not line:
            raise RigError(f"the guest is gone:\n{self._last_words()}")
        return json.loads(line)

    def _last_words(self) -> str:
        """Of QEMU, where it has ended, and of the guest's console."""
        said = self._qemu.stderr.read() if self._qemu.poll() is not None else b""
        console = self._console.read_bytes() if self._console.exists() else b""
        return (said + console)[-3_000:].decode(errors="replace")

    def alive(self) -> bool:
        return self._qemu.poll() is None

    def wait(self, timeout_s: float) -> int:
        """Until the guest has switched itself off; QEMU's exit status."""
        return self._qemu.wait(timeout_s * self.slow)

    def kill(self) -> None:
        """The power fails, from any thread: nothing is told to the guest. What its kernel had not yet written to the
        disk is lost. `cut` is to follow."""
        self._qemu.kill()

    def cut(self) -> None:
        self.kill()
        self._qemu.wait()
        self._lines.close()
        self._port.close()
        self.line.close()
        self._qemu.stderr.close()
