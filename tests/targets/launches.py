"""The launches of a network, compiled for a GPU that is not here."""

from collections.abc import Iterator
from typing import NamedTuple

from graphcnn.compiler import optimize
from graphcnn.costs.devices import of_capability
from graphcnn.gpu_code import GpuCode, architecture, compile_for
from graphcnn.ir import Graph, rebatch
from graphcnn.passes import journal
from graphcnn.targets.absent import AbsentGpu, kernel_calls
from graphcnn.targets.triton import TritonTarget


class Compiled(NamedTuple):
    """A launch of a node at a batch size, and what became of its kernel."""

    node: str
    batch: int
    code: GpuCode


def compiled_launches(
    graph: Graph,
    batches: tuple[int, ...],
    name: str,
    must_fuse: tuple[tuple[str, ...], ...] = (),
) -> Iterator[Compiled]:
    """Fuse a network, lower it at each batch size, and compile every launch for an architecture."""
    gpu = architecture(name)
    target = TritonTarget(AbsentGpu.of(of_capability(gpu.capability)))
    fused = optimize(graph, target, journal(), must_fuse=must_fuse)
    for batch in batches:
        for step, call in kernel_calls(target.lower(rebatch(fused, batch))):
            yield Compiled(step.node, batch, compile_for(call, gpu))
