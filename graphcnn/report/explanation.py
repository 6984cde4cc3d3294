"""What became of the user's nodes: which kernel runs them, which vanished, what was declined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

from graphcnn.analysis import traffic
from graphcnn.errors import counted
from graphcnn.ir import Chosen, Graph, Node, Refusal, inline
from graphcnn.plan import Call, Step
from graphcnn.report import captured
from graphcnn.report.captured import CompiledFunction
from graphcnn.report.environment import target_of
from graphcnn.report.result import Result
from graphcnn.report.schedule import kernels, moved, steps_of
from graphcnn.report.tables import Table, binary_size, count, dimensions
from graphcnn.runtime.compiled import CompiledModel, check_model


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One node of the compiled graph that runs.

    Attributes:
        name: The node.
        kernel: What computes it.
        nodes: The user's nodes it stands for.
        exports: The values it writes.
        inputs: Types of the values it reads, params aside.
        outputs: Types of the exports.
        tile: Elements per program: output channels x pixels x reduction of a convolution; empty
            for a library's operator.
        grid: Programs along each axis; empty likewise.
    """

    name: str
    kernel: str
    nodes: tuple[str, ...]
    exports: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tile: tuple[int, ...]
    grid: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Vanished:
    """A node for which no kernel runs, and why."""

    name: str
    op: str
    because: str


@dataclass(frozen=True)
class Explanation(Result):
    """A compile, told.

    Attributes:
        model: Name of the network.
        target: What it was compiled for, and the device.
        source_nodes: Nodes of the network.
        kernel_count: Kernels a call launches.
        library_count: Operators of a library that it calls.
        arena_bytes: Memory of all activations; 0 for a target that allocates results one by one.
        moved: Activation elements that a call reads and writes.
        moved_unfused: The same with one kernel per node.
        grouping: Why nodes are grouped as they are; empty where nothing could be grouped.
        rows: What runs, in order.
        vanished: Nodes for which nothing runs.
        algorithms: Nodes that could be computed in several ways, the one that is taken, and why.
        refusals: What the passes declined to do, and why.
        calls: Nodes that are calls of a library although there are kernels, and why.
    """

    model: str
    target: str
    source_nodes: int
    kernel_count: int
    library_count: int
    arena_bytes: int
    moved: int
    moved_unfused: int
    grouping: str
    rows: tuple[KernelRow, ...]
    vanished: tuple[Vanished, ...]
    algorithms: tuple[Chosen, ...]
    refusals: tuple[Refusal, ...]
    calls: tuple[Chosen, ...]

    def tables(self) -> tuple[Table, ...]:
        """What runs, what does not, and what was declined; tables without a row are left out."""
        nodes, runs = counted(self.source_nodes, "node"), counted(self.kernel_count, "kernel")
        if self.library_count:
            calls = counted(self.library_count, "library call")
            runs = f"{runs} and {calls}" if self.kernel_count else calls
        title = f"explain {self.model} on {self.target}: {nodes} -> {runs}"
        moved = (
            f"arena {binary_size(self.arena_bytes)}; activation elements read and written: "
            f"{count(self.moved)}, with one kernel per node {count(self.moved_unfused)}"
        )
        notes = (moved, f"groups: {self.grouping}") if self.grouping else (moved,)
        columns = ("kernel", "nodes", "inputs", "outputs", "tile", "grid")
        gone = tuple((gone.name, gone.op, gone.because) for gone in self.vanished)
        called = tuple((call.node, str(call.chosen), call.because) for call in self.calls)
        taken = tuple((each.node, str(each.chosen), each.because) for each in self.algorithms)
        declined = tuple((r.rule, r.node, r.because) for r in self.refusals)
        found = (
            Table(title, columns, tuple(map(_cells, self.rows)), words=4, notes=notes),
            Table("no kernel runs for", ("node", "op", "because"), gone, words=3),
            Table("called as measured", ("node", "way", "because"), called, words=3),
            Table("algorithms", ("node", "taken", "because"), taken, words=3),
            Table("declined", ("rule", "node", "because"), declined, words=3)
            if declined
            else Table("declined: nothing"),
        )
        return tuple(table for table in found if table.rows or not table.columns)


