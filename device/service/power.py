"""Switching the machine off, for a box that has no right to: it makes a file that systemd waits for.

tetrad-poweroff.path waits for it, tetrad-poweroff.service does it: neither D-Bus, polkit nor sudo is needed.
"""

import os
from pathlib import Path


def power_off(folder: Path | None = None) -> bool:
    """Asks for it. Whether there is somebody to ask: not on a laptop, where the box was not started by systemd.

    folder: the unit's RuntimeDirectory, which systemd names. What is to be saved must be saved; the box goes on until
    systemd stops it, within a moment.
    """
    named = os.environ.get("RUNTIME_DIRECTORY", "")
    if folder is None and not named:
        return False
    try:
        ((folder or Path(named)) / "poweroff").touch()
    except OSError:
        return False
    return True
