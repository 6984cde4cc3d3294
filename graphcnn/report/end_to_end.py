"""How far the outputs are from the reference of the graph as the user gave it.

These are figures, not a verdict: what rounding may do to a whole network has no bound that is of
use. Whether a model is right is decided piece by piece (see `report.verification`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphcnn.ir import Array, Graph, batch_of, evaluate, inline, rebatch
from graphcnn.report.replay import read
from graphcnn.runtime.boundary import to_numpy
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.runtime.executor import Executor


@dataclass(frozen=True, slots=True)
class OutputError:
    """One output against the reference of the graph as the user gave it.

    Attributes:
        name: The output.
        error: Largest |computed - reference| of the elements that are finite in both.
        relative: The error over the range of the reference (its size, for a constant one).
        constant: Whether all elements of the reference are equal, so that the check says little.
        unbounded: Elements whose reference is NaN or infinite.
    """

    name: str
    error: float
    relative: float
    constant: bool
    unbounded: int


class References:
    """What models are expected to return for one call's arrays; computed once per source graph."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.arrays = arrays
        self._known: dict[int, dict[str, Array]] = {}

    def given(self, graph: Graph) -> dict[str, Array]:
        """The arrays as a graph of these inputs takes them: rounded to their dtypes, in float64."""
        return {
            value.name: value.type.dtype.round(to_numpy(self.arrays[value.name])).astype(np.float64)
            for value in graph.inputs
        }

    def errors(self, model: CompiledModel, executor: Executor) -> tuple[OutputError, ...]:
        """The outputs of a model whose executor has run on these arrays."""
        source = model.source
        if id(source) not in self._known:
            flat = source_for(model, executor)
            with np.errstate(over="ignore", invalid="ignore"):
                self._known[id(source)] = evaluate(flat, self.given(flat))
        exact = self._known[id(source)]
        names = zip(source.outputs, executor.graph.outputs, strict=True)
        return tuple(_error(name, read(executor, value), exact[name]) for name, value in names)


def source_for(model: CompiledModel, executor: Executor) -> Graph:
    """The graph as the user gave it, without fused nodes, for the batch size of an executor."""
    flat, ran = inline(model.source), executor.graph
    return flat if flat.inputs == ran.inputs else rebatch(flat, batch_of(ran))


def _error(name: str, computed: Array, reference: Array) -> OutputError:
    finite = np.isfinite(reference)
    exact = reference[finite]
    both = finite & np.isfinite(computed)
    error = float(np.abs(computed[both] - reference[both]).max(initial=0.0))
    spread = float(np.ptp(exact)) if exact.size else 0.0
    scale = spread or float(np.abs(exact).max(initial=0.0)) or 1.0
    constant = spread == 0 and exact.size > 1
    return OutputError(name, error, error / scale, constant, reference.size - exact.size)
