"""`tetrad box`: the daemon, on a Pi with its panel, or on a laptop without."""

import logging
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from device.box import settings
from device.panel.events import Panel
from device.panel.parts import is_raspberry_pi

SCRIPTLESS = Path()


def box_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--preset", default="", metavar="P", help="a preset's name or file (that which played last)")
    parser.add_argument("--audio", metavar="DEVICE", help="an ALSA device, auto or null (that of the settings)")
    parser.add_argument("--serial", action="append", metavar="PORT",
                        help="a serial port over which presets come; may be repeated (those of the settings)")
    parser.add_argument("--settings", type=Path, metavar="FILE", help=f"the settings ({settings.SYSTEM_FILE})")
    parser.add_argument("--state", type=Path, metavar="DIR", default=state_folder(),
                        help="the folder of all that the box writes (%(default)s)")
    parser.add_argument("--panel-fake", nargs="?", type=Path, const=SCRIPTLESS, metavar="SCRIPT",
                        help="no parts: a script turns the knobs, see docs/panel.md")
    parser.add_argument("--print-settings", action="store_true",
                        help="check the settings, print a file of them all, and end")

    parser.add_argument("--self-test", action="store_true", help="check every part, a line each, and end")
    parser.add_argument("--quick", action="store_true", help="with --self-test: only what needs no hands")
    parser.add_argument("--json", action="store_true", help="with --self-test: print one line of JSON")

    def run(args: Namespace) -> None:
        if (args.quick or args.json) and not args.self_test:
            parser.error("--quick and --json go with --self-test")
        chosen = settings.read(args.settings).override(args.audio, args.serial)
        if args.print_settings:
            sys.stdout.write(settings.as_file(chosen))
            return
        if args.self_test:
            from device.box import self_test

            self_test.run(chosen, args.state, args.panel_fake, quick=args.quick, as_json=args.json)
            return
        start_logging()
        panel = open_panel(chosen.panel.kind, args.panel_fake)
        from device.box import box  # the engine, and what reads presets

        box.run(chosen, box.Start(args.state, args.preset), panel)
    return run


def state_folder() -> Path:
    """systemd's, or the user's own."""
    if given := os.environ.get("STATE_DIRECTORY", ""):
        return Path(given)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "tetrad"


def is_faked(kind: str, script: Path | None) -> bool:
    """Whether the panel is not the Pi's own."""
    return script is not None or kind == "none" or (kind == "auto" and not is_raspberry_pi())


def open_panel(kind: str, script: Path | None) -> Panel:
    """Raises TetradError where a fake's script cannot be understood."""
    if is_faked(kind, script):
        from device.panel.fake import FakePanel

        return FakePanel(None if script in (None, SCRIPTLESS) else script)
    from device.panel.hardware import PiPanel

    return PiPanel()


class _Lines(logging.Formatter):
    """A line each. To journald with its priority before it (sd-daemon(3)), else with what it is."""

    def __init__(self, to_journal: bool) -> None:
        super().__init__("%(message)s")
        self._to_journal = to_journal

    def format(self, record: logging.LogRecord) -> str:
        text = " ".join(super().format(record).split("\n"))
        if self._to_journal:
            level = 3 if record.levelno >= logging.ERROR else 4 if record.levelno >= logging.WARNING else 6
            return f"<{level}>{text}"
        return f"tetrad: warning: {text}" if record.levelno >= logging.WARNING else f"tetrad: {text}"


def start_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


