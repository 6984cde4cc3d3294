"""From a graph to a model: the table of contents, one line per stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphcnn.errors import FusionRefused, InvalidAttribute
from graphcnn.ir import CompileLog, Graph, check_finite, inline, verify
from graphcnn.passes import Pass, default_pipeline, run_passes
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets import resolve

if TYPE_CHECKING:
    import torch


def compile(
    graph: Graph,
    *,
    target: str = "triton",
    device: str | torch.device = "auto",
    fuse: bool = True,
    passes: Sequence[Pass] | None = None,
    must_fuse: Sequence[tuple[str, ...]] = (),
    must_not_fuse: Sequence[tuple[str, ...]] = (),
    batches: Sequence[int] = (),
) -> CompiledModel:
    """Compile a network: run the passes, plan the memory, pack the weights, compile the kernels.

    A graph whose params have no data yet is compiled as far as its plan, which can be explained.

    Args:
        graph: What to compile; a graph that is fused already is taken apart first.
        target: "triton" (our kernels), "library" (torch's operators, the baseline) or "numpy"
            (the float64 reference).
        device: "auto", "cpu", "cuda", "cuda:1" or a torch.device; "auto" is CUDA where there is a
            CUDA device, and "cuda" the current one. A model runs on one device.
        fuse: Whether to fuse; False compiles one kernel per operator.
        passes: Passes to run instead of the default pipeline.
        must_fuse: Groups of node names that have to end in one kernel.
        must_not_fuse: Groups of node names no two of which may share a kernel.

    Raises:
        InvalidGraph, ShapeError, NonFiniteWeights: for a graph that breaks a rule.
        UnsupportedOp: when the target cannot compute a node.
        FusionRefused: when `must_fuse` or `must_not_fuse` cannot be obeyed, with the reason; the
            default pipeline obeys them, so they do not go with `passes`.
        InvalidAttribute: when `batches` holds anything but whole numbers from 1 on.
        BatchError: when the graph cannot be re-planned for one of them.
        TooLarge: for a tensor, or a batch, beyond what the kernels can address.
        DeviceUnavailable, UnknownTarget: for a device or target that is not there.
    """
    log = CompileLog()
    _check_batches(batches)
    verify(graph)
    check_finite(graph.params)
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
        model.prepare(batches)
    return model


def _check_batches(batches: object) -> None:
    """Raise InvalidAttribute for what is no sequence of batch sizes."""
    sizes = batches if isinstance(batches, Sequence) and not isinstance(batches, str) else None
    if sizes is None or any(type(size) is not int or size < 1 for size in sizes):
        raise InvalidAttribute(
            "batch sizes are whole numbers from 1 on",
            where="the argument batches",
            got=repr(batches),
            wanted="a sequence such as (1, 8, 32)",
        )
