"""Small graphs that other engines are reported to compute wrongly, fused, against torch in float64.

Pools with partial windows, negative maps, NaN and infinities; factors that are negative or
broadcast between a convolution and its pool; float16 values that overflow.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphcnn as gx
from graphcnn.ir import bounded, weights

RNG = np.random.default_rng(5)
W = RNG.standard_normal((5, 3, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(5).astype(np.float32) - 4
FACTORS = RNG.standard_normal((1, 5, 7, 1)).astype(np.float32)
SUMMANDS = RNG.standard_normal((2, 1, 1, 1)).astype(np.float32)
X = RNG.standard_normal((2, 3, 7, 9)).astype(np.float32)
ODD = X.copy()
ODD[0, 0, 1, 1], ODD[0, 1, 2, 3], ODD[1, 1, 4, 4], ODD[1, 0, 5, 5] = (
    np.nan,
    np.inf,
    -np.inf,
    -np.inf,
)


def double(array):
    return torch.as_tensor(array).double()


def convolved(x):
    return F.conv2d(x, double(W), double(BIAS), padding=1)


CASES = {
    "partial windows, padding counted": (
        X + 3,
        lambda x: gx.avg_pool2d(x, 4, 4, 2, True, True),
        lambda x: F.avg_pool2d(x, 4, 4, 2, True, True),
    ),
    "partial windows, padding not counted": (
        X + 3,
        lambda x: gx.avg_pool2d(x, 3, 4, 1, True, False),
        lambda x: F.avg_pool2d(x, 3, 4, 1, True, False),
    ),
    "a dilated window over negative values": (
        -np.abs(X) - 1,
        lambda x: gx.max_pool2d(x, 3, 2, 1, 2, True),
        lambda x: F.max_pool2d(x, 3, 2, 1, 2, True),
    ),
    "a max pool that no window divides": (
        X,
        lambda x: gx.max_pool2d(gx.relu(gx.conv2d(x, W, BIAS, padding=1)), 2, ceil_mode=True),
        lambda x: F.max_pool2d(F.relu(convolved(x)), 2, ceil_mode=True),
    ),
    "an average pool that leaves a rest": (
        X,
        lambda x: gx.avg_pool2d(gx.relu(gx.conv2d(x, W, BIAS, padding=1)), 2),
        lambda x: F.avg_pool2d(F.relu(convolved(x)), 2),
    ),
    "NaN and infinities in overlapping windows": (
        ODD,
        lambda x: gx.max_pool2d(x, 3, 2, 1),
        lambda x: F.max_pool2d(x, 3, 2, 1),
    ),
    "NaN and infinities in means": (
        ODD,
        gx.global_avg_pool2d,
        lambda x: x.mean((2, 3), keepdim=True),
    ),
    "NaN and infinities behind a convolution": (
        ODD,
        lambda x: gx.max_pool2d(gx.conv2d(x, W, BIAS, padding=1), 2),
        lambda x: F.max_pool2d(convolved(x), 2),
    ),
    "a negative factor before a maximum": (
        X,
        lambda x: gx.max_pool2d(gx.relu(gx.conv2d(x, W, BIAS, padding=1) * FACTORS), 2),
        lambda x: F.max_pool2d(F.relu(convolved(x) * double(FACTORS)), 2),
    ),
    "a summand for each image": (
        X,
        lambda x: gx.max_pool2d(gx.relu(gx.conv2d(x, W, BIAS, padding=1) + SUMMANDS), 2),
        lambda x: F.max_pool2d(F.relu(convolved(x) + double(SUMMANDS)), 2),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_fused(name):
    array, build, in_torch = CASES[name]
    graph = gx.graph("g", build(gx.input("x", array.shape)))
    got, want = double(gx.compile(graph, device="cpu")(x=array)), in_torch(double(array))
    assert got.shape == want.shape
    assert torch.equal(got.isnan(), want.isnan())
    known = want.isfinite()
    assert torch.equal(got[~known].nan_to_num(7.0), want[~known].nan_to_num(7.0))
    operands = {"x": array} | {param.name: weights(param) for param in graph.params}
    _, errors, _ = bounded(graph.nodes, operands, 2.0**-24)
    allowed = double(errors[graph.outputs[0]]) + 2.0**-24 * want.abs()
    assert ((got - want).abs() <= allowed)[known].all()
    assert allowed[known].median() < 1e-4
    assert want[known].unique().numel() > 1


WAYS = {"fused": {}, "unfused": {"fuse": False}, "library": {"target": "library"}}


@pytest.mark.parametrize("way", WAYS)
def test_a_half_that_overflows_is_read_on_as_infinity(way):
    """300 * 300 is infinite in float16; 300 / 3 is not."""
    x = np.full((1, 1, 2, 2), 300.0, np.float16)
    w = np.array([300.0, 1 / 3], np.float16).reshape(2, 1, 1, 1)
    factor = np.full((1, 1, 1), 1e-3, np.float16)
    product = gx.conv2d(gx.input("x", x.shape, "float16"), w, name="product")
    graph = gx.graph("g", [product, gx.mul(product, factor, name="shrunk")])
    got = gx.compile(graph, device="cpu", **WAYS[way])(x=x)
    with np.errstate(over="ignore"):
        stored = x * w.reshape(1, 2, 1, 1)
    np.testing.assert_array_equal(got["product"], stored)
    np.testing.assert_array_equal(got["shrunk"], stored * factor)
    assert np.isinf(got["shrunk"][0, 0]).all()
    assert np.isfinite(got["shrunk"][0, 1]).all()
