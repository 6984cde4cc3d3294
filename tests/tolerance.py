"""How far two right computations of the same values may be apart: derived, never chosen."""

import numpy as np

from graphcnn.ir import DType, bounded, evaluate, inline, weights

F32, F64 = 2.0**-24, 2.0**-53
# By dtype in floating point: half of the smallest number. Results that small may come out as the
# next one, or as zero.
_TINY = {DType.F16: 2.0**-25, DType.BF16: 2.0**-126, DType.F32: 2.0**-126, DType.F64: 0.0}
# Values beyond these may overflow.
_LARGEST = {DType.F16: 65504.0, DType.BF16: 3e38, DType.F32: 3e38, DType.F64: 1e300}


def stored(exact, error, dtype):
    """The bound of a value that is computed with an error and then rounded to a dtype."""
    return error + dtype.unit_roundoff * (np.abs(exact) + error) + _TINY.get(dtype, 0.0)


def tf32(weight):
    """float32 numbers rounded to the 11 significant bits of tf32."""
    bits = weight.view(np.uint32)
    rounded = (bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)
    return rounded.astype(np.uint32).view(np.float32)


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


@np.errstate(all="ignore")
def assert_same_meaning(before, after, inputs):
    """Outputs, and every name that both graphs define, are the same value in both, in float64.

    Args:
        before: A graph.
        after: What passes made of it.
        inputs: An array per input; what becomes infinite or NaN has to do so in both.
    """
    assert after.inputs == before.inputs
    assert after.types_of(after.outputs) == before.types_of(before.outputs)
    exact, allowed = _with_rounding(inline(before), inputs)
    flat = inline(after)
    got = evaluate(after, inputs, flat.names)
    names = list(zip(before.outputs, after.outputs, strict=True))
    names += [(name, name) for name in exact.keys() & got.keys()]
    for name, own in names:
        _assert_near(exact[name], got[own], allowed[name], f"'{name}'")


def _with_rounding(graph, inputs):
    """Every value of a graph, and how far a graph that rounds elsewhere may be from it.

    A pass may compute constants, and weights that hold more, and rounds them to the graph's dtype.
    So the allowance is the running-error bound of computing and storing every value in it; twice,
    since both sides round.
    """
    exact = {name: np.asarray(array, np.float64) for name, array in inputs.items()}
    exact |= {param.name: weights(param) for param in graph.params}
    errors = {name: np.zeros(array.shape) for name, array in exact.items()}
    for node in graph.nodes:
        operands = tuple(exact[name] for name in node.inputs)
        slack = tuple(errors[name] for name in node.inputs)
        value = node.op.reference(*operands)
        dtype = node.type.dtype
        error = node.op.error(operands, slack, value, dtype.unit_roundoff)
        error = stored(value, error, dtype)
        error = np.where(np.abs(value) + error <= _LARGEST.get(dtype, np.inf), error, np.inf)
        if all(np.isfinite(array).all() for array in slack):
            # Not an overflow: an operand is infinite or NaN, and nothing else is uncertain.
            error[~np.isfinite(value)] = 0.0
        exact[node.name], errors[node.name] = value, error
    return exact, {name: 2 * error for name, error in errors.items()}


def _assert_near(exact, got, allowed, what):
    """Values are equal where they are not finite, and within an allowance elsewhere."""
    assert got.shape == exact.shape, f"{what} has shape {got.shape}, not {exact.shape}"
    equal = (got == exact) | (np.isnan(got) & np.isnan(exact))
    right = equal | (np.abs(got - exact) <= allowed) | np.isinf(allowed)
    if not right.all():
        first = tuple(int(index) for index in np.argwhere(~right)[0])
        raise AssertionError(
            f"{what} at {list(first)} is {got[first]!r}, not {exact[first]!r} +- "
            f"{allowed[first]:.3g} ({(~right).sum()} of {right.size} elements)"
        )
