"""The passes of a compile, in order, and running them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from graphcnn import settings
from graphcnn.arguments import flag
from graphcnn.errors import (
    FileProblem,
    FusionRefused,
    GraphCNNError,
    InvalidAttribute,
    PassError,
    shown,
)
from graphcnn.ir import CompileLog, Graph, Stage, TensorType, verify
from graphcnn.passes.base import Pass
from graphcnn.passes.canonicalize import Canonicalize
from graphcnn.passes.fold_batch_norm import FoldBatchNorm
from graphcnn.passes.fuse import Fuse, Supports, accept_every_body
from graphcnn.passes.simplify import Simplify


def default_pipeline(
    supports: Supports = accept_every_body,
    must_fuse: Sequence[Sequence[str]] = (),
    must_not_fuse: Sequence[Sequence[str]] = (),
    fuse: bool = True,
) -> tuple[Pass, ...]:
    """The passes that compile a graph for a target.

    Args:
        supports: The target's answer to the body of a group: None, or why it cannot run it.
        must_fuse: Groups of node names that have to end in one kernel.
        must_not_fuse: Groups of node names that must not share a kernel.
        fuse: Whether to group nodes into kernels at all.

    Raises:
        FusionRefused: for `must_fuse` without fusion.
        InvalidAttribute: for demands that are not groups of names.
    """
    demands = groups("must_fuse", must_fuse), groups("must_not_fuse", must_not_fuse)
    if not flag(fuse, "fuse") and demands[0]:
        raise FusionRefused(
            "a fusion is demanded and fusion is off",
            where="must_fuse with fuse=False",
            got=must_fuse,
            remedy="leave out fuse=False or must_fuse",
        )
    return (
        # First, so that no dropout or other identity hides a pattern from the rest.
        Simplify(),
        # Before fold-batch-norm: a constant added between a convolution and its batch norm has to
        # become the convolution's bias before the batch norm can fold.
        Canonicalize(),
        # Before fuse: a batch norm that folds must not become a step of a kernel's tail.
        FoldBatchNorm(),
        # Last: no pass looks into a group's body.
        *((Fuse(supports, *demands),) if fuse else ()),
    )


def groups(keyword: str, value: object) -> tuple[tuple[str, ...], ...]:
    """The groups of node names that `must_fuse` or `must_not_fuse` lists.

    Raises:
        InvalidAttribute: for anything else.
    """
    found = value if isinstance(value, list | tuple) else (value,)
    for group in found:
        if not isinstance(group, list | tuple) or not all(isinstance(n, str) for n in group):
            raise InvalidAttribute(
                f"{keyword} is a list of groups, and a group is a tuple of node names",
                where=keyword,
                got=shown(value),
                remedy=f'for example {keyword}=[("conv1", "relu1")]',
            )
    return tuple(map(tuple, found))


def run_passes(graph: Graph, passes: tuple[Pass, ...], log: CompileLog) -> Graph:
    """Run passes in order and check the graph after each, unless `GRAPHCNN_VERIFY=0`.

    Each pass is recorded in the log as a stage. `GRAPHCNN_DEBUG=1` prints times and node counts
    to stderr, 2 also each graph that changed; `GRAPHCNN_DUMP=DIR` writes 00-source.gcn,
    01-simplify.gcn and so on.

    Raises:
        PassError: when a pass breaks its contract, naming it and those before it.
        FileProblem: when the dump directory cannot be written.
    """
    _dump(graph, 0, "source")
    for index, step in enumerate(passes):
        start = perf_counter()
        after = step.run(graph, log)
        stage = Stage(step.name, perf_counter() - start, len(graph.nodes), len(after.nodes))
        log.stages.append(stage)
        if settings.verify_between_passes():
            _check(graph, after, step, passes[:index])
        _print(stage, graph, after)
        _dump(after, index + 1, step.name)
        graph = after
    return graph


def _check(before: Graph, after: Graph, step: Pass, earlier: tuple[Pass, ...]) -> None:
    problem: object = None
    try:
        verify(after)
    except GraphCNNError as error:
        problem = error
    else:
        if (after.inputs, _output_types(after)) != (before.inputs, _output_types(before)):
            problem = "the graph's inputs, or the types of its outputs, have changed"
    if problem is not None:
        cause = problem if isinstance(problem, GraphCNNError) else None
        raise PassError(
            f"pass '{step.name}' broke the graph",
            where="after " + (", ".join(p.name for p in earlier) or "no other pass"),
            got=problem,
            wanted="a valid graph with the same signature",
            remedy="set GRAPHCNN_DUMP=DIR to see the graph after each pass, and report a bug",
        ) from cause


def _output_types(graph: Graph) -> tuple[TensorType, ...]:
    return graph.types_of(graph.outputs)


def _print(stage: Stage, before: Graph, after: Graph) -> None:
    level = settings.debug_level()
    if level >= 1:
        counts = f"{stage.nodes_before:4} -> {stage.nodes_after:4} nodes"
        print(f"{stage.name:18} {1e3 * stage.seconds:8.1f} ms  {counts}", file=sys.stderr)
    if level >= 2 and after != before:
        print(after, file=sys.stderr)


def _dump(graph: Graph, number: int, name: str) -> None:
    directory = settings.dump_directory()
    if directory is None:
        return
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        (Path(directory) / f"{number:02}-{name}.gcn").write_text(f"{graph}\n", encoding="utf-8")
    except OSError as error:
        raise FileProblem(
            "a graph cannot be written",
            where=f"GRAPHCNN_DUMP={directory}",
            got=error,
            remedy="point GRAPHCNN_DUMP at a directory that can be written, or unset it",
        ) from error
