"""The verdict on single elements: at the bound, beyond it, NaN, overflow."""

import numpy as np
import pytest

from graphcnn.ir import DType, Node, TensorType, Value
from graphcnn.ops import Add, Mul
from graphcnn.report.deviation import deviation
from tests.tolerance import assert_equal_but_for_roundings

UNIT = 2.0**-24


def judge(a, b, computed, dtype=DType.F32, op=None):
    type = TensorType((len(a),), dtype)
    node = Node("y", op or Add(), ("a", "b"), (Value("y", type),))
    operands = {"a": np.array(a, np.float64), "b": np.array(b, np.float64)}
    arrays = {"y": np.array(computed, np.float64)}
    return deviation((node,), operands, arrays, {"y": dtype}, UNIT)


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


def test_what_the_reference_cannot_judge_is_left_out():
    with np.errstate(invalid="ignore"):
        found = judge([np.inf, 1.0], [-np.inf, 1.0], [np.nan, 2.0])
    assert found.problem is None
    assert found.error == 0


def test_underflow_is_allowed():
    found = judge([2.0**-20], [2.0**-20], [0.0], DType.F16, Mul())
    assert found.problem is None


def test_a_single_number_without_dimensions():
    type = TensorType(())
    node = Node("y", Add(), ("a", "b"), (Value("y", type),))
    operands = {"a": np.array(1.0), "b": np.array(2.0)}
    for computed, problem in ((3.0, None), (3.1, "1 of 1 elements exceed the bound")):
        found = deviation((node,), operands, {"y": np.array(computed)}, {"y": DType.F32}, UNIT)
        assert found.problem == problem
        assert found.at == ()
