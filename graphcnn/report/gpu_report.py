"""What the kernels of a network are made of on GPUs that need not be here, and whether it is well.

All of it is compiled, and nothing runs: no figure here is a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import triton

from graphcnn import arguments
from graphcnn.arguments import flag, sequence
from graphcnn.compiler import optimize
from graphcnn.costs.devices import of_capability
from graphcnn.errors import KernelFailed, counted
from graphcnn.gpu_code import (
    Architecture,
    GpuCode,
    architecture,
    compile_all,
    problems,
)
from graphcnn.ir import Graph, verify
from graphcnn.passes import journal
from graphcnn.plan import Call, Lowered
from graphcnn.progress import doing
from graphcnn.report.result import Result
from graphcnn.report.tables import Table
from graphcnn.targets.absent import AbsentGpu, kernel_calls
from graphcnn.targets.policy import DIRECT, MODEL
from graphcnn.targets.triton import TritonTarget

if TYPE_CHECKING:
    from graphcnn.kernels import Precision

DEFAULT = ("sm_80", "sm_90", "sm_100", "sm_120")


@dataclass(frozen=True, slots=True)
class CompiledKernel:
    """Launches of a network whose machine code is the same.

    Attributes:
        kernel: Its name.
        label: What it computes.
        nodes: Those that launch it, one for each launch.
        registers: Of a thread.
        spilled_bytes: Of a thread's registers.
        spills_in_loops: Accesses to them in any loop.
        shared_bytes: Of a block.
        tensor_columns: Of tensor memory, of a block.
        warps: Of a block.
        held: Blocks that a multiprocessor holds at a time.
        matrix: The instruction that multiplies matrices; "" without one.
        copies: What fills shared memory in the main loop, at the narrowest: "TMA", bytes at a time,
            "plain" for loads to registers, "-" where nothing does.
        before: Instructions ahead of the main loop, all without one.
        step: Those of a step of it.
        after: Those behind it.
        shuffles: Among these.
        problems: What is wrong with it, in words.
    """

    kernel: str
    label: str
    nodes: tuple[str, ...]
    registers: int
    spilled_bytes: int
    spills_in_loops: int
    shared_bytes: int
    tensor_columns: int
    warps: int
    held: int
    matrix: str
    copies: str
    before: int
    step: float
    after: int
    shuffles: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CompiledFor:
    """A network on one architecture.

    Attributes:
        architecture: Its name.
        launches: How many kernels the network launches.
        library_calls: Nodes that are calls of the library between them.
        kernels: The kernels.
        failed: Why one does not compile, by the node that launches it.
        notes: What does not apply.
    """

    architecture: str
    launches: int
    library_calls: int
    kernels: tuple[CompiledKernel, ...]
    failed: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class GpuReport(Result):
    """A network's kernels on each architecture.

    Attributes:
        network: Its name, and its inputs.
        triton: The version that compiled.
        ok: Whether every kernel compiles, and none breaks a rule.
        found: Each architecture.
    """

    network: str
    triton: str
    ok: bool
    found: tuple[CompiledFor, ...]

    def tables(self) -> tuple[Table, ...]:
        """Every kernel of each architecture, and the problems."""
        wrong = [line for each in self.found for line in _wrong(each)]
        launches = sum(each.launches for each in self.found)
        passed = f"PASS: {launches} launches, no rule broken"
        title = f"{self.network}: compiled by Triton {self.triton}; nothing was run"
        return (
            *map(_table, self.found),
            Table(title, notes=tuple(wrong or [passed])),
        )


def _table(each: CompiledFor) -> Table:
    columns = (
        "kernel", "first node", "n", "regs", "spill", "KiB", "held", "matrix", "copy", "before",
        "step", "after", "SHFL",
    )  # fmt: skip
    rows = tuple(
        (
            row.label,
            row.nodes[0],
            str(len(row.nodes)),
            str(row.registers),
            f"{row.spilled_bytes}{'!' if row.spills_in_loops else ''}",
            str(-(-row.shared_bytes >> 10)),
            str(row.held),
            row.matrix or "-",
            row.copies,
            str(row.before),
            f"{row.step:.0f}" if row.step else "-",
            str(row.after),
            str(row.shuffles),
        )
        for row in each.kernels
    )
    title = f"{each.architecture}: {counted(len(rows), 'kernel')} of {each.launches} launches"
    if each.library_calls:
        title += f", beside {counted(each.library_calls, 'call')} of the library"
    return Table(title, columns if rows else (), rows, words=2, notes=each.notes)


def _wrong(each: CompiledFor) -> Iterator[str]:
    for node, because in each.failed:
        yield f"FAIL {each.architecture} {node}: {because}"
    for row in each.kernels:
        for problem in row.problems:
            yield f"FAIL {each.architecture} {', '.join(row.nodes)}: {problem}"


def gpu_report(
    graph: Graph,
    arch: Sequence[str] | str = DEFAULT,
    *,
    precision: Precision = "tf32x3",
    winograd: bool = True,
    fuse: bool = True,
    must_fuse: Sequence[tuple[str, ...]] = (),
    must_not_fuse: Sequence[tuple[str, ...]] = (),
) -> GpuReport:
    """Compile every launch of a network for GPUs that need not be here, and read the machine code.

    Needs no GPU; a kernel takes about a second.

    Args:
        graph: The network; its params need no data.
        arch: Names of architectures, such as ("sm_80", "sm_90"); see `gpu_code.ARCHITECTURES`.
        precision: As of `compile`.
        winograd: Likewise.
        fuse: Likewise.
        must_fuse: Likewise.
        must_not_fuse: Likewise.

    Raises:
        UnknownTarget: for an architecture that is not known, listing those that are.
        InputKindError: for names that are neither a list nor a tuple.
        InvalidGraph: or another error of the graph, for what is not a valid one.
        InvalidAttribute: for a precision that there is not.
        UnsupportedOp, FusionRefused: as of `compile`.
        GpuUnsupported: where this Triton is older than an architecture.
        FileProblem: when Triton's cache fails.
    """
    verify(graph)
    asked = arguments.precision(precision)
    policy = MODEL if flag(winograd, "winograd") else DIRECT
    names = [arch] if isinstance(arch, str) else arch
    chosen = [architecture(name) for name in sequence(names, "arch", str, "names such as 'sm_90'")]

    def lowered(each: Architecture) -> Lowered:
        gpu, log = AbsentGpu.of(of_capability(each.capability), asked), journal()
        target = TritonTarget(gpu, policy)
        return target.lower(optimize(graph, target, log, fuse, None, must_fuse, must_not_fuse))

    found = tuple(_compiled_for(graph, lowered, each) for each in dict.fromkeys(chosen))
    ok = not any(line for each in found for line in _wrong(each))
    inputs = ", ".join(map(str, graph.inputs))
    return GpuReport(f"{graph.name}({inputs})", triton.__version__, ok, found)


def _compiled_for(
    graph: Graph, lower: Callable[[Architecture], Lowered], each: Architecture
) -> CompiledFor:
    lacking = [
        f"Does not apply: {dtype} on {each.name}, because {because}."
        for dtype, because in each.lacks
        if any(value.type.dtype == dtype for node in graph.nodes for value in node.outputs)
    ]
    notes = ([f"Compiled only: {each.unused}."] if each.unused else []) + lacking
    if lacking:
        return CompiledFor(each.name, 0, 0, (), (), tuple(notes))
    lowered = lower(each)
    calls = list(kernel_calls(lowered))
    doing(f"{each.name}: {counted(len(calls), 'kernel')}")
    failed: list[tuple[str, str]] = []
    launches: dict[GpuCode, list[str]] = {}
    labels: dict[GpuCode, str] = {}
    results = compile_all([call for _, call in calls], each)
    for (step, _), code in zip(calls, results, strict=True):
        if isinstance(code, KernelFailed):
            failed.append((step.node, f"{code.what}: {code.got}"))
        else:
            labels.setdefault(code, step.label)
            launches.setdefault(code, []).append(step.node)
    rows = tuple(_row(code, labels[code], nodes) for code, nodes in launches.items())
    calls_of_library = sum(isinstance(step.work, Call) for step in lowered.steps)
    return CompiledFor(each.name, len(calls), calls_of_library, rows, tuple(failed), tuple(notes))


def _row(code: GpuCode, label: str, nodes: Sequence[str]) -> CompiledKernel:
    counts = code.counts
    return CompiledKernel(
        code.kernel,
        label,
        tuple(nodes),
        code.registers,
        code.spilled_bytes,
        code.spills_in_loops,
        code.shared_bytes,
        code.tensor_columns,
        code.warps,
        code.held,
        counts.matrix,
        counts.copies,
        counts.before,
        counts.step,
        counts.after,
        counts.shuffles,
        problems(code),
    )
