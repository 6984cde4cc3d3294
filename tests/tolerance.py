"""How far two right computations of the same values may be apart: derived, never chosen."""

import numpy as np

from graphcnn.ir import DType, bounded, evaluate, inline, weights

F32, F64 = 2.0**-24, 2.0**-53
# Half of the smallest number: results that small may come out as the next one, or as zero.
_TINY = {DType.F16: 2.0**-25, DType.BF16: 2.0**-126, DType.F32: 2.0**-126, DType.F64: 0.0}


def stored(exact, error, dtype):
    """The bound of a value that is computed with an error and then rounded to a dtype."""
    return error + dtype.unit_roundoff * (np.abs(exact) + error) + _TINY[dtype]


def bounds(graph, inputs, unit):
    """The running-error bound of every value of a graph, by name.

    Args:
        graph: What is computed.
        inputs: An array per input of the graph.
        unit: Unit roundoff of the arithmetic.
    """
    flat = inline(graph)
    operands = {**inputs, **{param.name: weights(param) for param in flat.params}}
    return bounded(flat.nodes, operands, unit)[1]


def assert_within_bounds(graph, inputs, got, *, unit=F64, dtype=DType.F64):
    """Values that another program computed from the same inputs equal the graph's reference.

    Each side may be off by the running-error bound of the nodes, in its own order of summation;
    so the two may differ by the sum of both bounds.

    Args:
        graph: What was computed.
        inputs: An array per input of the graph.
        got: The other program's arrays by name of a value of the graph.
        unit: Unit roundoff of the other program's arithmetic; float64 by default.
        dtype: What the other program stored these values in.
    """
    own, other = bounds(graph, inputs, F64), bounds(graph, inputs, unit)
    for name, reference in evaluate(graph, inputs, got.keys()).items():
        computed = np.asarray(got[name], np.float64)
        assert computed.shape == reference.shape
        assert reference.size == 1 or np.ptp(reference) > 0, f"'{name}' is constant"
        allowed = own[name] + stored(reference, other[name], dtype)
        off = np.abs(computed - reference)
        assert (off <= allowed).all(), f"'{name}' is off by {off.max():.3g}"


def assert_equal_but_for_roundings(got, wanted, count, unit=F64):
    """Numbers equal others but for a count of relative errors of one unit roundoff each."""
    allowed = count * unit / (1 - count * unit) * np.abs(wanted)
    assert (np.abs(np.subtract(got, wanted, dtype=np.float64)) <= allowed).all()
