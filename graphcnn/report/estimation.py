"""What a network is predicted to take on a GPU that need not be here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphcnn import arguments
from graphcnn.compiler import optimize
from graphcnn.costs.devices import GPUS, Gpu, spelled
from graphcnn.costs.others import choice_time, floor, work_time
from graphcnn.costs.tiles import Time
from graphcnn.errors import InvalidAttribute, UnsupportedOp, shown
from graphcnn.ir import Cost, DType, Graph, Node, inline, node_cost, rebatch, retype, verify
from graphcnn.kernels import Choice, Problem
from graphcnn.kernels.split import sum_parts_kernel
from graphcnn.kernels.stem import padded_kernel
from graphcnn.passes import journal
from graphcnn.plan import Lowered, Step
from graphcnn.report.result import Result
from graphcnn.report.tables import Table
from graphcnn.runtime.timing import three_digits
from graphcnn.targets.absent import AbsentGpu
from graphcnn.targets.policy import Noting
from graphcnn.targets.triton import TritonTarget

Pick = tuple[Problem, Choice]
_DTYPES = (DType.F16, DType.BF16, DType.F32)
_NOTE = (
    "Predicted by a model of the GPU, and measured nowhere: trust which kernel it prefers, not its "
    "microseconds. The floor is what the data sheet allows."
)


@dataclass(frozen=True, slots=True)
class PredictedStep:
    """One kernel, or all of them.

    Attributes:
        name: The node.
        kernel: What computes it.
        microseconds: What it is predicted to take.
        bound: What takes most of that: "tensor", "L2", "issue", "latency", "DRAM" or "launch".
        floor: Microseconds below which the data sheet allows none.
    """

    name: str
    kernel: str
    microseconds: float
    bound: str
    floor: float


@dataclass(frozen=True)
class Estimate(Result):
    """A call, kernel by kernel, as predicted.

    Attributes:
        model: Name of the network.
        device: The GPU.
        batch: Images per call; None where the inputs do not share a first dimension.
        dtype: Of the inputs.
        rows: In order of execution.
        total: All rows together.
    """

    model: str
    device: str
    batch: int | None
    dtype: str
    rows: tuple[PredictedStep, ...]
    total: PredictedStep

    def tables(self) -> tuple[Table, ...]:
        """Every kernel, and the total."""
        title = f"predicted: {self.model} on {self.device}, {self.dtype}"
        title += f", batch {self.batch}" if self.batch else ""
        rows = tuple(
            (
                row.name,
                row.kernel,
                row.bound,
                three_digits(row.microseconds),
                three_digits(row.floor) if row.floor else "0",
            )
            for row in (*self.rows, self.total)
        )
        columns = ("node", "kernel", "bound by", "predicted us", "floor us")
        notes = [_NOTE]
        family = GPUS[self.device].family
        if family.capability < family.code:
            notes.append(
                f"No kernel is compiled for {self.device}: those of compute capability "
                f"{family.code / 10} stand for its own."
            )
        return (Table(title, columns, rows, words=3, notes=tuple(notes)),)


def estimate(
    graph: Graph, *, device: str, batch: int | None = None, dtype: object = None
) -> Estimate:
    """Predict what every kernel of a network takes on a GPU.

    The network is fused and lowered as `compile` would do there. No GPU is needed, and no kernel is
    compiled: instructions are counted in `graphcnn/costs/counts.py`.

    Args:
        graph: The network.
        device: A key of `graphcnn.costs.devices.GPUS`, in any spelling: "h100", "RTX 4090".
        batch: Images per call; as the graph has it where None.
        dtype: "f16", "bf16" or "f32" to which all numbers are converted; None leaves them.

    Raises:
        InvalidGraph, InvalidAttribute: for what is not a graph, and for a device or batch size that
            there is not.
        UnknownDType: for a dtype that there is not.
        UnsupportedOp: for one that no kernel computes in.
        BatchError: when the graph cannot be re-planned for the batch size.
    """
    verify(graph)
    gpu = _gpu(device)
    if batch is not None:
        graph = rebatch(graph, arguments.count(batch, "batch", 1))
    if dtype is not None:
        graph = retype(graph, dtype)
    return predict(graph, gpu, Noting())


def predict(graph: Graph, gpu: Gpu, noting: Noting) -> Estimate:
    """The same of a valid graph as it is, with kernels that a policy picks.

    Raises:
        UnsupportedOp: as `estimate`.
    """
    for name in graph.names:
        _check(graph.type_of(name).dtype, gpu)
    target = TritonTarget(AbsentGpu.of(gpu), noting)
    optimized = optimize(graph, target, journal())
    noting.picked.clear()
    lowered = target.lower(optimized)
    taken = Counter(event.node for event in lowered.choices if event.what == "kernel")
    # A graph that was lowered again has earlier picks in front.
    picked = {name: noting.picked[name][-count:] for name, count in taken.items()}
    steps: dict[str, list[Step]] = defaultdict(list)
    for step in lowered.steps:
        steps[step.node].append(step)
    # A group that was taken apart has steps of its members.
    costs = {
        node.name: (node, node_cost(node, each))
        for each in (inline(optimized), optimized)
        for node in each.nodes
    }
    rows: list[PredictedStep] = []
    for name, own in steps.items():
        node, cost = costs[name]
        chosen = [pick for member in node.members for pick in picked.get(member.name, ())]
        rows += _rows(node, cost, own, chosen, lowered, gpu)
    types = [value.type for value in graph.inputs]
    sizes = {type.shape[:1] for type in types}
    total = PredictedStep(
        "total", "", sum(r.microseconds for r in rows), "", sum(r.floor for r in rows)
    )
    shared = next(iter(sizes)) if len(sizes) == 1 else ()
    return Estimate(
        graph.name,
        gpu.name,
        shared[0] if shared else None,
        ", ".join(dict.fromkeys(type.dtype.value for type in types)),
        tuple(rows),
        total,
    )


def _rows(
    node: Node, cost: Cost, steps: list[Step], chosen: Sequence[Pick], lowered: Lowered, gpu: Gpu
) -> Iterator[PredictedStep]:
    """The steps of a node: those of chosen kernels, or all, share its work. What adds the sums of a
    split kernel up is in the time of that kernel, and what pads an image moves it."""
    count = len(chosen) or len(steps)
    nbytes = (cost.reads + cost.writes) * node.type.dtype.itemsize / count
    flops = cost.flops / count
    other, least = work_time(nbytes, flops, gpu), floor(nbytes, flops, gpu, node.type.dtype.value)
    picks = iter(chosen)
    for step in steps:
        kernel = getattr(step.work, "kernel", None)
        if kernel is padded_kernel:
            moved = (lowered.locations[name].type.nbytes for name in (*step.reads, *step.writes))
            time, share = work_time(sum(moved), 0, gpu), 0.0
        elif kernel is sum_parts_kernel:
            time, share = Time(0.0, ""), 0.0
        else:
            pick = next(picks, None)
            time, share = (choice_time(*pick, gpu) if pick else None) or other, least
        yield PredictedStep(node.name, step.label, time.microseconds, time.bound, share)


def _gpu(device: object) -> Gpu:
    """The row that is meant.

    Raises:
        InvalidAttribute: for anything else.
    """
    name = spelled(device) if isinstance(device, str) else ""
    if name not in GPUS:
        raise InvalidAttribute(
            "there is no model of this GPU",
            where="the argument device",
            got=shown(device),
            wanted=f"one of {', '.join(GPUS)}",
            remedy='for example device="h100"',
        )
    return GPUS[name]


def _check(dtype: DType, gpu: Gpu) -> None:
    """Check that kernels compute in a dtype on a GPU; whole numbers are left to the library.

    Raises:
        UnsupportedOp: otherwise.
    """
    able = [d for d in _DTYPES if d is not DType.F32 or gpu.tf32]
    if dtype.is_float and dtype not in able:
        raise UnsupportedOp(
            f"no kernel for {gpu.name} computes in {dtype.long_name}",
            where="the argument dtype",
            got=dtype.value,
            wanted=", ".join(d.value for d in able),
            remedy='for example dtype="f16"',
        )
