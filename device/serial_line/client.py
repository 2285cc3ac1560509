"""`tetrad push`, `pull`, `list`, `select`, `rename`, `remove` and `status`: a box's presets, from a computer."""

import asyncio
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from device import console, files
from device.box.store import NAME, NAME_RULE
from device.errors import TetradError
from device.preset import MAX_FILE_BYTES, Preset

if TYPE_CHECKING:  # smpclient is slow to import, and `--help` needs none of it
    from device.serial_line.link import Caller, Link

PRODUCT = "Tetrad"  # what the box calls itself on USB
MAX_KEY_BYTES = 1_024

Result = TypeVar("Result")


def push_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("presets", nargs="+", type=Path, metavar="P.tetrad")
    parser.add_argument("--name", help="the preset's name on the box; the file's unless given")
    parser.add_argument("--select", action="store_true", help="play it, of several the last")
    _add_line_options(parser)

    def run(args: Namespace) -> None:
        if args.name is not None and len(args.presets) > 1:
            parser.error("--name is for one preset")
        names = [_name(args.name or path.stem) for path in args.presets]
        files.refuse_twins(names, "presets")
        sent = [_read(path) for path in args.presets]

        async def push(caller: "Caller") -> None:
            with console.progress("sending", sum(map(len, sent))) as bar:
                for name, data in zip(names, sent, strict=True):
                    bar.note(name)
                    await caller.push(name, data, bar.advance)
            if args.select:
                await caller.call(lambda link: link.ask("select", name=names[-1]))

        _run(args, push)
        console.report(args, {"presets": names, "bytes": sum(map(len, sent))})

    return run


def pull_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("name")
    parser.add_argument("--out", required=True, type=Path, help="the file to write, P.tetrad")
    _add_line_options(parser)

    def run(args: Namespace) -> None:
        name = _name(args.name)

        async def pull(caller: "Caller") -> bytes:
            total_bytes = await caller.size(name)
            with console.progress("fetching", total_bytes) as bar:
                return await caller.pull(name, total_bytes, bar.advance)

        data = _run(args, pull)
        with files.atomic(args.out) as file:
            file.write(data)
        console.report(args, {"file": str(args.out), "bytes": len(data)})

    return run


def list_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    _add_line_options(parser)

    def run(args: Namespace) -> None:
        presets, selected = _run(args, lambda caller: caller.call(_list))
        if args.json:
            console.report(args, {"selected": selected, "presets": presets})
            return
        for preset in presets:
            mark, kind = "*" if preset["name"] == selected else " ", "shipped" if preset["shipped"] else "own"
            print(f"{mark} {preset['name']:<48} {preset['bytes']:>9} {kind}")

    return run


def select_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("name")
    _add_line_options(parser)

    def run(args: Namespace) -> None:
        name = _name(args.name)
        _run(args, lambda caller: caller.call(lambda link: link.ask("select", name=name)))
        console.report(args, {"selected": name})

    return run


def rename_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("old")
    parser.add_argument("new")
    _add_line_options(parser)

    def run(args: Namespace) -> None:
        old, new = _name(args.old), _name(args.new)
        _run(args, lambda caller: caller.call(lambda link: link.ask("rename", name=old, to=new), tries=1))
        console.report(args, {"renamed": old, "to": new})

    return run


def remove_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("name")
    _add_line_options(parser)

    def run(args: Namespace) -> None:
        name = _name(args.name)
        _run(args, lambda caller: caller.call(lambda link: link.ask("remove", name=name), tries=1))
        console.report(args, {"removed": name})

    return run


def status_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    _add_line_options(parser)

    def run(args: Namespace) -> None:
        async def status(link: "Link") -> dict[str, object]:
            return {**await link.ask("status"), **await link.ask("progress")}

        console.report(args, _run(args, lambda caller: caller.call(status)))

    return run


async def _list(link: "Link") -> tuple[list, str]:
    """The presets, page by page, and the name of the one that plays."""
    presets: list = []
    while True:
        page = await link.ask("list", off=len(presets))
        found, total = page.get("presets"), page.get("total")
        if not isinstance(found, list) or not isinstance(total, int):
            raise TetradError("what answers is no Tetrad, or one of another version")
        presets += found
        if not found or len(presets) >= total:
            return presets, str(page.get("selected"))


def _add_line_options(parser: ArgumentParser) -> None:
    parser.add_argument("--port", help="its serial port, such as /dev/ttyACM0; the one Tetrad on USB unless given")
    parser.add_argument("--baud", type=console.whole_number(1_200, 4_000_000), default=115_200, metavar="HZ",
                        help="the port's speed, where it is no USB (115200)")
    parser.add_argument("--key-file", type=Path, metavar="F",
                        help="a file with the box's pairing key; else it is taken from the variable TETRAD_KEY")
    console.add_json_option(parser)


def _run(args: Namespace, action: "Callable[[Caller], Awaitable[Result]]") -> Result:
    from device.serial_line.link import Caller

    key = os.environ.get("TETRAD_KEY", "")
    if args.key_file is not None:
        try:
            key = files.read_whole(args.key_file, MAX_KEY_BYTES).decode().strip()
        except UnicodeDecodeError as error:
            raise TetradError(f"{args.key_file} is no key: it is not text") from error
    port = args.port or find_port()

    async def run() -> Result:
        return await action(Caller(port, key, args.baud))

    return asyncio.run(run())


def find_port() -> str:
    """The port of the one box on USB. Raises TetradError where there is none, or several."""
    from serial.tools import list_ports

    found = sorted(port.device for port in list_ports.comports() if PRODUCT in (port.product or ""))
    if len(found) == 1:
        return found[0]
    if found:
        raise TetradError(f"there are several boxes, at {', '.join(found)}: name one with --port")
    raise TetradError("there is no box on USB: connect it, or name its serial port with --port")


def _read(path: Path) -> bytes:
    data = files.read_whole(path, MAX_FILE_BYTES)
    Preset.from_bytes(data, str(path))
    return data


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise TetradError(f"{text[:64]!r} is no name for a preset: give one of {NAME_RULE}")
    return text
