"""A depthwise convolution made inside of a 1x1 one, against float64 with the rounding between."""

import pytest
import torch
import torch.nn.functional as F

from graphcnn.kernels import ConvTile, Head, Pool, Refused, Stage, View, separable_conv2d, stages
from tests.kernels.buffers import (
    RELU,
    ROUNDING,
    Output,
    chain,
    product_bound,
    randn,
    stage,
    view_of,
)

TILE = ConvTile(32, 64, 32)
MAX2 = Pool("max", (2, 2))
SILU = stage("silu")


def check(
    run,
    shape,
    filters,
    *,
    kernel=(3, 3),
    stride=(1, 1),
    padding=(1, 1, 1, 1),
    dilation=(1, 1),
    steps=(RELU,),
    tail=(),
    exports=None,
    dtype="f32",
    layouts=("nhwc", "nhwc"),
    bias=True,
    channel_major=True,
    tile=TILE,
):
    """Run one group and compare every export with float64."""
    channels = shape[1]
    x = randn(*shape, dtype=dtype, layout=layouts[0], seed=1)
    d = randn(channels, 1, *kernel, dtype=dtype, layout="nchw", seed=2)
    w = randn(filters, channels, dtype=dtype, seed=3)
    e = randn(channels, dtype=dtype, seed=4) if bias else None
    b = randn(filters, dtype=dtype, seed=5) if bias else None
    top, left, bottom, right = padding
    wide = F.pad(x.double(), (left, right, top, bottom))

    def depthwise(image, weight, shift):
        shift = None if shift is None else shift.double()
        return F.conv2d(image, weight, shift, stride, 0, dilation, channels)

    first = depthwise(wide, d.double(), e)
    sizes = depthwise(wide.abs(), d.double().abs(), None if e is None else e.abs())
    value, slack = chain(first, product_bound(d[0].numel(), sizes), steps)[-1]
    slack = slack + (ROUNDING[dtype] * (value.abs() + slack) + 2.0**-24) * (dtype != "f32")

    def product(image, weight, shift):
        return F.conv2d(image, weight[:, :, None, None], None if shift is None else shift.double())

    want = product(value, w.double(), b)
    spread = product(slack, w.double().abs(), None)
    sizes = product(value.abs() + slack, w.double().abs(), None if b is None else b.abs())
    exports = (len(tail),) if exports is None else exports
    values = chain(want, spread + product_bound(channels, sizes), tail, exports, dtype)
    outputs = [Output(values[i][0].shape, dtype, layouts[1]) for i in exports]
    taps = d.reshape(channels, -1)
    launch = separable_conv2d(
        view_of(x),
        view_of(w.t().contiguous().t() if channel_major else w),
        None if b is None else view_of(b),
        [o.view for o in outputs],
        head=Head(view_of(taps.t().contiguous().t()), None if e is None else view_of(e), steps),
        kernel=kernel,
        stride=stride,
        padding=(top, left),
        dilation=dilation,
        out_size=tuple(want.shape[2:]),
        tail=tail,
        exports=exports,
        tile=tile,
    )
    run(launch)
    for output, index in zip(outputs, exports, strict=True):
        output.check(*values[index])


