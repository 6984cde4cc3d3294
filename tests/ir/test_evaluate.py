import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphcnn as gx
from graphcnn.errors import MissingWeights
from graphcnn.ir import DType, bounded, evaluate, outline, weights, with_he_weights
from tests.tolerance import assert_within_bounds

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 8, 8))
W1 = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)
W2 = RNG.standard_normal((4, 4, 3, 3)).astype(np.float32)
B = RNG.standard_normal(4).astype(np.float32)


@pytest.fixture
def net():
    x = gx.input("x", X.shape)
    h = gx.relu(gx.conv2d(x, W1, B, padding=1, name="conv1"), name="relu1")
    h = gx.relu(gx.conv2d(h, W2, padding=1, name="conv2") + h, name="relu2")
    return gx.graph("net", gx.max_pool2d(h, 2, name="pool"))


def in_torch():
    x, w1, w2, b = (torch.tensor(a, dtype=torch.float64) for a in (X, W1, W2, B))
    skip = F.relu(F.conv2d(x, w1, b, padding=1))
    out = F.max_pool2d(F.relu(F.conv2d(skip, w2, padding=1) + skip), 2)
    return skip.numpy(), out.numpy()


def test_outputs_equal_torch(net):
    assert list(evaluate(net, {"x": X})) == ["pool"]
    assert_within_bounds(net, {"x": X}, {"pool": in_torch()[1]})


def test_wanted_values(net):
    values = evaluate(net, {"x": X}, ["relu1", "conv1", "x", "conv1.bias"])
    assert_within_bounds(net, {"x": X}, {"relu1": in_torch()[0]})
    np.testing.assert_array_equal(values["relu1"], np.maximum(values["conv1"], 0))
    np.testing.assert_array_equal(values["x"], X)
    np.testing.assert_array_equal(values["conv1.bias"], B)
    assert len(values) == 4


def test_values_inside_fused_bodies(net):
    group = outline(net.nodes[:4], ("relu1", "add"), net)
    fused = net.replace(nodes=(group, *net.nodes[4:]))
    inside = evaluate(fused, {"x": X}, ["conv1", "relu1", "pool"])
    outside = evaluate(net, {"x": X}, ["conv1", "relu1", "pool"])
    assert inside.keys() == outside.keys()
    for name, array in outside.items():
        np.testing.assert_array_equal(inside[name], array)


def test_missing_weights():
    x = gx.input("x", (1, 3))
    net = gx.graph("net", gx.linear(x, gx.param("w", (4, 3)), name="fc"))
    with pytest.raises(MissingWeights, match="with_he_weights"):
        evaluate(net, {"x": np.ones((1, 3))})
    assert np.ptp(evaluate(with_he_weights(net), {"x": np.ones((1, 3))})["fc"]) > 0


def test_bounds_of_a_group(net):
    """Float32 evaluation of the whole group stays within its bound; a dropped ReLU does not."""
    values = {"x": X.astype(np.float32)} | {p.name: weights(p) for p in net.params}
    exact, allowed, _ = bounded(net.nodes, values, 2.0**-24)
    x, w1, w2, b = (torch.tensor(a, dtype=torch.float32) for a in (X, W1, W2, B))
    skip = F.relu(F.conv2d(x, w1, b, padding=1))
    total = F.conv2d(skip, w2, padding=1) + skip
    good = F.max_pool2d(F.relu(total), 2).double().numpy()
    bad = F.max_pool2d(total, 2).double().numpy()
    assert (np.abs(good - exact["pool"]) <= allowed["pool"]).all()
    assert (np.abs(bad - exact["pool"]) > allowed["pool"]).any()
    assert allowed["pool"].max() < 1e-3 * np.abs(exact["pool"]).max()
    assert set(exact) == {node.name for node in net.nodes}


X16 = {"x": np.array([[300.0, 201.0, 1 / 3, 1e-4]])}


@pytest.fixture
def products():
    x = gx.input("x", (1, 4), dtype="float16")
    square = gx.mul(x, x, name="square")
    return gx.graph("products", gx.mul(square, square, name="fourth")).nodes


