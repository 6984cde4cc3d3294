"""The same network in another dtype."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.errors import InvalidGraph, UnknownDType
from graphcnn.ir import DType, evaluate, retype, verify


def network(dtype):
    rng = np.random.default_rng(0)
    x = gx.input("x", (2, 3, 8, 8), dtype)
    w = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    h = gx.relu(gx.conv2d(x, gx.constant("w", w, dtype), name="conv"), name="relu")
    return gx.graph("net", gx.flatten(h, name="flat"))


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_it_is_the_network_built_in_the_dtype(dtype):
    found = retype(network("f32"), dtype)
    verify(found)
    assert found == network(dtype)
    (weight,) = found.params
    assert np.array_equal(weight.data, network(dtype).params[0].data)


def test_it_computes_the_same_but_for_the_rounding_of_weights():
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    half, full = (
        evaluate(g, {"x": x})["flat"] for g in (retype(network("f32"), "f16"), network("f32"))
    )
    assert np.abs(half - full).max() < 0.05
    assert np.abs(full).max() > 1


def test_whole_numbers_stay_what_they_are():
    table = np.ones((5, 3), np.float32)
    graph = gx.graph(
        "e", gx.embedding(gx.input("i", (4,), "i64"), gx.constant("t", table), name="e")
    )
    found = retype(graph, DType.F16)
    assert [value.type.dtype for value in found.inputs] == [DType.I64]
    assert found.type_of("e").dtype is DType.F16


def test_what_is_no_graph_or_dtype():
    with pytest.raises(InvalidGraph):
        retype("net", "f16")
    with pytest.raises(UnknownDType):
        retype(network("f32"), "f7")
