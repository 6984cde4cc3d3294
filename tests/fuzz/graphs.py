"""Random graphs through text, passes, re-batching and lowering."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise

import numpy as np

from graphcnn.errors import GraphCNNError
from graphcnn.ir import (
    CompileLog,
    Graph,
    Param,
    parse,
    rebatch,
    verify,
    with_he_weights,
)
from graphcnn.passes import default_pipeline, run_passes
from graphcnn.targets import resolve
from tests.fuzz.drawing import arrays, drawn
from tests.tolerance import assert_same_meaning


def check(seed: int) -> str:
    """Draw a graph and put it to every law; returns what became of it, in a few words."""
    return check_graph(drawn(seed), seed)


@np.errstate(all="ignore")
def check_graph(graph: Graph, seed: int) -> str:
    choice = random.Random(seed)
    verify(graph)
    assert parse(str(graph)) == graph
    target = resolve(choice.choice(("triton", "triton", "library")), "cpu")
    fuse = choice.random() < 0.8
    passes = default_pipeline(target.supports, fuse=fuse)
    log, made, stages = CompileLog(), graph, [graph]
    for step in passes:
        made = run_passes(made, (step,), log)
        verify(made)
        assert step.run(made, CompileLog()) == made, f"{step.name} changes its own result"
        stages.append(made)
    assert parse(str(made)) == made
    full = with_he_weights(graph)
    filled = {param.name: param for param in full.params}
    # A param without data that a pass reshaped has a new name, and cannot be filled.
    stages = list(filter(_has_data, (_with_data(stage, filled) for stage in stages)))
    given = arrays(graph, seed, special=choice.random() < 0.5)
    for before, after in pairwise(stages):
        assert_same_meaning(before, after, given)
    assert_same_meaning(full, stages[-1], given)
    check_rebatched(full, stages[-1], passes, choice.choice((1, 2, 3, 5)), seed)
    return f"{target.name}: {check_lowering(graph, made, target)}"


def _with_data(graph: Graph, filled: Mapping[str, Param]) -> Graph:
    """The graph with the source's data in the params that had none."""
    params = (filled.get(p.name, p) if p.data is None else p for p in graph.params)
    return graph.replace(params=tuple(params))


def _has_data(graph: Graph) -> bool:
    return all(param.data is not None for param in graph.params)


def check_rebatched(source: Graph, made: Graph, passes: tuple, batch: int, seed: int) -> None:
    """Passes, then another batch size, means the same as the other way round."""
    wide, late = resized(source, batch), resized(made, batch)
    assert (wide is None) == (late is None), "the passes changed which batch sizes it takes"
    if wide is None or late is None:
        return
    verify(wide)
    verify(late)
    early = run_passes(wide, passes, CompileLog())
    given = arrays(wide, seed + 1, special=False)
    assert_same_meaning(wide, late, given)
    assert_same_meaning(wide, early, given)


def resized(graph: Graph, batch: int) -> Graph | None:
    """The graph for another batch size, or None where it has only one."""
    with suppress(GraphCNNError):
        return rebatch(graph, batch)
    return None


def check_lowering(source: Graph, made: Graph, target) -> str:
    """Steps, or an error of ours; a target that runs the source runs what the passes made of it."""

    def outcome(graph: Graph) -> str:
        try:
            target.lower(graph)
        except GraphCNNError as error:
            return type(error).__name__
        return "lowered"

    before, after = outcome(source), outcome(made)
    if before == "lowered":
        assert after == "lowered", f"the passes made {target.name} refuse it: {after}"
    return after


def smallest(seed: int) -> Graph:
    """A part of a failing graph that fails as well: the nodes of its first value that is enough."""
    graph = drawn(seed)
    for node in graph.nodes:
        needed = {node.name}
        for other in reversed(graph.nodes):
            if other.name in needed:
                needed.update(other.inputs)
        kept = tuple(other for other in graph.nodes if other.name in needed)
        part = graph.replace(nodes=kept, outputs=(node.name,))
        try:
            check_graph(part, seed)
        except Exception:
            return part
    return graph