def test_a_stored_value_is_read_on_as_it_was_stored(products):
    """90000 is infinite in float16; 1/9 is rounded; 1e-8 is below half of the smallest number."""
    wide, own, _ = bounded(products, X16, 2.0**-24)
    stored = DType.F16.round(wide["square"]).astype(np.float64)
    exact, errors, _ = bounded(products, X16, 2.0**-24, {"square": stored})
    np.testing.assert_array_equal(exact["square"], wide["square"])
    np.testing.assert_array_equal(errors["square"], own["square"])
    np.testing.assert_array_equal(exact["fourth"], stored**2)
    assert exact["fourth"][0, 0] == np.inf
    assert exact["fourth"][0, 3] == 0
    assert (errors["fourth"] <= 2.0**-24 * np.minimum(stored, 1e9) ** 2 + 2.0**-126).all()
    for at in (1, 2):
        assert abs(exact["fourth"][0, at] - wide["fourth"][0, at]) > own["fourth"][0, at]
    assert np.isfinite(own["fourth"]).all()


def test_values_beyond_the_range_of_float32_are_infinite_inside_a_kernel(products):
    values = {"x": np.array([[1e20, -(2.0**60), 1.0, np.nan]])}
    exact, errors, _ = bounded(products, values, 2.0**-24)
    np.testing.assert_array_equal(exact["square"], values["x"] ** 2)
    np.testing.assert_array_equal(exact["fourth"], [[np.inf, 2.0**240, 1, np.nan]])
    assert errors["square"][0, 3] == errors["fourth"][0, 0] == errors["fourth"][0, 3] == 0
    exact, _, _ = bounded(products, values, 2.0**-53)
    assert np.isfinite(exact["fourth"][0, :3]).all()
    # 2^128 is infinite in float32, and its largest number is a rounding error away.
    values["x"][0, 2] = 2.0**64
    _, errors, _ = bounded(products, values, 2.0**-24)
    assert list(errors["fourth"][0, [0, 2, 3]]) == [0, np.inf, 0]


def test_infinities_of_known_operands_are_known():
    x = gx.input("x", (1, 4))
    nodes = gx.graph("net", gx.sigmoid(gx.mul(x, x, name="y"), name="z")).nodes
    exact, errors, _ = bounded(nodes, {"x": np.array([[-np.inf, np.nan, 1.0, 2.0]])}, 2.0**-24)
    np.testing.assert_array_equal(exact["y"], [[np.inf, np.nan, 1, 4]])
    assert (errors["y"][0, :2] == 0).all()
    assert np.isfinite(errors["z"]).all()


def test_what_rounding_does_in_practice_is_less_than_the_proof_for_long_sums():
    rng = np.random.default_rng(3)
    x, weight = rng.standard_normal((64, 4608)), rng.standard_normal((8, 4608), np.float32)
    net = gx.graph("net", gx.linear(gx.input("x", x.shape), weight, name="y"))
    values = {"x": x, net.params[0].name: weight.astype(np.float64)}
    _, errors, noises = bounded(net.nodes, values, 2.0**-24)
    assert (50 * noises["y"] < errors["y"]).all()


def test_a_product_reads_half_precision_that_is_computed_beside_it():
    """90000 is infinite in float16, 1/9 is rounded and 1e-8 is lost; nothing is in float32."""
    numbers = np.array([[300.0, 1.0], [1 / 3, 1e-4]])

    def net(dtype):
        x = gx.input("x", (2, 2), dtype)
        square = gx.mul(x, x, name="square")
        return gx.graph("net", gx.linear(square, gx.param("w", (2, 2), dtype), name="fc")).nodes

    values = {"x": numbers, "w": np.eye(2)}
    exact, errors, noises = bounded(net("float16"), values, 2.0**-24)
    rounded = DType.F16.round(exact["square"]).astype(np.float64)
    assert np.isinf(exact["fc"][0, 0])
    assert (np.abs(rounded[1] - exact["fc"][1]) <= errors["fc"][1]).all()
    assert (errors["fc"][1] <= noises["fc"][1]).all()
    assert errors["fc"][1, 0] < 1.1 * 2.0**-11 / 9
    wide, tight, _ = bounded(net("float32"), values, 2.0**-24)
    assert wide["fc"][0, 0] == 90000
    assert (np.abs(rounded[1] - wide["fc"][1]) > tight["fc"][1]).all()
    # What is stored is rounded already.
    kept = {"square": rounded}
    _, own, _ = bounded(net("float16"), values, 2.0**-24, kept)
    assert (own["fc"][1] < 2.0**-20).all()
