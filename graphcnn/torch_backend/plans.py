"""The plans in use, so that Dynamo's tracing anew, as for another batch size, makes no other."""

from __future__ import annotations

import weakref

import numpy as np
import torch

from graphcnn import forks
from graphcnn.compiler import compile
from graphcnn.errors import BatchError
from graphcnn.ir import Graph, batch_of, rebatch
from graphcnn.runtime.compiled import CompiledModel

_lock = forks.lock()
_plans: weakref.WeakSet[CompiledModel] = weakref.WeakSet()


def plan_of(graph: Graph, device: torch.device) -> CompiledModel:
    """A plan for a graph, weights included: one that is in use, whatever its batch, or a new one.

    Raises:
        The errors of `compile`.
    """
    with _lock:
        for model in _plans:
            if model.target.on.memory == device and _is(model.source, graph):
                return model
        made = compile(graph, device=device)
        _plans.add(made)
        return made


def follows_batch(graph: Graph) -> bool:
    """Whether a graph can be planned for another batch size."""
    try:
        rebatch(graph, batch_of(graph) + 1)
    except BatchError:
        return False
    return True


def _is(known: Graph, graph: Graph) -> bool:
    """Whether two graphs are one, weights included, but for the batch size."""
    if [node.name for node in known.nodes] != [node.name for node in graph.nodes]:
        return False
    try:
        same = known == graph or known == rebatch(graph, batch_of(known))
    except BatchError:
        return False
    pairs = zip(known.params, graph.params, strict=True) if same else ()
    return same and all(np.array_equal(one.values, other.values) for one, other in pairs)
