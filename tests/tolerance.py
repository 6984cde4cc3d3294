"""How far two right computations of the same values may be apart: derived, never chosen."""

import numpy as np

from graphcnn.ir import bounded, evaluate, inline, weights


def assert_within_bounds(graph, inputs, got, *, unit=2.0**-53):
    """Values that another program computed from the same inputs equal the graph's reference.

    Each side may be off by the running-error bound of the nodes, in its own order of summation;
    so the two may differ by the sum of both bounds.

    Args:
        graph: What was computed.
        inputs: An array per input of the graph.
        got: The other program's arrays by name of a value of the graph.
        unit: Unit roundoff of the other program's arithmetic; float64 by default.
    """
    flat = inline(graph)
    operands = {**inputs, **{param.name: weights(param) for param in flat.params}}
    _, own = bounded(flat.nodes, operands, 2.0**-53)
    _, other = bounded(flat.nodes, operands, unit)
    for name, reference in evaluate(graph, inputs, got.keys()).items():
        computed = np.asarray(got[name], np.float64)
        assert computed.shape == reference.shape
        assert reference.size == 1 or np.ptp(reference) > 0, f"'{name}' is constant"
        off = np.abs(computed - reference) / (own[name] + other[name])
        assert (off <= 1).all(), f"'{name}' is off by {off.max():.3g} bounds"
