"""What a graph means: its values in NumPy float64, with a running bound on rounding errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from graphcnn.ir.fused import Fused
from graphcnn.ir.graph import Graph, Node, Param
from graphcnn.ir.op import Array
from graphcnn.ir.types import DType


def evaluate(
    graph: Graph, inputs: Mapping[str, Array], wanted: Collection[str] | None = None
) -> dict[str, Array]:
    """Reference values of a graph.

    Args:
        graph: Any valid graph, fused or not.
        inputs: An array per graph input; taken as float64.
        wanted: Values to keep: names of the graph or inside fused bodies; the outputs by default.

    Returns:
        float64 arrays by value name.

    Raises:
        MissingWeights: when a param has no data.
    """
    keep = set(graph.outputs if wanted is None else wanted)
    values = {value.name: np.asarray(inputs[value.name], np.float64) for value in graph.inputs}
    return _run(graph, values, keep)


def _run(graph: Graph, values: dict[str, Array], keep: set[str]) -> dict[str, Array]:
    # Weights are widened one at a time: all of VGG-16 in float64 would take 1.1 GB.
    reads = Counter(name for node in graph.nodes for name in node.inputs)
    kept = {name: values[name] for name in keep if name in values}

    def load(name: str) -> Array:
        return values[name] if name in values else weights(graph.param_by_name[name])

    for node in graph.nodes:
        operands = tuple(load(name) for name in node.inputs)
        if isinstance(node.op, Fused):
            inside = dict(zip(node.inputs, operands, strict=True))
            inner = {value.name for n in node.op.body.nodes for value in n.outputs}
            computed = _run(node.op.body, inside, set(node.op.exports) | (keep & inner))
        else:
            computed = {node.name: node.op.reference(*operands)}
        values.update(computed)
        kept.update({name: array for name, array in computed.items() if name in keep})
        for name in node.inputs:
            reads[name] -= 1
            if not reads[name]:
                values.pop(name, None)
    kept.update({name: load(name) for name in keep - kept.keys() if graph.defines(name)})
    return kept


def weights(param: Param) -> Array:
    """A param's data as float64.

    Raises:
        MissingWeights: when it has none.
    """
    return param.values.astype(np.float64)


def bounded(
    nodes: tuple[Node, ...],
    values: Mapping[str, Array],
    unit: float,
    stored: Collection[str] = (),
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Reference values of some nodes, with bounds on the error of computing them.

    The operands that come from outside are taken as exact, so the bound is that of these nodes
    alone: it says how far a kernel that computes them with unit roundoff `unit` may be off.

    Args:
        nodes: In execution order.
        values: Arrays for everything the nodes read from outside.
        unit: Unit roundoff of the arithmetic.
        stored: Names of the nodes whose values leave the kernel: later nodes read these as they
            were stored, rounded to their dtype and infinite where they overflowed it.

    Returns:
        float64 values and absolute error bounds, by name: of computing a value, before it is
        stored. A bound is infinite where nothing is known.
    """
    exact: dict[str, Array] = {}
    errors: dict[str, Array] = {}
    reads = {name: np.asarray(array, np.float64) for name, array in values.items()}
    slack = {name: np.zeros(()) for name in reads}
    for node in nodes:
        operands = tuple(reads[name] for name in node.inputs)
        errors_in = tuple(np.broadcast_to(slack[name], reads[name].shape) for name in node.inputs)
        with np.errstate(over="ignore", invalid="ignore"):
            value = node.op.reference(*operands)
            error = node.op.error(operands, errors_in, value, unit)
        error = np.where(np.isnan(error), np.inf, error)
        exact[node.name], errors[node.name] = value, error
        if node.name in stored:
            value, error = _as_stored(value, error, node.type.dtype)
        reads[node.name], slack[node.name] = value, error
    return exact, errors


def _as_stored(exact: Array, error: Array, dtype: DType) -> tuple[Array, Array]:
    """A value and its error bound after rounding to a dtype, which is monotone."""
    with np.errstate(over="ignore", invalid="ignore"):
        low = dtype.round(exact - error).astype(np.float64)
        high = dtype.round(exact + error).astype(np.float64)
        known = low == high
        value = np.where(known, low, exact)
        return value, np.where(known, 0.0, np.maximum(high - value, value - low))
