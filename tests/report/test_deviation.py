"""The verdict on single elements: at the bound, beyond it, NaN, overflow."""

import numpy as np
import pytest

from graphcnn.ir import DType, Node, TensorType, Value
from graphcnn.ops import Add, Linear, Mul
from graphcnn.plan import Arithmetic
from graphcnn.report.deviation import deviation
from tests.tolerance import assert_equal_but_for_roundings

UNIT = 2.0**-24


def judge(a, b, computed, dtype=DType.F32, op=None):
    type = TensorType((len(a),), dtype)
    node = Node("y", op or Add(), ("a", "b"), (Value("y", type),))
    operands = {"a": np.array(a, np.float64), "b": np.array(b, np.float64)}
    arrays = {"y": np.array(computed, np.float64)}
    with np.errstate(all="raise"):
        return deviation((node,), operands, arrays, {"y": dtype}, Arithmetic(UNIT))


def test_the_bound_is_that_of_the_sum_and_of_its_storage():
    found = judge([1.0, 2.0], [3.0, 4.0], [4.0, 6.0 + 2**-22], DType.F16)
    wanted = 6 * UNIT + 2**-11 * (6 + 6 * UNIT) + 2**-24
    assert_equal_but_for_roundings(found.bound, wanted, 16)  # sums of a few products, all positive
    assert found.error == 2**-22
    assert_equal_but_for_roundings(found.share, 2**-22 / wanted, 16)
    assert found.at == (1,)
    assert found.problem is None


def test_the_worst_share_counts_and_not_the_largest_error():
    found = judge([1e-3, 1e3], [0.0, 0.0], [1e-3 + 1e-8, 1e3 + 1e-5])
    assert found.at == (0,)
    assert found.share > 1
    assert found.error == 1e3 + 1e-5 - 1e3
    assert found.problem == "1 of 2 elements exceed the bound"


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_where_the_reference_is_finite(lost):
    found = judge([1.0, 2.0], [3.0, 4.0], [4.0, lost])
    assert found.share == np.inf
    assert found.at == (1,)
    assert "1 of 2 elements are NaN or infinite" in found.problem


def test_overflow_is_infinity_of_the_right_sign():
    assert judge([6e4], [6e4], [np.inf], DType.F16).problem is None
    assert judge([-6e4], [-6e4], [-np.inf], DType.F16).problem is None
    assert judge([6e4], [6e4], [-np.inf], DType.F16).problem
    assert judge([6e4], [1e3], [np.inf], DType.F16).problem


def test_where_the_reference_is_not_finite_the_same_is_wanted():
    """inf - inf is NaN, inf + 1 is inf, -inf - 1 is -inf; a finite value beside them is judged."""
    a, b = [np.inf, np.inf, -np.inf, 1.0], [-np.inf, 1.0, -1.0, 1.0]
    right = [np.nan, np.inf, -np.inf, 2.0]
    found = judge(a, b, right)
    assert (found.problem, found.error, found.share) == (None, 0, 0)
    for at, wrong in ((0, 7.0), (0, np.inf), (1, np.nan), (1, 7.0), (1, -np.inf), (2, 0.0)):
        found = judge(a, b, [*right[:at], wrong, *right[at + 1 :]])
        assert (found.error, found.share, found.at) == (np.inf, np.inf, (at,))
        assert found.problem == "1 of 4 elements differ where the reference is NaN or infinite"
    assert judge(a, b, [*right[:3], 2.1]).problem == "1 of 4 elements exceed the bound"


def test_what_overflows_is_counted():
    found = judge([6e4, 1.0], [6e4, 1.0], [np.inf, 2.0], DType.F16)
    assert (found.problem, found.overflowed) == (None, 1)


def test_an_error_that_rounding_does_not_make_in_practice():
    """A sum of 10,000 products of alternating signs is off by far less than it could be."""
    ones = np.ones((1, 10000)) * np.resize([1.0, -1.0], 10000)
    types = [TensorType(shape) for shape in ((1, 10000), (3, 10000), (1, 3))]
    node = Node("y", Linear(), ("x", "w"), (Value("y", types[2]),))
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.5, 1, (3, 10000))
    operands = {"x": ones, "w": weight}
    exact = ones @ weight.T
    words = "are further off than rounding takes them in practice"
    for error, problem in (
        (1e-5, None),
        (0.1, f"1 of 3 elements {words}"),
        (10.0, "1 of 3 elements exceed the bound"),
    ):
        computed = exact + np.array([[0, error, 0]])
        found = deviation((node,), operands, {"y": computed}, {"y": DType.F32}, Arithmetic(UNIT))
        assert found.problem == problem
        assert found.bound < 0.1


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_that_may_overflow_on_the_way_is_not_judged(sign):
    """2^127 + 2^127 - 2^127 - 2^127 is 0, infinite or NaN in float32, in its order."""
    x = np.array([[1.0, 1, -1, -1], [1, 0, 0, 0]]) * 2.0**127
    node = Node("y", Linear(), ("x", "w"), (Value("y", TensorType((2, 1))),))
    operands = {"x": sign * x, "w": np.ones((1, 4))}
    for computed in (0.0, np.inf, np.nan):
        arrays = {"y": np.array([[computed], [sign * 2.0**127]])}
        found = deviation((node,), operands, arrays, {"y": DType.F32}, Arithmetic(UNIT))
        assert (found.problem, found.unjudged) == (None, 1)
    arrays["y"][1] = 0
    assert deviation((node,), operands, arrays, {"y": DType.F32}, Arithmetic(UNIT)).problem


def test_underflow_is_allowed():
    found = judge([2.0**-20], [2.0**-20], [0.0], DType.F16, Mul())
    assert found.problem is None


def test_a_single_number_without_dimensions():
    type = TensorType(())
    node = Node("y", Add(), ("a", "b"), (Value("y", type),))
    operands = {"a": np.array(1.0), "b": np.array(2.0)}
    for computed, problem in ((3.0, None), (3.1, "1 of 1 elements exceed the bound")):
        found = deviation(
            (node,), operands, {"y": np.array(computed)}, {"y": DType.F32}, Arithmetic(UNIT)
        )
        assert found.problem == problem
        assert found.at == ()
