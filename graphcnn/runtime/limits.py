"""The largest batch that fits: what kernels can address, and what memory holds."""

from __future__ import annotations

from collections.abc import Callable

from graphcnn.errors import BatchError, OutOfMemory, TooLarge
from graphcnn.ir import Graph, batch_of, rebatch
from graphcnn.plan import Device, Lowered, Plan, Target
from graphcnn.runtime.memory import block_bytes
from graphcnn.runtime.weights import WeightStore


def lowered(target: Target, graph: Graph) -> Lowered:
    """What a target makes of a graph.

    Raises:
        TooLarge: for a value that kernels cannot address, with the largest batch that fits if the
            batch is at fault.
        UnsupportedOp: naming the node for which there is no lowering.
    """
    try:
        return target.lower(graph)
    except TooLarge as error:

        def fits(smaller: Graph) -> bool:
            target.lower(smaller)
            return True

        most = largest_batch(graph, fits)
        if not most:
            raise
        raise TooLarge(
            "the kernels cannot address a batch of this size",
            where=error.where,
            got=f"{batch_of(graph)} samples: {error.got}",
            wanted=f"at most {most} samples in a call",
            remedy="split the batch",
        ) from None


def out_of_memory(
    error: OutOfMemory,
    graph: Graph,
    plan: Plan,
    planned: Callable[[Graph], Plan],
    device: Device,
    weights: WeightStore,
) -> OutOfMemory:
    """What a model needs and what there is, where its memory cannot be taken.

    Args:
        error: What could not be taken.
        graph: For the batch size at hand.
        plan: Its plan.
        planned: Makes the plan for another batch size.
        device: Where it runs.
        weights: Those that are packed already.
    """
    free = device.free_bytes()

    def fits(smaller: Graph) -> bool:
        results = sum(smaller.type_of(name).nbytes for name in smaller.outputs)
        return _needed(planned(smaller), weights) + results <= (free or 0)

    most = None if free is None else largest_batch(graph, fits) or None
    packed = sum(weight.nbytes for weight in plan.weights)
    there = "an unknown amount" if free is None else f"{free:,} bytes"
    samples = f"{batch_of(graph)} samples" if most else "this network"
    return OutOfMemory(
        f"the memory does not suffice for {samples}",
        where=f"graph '{graph.name}' on {device.name}",
        got=f"{plan.arena_bytes:,} bytes for activations, {packed:,} bytes for weights; "
        f"{there} free",
        wanted=f"at most {most} samples in a call" if most else None,
        remedy="split the batch" if most else "free memory, or build the graph in half precision",
        nbytes=error.nbytes,
        largest_batch=most,
    )


def _needed(plan: Plan, weights: WeightStore) -> int:
    """Bytes that binding a plan takes beside what is taken already."""
    missing = weights.sizes(plan.weights)
    return block_bytes([plan.arena_bytes]) + (block_bytes(missing) if missing else 0)


def largest_batch(graph: Graph, fits: Callable[[Graph], bool]) -> int:
    """The largest batch size below a graph's own that fits; 0 if none does.

    Args:
        graph: What is made for other batch sizes.
        fits: Whether such a graph does; TooLarge and BatchError say that it does not.
    """

    def does(batch: int) -> bool:
        try:
            return fits(rebatch(graph, batch))
        except (BatchError, TooLarge):
            return False

    try:
        beyond = batch_of(graph)
    except BatchError:
        return 0
    most, middle = 0, 1  # one sample first: where it does not fit, the batch is not at fault
    while beyond - most > 1:
        most, beyond = (middle, beyond) if does(middle) else (most, middle)
        middle = (most + beyond) // 2
    return most