def _cells(row: KernelRow) -> tuple[str, ...]:
    # A sole output bears the node's name; of several, each needs its own.
    named = zip(row.exports, row.outputs, strict=True)
    written = row.outputs if row.outputs[1:] == () else (f"{name} {type}" for name, type in named)
    grid = list(row.grid)
    while len(grid) > 1 and grid[-1] == 1:
        grid.pop()
    return (
        row.kernel,
        " ".join(row.nodes),
        "\n".join(row.inputs),
        "\n".join(written),
        dimensions(row.tile),
        dimensions(grid),
    )


@overload
def explain(model: CompiledModel, /) -> Explanation: ...


@overload
def explain(model: Callable[..., Any], /) -> CompiledFunction: ...


def explain(model: Any, /) -> Explanation | CompiledFunction:
    """Which nodes became which kernel, which vanished, and what was declined with what reason.

    Of what `torch.compile(..., backend="graphcnn")` returned, once it was called: which parts run
    as plans of ours, which operators stay with torch, and why.

    Raises:
        InputKindError: for what is neither.
    """
    if not isinstance(model, CompiledModel) and (told := captured.of(model)):
        return told
    check_model(model)
    graph = model.graph
    steps = steps_of(model.plan)
    calls = sum(isinstance(step.work, Call) for step in model.plan.steps)
    return Explanation(
        model.source.name,
        f"{target_of(model)} ({model.target.on.name})",
        len(inline(model.source).nodes),
        len(model.plan.steps) - calls,
        calls,
        model.plan.arena_bytes,
        moved(graph, model.plan),
        traffic(inline(model.source)),
        next((event.because for event in model.log.of(Chosen) if event.what == "groups"), ""),
        tuple(_row(node, graph, steps[node.name]) for node in graph.nodes if node.name in steps),
        _vanished(model),
        tuple(event for event in model.log.of(Chosen) if event.what == "algorithm"),
        tuple(model.log.refusals),
        tuple(event for event in model.log.of(Chosen) if event.what == "call"),
    )


def _row(node: Node, graph: Graph, steps: tuple[Step, ...]) -> KernelRow:
    works = [step.work for step in steps]
    # Of several launches the one that multiplies: others make its image, or add its sums up.
    work = next((w for w in works if not isinstance(w, Call) and "BLOCK_RED" in w.meta), works[0])
    tile: tuple[int, ...] = ()
    grid: tuple[int, ...] = ()
    if not isinstance(work, Call):
        tile = tuple(size for name, size in work.meta.items() if name.startswith("BLOCK_"))
        grid = tuple(work.grid)
    values = (name for name in dict.fromkeys(node.inputs) if not graph.is_param(name))
    return KernelRow(
        node.name,
        kernels(steps),
        tuple(member.name for member in node.members),
        tuple(value.name for value in node.outputs),
        tuple(str(graph.type_of(name)) for name in values),
        tuple(str(value.type) for value in node.outputs),
        tile,
        grid,
    )


def _vanished(model: CompiledModel) -> tuple[Vanished, ...]:
    steps = steps_of(model.plan)
    left = {inner.name for node in model.graph.nodes for inner in node.members}
    found = []
    for node in inline(model.source).nodes:
        if node.name not in left:
            found.append(Vanished(node.name, node.op.name, _reason(node.name, model)))
        elif model.graph.producer(node.name) == node and node.name not in steps:
            operands = " and ".join(f"'{name}'" for name in node.inputs)
            because = f"another name for the memory of {operands}"
            found.append(Vanished(node.name, node.op.name, because))
    return tuple(found)


def _reason(name: str, model: CompiledModel) -> str:
    """The last thing a pass did to a node that is gone, and what does its work now."""
    reasons = [f"{did.rule}: {did.what}" for did in model.log.rewrites if did.node == name]
    told = "; ".join(reasons[-1:])
    survivor = model.log.survivor(name)
    if survivor != name and f"'{survivor}'" not in told:
        told += f"{'; ' * bool(told)}'{survivor}' does its work"
    return told or "dropped"
