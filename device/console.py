"""What commands print: progress on stderr, results on stdout, as text or as one line of JSON."""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


def add_json_option(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON")


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A type for argparse: whole numbers from low to high; anything else is bad use."""

    def whole(argument: str) -> int:
        if not argument.isdecimal() or not low <= int(argument) <= high:
            raise ArgumentTypeError(f"{argument!r} is no whole number from {low} to {high}")
        return int(argument)

    return whole


def report(args: Namespace, result: Mapping[str, object]) -> None:
    """Prints a command's result: one JSON object on a line with `--json`, else a line `key: value` for each entry."""
    if getattr(args, "json", False):
        print(json.dumps(result))
        return
    for key, value in result.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        shown = ", ".join(f"{one:.4g}" if isinstance(one, float) else str(one) for one in values)
        print(f"{key.replace('_', ' ')}: {shown}")


def note(text: str) -> None:
    """A line for a person who waits."""
    print(f"tetrad: {text}", file=sys.stderr)


class Bar:
    """One progress bar; `advance` moves it, `note` changes the words behind it."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: float = 1) -> None:
        self._progress.advance(self._task, steps)

    def note(self, text: str) -> None:
        self._progress.update(self._task, note=text)


@contextmanager
def progress(description: str, total: float) -> Iterator[Bar]:
    """A bar on stderr, with count and time left; nothing is drawn where stderr is no terminal."""
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
               TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        yield Bar(bars, bars.add_task(description, total=total, note=""))
