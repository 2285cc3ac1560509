"""What the Pi's firmware and kernel are told: config.txt and cmdline.txt, edited so that it can be taken back.

config.txt gets a marked block at its end; cmdline.txt loses the console on the UART, where DIN MIDI comes in. Beside
each of them is kept how it was.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from device import files
from device.errors import TetradError

FOLDERS = ("boot/firmware", "boot")  # since Bookworm, and before: where there is both, the second's is a note
FIRST_LINE = "# Tetrad's part, which its installer writes and takes away again:"
LAST_LINE = "# the end of Tetrad's part"
BEFORE = ".before-tetrad"
UART_CONSOLE = re.compile(r"console=(serial\d|ttyAMA\d+|ttyS\d+)(,\S*)?")
MOST_BYTES = 65_536  # the firmware reads no longer lines and files

# A port that is a USB device, by the board; a Zero 2 W has just one, which an adapter cable turns to keyboards.
USB_DEVICE = ("[pi4]", "dtoverlay=dwc2,dr_mode=peripheral", "[pi5]", "dtoverlay=dwc2,dr_mode=peripheral",
              "[pi02]", "dtoverlay=dwc2,dr_mode=otg", "[all]")


def wanted_lines() -> list[str]:
    """What a box needs in config.txt: its parts' buses, then the USB port."""
    from device.panel.parts import config_lines

    return ["[all]", *config_lines(), *USB_DEVICE]


def with_block(text: str, lines: Sequence[str]) -> str:
    """`text` with the block at its end; one that was there is gone. without_block takes it back to the letter."""
    return "\n".join((without_block(text), FIRST_LINE, *lines, LAST_LINE, ""))


def without_block(text: str) -> str:
    """Raises TetradError where the block has a beginning without an end."""
    before, first, rest = text.partition(f"\n{FIRST_LINE}\n")
    if not first:
        return text
    _, last, after = rest.partition(f"{LAST_LINE}\n")
    if not last:
        raise TetradError(f"config.txt has the line `{FIRST_LINE}`, but not `{LAST_LINE}` after it: delete what is "
                          "the box's, and install again")
    return before + after


def without_console(text: str) -> str:
    """The kernel's command line without a console on the UART."""
    words = text.split()
    kept = [word for word in words if not UART_CONSOLE.fullmatch(word)]
    return text if kept == words else " ".join(kept) + "\n"


def with_console(text: str, before: str) -> str:
    """`text` with the consoles that `before` had on the UART; `before` itself, where nothing else was changed."""
    if text == without_console(before):
        return before
    there = text.split()
    lost = [word for word in before.split() if UART_CONSOLE.fullmatch(word) and word not in there]
    return " ".join((*lost, *there)) + "\n" if lost else text


def edit(root: Path) -> bool:
    """Edits both files below `root`. Whether anything changed, and so the Pi is to be started anew.

    Where there is no config.txt, as on a PC, there is nothing to do.
    """
    folder = _folder(root)
    if folder is None:
        return False
    config, cmdline = folder / "config.txt", folder / "cmdline.txt"
    changed = _change(config, with_block(_read(config), wanted_lines()))
    if cmdline.exists():
        changed |= _change(cmdline, without_console(_read(cmdline)))
    return changed


def restore(root: Path) -> bool:
    """Takes back what `edit` did, and leaves alone what others did since. Whether anything changed."""
    folder = _folder(root)
    if folder is None:
        return False
    config, cmdline = folder / "config.txt", folder / "cmdline.txt"
    changed = _change_back(config, without_block(_read(config)))
    before = _before(cmdline)
    if cmdline.exists() and before.exists():
        changed |= _change_back(cmdline, with_console(_read(cmdline), _read(before)))
    return changed


def _folder(root: Path) -> Path | None:
    return next((root / folder for folder in FOLDERS if (root / folder / "config.txt").is_file()), None)


def _before(file: Path) -> Path:
    return file.with_name(file.name + BEFORE)


def _read(file: Path) -> str:
    return files.read_whole(file, MOST_BYTES).decode(errors="surrogateescape")


def _write(file: Path, text: str) -> None:
    with files.atomic(file) as out:
        out.write(text.encode(errors="surrogateescape"))


def _change(file: Path, text: str) -> bool:
    """Writes `text` where it is another than is there, and keeps what was there before the first time."""
    there = _read(file)
    if there == text:
        return False
    if not _before(file).exists():
        _write(_before(file), there)
    _write(file, text)
    return True


def _change_back(file: Path, text: str) -> bool:
    changed = _read(file) != text
    if changed:
        _write(file, text)
    if _before(file).exists() and _read(_before(file)) == text:  # else it may still be of use to somebody
        _before(file).unlink()
    return changed
