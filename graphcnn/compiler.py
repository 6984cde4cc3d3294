"""From a graph to a model: the table of contents, one line per stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from graphcnn import arguments
from graphcnn.arguments import batch_sizes, flag, seconds, sequence
from graphcnn.errors import FusionRefused
from graphcnn.ir import CompileLog, Graph, Skipped, inline, verify
from graphcnn.passes import PASSES, Pass, default_pipeline, groups, journal, run_passes
from graphcnn.passes.demands import Demands
from graphcnn.plan import Target
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.runtime.executor import Bind, plain_binder
from graphcnn.targets import resolve

if TYPE_CHECKING:
    import torch

    from graphcnn.kernels import Precision


def compile(
    graph: Graph,
    *,
    target: str = "triton",
    device: str | torch.device = "auto",
    precision: Precision = "tf32x3",
    winograd: bool = True,
    fuse: bool = True,
    passes: Sequence[Pass] | None = None,
    must_fuse: Sequence[tuple[str, ...]] = (),
    must_not_fuse: Sequence[tuple[str, ...]] = (),
    batches: Sequence[int] = (),
    tune: bool | float = False,
    cuda_graph: bool = True,
) -> CompiledModel:
    """Compile a network: run the passes, plan the memory, pack the weights, compile the kernels.

    A graph whose params have no data yet is compiled as far as its plan, which can be explained.

    Args:
        graph: What to compile; a graph that is fused already is taken apart first.
        target: "triton" (our kernels), "library" (torch's operators, the baseline) or "numpy"
            (the float64 reference).
        device: "auto", "cpu", "cuda", "cuda:1" or a torch.device; "auto" is CUDA where there is a
            CUDA device, and "cuda" the current one. A model runs on one device.
        precision: How convolutions and linear layers multiply float32 on a GPU; sums are float32
            always. "tf32x3" takes three products of tf32 for one, which keeps float32's precision.
            "tf32" takes one, of operands rounded to 11 significant bits: a third of the products,
            and a thousand times the error, as in PyTorch where `allow_tf32` is set or
            `set_float32_matmul_precision("high")` was called. Weights are rounded when they are
            packed, images as they are stored where products alone read them, else as they are
            loaded. "ieee" multiplies float32 as it is, outside of tensor cores. The CPU does so for
            "tf32x3" as well, and rounds the same operands for "tf32": no faster, but to see what a
            GPU will make of a network. Of no effect in half precision, and for other targets.
        winograd: Whether a convolution of 3 x 3 filters in float32 is taken by minimal filtering
            where a price says that it is faster (`explain` shows it; GPUs have none): its error
            stays within a bound of its own, which is a few times as large, and a NaN or an infinity
            in a tile of the input makes all outputs of the tile NaN. Otherwise every sum of
            products is as it is written, and NaN and infinities pass as in PyTorch; so it is in
            tf32.
        fuse: Whether to fuse; False compiles one kernel per operator.
        passes: Passes to run instead of the default pipeline.
        must_fuse: Groups of node names that have to end in one kernel.
        must_not_fuse: Groups of node names no two of which may share a kernel.
        batches: Batch sizes to prepare beside the graph's own, such as (1, 8, 32): their first
            calls then neither plan nor compile. Any other size is planned at its first call, with
            the kernels of the largest prepared one below it.
        tune: Whether to take, for each node, the kernel or library call that was measured to be the
            fastest on this device, and to measure those not known yet (see `tuning.tune`): for a
            minute at most, or for so many seconds. Otherwise a model of the device picks, and
            nothing is measured.
        cuda_graph: Whether a CUDA device captures the kernels of a plan in a CUDA graph, which a
            call replays: a few microseconds of the host's time instead of as many for each kernel.

    Raises:
        InvalidGraph, ShapeError, InvalidAttribute, NonFiniteWeights: for a graph that breaks a
            rule.
        InvalidAttribute, InputKindError: for other arguments of the wrong kind.
        UnsupportedOp: when the target cannot compute a node.
        FusionRefused: when `must_fuse` or `must_not_fuse` cannot be obeyed, with the reason; the
            default pipeline obeys them, so they do not go with `passes`.
        BatchError: when the graph cannot be re-planned for one of `batches`.
        TooLarge: for a tensor, or a batch, beyond what the kernels can address.
        DeviceUnavailable, UnknownTarget: for a device or target that is not there.
        GpuUnsupported, DriverTooOld: for a GPU, or its driver, that kernels cannot run on.
        KernelFailed: for a kernel that does not run on a GPU, or is wrong there. One that never ran
            there is judged before it is trusted, and replaced where it can be; `explain` shows it.
        MissingCompiler: without a working C compiler.
        OutOfMemory: when the device has not the memory, with the largest batch for which it has.
        CaptureFailed: when the kernels cannot be captured in a CUDA graph, naming the node.
        MissingWeights: when a graph whose params have no data is to be tuned.
        FileProblem: when what was measured cannot be kept.
        KeyboardInterrupt: from tuning; what was measured until then is kept.
    """
    log = journal()
    verify(graph)
    asked = arguments.precision(precision)
    filtering, captured = flag(winograd, "winograd"), flag(cuda_graph, "cuda_graph")
    chosen = resolve(target, device, asked, filtering, captured)
    sizes = batch_sizes(batches)
    limit = tune if isinstance(tune, bool) else seconds(tune, "tune")

    def passed(source: Graph, log: CompileLog) -> Graph:
        return optimize(source, chosen, log, fuse, passes, must_fuse, must_not_fuse)

    optimized = passed(graph, log)
    if limit is not False:
        chosen = _tuned(CompiledModel(graph, optimized, chosen, CompileLog()), limit, log)
    model = CompiledModel(
        graph,
        optimized,
        chosen,
        log,
        lambda g: passed(g, CompileLog()),
        _first_runs,
    )
    # A group that the passes made may be one that lowering took apart.
    Demands.of(groups("must_fuse", must_fuse), (), model.graph, log).check(model.graph, log)
    if all(param.data is not None for param in model.graph.params):
        model.prepare(sizes)
    return model


def _first_runs(target: Target, log: CompileLog) -> Bind:
    """What binds the plans of a model: on a GPU it judges kernels that never ran there."""
    if target.on.identity is None:
        return plain_binder(target, log)
    from graphcnn.self_check import SelfCheck

    return SelfCheck(target.on, log).bind


def _tuned(model: CompiledModel, limit: float | Literal[True], log: CompileLog) -> Target:
    """A model's target, with what was measured."""
    from graphcnn.tuning.search import SECONDS, search

    target, told = search(model, SECONDS if limit is True else limit)
    if told.interrupted:
        raise KeyboardInterrupt
    for refusal in told.refusals:
        log.refuse(refusal)
    return target


def optimize(
    graph: Graph,
    target: Target,
    log: CompileLog,
    fuse: bool = True,
    passes: Sequence[Pass] | None = None,
    must_fuse: Sequence[tuple[str, ...]] = (),
    must_not_fuse: Sequence[tuple[str, ...]] = (),
) -> Graph:
    """What the passes make of a valid graph for a target: the first half of `compile`.

    Arguments and errors are those of `compile`; the log is told what happens as it happens, also
    when it ends in an error.
    """
    left_out = "fuse=False" if not flag(fuse, "fuse") else f"target '{target.name}' does not fuse"
    if passes is None:
        passes = default_pipeline(target.supports, must_fuse, must_not_fuse, fuse, target.time)
    else:
        wanted = "passes, such as graphcnn.passes.Simplify()"
        passes = sequence(passes, "passes", Pass, wanted)  # type: ignore[type-abstract]  # for isinstance
        left_out = "it is not among `passes`"
        if demanded := groups("must_fuse", must_fuse) + groups("must_not_fuse", must_not_fuse):
            raise FusionRefused(
                "must_fuse and must_not_fuse are for the default pipeline",
                where="passes=",
                got=demanded,
                remedy="hand the groups to the Fuse pass in `passes`, or leave `passes` out",
            )
    optimized = run_passes(inline(graph), passes, log)
    for name in PASSES:
        if name not in log.graphs:
            log.add(Skipped(name, left_out))
    return optimized
