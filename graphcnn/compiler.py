"""From a graph to a model: the table of contents, one line per stage."""

from __future__ import annotations

from collections.abc import Sequence

from graphcnn.errors import FusionRefused
from graphcnn.ir import CompileLog, Graph, inline, verify
from graphcnn.passes import Pass, default_pipeline, run_passes
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets import resolve


def compile(
    graph: Graph,
    *,
    target: str = "triton",
    device: str = "auto",
    fuse: bool = True,
    passes: Sequence[Pass] | None = None,
    must_fuse: Sequence[tuple[str, ...]] = (),
    must_not_fuse: Sequence[tuple[str, ...]] = (),
) -> CompiledModel:
    """Compile a network: run the passes, plan the memory, pack the weights, compile the kernels.

    A graph whose params have no data yet is compiled as far as its plan, which can be explained.

    Args:
        graph: What to compile; a graph that is fused already is taken apart first.
        target: "triton" (our kernels), "library" (torch's operators, the baseline) or "numpy"
            (the float64 reference).
        device: "auto", "cuda" or "cpu"; "auto" is CUDA where there is a CUDA device.
        fuse: Whether to fuse; False compiles one kernel per operator.
        passes: Passes to run instead of the default pipeline.
        must_fuse: Groups of node names that have to end in one kernel.
        must_not_fuse: Groups of node names no two of which may share a kernel.

    Raises:
        InvalidGraph, ShapeError, NonFiniteWeights: for a graph that breaks a rule.
        UnsupportedOp: when the target cannot compute a node.
        FusionRefused: when `must_fuse` or `must_not_fuse` cannot be obeyed, with the reason; the
            default pipeline obeys them, so they do not go with `passes`.
        DeviceUnavailable, UnknownTarget: for a device or target that is not there.
    """
    log = CompileLog()
    verify(graph)
    chosen = resolve(target, device)
    if passes is not None and (must_fuse or must_not_fuse):
        raise FusionRefused(
            "must_fuse and must_not_fuse are for the default pipeline",
            where="passes=",
            got=(*must_fuse, *must_not_fuse),
            remedy="hand the groups to the Fuse pass in `passes`, or leave `passes` out",
        )
    if passes is None:
        passes = default_pipeline(
            chosen.supports, fuse=fuse, must_fuse=must_fuse, must_not_fuse=must_not_fuse
        )
    optimized = run_passes(inline(graph), tuple(passes), log)
    model = CompiledModel(graph, optimized, chosen, log)
    if all(param.data is not None for param in optimized.params):
        model.executor()
    return model
