"""A network from the inside: each fused kernel beside the unfused ones, and the use of memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import graphcnn as gx
from bench.engines.cases import Case
from bench.engines.results import Inside, Layer, Memory, now
from graphcnn.ir import Graph, Node, node_cost
from graphcnn.plan import Plan
from graphcnn.report.profiling import step_seconds
from graphcnn.report.schedule import kernels, steps_of
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.timing import Ratio, Timing, interleave

# One chain of each kind, the kernels of every network that is named beside it.
CASES = tuple(map(Case, ("vgg16", "resnet50", "mobilenet_v2", "unet_bn")))


def inside(case: Case, *, seconds: float = 5.0) -> Inside:
    """Measure a network's kernels, fused and unfused by turns.

    Raises:
        ValueError: when a model is wrong, before anything is timed.
    """
    graph = case.graph()
    models = {
        name: gx.compile(graph, device="cpu", fuse=name == "fused") for name in ("fused", "unfused")
    }
    arrays = example_inputs(graph)
    for name, model in models.items():
        found = gx.verify(model, **arrays)
        if not found.ok:
            raise ValueError(f"{case}, {name}: {found.verdict}")
    takes = {name: partial(step_seconds, model, arrays) for name, model in models.items()}
    samples = interleave(takes, seconds=seconds)
    graphs, plans = {}, {}
    for name, model in models.items():
        with model.loaded(arrays) as executor:
            graphs[name], plans[name] = executor.graph, executor.plan
    steps = steps_of(plans["fused"])
    layers = tuple(
        _layer(node, kernels(steps[node.name]), graphs, samples)
        for node in graphs["fused"].nodes
        if node.name in steps
    )
    return Inside(case, now(), layers, memory(plans["fused"]), memory(plans["unfused"]))


def _layer(
    node: Node,
    kernel: str,
    graphs: Mapping[str, Graph],
    samples: Mapping[str, Sequence[Mapping[str, float]]],
) -> Layer:
    fused = [of_round[node.name] for of_round in samples["fused"]]
    ran = samples["unfused"][0]
    parts = [part for part in node.members if part.name in ran]
    unfused = [sum(of_round[part.name] for part in parts) for of_round in samples["unfused"]]
    costs = node_cost(node, graphs["fused"])
    return Layer(
        node.name,
        kernel,
        costs.flops,
        Timing.of(fused),
        Timing.of(unfused) if parts else None,
        Ratio.between(fused, unfused) if parts else None,
        _moved(node, graphs["fused"]),
        sum(_moved(graphs["unfused"].producer(part.name), graphs["unfused"]) for part in parts),
    )


def _moved(node: Node, graph: Graph) -> int:
    cost = node_cost(node, graph)
    return (cost.reads + cost.writes) * node.type.dtype.itemsize


def memory(plan: Plan) -> Memory:
    """Bytes of the arena that hold something needed, at each step."""
    alive = [
        sorted((s.offset, s.offset + s.nbytes) for s in plan.slots if s.first <= step <= s.last)
        for step in range(len(plan.steps))
    ]
    return Memory(plan.arena_bytes, tuple(map(_covered, alive)))


def _covered(spans: Sequence[tuple[int, int]]) -> int:
    """The length of sorted spans together; a value in the place of another counts once."""
    covered, reached = 0, 0
    for start, end in spans:
        covered += max(0, end - max(start, reached))
        reached = max(reached, end)
    return covered
