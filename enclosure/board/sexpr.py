"""KiCad's files are nested lists in brackets; here they are Python's lists, with bare words and quoted strings."""

import re
from collections.abc import Iterator
from typing import Any

Node = list[Any]  # of words, strings, numbers and nodes; the first is its name

_TOKEN = re.compile(r'\s*(?:([()])|"((?:[^"\\]|\\.)*)"|([^\s()"]+))')
_LINE = 110  # a list that fits so many columns stands on one line


class Quoted(str):
    """A string that KiCad puts in quotes."""

    __slots__ = ()


def parse(text: str) -> Node:
    """The one list that a file is."""
    stack: list[Node] = [[]]
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise ValueError(f"not a KiCad file: {text[position:position + 20]!r}")
        position = match.end()
        bracket, quoted, word = match.groups()
        if bracket == "(":
            stack.append([])
        elif bracket == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(word if quoted is None else Quoted(re.sub(r"\\(.)", r"\1", quoted)))
    if len(stack) != 1 or len(stack[0]) != 1:
        raise ValueError("not a KiCad file: its brackets do not match")
    return stack[0][0]


def text(node: Node, depth: int = 0) -> str:
    """A list as KiCad reads it, with a tab for each bracket that is open."""
    line = _flat(node)
    if len(line) + 4 * depth <= _LINE:
        return "\t" * depth + line
    head = [item for item in node if not isinstance(item, list)]
    inner = [text(item, depth + 1) for item in node if isinstance(item, list)]
    indent = "\t" * depth
    return f"{indent}({' '.join(map(_atom, head))}\n" + "\n".join(inner) + f"\n{indent})"


def _flat(node: Node) -> str:
    return f"({' '.join(_flat(item) if isinstance(item, list) else _atom(item) for item in node)})"


def _atom(item: object) -> str:
    if isinstance(item, Quoted):
        escaped = item.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, float):
        return number(item)
    return str(item)


def number(value: float) -> str:
    """At most four digits behind the point, a tenth of a micrometre, and never a minus zero."""
    return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) >= 5e-5 else "0"


def children(node: Node, name: str) -> Iterator[Node]:
    return (item for item in node if isinstance(item, list) and item and item[0] == name)


def child(node: Node, name: str) -> Node:
    """The first list of that name; KeyError where there is none."""
    for found in children(node, name):
        return found
    raise KeyError(name)