GEOMETRIES = {
    "channels in blocks": ((2, 64, 7, 9), 24, {}),
    "channels left over": ((1, 44, 6, 5), 33, {}),
    "few channels": ((1, 3, 6, 5), 5, {}),
    "stride 2": ((1, 32, 9, 11), 16, {"stride": (2, 2)}),
    "5x5": ((1, 32, 9, 8), 16, {"kernel": (5, 5), "padding": (2,) * 4}),
    "column": ((1, 32, 12, 3), 16, {"kernel": (5, 1), "padding": (4, 0, 0, 0)}),
    "dilation 3": ((1, 32, 11, 12), 16, {"dilation": (3, 3), "padding": (3,) * 4}),
    "asymmetric": (
        (2, 32, 6, 8),
        16,
        {"kernel": (2, 3), "padding": (0, 2, 1, 1), "stride": (1, 2), "dilation": (2, 1)},
    ),
    "no padding": ((1, 32, 6, 8), 16, {"padding": (0,) * 4}),
    "padding wider than input": ((1, 32, 2, 3), 16, {"padding": (2,) * 4}),
    "three tiles of filters": ((1, 32, 5, 5), 90, {}),
    "no bias": ((3, 32, 5, 5), 16, {"bias": False}),
    "reduction-major": ((1, 32, 6, 5), 64, {"channel_major": False}),
    "few pixels a tile": ((2, 32, 7, 9), 16, {"tile": ConvTile(16, 16, 32)}),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometry(run, name):
    shape, filters, options = GEOMETRIES[name]
    check(run, shape, filters, **options)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("channels", [32, 20])
def test_half_precision(run, dtype, channels):
    check(run, (2, channels, 7, 6), 24, dtype=dtype, tail=(RELU, MAX2))


@pytest.mark.parametrize("layouts", [("nchw", "nhwc"), ("nhwc", "nchw"), ("nchw", "nchw")])
def test_layouts(run, layouts):
    check(run, (2, 32, 6, 7), 20, layouts=layouts, tail=(RELU,))


SCALE = stage("mul", view_of(randn(1, 20, 1, 1, seed=6)))
BESIDE = stage("add", view_of(randn(2, 20, 9, 7, seed=7)))
STEPS = {
    "none": (),
    "scale": (SCALE, RELU),
    "an operand of every pixel": (BESIDE,),
    "a diamond": (stage("sigmoid"), Stage(stages.mul, (0, 1))),
    "what makes 0.5 of 0": (stage("sigmoid"),),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_of_the_head(run, name):
    check(run, (2, 20, 9, 7), 24, steps=STEPS[name])


def test_channels_that_are_not_there_stay_out_of_the_product(run_native):
    """The logarithm of a block's empty channels is infinite, and 0 * inf would be NaN."""
    x, d, w = randn(1, 20, 4, 4).abs(), randn(20, 1).abs(), randn(16, 20)
    output = Output((1, 16, 4, 4))
    launch = separable_conv2d(
        view_of(x),
        view_of(w),
        None,
        [output.view],
        head=Head(view_of(d), None, (Stage(stages.log),)),
        kernel=(1, 1),
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        out_size=(4, 4),
        tile=TILE,
    )
    run_native(launch)
    value = (x.double() * d.double()[:, :, None]).log()
    want = F.conv2d(value, w.double()[:, :, None, None])
    output.check(want, torch.full_like(want, 1e-3))


RESIDUAL = stage("add", view_of(randn(2, 24, 9, 7, seed=8)))
TAILS = {
    "residual": ((RESIDUAL,), (1,)),
    "stored before and after": ((RESIDUAL, SILU), (0, 2)),
    "pooled": ((RELU, MAX2), (2,)),
    "stored and pooled": ((RELU, MAX2), (1, 2)),
}


@pytest.mark.parametrize("name", TAILS)
def test_tail(run, name):
    tail, exports = TAILS[name]
    check(run, (2, 20, 9, 7), 24, tail=tail, exports=exports)


def launch_with(w=(8, 4), d=(4, 9), bias=(8,), shift=(4,), steps=()):
    x = View(None, (1, 4, 5, 5), (100, 1, 20, 4), "f32")
    y = View(None, (1, 8, 5, 5), (200, 1, 40, 8), "f32")
    made = [View(None, shape, (1,) * len(shape), "f32") for shape in (w, d, bias, shift)]
    return separable_conv2d(
        x,
        made[0],
        made[2],
        [y],
        head=Head(made[1], made[3], steps),
        kernel=(3, 3),
        stride=(1, 1),
        padding=(1, 1),
        dilation=(1, 1),
        out_size=(5, 5),
        tile=TILE,
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"w": (8, 5)}, r"packed weight \(8, 5\), wanted \(8, 4\)"),
        ({"d": (4, 8)}, r"packed weight of the head \(4, 8\), wanted \(4, 9\)"),
        ({"bias": (4,)}, r"bias \(4,\), wanted \(8,\)"),
        ({"shift": (8,)}, r"bias of the head \(8,\), wanted \(4,\)"),
        ({"steps": (stage("add", view_of(randn(1, 8, 1, 1))),)}, "does not broadcast"),
    ],
)
def test_shapes_that_disagree(wrong, told):
    assert launch_with().grid == (1, 1, 1)
    with pytest.raises(ValueError, match=told):
        launch_with(**wrong)


def test_what_offsets_cannot_address():
    far = View(None, (1, 4, 5, 5), (2**31, 1, 2**30, 4), "f32")
    with pytest.raises(Refused, match="kernels address at most"):
        launch_with(steps=(stage("add", far),))
