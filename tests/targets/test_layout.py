"""Where values live, and how weights are packed."""

from itertools import product

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.errors import MissingWeights
from graphcnn.ir import DType, Param, TensorType
from graphcnn.targets.layout import broadcast_strides, channels_last, contiguous, locate
from graphcnn.targets.pack import LAYOUTS, pack
from tests.tolerance import F32, assert_equal_but_for_roundings


def element(strides, index):
    return sum(step * at for step, at in zip(strides, index, strict=True))


def param(name, data, dtype=DType.F32):
    return Param(name, TensorType(data.shape, dtype), data)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (7,), (), (2, 3)])
def test_strides_are_numpys(shape):
    array = np.zeros(shape, np.int8)
    assert contiguous(shape) == array.strides
    if len(shape) == 4:
        nhwc = np.zeros([shape[i] for i in (0, 2, 3, 1)], np.int8).transpose(0, 3, 1, 2)
        assert channels_last(shape) == nhwc.strides


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


def test_reduction_major_orders_taps_before_channels():
    packed, dtype = pack("reduction_major", ("w",), (), {"w": param("w", WEIGHT)})
    assert dtype is DType.F32
    assert packed.shape == (2, 2 * 4 * 3)
    for k, c, r, s in product(*map(range, WEIGHT.shape)):
        assert packed[k, (r * 4 + s) * 3 + c] == WEIGHT[k, c, r, s]


def test_channel_major_is_its_transpose():
    packed, _ = pack("channel_major", ("w",), (), {"w": param("w", WEIGHT)})
    assert packed.flags["C_CONTIGUOUS"]
    for k, c, r, s in product(*map(range, WEIGHT.shape)):
        assert packed[(r * 4 + s) * 3 + c, k] == WEIGHT[k, c, r, s]


def test_plain_stays():
    packed, dtype = pack(
        "plain", ("w",), (), {"w": param("w", WEIGHT.astype("float16"), DType.F16)}
    )
    assert (packed.dtype, dtype) == (np.float16, DType.F16)
    np.testing.assert_array_equal(packed, WEIGHT)


def test_batch_norm_statistics_are_float32_whatever_the_graph_is():
    rng = np.random.default_rng(0)
    mean, var, weight, bias = rng.uniform(0.5, 1.5, (4, 5)).astype(np.float16)
    params = {
        name: param(name, data, DType.F16)
        for name, data in (("m", mean), ("v", var), ("w", weight), ("b", bias))
    }
    scale, dtype = pack("batch_norm_scale", ("v", "w"), (0.1,), params)
    shift, _ = pack("batch_norm_shift", ("m", "v", "w", "b"), (0.1,), params)
    assert dtype is DType.F32
    assert scale.dtype == shift.dtype == np.float32
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


@pytest.mark.parametrize("layout", ["plain", "reduction_major"])
def test_a_param_without_data(layout):
    bare = Param("w", TensorType((2, 3, 2, 4)))
    with pytest.raises(MissingWeights) as caught:
        pack(layout, ("w",), (), {"w": bare})
    assert "f32[2,3,2,4]" in caught.value.where
    assert "with_he_weights" in caught.value.remedy


def test_every_layout_is_tested():
    assert set(LAYOUTS) == {
        "plain",
        "reduction_major",
        "channel_major",
        "batch_norm_scale",
        "batch_norm_shift",
    }
