import numpy as np
import pytest
import torch
import torch.nn.functional as F

from graphcnn.kernels import (
    ConvTile,
    Pool,
    Refused,
    Stage,
    View,
    normalize_channels,
    padded,
    padded_shape,
    run_length,
    stem_conv2d,
)
from tests.kernels.buffers import (
    DTYPES,
    RELU,
    Output,
    chain,
    product_bound,
    randn,
    stage,
    view_of,
)

TILE = ConvTile(32, 64, 16)
MAX2 = Pool("max", (2, 2))
MAX3 = Pool("max", (3, 3), stride=(2, 2), padding=(1, 1, 1, 1))


def in_runs(w):
    """[K, C, R, S] to the kernel's [K, R * run]."""
    filters, channels, rows, taps = w.shape
    run = torch.zeros(filters, rows, run_length(taps), dtype=w.dtype)
    pixels = F.pad(w.permute(0, 2, 3, 1), (0, 4 - channels))
    run[:, :, : 4 * taps] = pixels.reshape(filters, rows, -1)
    return run.reshape(filters, -1)


def convolve(
    run,
    x,
    w,
    bias=None,
    *,
    stride=(1, 1),
    padding=(0, 0, 0, 0),
    tail=(),
    exports=None,
    layout="nhwc",
    tile=TILE,
):
    """Run both kernels; the outputs, the last value of the tail unless exports name others."""
    top, left, bottom, right = padding
    size = tuple(
        (n + before + behind - taps) // step + 1
        for n, before, behind, taps, step in zip(
            x.shape[2:], (top, left), (bottom, right), w.shape[2:], stride, strict=True
        )
    )
    exports = (len(tail),) if exports is None else exports
    shapes = [(len(x), len(w), *size)]
    for step in tail:
        pooled = isinstance(step, Pool)
        shapes.append((*shapes[-1][:2], *step.size(*shapes[-1][2:])) if pooled else shapes[-1])
    name = next(name for name, dtype in DTYPES.items() if dtype == x.dtype)
    outputs = [Output(shapes[e], name, layout) for e in exports]
    steps = tuple(w.shape[2:]), stride, (top, left), size
    buffer = Output(padded_shape(view_of(x), *steps), name)
    run(padded(view_of(x), buffer.view, (top, left)))
    assert not buffer.tensor.isnan().any() or x.isnan().any()
    launch = stem_conv2d(
        buffer.view,
        view_of(in_runs(w)),
        None if bias is None else view_of(bias),
        [o.view for o in outputs],
        kernel=tuple(w.shape[2:]),
        stride=stride,
        out_size=size,
        tail=tail,
        exports=exports,
        tile=tile,
    )
    run(launch)
    return outputs


def check(
    run,
    shape,
    weight_shape,
    *,
    padding=(0, 0, 0, 0),
    dtype="f32",
    layouts=("nchw", "nhwc"),
    **options,
):
    """Run one convolution and compare every export with float64."""
    x = randn(*shape, dtype=dtype, layout=layouts[0], seed=1)
    w = randn(*weight_shape, dtype=dtype, layout="nchw", seed=2)
    b = randn(weight_shape[0], dtype=dtype, seed=3)
    top, left, bottom, right = padding
    wide = F.pad(x.double(), (left, right, top, bottom))
    stride = options.get("stride", (1, 1))
    want = F.conv2d(wide, w.double(), b.double(), stride)
    sizes = F.conv2d(wide.abs(), w.double().abs(), b.double().abs(), stride)
    tail = options.get("tail", ())
    exports = options.get("exports", (len(tail),))
    values = chain(want, product_bound(w[0].numel(), sizes), tail, exports, dtype)
    outputs = convolve(run, x, w, b, padding=padding, layout=layouts[1], **options)
    for output, index in zip(outputs, exports, strict=True):
        output.check(*values[index])


