"""What the passes did: the compiled graph against the source, in float64 on both sides.

A name that both graphs define means the same value in both (see `passes.Pass`). So each node that
the passes changed is evaluated on the source's values of the names it reads, and its own value is
compared with the source's: errors do not add up through the network, and a difference is found
where it is made. It may be no larger than float64 rounding on both sides, plus what rounding the
params that passes computed, once each, explains. Nodes that the passes left alone need no look.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from graphcnn.ir import Array, DType, Graph, Node, Param, weights
from graphcnn.ir.evaluate import bound_by
from graphcnn.report.deviation import share_of, when_stored

UNIT = DType.F64.unit_roundoff


@dataclass(frozen=True, slots=True)
class ValueCheck:
    """One value that the compiled graph computes in another way than the source.

    Attributes:
        name: The value.
        where: The user's line, when known.
        error: Largest |compiled - source|.
        bound: How large it may be, at that element.
        share: Largest ratio of error to bound, over all elements.
        problem: What is wrong, or None.
    """

    name: str
    where: str | None
    error: float
    bound: float
    share: float
    problem: str | None


@dataclass(frozen=True, slots=True)
class _Value:
    """A value in float64, and a bound on its error."""

    array: Array
    error: Array


def equivalence(source: Graph, graph: Graph, inputs: Mapping[str, Array]) -> tuple[ValueCheck, ...]:
    """Check every value that two graphs define and that the second computes in another way.

    Args:
        source: The graph as the user gave it, without fused nodes.
        graph: What passes made of it, likewise, for the same batch size.
        inputs: A float64 array per graph input.

    Raises:
        MissingWeights: when a param has no data.
    """
    nodes = [node for node in graph.nodes if not _is_unchanged(node, source)]
    params = [param for param in graph.params if not _is_unchanged_param(param, source)]
    renamed = [
        (was, now) for was, now in zip(source.outputs, graph.outputs, strict=True) if was != now
    ]
    judged = Counter(
        (*(n.name for n in nodes), *(p.name for p in params), *(was for was, _ in renamed))
    )
    read = Counter((*(n for node in nodes for n in node.inputs), *(now for _, now in renamed)))
    reference = _Reference(source, graph, inputs, judged, read)
    own: dict[str, _Value] = {}
    checks: list[ValueCheck] = []

    def operand(name: str) -> _Value:
        return own[name] if name in own else _exact(reference.take(name).array)

    def define(name: str, value: _Value) -> None:
        if source.defines(name):
            checks.append(_check(name, source, value, reference.take(name)))
        else:
            own[name] = value

    for param in params:
        data = weights(param)
        given = source.is_param(param.name)
        rounding = when_stored(data, np.zeros(()), param.type.dtype)
        define(param.name, _exact(data) if given else _Value(data, rounding))
    for node in nodes:
        define(node.name, _evaluate(node, tuple(operand(name) for name in node.inputs)))
    for was, now in renamed:
        checks.append(_check(was, source, operand(now), reference.take(was)))
    return tuple(checks)


class _Reference:
    """The source's values, each computed in its turn and let go after its last use."""

    def __init__(
        self,
        source: Graph,
        graph: Graph,
        inputs: Mapping[str, Array],
        judged: Counter[str],
        read: Counter[str],
    ) -> None:
        self._source, self._graph, self._judged = source, graph, judged
        self._uses = judged + read
        self._uses.update(name for node in source.nodes for name in node.inputs)
        self._values = {name: _exact(array) for name, array in inputs.items()}
        self._constants = set(source.param_by_name)
        self._rest = iter(source.nodes)

    def take(self, name: str) -> _Value:
        """A value, with the error of computing it from the nearest that both graphs name."""
        if self._source.is_param(name):
            return _exact(weights(self._source.param_by_name[name]))
        while name not in self._values:
            self._step(next(self._rest))
        self._uses[name] -= 1
        return self._values[name] if self._uses[name] else self._values.pop(name)

    def _step(self, node: Node) -> None:
        operands = [self.take(name) for name in node.inputs]
        shared = [self._graph.defines(name) for name in node.inputs]
        known = tuple(_exact(v.array) if s else v for v, s in zip(operands, shared, strict=True))
        if node.name in self._judged or not self._graph.defines(node.name):
            value = _evaluate(node, known)
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                value = _exact(node.op.reference(*(operand.array for operand in known)))
        if self._constants.issuperset(node.inputs):
            # A constant is what running its node stores.
            self._constants.add(node.name)
            value = _Value(node.type.dtype.round(value.array).astype(np.float64), value.error)
        self._values[node.name] = value


def _is_unchanged(node: Node, source: Graph) -> bool:
    """Whether the source computes this value in the same way from values of the same names."""
    same = source.producer(node.name)
    return same is not None and (same.op, same.inputs) == (node.op, node.inputs)


def _is_unchanged_param(param: Param, source: Graph) -> bool:
    same = source.param_by_name.get(param.name)
    return same is not None and (
        same.data is param.data or np.array_equal(same.values, param.values)
    )


def _exact(array: Array) -> _Value:
    return _Value(array, np.zeros(array.shape))


def _evaluate(node: Node, operands: tuple[_Value, ...]) -> _Value:
    arrays = tuple(operand.array for operand in operands)
    errors = tuple(operand.error for operand in operands)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        value = node.op.reference(*arrays)
    return _Value(value, bound_by(node.op.error, node.op, arrays, errors, value, UNIT))


def _check(name: str, source: Graph, value: _Value, expected: _Value) -> ValueCheck:
    maker = source.producer(name)
    where = str(maker.where) if maker and maker.where else None
    got, wanted = value.array, expected.array
    if got.shape != wanted.shape:
        problem = f"it has the shape {list(got.shape)}, in the source {list(wanted.shape)}"
        return ValueCheck(name, where, np.inf, 0.0, np.inf, problem)
    # Weights that were rounded may make NaN of an infinity: 0 * inf for the product of a small one.
    got = np.where(np.isnan(got) & np.isinf(wanted), wanted, got)
    bound = value.error + expected.error
    error, share = share_of(got, wanted, bound)
    at = np.unravel_index(np.argmax(share), share.shape)
    wrong = int((share > 1).sum())
    problem = f"{wrong} of {share.size} elements differ from the source's by more than rounding"
    return ValueCheck(
        name,
        where,
        float(error[at]),
        float(bound[at]),
        float(share[at]),
        problem if wrong else None,
    )
