"""Holds a TFLite file against the Edge TPU's rules (`quantize/edgetpu.py`); neither compiler nor stick is needed."""

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from device import console
from device.errors import TetradError
from quantize import cost
from quantize.edgetpu import MEBIBYTE, PARAMETER_LIMIT_BYTES, op_doubts, op_faults, tensor_faults
from quantize.graph import Graph, damage_named, read


@dataclass(frozen=True)
class Problem:
    """Why the file would not map whole; `op` is the operator's index, None where the whole model is meant."""

    op: int | None
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.why}" if self.op is None else f"op {self.op} {self.name}: {self.why}"


@dataclass(frozen=True)
class Report:
    """`problems` is empty where all is expected to map; `doubts` are what no source settles about the ops that passed.
    `ops_on_cpu` counts the first op that does not map and all after it: by default the compiler maps one piece."""

    problems: tuple[Problem, ...]
    doubts: tuple[str, ...]
    ops: dict[str, int]
    ops_on_cpu: int
    size_bytes: int
    parameter_bytes: int
    activation_bytes: int
    arena_bytes: int
    macs: int
    estimate: cost.Estimate

    @property
    def maps(self) -> bool:
        return not self.problems


def check(data: bytes, name: str = "the model") -> Report:
    """What the Edge TPU would make of a TFLite file's bytes; no TensorFlow is needed. Raises TetradError, naming
    `name`, where the bytes are not a whole TFLite file."""
    graph = read(data, name)
    with damage_named(name):
        problems = _problems(graph)
        unmapped = [p.op for p in problems if p.op is not None]
        return Report(
            problems=tuple(problems),
            doubts=tuple(_doubts(graph)),
            ops=dict(Counter(op.name for op in graph.ops).most_common()),
            ops_on_cpu=len(graph.ops) - min(unmapped, default=len(graph.ops)),
            size_bytes=len(data),
            parameter_bytes=cost.parameter_bytes(graph),
            activation_bytes=cost.activation_bytes(graph),
            arena_bytes=cost.arena_bytes(graph),
            macs=cost.macs(graph),
            estimate=cost.estimate(graph),
        )


def _problems(graph: Graph) -> list[Problem]:
    """In the file's order; a tensor is judged once, at the first op that has it."""
    problems = []
    judged: set[int] = set()
    for op in graph.ops:
        reasons = op_faults(graph, op)
        for index in graph.touched(op):
            if index not in judged:
                reasons += tensor_faults(graph.tensors[index])
                judged.add(index)
        problems += [Problem(op.index, op.name, why) for why in reasons]
    if graph.subgraphs != 1:
        problems.append(Problem(None, "model", f"{graph.subgraphs} subgraphs; one may map (log), the first was read"))
    parameters = cost.parameter_bytes(graph)
    if parameters > PARAMETER_LIMIT_BYTES:
        problems.append(Problem(None, "model", f"{parameters / MEBIBYTE:.1f} MiB of parameters, "
                                f"{PARAMETER_LIMIT_BYTES / MEBIBYTE:.1f} fit on the chip (doc, log)"))
    return problems


def _doubts(graph: Graph) -> list[str]:
    """One line for each op name and doubt, with the count of the ops it is about."""
    counted = Counter((op.name, why) for op in graph.ops for why in op_doubts(graph, op))
    return [f"{count} x {name}: {why}" for (name, why), count in counted.items()]


def show(args: Namespace, path: Path, report: Report, **more: object) -> None:
    """Prints a report, one JSON line with `--json`. Raises TetradError where the file would not map whole."""
    if getattr(args, "json", False):
        console.report(args, {"file": str(path), "maps": report.maps, **asdict(report), **more})
    else:
        console.report(args, _lines(path, report) | more)
        for problem in report.problems:
            print(problem)
    if not report.maps:
        raise TetradError(f"{path} does not map whole to the Edge TPU: {len(report.problems)} problem(s), "
                          f"{report.ops_on_cpu} of {sum(report.ops.values())} ops would stay on the CPU; "
                          f"first: {report.problems[0]}")


def _lines(path: Path, report: Report) -> dict[str, object]:
    guess = report.estimate
    return {
        "file": path,
        "ops": f"{sum(report.ops.values())} (" + ", ".join(f"{n} {name}" for name, n in report.ops.items()) + ")",
        "size": f"{report.size_bytes} bytes, {report.parameter_bytes} of them parameters",
        "arena": f"about {report.arena_bytes} bytes, largest activation {report.activation_bytes}",
        "multiply-adds": f"{report.macs / 1e6:.1f} M",
        "Edge TPU invoke, estimated": f"{guess.usb3_ms[0]} to {guess.usb3_ms[1]} ms at USB 3, "
                                      f"{guess.usb2_ms[0]} to {guess.usb2_ms[1]} ms at USB 2",
        "Edge TPU instructions, estimated": f"{guess.instruction_bytes[0]} to {guess.instruction_bytes[1]} bytes",
        "estimated with": cost.ASSUMPTIONS,
        **{f"unproven {i}": doubt for i, doubt in enumerate(report.doubts, 1)},
        "maps whole": "yes, by the published rules" if report.maps else "no",
    }


def check_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("model", type=Path, help="a .tflite file, not yet compiled for the Edge TPU")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        try:
            data = args.model.read_bytes()
        except OSError as error:
            raise TetradError(f"{args.model}: {error.strerror}: give a .tflite file") from error
        show(args, args.model, check(data, str(args.model)))

    return run
