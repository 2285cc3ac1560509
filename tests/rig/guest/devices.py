"""The box's devices as the kernel simulates them: sound card, keyboard, serial line, pins, disk.

    sound card     snd-aloop: what is played on hw:Loopback,0,0 is recorded from hw:Loopback,1,0
    keyboard       a USB-MIDI gadget on a USB controller that is plugged into itself (dummy_hcd)
    USB            the box's own gadget (device/service/gadget) on another such: its ttyGS0 is the computer's ttyACM0
    pins           gpio-sim: 54 lines, named as a Raspberry Pi 4's; a contact is a line's pull
    disk           /dev/vdb, where there is one: what the box writes, which outlives a power cut

ALSA's sequencer is not loaded: on the Raspberry Pi, too, the first who opens it does that.
"""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

GADGETS = Path("/sys/kernel/config/usb_gadget")
PINS = Path("/sys/kernel/config/gpio-sim/pins")
STATE = Path("/var/lib/tetrad")
DISK = Path("/dev/vdb")
KEYBOARD, KEYBOARDS_CONTROLLER = "RigKeys", 1  # the gadget side's name; the box has the first controller
CHIP = "pinctrl-bcm2711"  # a Raspberry Pi 4's
LINES = 54


def set_up() -> None:
    """The box's service is installed (/rig/root), and a USB device controller has it make its own gadget."""
    run("cp -r /rig/root/. / && systemd-sysusers tetrad.conf && systemctl daemon-reload && udevadm control --reload")
    run("modprobe -a snd-aloop snd-usb-audio cdc-acm dummy_hcd libcomposite gpio-sim")
    (PINS / "bank").mkdir(parents=True)
    (PINS / "bank/num_lines").write_text(str(LINES))
    (PINS / "bank/label").write_text(CHIP)
    (PINS / "live").write_text("1")
    make_gadget("keyboard", "midi.usb0", "Rig Keyboard", {"id": KEYBOARD, "in_ports": "1", "out_ports": "1"})
    plug("keyboard", KEYBOARDS_CONTROLLER)
    if DISK.exists():
        STATE.mkdir(parents=True, exist_ok=True)
        run(f"mount -t ext4 -o noatime {DISK} {STATE}")
    wait_for(Path("/dev/ttyACM0").exists, "the serial line")


def run(command: str) -> str:
    """What it says. Raises RuntimeError where it fails."""
    ran = subprocess.run(command, shell=True, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{command}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}")
    return ran.stdout + ran.stderr


def wait_for(ready: Callable[[], object], what: str, seconds: float = 60.0, every_s: float = 0.01) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(every_s)


# --- USB

def make_gadget(name: str, function: str, product: str, attributes: dict[str, str] | None = None) -> None:
    """A USB device of one function, not plugged in."""
    gadget = GADGETS / name
    for folder in ("strings/0x409", "configs/c.1", f"functions/{function}"):
        (gadget / folder).mkdir(parents=True)
    for attribute, value in (attributes or {}).items():
        (gadget / "functions" / function / attribute).write_text(value)
    (gadget / "idVendor").write_text("0x1d6b")  # the Linux Foundation's, for its gadgets
    (gadget / "idProduct").write_text("0x0104")
    (gadget / "strings/0x409/product").write_text(product)
    (gadget / "configs/c.1" / function).symlink_to(gadget / "functions" / function)


def plug(name: str, controller: int) -> None:
    (GADGETS / name / "UDC").write_text(f"dummy_udc.{controller}")


def pull(name: str) -> None:
    (GADGETS / name / "UDC").write_text("\n")


# --- pins

def close_contact(bcm: int, closed: bool) -> None:
    """A contact to ground at a pin that is pulled up."""
    line = next(Path("/sys/devices/platform").glob(f"gpio-sim.*/gpiochip*/sim_gpio{bcm}"))
    (line / "pull").write_text("pull-down" if closed else "pull-up")


def output(bcm: int) -> bool:
    """What a pin is driven to."""
    line = next(Path("/sys/devices/platform").glob(f"gpio-sim.*/gpiochip*/sim_gpio{bcm}"))
    return (line / "value").read_text().strip() == "1"


# --- what is told of them

def names() -> dict[str, object]:
    """What a Raspberry Pi's programs would find."""
    products = [path.read_text().strip() for path in Path("/sys/bus/usb/devices").glob("*-*/product")]
    return {"cards": Path("/proc/asound/cards").read_text(), "products": sorted(products),
            "chips": [label.read_text().strip() for label in PINS.glob("*/label")]}