GEOMETRIES = {
    "3x3": ((2, 3, 9, 8), (10, 3, 3, 3), {"padding": (1,) * 4}),
    "3x3 stride 2": ((2, 3, 9, 11), (33, 3, 3, 3), {"padding": (1,) * 4, "stride": (2, 2)}),
    "7x7 stride 2": ((2, 3, 19, 17), (16, 3, 7, 7), {"stride": (2, 2), "padding": (3,) * 4}),
    "11x11 stride 4": ((1, 3, 31, 27), (40, 3, 11, 11), {"stride": (4, 4), "padding": (2,) * 4}),
    "one channel": ((3, 1, 12, 13), (6, 1, 5, 5), {"padding": (2,) * 4}),
    "two channels": ((1, 2, 6, 7), (10, 2, 4, 4), {"stride": (2, 2)}),
    "four channels": ((1, 4, 6, 7), (10, 4, 2, 3), {"stride": (1, 2)}),
    "1x1": ((2, 3, 5, 7), (33, 3, 1, 1), {}),
    "1x1 stride 2": ((2, 3, 5, 7), (33, 3, 1, 1), {"stride": (2, 2)}),
    "row": ((2, 3, 1, 40), (16, 3, 1, 9), {"padding": (0, 4, 0, 4), "stride": (1, 2)}),
    "column": ((1, 3, 12, 3), (8, 3, 5, 1), {"padding": (4, 0, 0, 0)}),
    "asymmetric": ((2, 3, 6, 8), (8, 3, 2, 3), {"padding": (0, 2, 1, 1), "stride": (1, 2)}),
    "padding wider than input": ((1, 3, 2, 3), (8, 3, 3, 3), {"padding": (2,) * 4}),
    "unread rows and columns": ((1, 3, 9, 12), (8, 3, 3, 3), {"stride": (4, 4)}),
}


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometry(run, name, dtype):
    shape, weight_shape, options = GEOMETRIES[name]
    check(run, shape, weight_shape, dtype=dtype, **options)


