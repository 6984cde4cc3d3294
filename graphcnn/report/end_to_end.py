"""The reference of whole outputs, and how far rounding alone may move them.

A worst-case bound over a whole network is too wide to be of use, so its sensitivity is measured:
the network is evaluated twice in float64, the second time with noise of the size of rounding errors
added to every value, and the outputs may differ from the reference by a multiple of what the noise
moves them. That is an estimate, not a proof; it is there to catch passes that change a network's
meaning, which no check of single groups can see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphcnn.ir import Array, DType, Graph, batch_of, inline, rebatch, weights
from graphcnn.report.replay import read
from graphcnn.runtime.boundary import to_numpy
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.runtime.executor import Executor

# Sums in float32 are off by about the square root of their length, in units of 2^-24: 64 for 4096
# terms.
ACCUMULATION = 2.0**-18
# Errors are normally a fraction of what the noise does; this leaves room for bad luck.
ROOM = 8.0


@dataclass(frozen=True, slots=True)
class Expected:
    """An output's reference, float64, and how far a computed one may be from it."""

    value: Array
    allowed: float


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """One output against the reference of the graph as the user gave it.

    Attributes:
        name: The output.
        error: Largest |computed - reference|.
        allowed: How large it may be.
        relative: The error over the range of the reference (its size, for a constant one).
        constant: Whether all elements of the reference are equal, so that the check says little.
        unjudged: Elements that are left out, because their reference is NaN or infinite.
    """

    name: str
    error: float
    allowed: float
    relative: float
    constant: bool
    unjudged: int

    @property
    def passed(self) -> bool:
        """Whether the error is allowed; never for NaN."""
        return self.error <= self.allowed


class References:
    """What models are expected to return for one call's arrays; computed once per source graph."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays = arrays
        self._known: dict[int, dict[str, Expected]] = {}

    def given(self, graph: Graph) -> dict[str, Array]:
        """The arrays as a graph of these inputs takes them: rounded to their dtypes, in float64."""
        return {
            value.name: value.type.dtype.round(to_numpy(self._arrays[value.name])).astype(
                np.float64
            )
            for value in graph.inputs
        }

    def run(self, model: CompiledModel) -> tuple[OutputCheck, ...]:
        """Run a model with the memory of its activations poisoned, and check its outputs."""
        with model.loaded(self._arrays, poison=True) as executor:
            for _, run in executor.steps():
                run()
            return self.check(model, executor)

    def check(self, model: CompiledModel, executor: Executor) -> tuple[OutputCheck, ...]:
        """The outputs of a model whose executor has run on these arrays."""
        source = model.source
        if id(source) not in self._known:
            flat = inline(source)
            ran = executor.graph
            flat = flat if flat.inputs == ran.inputs else rebatch(flat, batch_of(ran))
            self._known[id(source)] = expected_outputs(flat, self.given(flat))
        expected = self._known[id(source)]
        names = zip(source.outputs, executor.graph.outputs, strict=True)
        return tuple(_check(name, read(executor, value), expected[name]) for name, value in names)


def _check(name: str, computed: Array, expected: Expected) -> OutputCheck:
    judged = np.isfinite(expected.value)
    exact, computed = expected.value[judged], computed[judged]
    error = float(np.abs(computed - exact).max(initial=0.0))
    spread = float(np.ptp(exact)) if exact.size else 0.0
    scale = spread or float(np.abs(exact).max(initial=0.0)) or 1.0
    constant = spread == 0 and exact.size > 1
    unjudged = expected.value.size - exact.size
    return OutputCheck(name, error, expected.allowed, error / scale, constant, unjudged)


def expected_outputs(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Expected]:
    """Reference and allowance of every output of an unfused graph.

    Args:
        graph: The network as the user wrote it.
        inputs: A float64 array per graph input.

    Raises:
        MissingWeights: when a param has no data.
    """
    generator = np.random.default_rng(0)
    pairs = {name: (array, array) for name, array in inputs.items()}
    reads = Counter(name for node in graph.nodes for name in node.inputs)
    reads.update(graph.outputs)
    for node in graph.nodes:
        operands = tuple(_pair(name, graph, pairs) for name in node.inputs)
        exact = node.op.reference(*(pair[0] for pair in operands))
        noisy = node.op.reference(*(pair[1] for pair in operands))
        noisy = noisy + generator.uniform(-1, 1, exact.shape) * _noise(exact, node.type.dtype)
        pairs[node.name] = exact, np.where(np.isfinite(exact), noisy, exact)
        for name in node.inputs:
            reads[name] -= 1
            if not reads[name]:
                pairs.pop(name, None)
    return {
        name: _expected(graph.type_of(name).dtype, *_pair(name, graph, pairs))
        for name in graph.outputs
    }


def _expected(dtype: DType, exact: Array, noisy: Array) -> Expected:
    # The noises of a small output may cancel: it may be off by its own at least.
    judged = np.isfinite(exact)
    apart = np.abs(noisy[judged] - exact[judged]).max(initial=0.0)
    return Expected(exact, ROOM * float(max(apart, _noise(exact, dtype).max())))


def _noise(value: Array, dtype: DType) -> Array:
    """The size of a value's rounding errors: of storing its elements, and of computing them."""
    size = np.abs(np.where(np.isfinite(value), value, 0.0))
    noise: Array = dtype.unit_roundoff * size + ACCUMULATION * size.max()
    return noise


def _pair(name: str, graph: Graph, pairs: Mapping[str, tuple[Array, Array]]) -> tuple[Array, Array]:
    if name in pairs:
        return pairs[name]
    array = weights(graph.param_by_name[name])
    return array, array
