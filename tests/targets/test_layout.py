"""Where values live, and how weights are packed."""

from itertools import product

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.errors import MissingWeights
from graphcnn.ir import DType, Node, Param, TensorType, Value
from graphcnn.ops import BatchNorm
from graphcnn.targets.layout import broadcast_strides, channels_last, contiguous, locate
from graphcnn.targets.pack import filters, plain, scale_and_shift
from tests.tolerance import F32, assert_equal_but_for_roundings


def element(strides, index):
    return sum(step * at for step, at in zip(strides, index, strict=True))


def param(name, data, dtype=DType.F32):
    return Param(name, TensorType(data.shape, dtype), data)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 4), (1, 1, 1, 1), (7,), (), (2, 3)])
def test_strides_are_numpys(shape):
    array = np.zeros(shape, np.int8)
    assert contiguous(shape) == array.strides
    if len(shape) > 2:
        last = np.moveaxis(np.zeros((shape[0], *shape[2:], shape[1]), np.int8), -1, 1)
        assert channels_last(shape) == last.strides


@pytest.mark.parametrize(
    ("shape", "rank"), [((2, 3, 4, 5), 4), ((3, 1, 1), 4), ((2, 3, 1, 1), 4), ((), 2), ((4,), 2)]
)
def test_broadcast_strides_are_numpys(shape, rank):
    full = (2, 3, 4, 5)[-rank:] if rank == 4 else (3, 4)
    array = np.zeros(shape, np.int8)
    wanted = np.broadcast_to(array, full).strides
    got = broadcast_strides(shape, array.strides, rank)
    assert [g for g, d in zip(got, full, strict=True) if d > 1] == [
        w for w, d in zip(wanted, full, strict=True) if d > 1
    ]


def network():
    h = gx.input("image", (2, 3, 8, 8))
    h = gx.relu(gx.conv2d(h, gx.param("w", (4, 3, 3, 3)), padding=1, name="conv"), name="relu")
    skip = gx.max_pool2d(h, 2, name="pool")
    h = gx.dropout(skip, name="dropout")
    h = gx.conv2d(h, gx.param("v", (4, 4, 1, 1)), name="last")
    h = gx.flatten(h, name="flatten")
    h = gx.reshape(h, (2, 8, 8), name="reshape")
    return gx.graph("g", [h, skip])


def test_inner_images_are_channels_last_and_the_border_is_row_major():
    found = locate(network())
    for name in ("conv", "relu"):
        assert found[name].strides == channels_last(found[name].type.shape)
    for name in ("image", "pool", "dropout", "last", "flatten", "reshape"):
        assert found[name].strides == contiguous(found[name].type.shape)


@pytest.mark.cpu
def test_what_is_fused_to_a_linear_layer_is_read_row_by_row_too():
    x = gx.input("image", (2, 3, 4, 5))
    factor = gx.relu(gx.input("other", (2, 3, 4, 5)), name="factor")
    product = gx.linear(x, np.eye(5, dtype=np.float32), name="fc") * factor
    model = gx.compile(gx.graph("g", product), device="cpu")
    assert [node.name for node in model.graph.nodes] == ["factor", "mul"]
    arrays = {"image": np.arange(120.0).reshape(2, 3, 4, 5), "other": np.ones((2, 3, 4, 5))}
    arrays["other"][1] = [[[2]], [[3]], [[-1]]]
    got = model(**{name: array.astype(np.float32) for name, array in arrays.items()})
    np.testing.assert_array_equal(got, arrays["image"] * np.maximum(arrays["other"], 0))


def test_aliases_share_their_operands_memory():
    found = locate(network())
    assert found["reshape"].buffer == found["flatten"].buffer == found["last"].buffer
    assert found["dropout"].buffer == found["pool"].buffer
    own = [found[name].buffer.name for name in ("image", "conv", "relu", "pool", "last")]
    assert own == ["image", "conv", "relu", "pool", "last"]


WEIGHT = np.arange(2 * 3 * 2 * 4, dtype=np.float32).reshape(2, 3, 2, 4)


def packed(packing, *params):
    """The numbers as they lie in memory, and as the kernel sees them."""
    array = packing.pack({param.name: param for param in params})
    steps = [stride * array.itemsize for stride in packing.strides]
    return array, np.lib.stride_tricks.as_strided(array, packing.shape, steps)


@pytest.mark.parametrize("order", ["reduction_major", "channel_major"])
def test_filters_are_a_matrix_with_taps_before_channels(order):
    weight = param("w", WEIGHT)
    array, matrix = packed(filters(weight, order), weight)
    assert array.flags["C_CONTIGUOUS"]
    assert array.shape == ((2, 24) if order == "reduction_major" else (24, 2))
    assert matrix.shape == (2, 2 * 4 * 3)
    for k, c, r, s in product(*map(range, WEIGHT.shape)):
        assert matrix[k, (r * 4 + s) * 3 + c] == WEIGHT[k, c, r, s]


def test_plain_stays():
    weight = param("w", WEIGHT.astype("float16"), DType.F16)
    array, seen = packed(plain(weight), weight)
    assert (array.dtype, plain(weight).dtype) == (np.float16, DType.F16)
    np.testing.assert_array_equal(seen, WEIGHT)
    _, seen = packed(plain(weight, (6, 8)), weight)
    np.testing.assert_array_equal(seen, WEIGHT.reshape(6, 8))


def test_batch_norm_statistics_are_float32_whatever_the_graph_is():
    rng = np.random.default_rng(0)
    mean, var, weight, bias = rng.uniform(0.5, 1.5, (4, 5)).astype(np.float16)
    params = [
        param(name, data, DType.F16)
        for name, data in (("m", mean), ("v", var), ("w", weight), ("b", bias))
    ]
    type = TensorType((3, 5), DType.F16)
    node = Node("y", BatchNorm(0.1), ("x", "m", "v", "w", "b"), (Value("y", type),))
    (scale, rows), (shift, _) = (packed(vector, *params) for vector in scale_and_shift(node))
    assert scale.dtype == shift.dtype == np.float32
    np.testing.assert_array_equal(rows, np.stack([scale] * 3))
    exact = weight.astype(np.float64) / np.sqrt(var.astype(np.float64) + 0.1)
    # Computed in float64, rounded once: half precision's numbers are exact there.
    assert_equal_but_for_roundings(scale, exact, 1.001, F32)
    wanted = bias.astype(np.float64) - mean.astype(np.float64) * exact
    sizes = np.abs(bias) + np.abs(mean.astype(np.float64) * exact)
    assert (np.abs(shift - wanted) <= 3 * F32 * sizes).all()
    x = rng.standard_normal((3, 5))
    normed = (x - mean) / np.sqrt(var.astype(np.float64) + 0.1) * weight + bias
    # The roundings of scale and shift above, and the product and the sum's own.
    assert (np.abs(x * scale + shift - normed) <= 6 * F32 * (np.abs(x * exact) + sizes)).all()


def test_a_param_without_data():
    bare = Param("w", TensorType((2, 3, 2, 4)))
    for packing in (plain(bare), filters(bare, "reduction_major")):
        with pytest.raises(MissingWeights) as caught:
            packing.pack({"w": bare})
        assert "f32[2,3,2,4]" in caught.value.where
        assert "with_he_weights" in caught.value.remedy
