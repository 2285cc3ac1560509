"""Puts the service's files in place and has the system use them, or takes that back, for install.sh and the package.

    python -m device.service.setup place|configure|unconfigure|unplace [--root DIR]

`place` copies files, as a package has them; `configure` is what a package does when it is installed: users, boot files,
what starts by itself. Everything may be said twice. Below another root than / nothing is started, stopped or reloaded.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from device import files
from device.box import settings
from device.errors import TetradError
from device.service import boot
from device.service.environment import exit_code

HERE = Path(__file__).parent
UNITS = "usr/lib/systemd/system"


@dataclass(frozen=True)
class Placed:
    """A file of this folder, where it goes below the root, and its mode."""

    source: str
    target: str
    mode: int = 0o644


FILES = (
    Placed("tetrad.service", UNITS),
    Placed("tetrad-gadget.service", UNITS),
    Placed("tetrad-poweroff.path", UNITS),
    Placed("tetrad-poweroff.service", UNITS),
    Placed("70-tetrad.rules", "usr/lib/udev/rules.d"),
    Placed("tetrad.conf", "usr/lib/sysusers.d"),
    Placed("gadget", "usr/lib/tetrad", 0o755),
)
LINK, COMMAND = "usr/bin/tetrad", "/opt/tetrad/bin/tetrad"
SETTINGS = "etc/tetrad.toml"
ENABLED = ("tetrad.service", "tetrad-poweroff.path")


def place(root: Path) -> None:
    """Copies FILES, makes the command's link, and writes the settings' file where there is none."""
    for file in FILES:
        _copy(HERE / file.source, root / file.target / file.source, file.mode)
    link = root / LINK
    if not link.is_symlink() or os.readlink(link) != COMMAND:
        files.make_folder(link.parent)
        link.unlink(missing_ok=True)
        link.symlink_to(COMMAND)
    if not (root / SETTINGS).exists():
        files.make_folder((root / SETTINGS).parent)
        with files.atomic(root / SETTINGS) as out:
            out.write(settings.as_file(settings.Settings()).encode())
        (root / SETTINGS).chmod(0o644)


def unplace(root: Path) -> None:
    """Removes what `place` made; settings only where nobody changed them. Presets, in /var/lib/tetrad, stay."""
    for file in FILES:
        (root / file.target / file.source).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (root / "usr/lib/tetrad").rmdir()
    if (root / LINK).is_symlink() and os.readlink(root / LINK) == COMMAND:
        (root / LINK).unlink()
    with contextlib.suppress(TetradError):  # there is none
        if files.read_whole(root / SETTINGS, settings.MOST_BYTES) == settings.as_file(settings.Settings()).encode():
            (root / SETTINGS).unlink()


def configure(root: Path) -> None:
    """Makes the user and the groups, edits the boot files, and has the service start with the machine."""
    below = [] if _is_running(root) else [f"--root={root}"]
    _call("systemd-sysusers", *below, "tetrad.conf")
    changed = boot.edit(root)
    _call("systemctl", *below, "--quiet", "enable", *ENABLED)
    if _is_running(root):
        _call("systemctl", "daemon-reload")
        _call("udevadm", "control", "--reload")
        _call("systemctl", "--no-block", "try-restart" if changed else "restart", "tetrad.service")
    print("start the machine anew: then it is a Tetrad" if changed else "Tetrad is installed")


def unconfigure(root: Path) -> None:
    """Stops the service for good and gives the boot files back. The user stays, as what it owns does."""
    below = [] if _is_running(root) else [f"--root={root}"]
    stopped = ["--now"] if _is_running(root) else []
    if (root / UNITS / ENABLED[0]).exists():
        _call("systemctl", *below, "--quiet", *stopped, "disable", *ENABLED)
    if _is_running(root):
        _call("systemctl", "stop", "tetrad-gadget.service")
    boot.restore(root)


def _is_running(root: Path) -> bool:
    """Whether `root` is the system that runs here, under systemd."""
    return root == Path("/") and Path("/run/systemd/system").is_dir()


def _copy(source: Path, target: Path, mode: int) -> None:
    files.make_folder(target.parent)
    with open(source, "rb") as data, files.atomic(target) as out:
        shutil.copyfileobj(data, out)
    target.chmod(mode)


def _call(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise TetradError(f"{command[0]} is not there: the box needs systemd, as Raspberry Pi OS has it") from error
    except subprocess.CalledProcessError as error:
        told = " ".join(error.stderr.split()) or f"it ended with {error.returncode}"
        raise TetradError(f"{' '.join(command)}: {told}") from error


STEPS: dict[str, Callable[[Path], None]] = {
    "place": place, "configure": configure, "unconfigure": unconfigure, "unplace": unplace}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="device.service.setup")
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="the system's root folder (/)")
    args = parser.parse_args(argv)
    return exit_code(lambda: STEPS[args.step](args.root.resolve()))


if __name__ == "__main__":
    sys.exit(main())