@pytest.mark.parametrize("reduction", [16, 32, 64])
@pytest.mark.parametrize("taps", [3, 5, 7, 11])
def test_blocks_of_runs(run, taps, reduction):
    """Blocks that hold several runs, or a part of one, and behind the last nothing."""
    options = {"stride": (2, 2), "padding": (taps // 2,) * 4, "dtype": "f16"}
    tile = ConvTile(32, 64, reduction)
    check(run, (1, 3, 15, 14), (24, 3, taps, taps), tile=tile, **options)


SAME = (1, 1, 1, 1)
TAILS = {
    "relu": ((RELU,), (1,)),
    "before and after": ((stage("tanh"), RELU), (0, 2)),
    "max pool": ((RELU, MAX2), (2,)),
    "export before and after the pool": ((RELU, MAX2), (1, 2)),
    "3x3/2 padded": ((RELU, MAX3), (2,)),
    "average": ((Pool("avg", (3, 2)), RELU), (2,)),
    "residual": ((stage("add", view_of(randn(2, 20, 13, 11, seed=5))), RELU), (2,)),
    "across": (
        (RELU, Stage(normalize_channels, (-1,), (5, 0.5, 0.75, 2.0, 20), across=True), MAX3),
        (3,),
    ),
}


@pytest.mark.parametrize("dtype", ["f32", "f16"])
@pytest.mark.parametrize("name", TAILS)
def test_tail(run, name, dtype):
    tail, exports = TAILS[name]
    options = {"padding": SAME, "dtype": dtype, "tail": tail, "exports": exports}
    check(run, (2, 3, 13, 11), (20, 3, 3, 3), **options)


@pytest.mark.parametrize("layouts", [("nhwc", "nhwc"), ("nchw", "nchw")])
def test_layouts(run, layouts):
    check(run, (2, 3, 9, 7), (20, 3, 3, 3), padding=SAME, layouts=layouts, dtype="f16")


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
@pytest.mark.parametrize("dtype", ["f32", "f16"])
@pytest.mark.parametrize(("taps", "stride"), [(3, 1), (3, 2), (4, 2), (5, 2), (7, 2), (11, 4)])
def test_what_is_not_finite_goes_no_further_than_the_taps(run_native, taps, stride, dtype, value):
    """Runs are longer than the rows of a filter; what they would read beyond is not read."""
    w = randn(8, 3, taps, taps, dtype=dtype, layout="nchw", seed=2)
    for column in range(2 * stride):
        x = randn(1, 3, 15, 22, dtype=dtype, layout="nchw", seed=1)
        x[0, 1, 7, 9 + column] = value
        padding = (taps // 2,) * 4
        (got,) = convolve(run_native, x, w, stride=(stride, stride), padding=padding)
        want = F.conv2d(x.double(), w.double(), stride=stride, padding=taps // 2)
        assert 0 < int(want.isfinite().sum()) < want.numel()
        nans = got.tensor.isnan()
        np.testing.assert_array_equal(nans, want.isnan())
        infinite = want.isinf()
        np.testing.assert_array_equal(got.tensor[infinite].double(), want[infinite])
        np.testing.assert_array_equal(got.tensor.isfinite(), want.isfinite())


def test_the_padding_of_an_image_is_zeros_and_its_second_plane_its_even_columns(run):
    x = randn(2, 3, 4, 5, dtype="f16", layout="nchw", seed=1)
    shape = padded_shape(view_of(x), (3, 3), (2, 2), (1, 2), (2, 3))
    assert shape == (2, 5, 2, 8, 4)
    buffer = Output(shape, "f16")
    run(padded(view_of(x), buffer.view, (1, 2)))
    whole = F.pad(x.permute(0, 2, 3, 1), (0, 1, 2, 1, 1, 0))
    np.testing.assert_array_equal(buffer.tensor[:, :, 0], whole)
    whole[:, :, 1::2] = 0
    np.testing.assert_array_equal(buffer.tensor[:, :, 1], whole)


@pytest.mark.parametrize(
    ("kernel", "stride", "dtype", "planes"),
    [(7, 2, "f16", 2), (7, 2, "f32", 1), (7, 1, "bf16", 1), (4, 2, "f16", 1), (1, 2, "f16", 1)],
)
def test_only_odd_rows_at_even_strides_in_half_precision_take_a_second_plane(
    kernel, stride, dtype, planes
):
    x = View(None, (1, 3, 30, 30), (2700, 900, 30, 1), dtype)
    square = (kernel, kernel), (stride, stride), (0, 0), (8, 8)
    assert padded_shape(x, *square)[2] == planes


def test_shapes_that_disagree():
    x, w = view_of(randn(1, 8, 1, 8, 4).contiguous()), view_of(randn(16, 48))
    y = view_of(randn(1, 16, 6, 6))
    options = {"kernel": (3, 3), "stride": (1, 1), "out_size": (6, 6), "tile": TILE}
    with pytest.raises(ValueError, match="packed weight"):
        stem_conv2d(x, view_of(randn(16, 36)), None, [y], **options)
    with pytest.raises(ValueError, match="does not hold the taps"):
        stem_conv2d(x, w, None, [y], **(options | {"stride": (2, 2)}))
    with pytest.raises(ValueError, match="bias"):
        stem_conv2d(x, w, view_of(randn(15)), [y], **options)
    with pytest.raises(Refused, match="at most one pool"):
        stem_conv2d(x, w, None, [y], **(options | {"tail": (MAX2, MAX2)}))
    image = view_of(randn(1, 3, 6, 6))
    with pytest.raises(ValueError, match="cannot fill"):
        padded(image, x, (3, 1))
    with pytest.raises(ValueError, match="cannot fill"):
        padded(view_of(randn(1, 5, 6, 6)), x, (1, 1))
