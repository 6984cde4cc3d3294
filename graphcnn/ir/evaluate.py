"""What a graph means: its values in NumPy float64, with a running bound on rounding errors."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping

import numpy as np

from graphcnn.ir.fused import inline
from graphcnn.ir.graph import Graph, Node, Param
from graphcnn.ir.interpret import interpret
from graphcnn.ir.op import Array, Op, OpKind
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
    given = {value.name: np.asarray(inputs[value.name], np.float64) for value in graph.inputs}
    flat = inline(graph)

    def source(name: str) -> Array:
        return given[name] if name in given else weights(flat.param_by_name[name])

    def apply(node: Node, operands: tuple[Array, ...]) -> Array:
        return node.op.reference(*operands)

    kept = {n: value for n, value in interpret(flat.nodes, source, apply) if n in keep}
    return kept | {n: source(n) for n in keep - kept.keys() if flat.defines(n)}


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
    stored: Mapping[str, Array] = {},
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Reference values of some nodes, with bounds on the error of computing them.

    The operands that come from outside are taken as exact, so the bounds are those of these nodes
    alone: they say how far a kernel that computes them with unit roundoff `unit` may be off.

    Args:
        nodes: In execution order.
        values: Arrays for everything the nodes read from outside.
        unit: Unit roundoff of the arithmetic.
        stored: Values of the nodes that leave the kernel, as they are in memory: later nodes read
            these, rounded to their dtype and infinite where they overflowed it.

    A product takes its operand in that operand's dtype: a half-precision value that is computed
    beside it is rounded before.

    Returns:
        By name: float64 values; absolute error bounds that are proven (`Op.error`), of computing a
        value, before it is stored; and what rounding stays within in practice (`Op.noise`). A bound
        is infinite where nothing is known.
    """
    none = np.zeros(())
    exact: dict[str, Array] = {}
    bounds: tuple[dict[str, Array], dict[str, Array]] = {}, {}

    def source(name: str) -> _Read:
        return np.asarray(values[name], np.float64), (none, none)

    def apply(node: Node, operands: tuple[_Read, ...]) -> _Read:
        op, name = node.op, node.name
        if op.kind is OpKind.ANCHOR and node.inputs[0] in exact.keys() - stored.keys():
            operands = (_rounded(operands[0], node.type.dtype), *operands[1:])
        arrays = tuple(array for array, _ in operands)
        value = exact[name] = op.reference(*arrays)
        for number, rule in enumerate((op.error, op.noise)):
            errors = tuple(np.broadcast_to(slacks[number], x.shape) for x, slacks in operands)
            bounds[number][name] = bound_by(rule, op, arrays, errors, value, unit)
        if name in stored:
            return stored[name], (none, none)
        largest = _largest(unit)
        proven, in_practice = (_slack(value, made[name], largest) for made in bounds)
        return _held(value, largest), (proven, in_practice)

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        deque(interpret(nodes, source, apply), maxlen=0)
    return exact, *bounds


# `error` or `noise` of an op.
Rule = Callable[[tuple[Array, ...], tuple[Array, ...], Array, float], Array]
# A value as later nodes read it, and by each rule the bound on its error.
_Read = tuple[Array, tuple[Array, Array]]


def bound_by(
    rule: Rule,
    op: Op,
    inputs: tuple[Array, ...],
    errors: tuple[Array, ...],
    output: Array,
    unit: float,
) -> Array:
    """An op's bound by one of its rules, also where operands are NaN or infinite.

    What these make is known, and the bound 0, unless the others are unknown or overflow beside
    them, or the op spreads them; where nothing is known it is infinite.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        bound = rule(inputs, errors, output, unit)
        bound = np.where(np.isnan(bound), np.inf, bound)
        if op.spreads or np.isfinite(output).all():
            return bound
        others = tuple(np.where(np.isfinite(x), x, 0.0) for x in inputs)
        rest = rule(others, errors, op.reference(*others), unit)
    known = np.where(np.isfinite(rest), 0.0, np.inf)
    return np.where(np.isfinite(output), bound, known)


# Of half-precision dtypes: the largest number, and the distance of the smallest ones.
_RANGE = {DType.F16: (65504.0, 2.0**-24), DType.BF16: (float.fromhex("0x1.fep127"), 2.0**-133)}
# In practice a product adds up the squares of its operands' errors. The typical size of a rounding
# error is its largest over the root of 3; four times the largest are seven typical ones.
_SPREAD = 4.0


def _rounded(read: _Read, dtype: DType) -> _Read:
    """A value as it is read after rounding to a dtype; float32 is what kernels hold already."""
    if dtype not in _RANGE:
        return read
    value, bounds = read
    largest, step = _RANGE[dtype]
    size = np.where(np.isfinite(value), np.abs(value), 0.0)
    proven, in_practice = (
        _slack(value, bound + spread * (dtype.unit_roundoff * (size + bound) + step), largest)
        for bound, spread in zip(bounds, (1.0, _SPREAD), strict=True)
    )
    return _held(value, largest), (proven, in_practice)


def _held(value: Array, largest: float) -> Array:
    """A value as numbers up to the largest hold it: infinite beyond their range."""
    return np.where(np.abs(value) > largest, np.copysign(np.inf, value), value)


def _slack(value: Array, bound: Array, largest: float) -> Array:
    """The bound on a value as it is held; nothing is known at the edge of the range."""
    size = np.abs(value)
    outside = np.where(size - bound > largest, 0.0, np.inf)
    return np.where(size + bound > largest, outside, bound)


def _largest(unit: float) -> float:
    """The largest number of an arithmetic: float64, or float32, whatever its operands are."""
    wide = unit < DType.F32.unit_roundoff
    return float(np.finfo(np.float64 if wide else np.float32).max)
