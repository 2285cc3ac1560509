"""The daemon, as systemd runs it on a Raspberry Pi: tetrad.service, with its own user and nothing that it needs not."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import devices
import keys
import panel
import sound

PORT = "/dev/ttyACM0"  # the computer's end of the cable; the box's is /dev/ttyGS0
PYTHON = sys.executable
SETTINGS = Path("/etc/tetrad.toml")


def start(settings: str = "") -> list[str]:
    """Until it says that it is ready; what it has said. It finds the state that the test has prepared, and settings
    where it wants others."""
    if settings:
        SETTINGS.write_text(settings)
    elif Path("/rig/out/state").exists():
        devices.run(f"mkdir -p {devices.STATE} && cp -r /rig/out/state/. {devices.STATE}")
    subprocess.run(["systemctl", "start", "tetrad"], check=True)
    return log()


def log() -> list[str]:
    return subprocess.run(["journalctl", "-u", "tetrad", "-o", "cat", "--no-pager"], check=True, capture_output=True,
                          text=True).stdout.splitlines()


def said(words: str) -> bool:
    return any(words in line for line in log())


def wait_until_said(words: str, seconds: float) -> list[str]:
    devices.wait_for(lambda: said(words), words, seconds, every_s=0.3)
    return log()


def process() -> dict[str, str]:
    """How systemd sees it."""
    told = subprocess.run(["systemctl", "show", "tetrad", "-p", "ActiveState,NRestarts,MainPID,StatusText"],
                          check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in told.splitlines())


def scale(name: str, played: list[int], held_s: float, gap_s: float) -> None:
    with sound.Recording(name):
        keys.play(played, held_s, gap_s)
        time.sleep(1)


def pulled(held: list[int], held_s: float) -> dict[str, Any]:
    with sound.Recording("daemon-pulled.wav") as recording:
        keys.hold(held)
        time.sleep(held_s)
        sounding_s = recording.heard_s()
        pulled_s = keys.pull()
        time.sleep(sound.LISTEN_S)
    keys.plug()
    return {"sounding_s": sounding_s, "pulled_s": pulled_s, "heard_s": recording.heard_s()}


def tetrad(words: list[str]) -> Any:
    """A command of ours, on the computer, which finds the box by its USB name; what it tells."""
    ran = subprocess.run(["/opt/tetrad/bin/tetrad", *words, "--json"], capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"tetrad {words}: {ran.stdout}{ran.stderr}")
    return json.loads(ran.stdout)


def smpmgr(*words: str) -> str:
    ran = subprocess.run([PYTHON, "-m", "smpmgr", "--port", PORT, "--timeout", "60", *words], capture_output=True,
                         text=True)
    if ran.returncode:
        raise RuntimeError(f"smpmgr {words}: {ran.stdout}{ran.stderr}")
    return ran.stdout


def push(file: str, name: str) -> str:
    return smpmgr("--line-buffers", "120", "file", "upload", f"/rig/out/{file}", f"/presets/{name}.tetrad")


def pull_cable() -> None:
    """And plugs it in again."""
    devices.run("/usr/lib/tetrad/gadget stop")
    devices.wait_for(lambda: not Path(PORT).exists(), "the computer to lose the box")
    devices.run("/usr/lib/tetrad/gadget start")
    devices.wait_for(Path(PORT).exists, "the computer to find the box")


def own_presets() -> list[str]:
    return sorted(path.name for path in (devices.STATE / "presets").iterdir())


def corners() -> list[Any]:
    """The player's own, as they would be after a power cut."""
    return json.loads((devices.STATE / "state.json").read_text())["corners"]


def turned(encoder: int, seconds: float) -> list[Any]:
    """Corners, when one has changed."""
    panel.turn(encoder, 1, 0.2)
    devices.wait_for(lambda: any(corners()), "another corner", seconds)
    return corners()
