"""What a graph costs: multiply-adds, memory, and an estimate of the time that an Edge TPU takes for one invoke.

The estimate is for a USB stick with all parameters on the chip. It is a range, and each of its constants names its
source: (doc) Coral's own tables, (log) measured and published by somebody, (inf) inferred and shown by nobody.
"""

from dataclasses import dataclass

from quantize.graph import Graph, Op, elements

ALIGNMENT_BYTES = 64                      # TFLite's kDefaultTensorAlignment
INVOKE_MS = 0.28                          # log: an invoke over USB before any work
# Multiply-adds a second that whole networks reach. doc: coral.ai/docs/edgetpu/benchmarks, USB 3: MobileNet v2 2.6 ms
# for 0.30 G (arXiv 1801.04381), Inception v1 3.4 ms for 1.5 G (arXiv 1409.4842), the invoke taken off. The peak is
# 2 T (doc: 4 TOPS). inf: narrow (1, k) convolutions fall between the two.
SLOW_MACS_PER_S, FAST_MACS_PER_S = 0.13e12, 0.48e12
# Instructions are sent anew with each invoke (log). Compiled less uncompiled size, an operation: 2 KiB
# (WongKinYiu/yolov7 pull 1672), 8 KiB (motokimura/yolox-ti-lite_tflite issue 2), 15 KiB (google-coral/edgetpu
# issue 60). inf: ours lies in that range; outliers of 60 KiB exist (google-coral/edgetpu issue 463).
FEW_INSTRUCTION_BYTES, MANY_INSTRUCTION_BYTES = 2 * 1024, 15 * 1024
USB3_BYTES_PER_S = 300e6                  # inf: what bulk transfers reach of USB 3's 5 Gbit/s
USB2_BYTES_PER_S = 45e6                   # log: a compiled file of 1.57 MB took 35 ms an invoke

ASSUMPTIONS = (
    f"{INVOKE_MS} ms an invoke (log); {SLOW_MACS_PER_S / 1e12:.2f} to {FAST_MACS_PER_S / 1e12:.2f} T multiply-adds/s "
    f"(doc, inf); {FEW_INSTRUCTION_BYTES // 1024} to {MANY_INSTRUCTION_BYTES // 1024} KiB of instructions an op, "
    f"sent each time (log, inf); "
    f"USB 3 {USB3_BYTES_PER_S / 1e6:.0f} MB/s (inf), USB 2 {USB2_BYTES_PER_S / 1e6:.0f} MB/s (log)"
)


@dataclass(frozen=True)
class Estimate:
    """Each a (low, high) pair. Not measured on a stick."""

    usb3_ms: tuple[float, float]
    usb2_ms: tuple[float, float]
    instruction_bytes: tuple[int, int]


def op_macs(graph: Graph, op: Op) -> int:
    """Multiply-adds of one op; 0 for those without weights. Weights are [out, y, x, in] (TFLite), a depthwise
    convolution's [1, y, x, out]."""
    match op.name:
        case "CONV_2D":
            return elements(graph.output(op).shape) * elements(graph.input(op, 1).shape[1:])
        case "DEPTHWISE_CONV_2D":
            return elements(graph.output(op).shape) * elements(graph.input(op, 1).shape[1:3])
        case "TRANSPOSE_CONV":
            return elements(graph.input(op, 2).shape) * elements(graph.input(op, 1).shape[:3])
        case "FULLY_CONNECTED":
            return elements(graph.output(op).shape) * graph.input(op, 1).shape[-1]
    return 0


def macs(graph: Graph) -> int:
    return sum(op_macs(graph, op) for op in graph.ops)


def parameter_bytes(graph: Graph) -> int:
    """All constants that ops read, each counted once."""
    used = {i for op in graph.ops for i in op.inputs if i >= 0}
    return sum(len(data) for i in used if (data := graph.tensors[i].data) is not None)


def activation_bytes(graph: Graph) -> int:
    """The largest tensor that is computed."""
    return max((t.bytes for op in graph.ops for t in (graph.tensors[i] for i in graph.touched(op)) if t.data is None),
               default=0)


def arena_bytes(graph: Graph) -> int:
    """The most that is alive at once when the ops run in the file's order: a lower bound of the runtime's arena,
    which may have gaps and scratch buffers."""
    last = {i: op.index for op in graph.ops for i in graph.touched(op)}
    last |= {i: len(graph.ops) for i in graph.outputs}
    alive = {i for i in graph.inputs if i >= 0}
    most = 0
    for op in graph.ops:
        alive |= {i for i in graph.touched(op) if graph.tensors[i].data is None}
        most = max(most, sum(-(-graph.tensors[i].bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for i in alive))
        alive = {i for i in alive if last.get(i, 0) > op.index}
    return most


def estimate(graph: Graph) -> Estimate:
    """The time of one invoke on an Edge TPU at a USB port, by the constants above."""
    ends_bytes = sum(graph.tensors[i].bytes for i in (*graph.inputs, *graph.outputs) if i >= 0)
    instructions = (FEW_INSTRUCTION_BYTES * len(graph.ops), MANY_INSTRUCTION_BYTES * len(graph.ops))
    compute_ms = (1e3 * macs(graph) / FAST_MACS_PER_S, 1e3 * macs(graph) / SLOW_MACS_PER_S)

    def total_ms(bytes_per_s: float) -> tuple[float, float]:
        low, high = (round(INVOKE_MS + compute + 1e3 * (ends_bytes + sent) / bytes_per_s, 2)
                     for compute, sent in zip(compute_ms, instructions, strict=True))
        return low, high

    return Estimate(total_ms(USB3_BYTES_PER_S), total_ms(USB2_BYTES_PER_S), instructions)
