"""The launches of a network, compiled for a GPU that is not here."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from graphcnn.compiler import optimize
from graphcnn.ir import Graph, rebatch
from graphcnn.kernels import Block
from graphcnn.passes import journal
from graphcnn.plan import Buffer
from tests import gpu_compiler
from tests.kernels.buffers import DTYPES
from tests.stand_in_gpu import stand_in_target


class Compiled(NamedTuple):
    """A launch of a node at a batch size, and what became of its kernel."""

    node: str
    batch: int
    kernel: str
    binary: gpu_compiler.GpuBinary


def compiled_launches(
    graph: Graph,
    batches: tuple[int, ...],
    capability: int,
    must_fuse: tuple[tuple[str, ...], ...] = (),
) -> Iterator[Compiled]:
    """Fuse a network, lower it at each batch size, and compile every launch."""
    target, _ = stand_in_target(capability)
    fused = optimize(graph, target, journal(), must_fuse=must_fuse)
    for batch in batches:
        lowered = target.lower(rebatch(fused, batch))
        dtypes = {place.buffer.name: place.type.dtype for place in lowered.locations.values()}
        dtypes |= {weight.name: weight.dtype for weight in lowered.weights}
        memory = {name: torch.empty(0, dtype=DTYPES[dtype.value]) for name, dtype in dtypes.items()}
        for step in lowered.steps:
            kernel, _, args, meta, _ = step.work
            binary = gpu_compiler.compile_for_gpu_like(
                kernel, bound(args, memory), meta, capability
            )
            yield Compiled(step.node, batch, kernel.__name__, binary)


def bound(argument, memory):
    """An argument of a kernel with tensors in place of its buffers."""
    if isinstance(argument, Buffer):
        return memory[argument.name]
    if isinstance(argument, Block):
        return argument.descriptor(memory[argument.ptr.name])
    if isinstance(argument, tuple):
        parts = [bound(part, memory) for part in argument]
        return argument._make(parts) if hasattr(argument, "_make") else tuple(parts)
    return argument
