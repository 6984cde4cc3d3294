"""Filling a graph with weights."""

from __future__ import annotations

import zlib
from dataclasses import replace
from math import prod, sqrt

import numpy as np

from graphcnn.arguments import count
from graphcnn.ir.constants import frozen
from graphcnn.ir.graph import Graph, Param
from graphcnn.ir.op import Array
from graphcnn.ir.types import fitting
from graphcnn.ir.verify import check_graph


def with_he_weights(graph: Graph, seed: int = 0) -> Graph:
    """The graph with seeded random data in every param that has none.

    Params of two dimensions and more are normal with variance 2 / fan-in (He et al., 2015); a
    vector named `...var` is uniform in [0.5, 1.5], one named `...weight` (a scale) likewise, and
    any other vector normal with deviation 0.1. Each param's numbers depend on the seed and its own
    name only.

    Raises:
        InvalidGraph, InvalidAttribute: for what is not a graph, and for a negative seed.
        TooLarge: for weights that do not fit into memory.
    """
    check_graph(graph)
    count(seed, "seed")
    filled = tuple(
        param if param.data is not None else replace(param, data=_draw(param, seed))
        for param in graph.params
    )
    return graph.replace(params=filled)


def _draw(param: Param, seed: int) -> Array:
    generator = np.random.default_rng([seed, zlib.crc32(param.name.encode())])
    shape = param.type.shape
    with fitting(param):
        if len(shape) >= 2:
            drawn = generator.standard_normal(shape, np.float32)
            drawn *= np.float32(sqrt(2 / prod(shape[1:])))
        elif param.name.endswith(("var", "weight")):
            drawn = generator.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            drawn = 0.1 * generator.standard_normal(shape, np.float32)
        return frozen(param.type.dtype.round(drawn))
