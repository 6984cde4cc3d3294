"""The passes of a compile, in order, and running them."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from graphcnn import settings
from graphcnn.arguments import flag
from graphcnn.errors import FusionRefused, GraphCNNError, PassError
from graphcnn.ir import CompileLog, Failed, Finished, Graph, Started, verify
from graphcnn.passes.base import Pass
from graphcnn.passes.canonicalize import Canonicalize
from graphcnn.passes.chains import Supports, Time
from graphcnn.passes.demands import groups
from graphcnn.passes.fold_average_pool import FoldAveragePool
from graphcnn.passes.fold_batch_norm import FoldBatchNorm
from graphcnn.passes.fuse import Fuse, accept_every_body
from graphcnn.passes.narrow import Narrow
from graphcnn.passes.simplify import Simplify


def default_pipeline(
    supports: Supports | None = accept_every_body,
    must_fuse: Sequence[Sequence[str]] = (),
    must_not_fuse: Sequence[Sequence[str]] = (),
    fuse: bool = True,
    time: Time | None = None,
) -> tuple[Pass, ...]:
    """The passes that compile a graph for a target.

    Args:
        supports: The target's answer to the body of a group: None, or why it cannot run it. None in
            its place is a target that does not fuse.
        must_fuse: Groups of node names that have to end in one kernel.
        must_not_fuse: Groups of node names that must not share a kernel.
        fuse: Whether to group nodes into kernels at all.
        time: Microseconds that the target predicts for a body; None where it predicts none.

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
    if supports is None and demands[0]:
        raise FusionRefused(
            "a fusion is demanded and the target does not fuse",
            where="must_fuse",
            got=must_fuse,
            remedy='leave out must_fuse, or compile for target="triton"',
        )
    return (
        # First, so that no dropout or other identity hides a pattern from the rest.
        Simplify(),
        # Before fold-batch-norm: a constant added between a convolution and its batch norm has to
        # become the convolution's bias before the batch norm can fold.
        Canonicalize(),
        # Before fuse: a batch norm that folds must not become a step of a kernel's tail.
        FoldBatchNorm(),
        # After fold-batch-norm, which may leave a convolution right before a pool.
        FoldAveragePool(),
        # After the rules above, which know a value by the op that makes it, and not its parts.
        Narrow(),
        # Last: no pass looks into a group's body.
        *((Fuse(supports, *demands, time),) if fuse and supports else ()),
    )


# By name, in order.
PASSES: dict[str, type[Pass]] = {step.name: type(step) for step in default_pipeline()}


def run_passes(graph: Graph, passes: tuple[Pass, ...], log: CompileLog) -> Graph:
    """Run passes in order and check the graph after each, unless `GRAPHCNN_VERIFY=0`.

    The log is told when each starts, and how it ends.

    Raises:
        PassError: when a pass breaks its contract, naming it and those before it.
    """
    for index, step in enumerate(passes):
        log.add(Started(step.name, graph))
        start = perf_counter()
        try:
            after = step.run(graph, log)
            seconds = perf_counter() - start
            if settings.verify_between_passes():
                _check(graph, after, step, passes[:index])
        except Exception as error:
            log.add(Failed(step.name, perf_counter() - start, error))
            raise
        log.add(Finished(step.name, seconds, graph, after))
        graph = after
    return graph


def _check(before: Graph, after: Graph, step: Pass, earlier: tuple[Pass, ...]) -> None:
    broken: GraphCNNError | None = None
    try:
        verify(after)
        signatures = [
            (graph.inputs, graph.types_of(graph.outputs), graph.structure)
            for graph in (before, after)
        ]
        if signatures[0] == signatures[1]:
            return
    except GraphCNNError as error:
        broken = error
    raise PassError(
        f"pass '{step.name}' broke the graph",
        where="after " + (", ".join(p.name for p in earlier) or "no other pass"),
        got=broken or "the graph's inputs, or the types of its outputs, have changed",
        wanted="a valid graph with the same signature",
        remedy="set GRAPHCNN_DUMP=DIR to see the graph after each pass, and report a bug",
    ) from broken
