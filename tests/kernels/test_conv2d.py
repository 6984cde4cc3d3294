import numpy as np
import pytest
import torch
import torch.nn.functional as F

from graphcnn.kernels import (
    TURN,
    ConvTile,
    Half,
    Pool,
    Refused,
    Stage,
    View,
    conv2d,
    depthwise_conv2d,
    normalize_channels,
    stages,
)
from tests.kernels.buffers import RELU, Output, chain, product_bound, randn, stage, view_of

TILE = ConvTile(32, 64, 16)
MAX2 = Pool("max", (2, 2))


def packed(weight, channel_major):
    """[K, C, R, S] to the kernel's [K, R * S * C], in either memory order."""
    matrix = weight.permute(0, 2, 3, 1).reshape(weight.shape[0], -1).contiguous()
    return matrix.t().contiguous().t() if channel_major else matrix


def in_panels(matrix, width):
    """[K, RED] to panels [K / width, RED, width], zeros behind the last filter."""
    whole = F.pad(matrix, (0, 0, 0, -len(matrix) % width))
    return whole.view(-1, width, matrix.shape[1]).transpose(1, 2).contiguous()


def in_pairs(panels):
    """[K / width, RED, width] to [K / width, RED / 2, width, 2]."""
    blocks, inner, width = panels.shape
    return panels.view(blocks, inner // 2, 2, width).transpose(2, 3).contiguous()


def check(
    run,
    shape,
    weight_shape,
    *,
    stride=(1, 1),
    padding=(0, 0, 0, 0),
    dilation=(1, 1),
    groups=1,
    tail=(),
    exports=None,
    dtype="f32",
    layouts=("nhwc", "nhwc"),
    bias=True,
    channel_major=True,
    panel=0,
    pairs=False,
    tile=TILE,
    repeats=None,
    op=conv2d,
):
    """Run one convolution and compare every export with float64."""
    x = randn(*shape, dtype=dtype, layout=layouts[0], seed=1)
    w = randn(*weight_shape, dtype=dtype, layout="nchw", seed=2)
    b = randn(weight_shape[0], dtype=dtype, seed=3) if bias else None
    top, left, bottom, right = padding
    down, across = repeats or (1, 1)
    large = x.double().repeat_interleave(down, 2).repeat_interleave(across, 3)
    wide = F.pad(large, (left, right, top, bottom))
    attributes = (stride, 0, dilation, groups)
    want = F.conv2d(wide, w.double(), None if b is None else b.double(), *attributes)
    sizes = F.conv2d(
        wide.abs(), w.double().abs(), None if b is None else b.double().abs(), *attributes
    )
    exports = (len(tail),) if exports is None else exports
    values = chain(want, product_bound(w[0].numel(), sizes), tail, exports, dtype)
    outputs = [Output(values[i][0].shape, dtype, layouts[1]) for i in exports]
    weight = in_panels(packed(w, False), panel) if panel else packed(w, channel_major)
    launch = op(
        view_of(x),
        view_of(in_pairs(weight) if pairs else weight),
        None if b is None else view_of(b),
        [o.view for o in outputs],
        kernel=tuple(w.shape[2:]),
        stride=stride,
        padding=(top, left),
        dilation=dilation,
        groups=groups,
        out_size=tuple(want.shape[2:]),
        tail=tail,
        exports=exports,
        tile=tile,
        **({"repeats": repeats} if repeats else {}),
        **({"filters": len(w)} if panel else {}),
    )
    run(launch)
    for output, index in zip(outputs, exports, strict=True):
        output.check(*values[index])


GEOMETRIES = {
    "channels in blocks": ((2, 32, 7, 9), (40, 32, 3, 3), {"padding": (1, 1, 1, 1)}),
    "three channels": ((2, 3, 9, 8), (10, 3, 3, 3), {"padding": (1, 1, 1, 1)}),
    "five channels": ((1, 5, 6, 7), (10, 5, 3, 3), {}),
    "48 channels": ((1, 48, 5, 6), (10, 48, 3, 3), {"tile": ConvTile(16, 64, 32)}),
    "1x1": ((2, 48, 5, 7), (33, 48, 1, 1), {}),
    "1x1 stride 2": ((2, 16, 7, 9), (8, 16, 1, 1), {"stride": (2, 2)}),
    "7x7 stride 2": ((1, 3, 19, 17), (16, 3, 7, 7), {"stride": (2, 2), "padding": (3,) * 4}),
    "11x11 stride 4": ((1, 3, 31, 27), (8, 3, 11, 11), {"stride": (4, 4)}),
    "more than 32 taps": ((1, 16, 9, 11), (8, 16, 7, 5), {"padding": (3, 2, 3, 2)}),
    "column": ((1, 16, 12, 3), (8, 16, 5, 1), {"padding": (4, 0, 0, 0)}),
    "dilation 3": ((1, 16, 11, 12), (8, 16, 3, 3), {"dilation": (3, 3), "padding": (3,) * 4}),
    "asymmetric": (
        (2, 16, 6, 8),
        (8, 16, 2, 3),
        {"padding": (0, 2, 1, 1), "stride": (1, 2), "dilation": (2, 1)},
    ),
    "two groups": ((2, 32, 6, 5), (40, 16, 3, 3), {"groups": 2, "padding": (1,) * 4}),
    "four groups": ((1, 20, 6, 5), (12, 5, 3, 3), {"groups": 4, "padding": (1,) * 4}),
    "batch 3, no bias": ((3, 16, 5, 5), (16, 16, 3, 3), {"bias": False}),
    "reduction-major": ((1, 32, 6, 5), (64, 32, 3, 3), {"channel_major": False}),
    "padding wider than input": ((1, 16, 2, 3), (8, 16, 3, 3), {"padding": (2, 2, 2, 2)}),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometry(run, name):
    shape, weight_shape, options = GEOMETRIES[name]
    check(run, shape, weight_shape, **options)


REPEATS = {
    "twice": ((2, 32, 4, 5), (40, 32, 3, 3), {"padding": (1, 1, 1, 1)}),
    "three channels": ((2, 3, 4, 3), (10, 3, 3, 3), {"padding": (1, 1, 1, 1)}),
    "down more than across": ((1, 16, 3, 4), (8, 16, 3, 3), {"repeats": (3, 1)}),
    "1x1 stride 2": ((2, 16, 3, 4), (8, 16, 1, 1), {"stride": (2, 2)}),
    "more than 32 taps": ((1, 16, 4, 6), (8, 16, 7, 5), {"padding": (3, 2, 3, 2)}),
    "three channels, many taps": ((1, 3, 4, 6), (8, 3, 7, 5), {"padding": (3, 2, 3, 2)}),
    "dilation 3": ((1, 16, 5, 4), (8, 16, 3, 3), {"dilation": (3, 3), "padding": (3,) * 4}),
    "two groups": ((2, 32, 3, 5), (40, 16, 3, 3), {"groups": 2, "padding": (1,) * 4}),
    "row-major": ((2, 32, 3, 5), (8, 32, 3, 3), {"layouts": ("nchw", "nchw")}),
    "pooled": ((2, 32, 3, 5), (8, 32, 3, 3), {"tail": (RELU, MAX2), "padding": (1,) * 4}),
    "wide padding": ((1, 16, 2, 1), (8, 16, 3, 3), {"padding": (2, 4, 2, 4), "repeats": (2, 5)}),
}


@pytest.mark.parametrize("name", REPEATS)
def test_repeated_pixels(run, name):
    shape, weight_shape, options = REPEATS[name]
    check(run, shape, weight_shape, **({"repeats": (2, 2)} | options))


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("channels", [16, 5])
def test_half_precision(run, dtype, channels):
    weight_shape = (24, channels, 3, 3)
    check(run, (2, channels, 7, 6), weight_shape, dtype=dtype, tail=(RELU, MAX2), padding=(1,) * 4)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_groups_in_half_precision(run, dtype):
    options = {"groups": 4, "padding": (1,) * 4, "dtype": dtype, "tail": (SILU,)}
    check(run, (1, 20, 6, 5), (12, 5, 3, 3), **options)


@pytest.mark.parametrize("layouts", [("nchw", "nhwc"), ("nhwc", "nchw"), ("nchw", "nchw")])
def test_layouts(run, layouts):
    check(run, (2, 16, 6, 7), (20, 16, 3, 3), layouts=layouts, tail=(RELU, MAX2))


SHAPE, WEIGHT = (2, 16, 9, 7), (20, 16, 3, 3)
RESIDUAL = stage("add", view_of(randn(2, 20, 9, 7, seed=5)))
PER_CHANNEL_SCALE = stage("mul", view_of(randn(1, 20, 1, 1, seed=6)))
PER_CHANNEL_SHIFT = stage("add", view_of(randn(1, 20, 1, 1, seed=7)))
GATE = stage("mul", view_of(randn(2, 20, 1, 1, seed=8)))
POOLED_RESIDUAL = stage("add", view_of(randn(2, 20, 4, 3, seed=9)))
SILU = stage("silu")
TAILS = {
    "relu": ((RELU,), (1,)),
    "before and after relu": ((RELU,), (0, 1)),
    "residual": ((RESIDUAL, RELU), (2,)),
    "scale and shift": ((PER_CHANNEL_SCALE, PER_CHANNEL_SHIFT, RELU), (3,)),
    "gate per image and channel": ((stage("sigmoid"), GATE), (2,)),
    "activations": (
        (
            stage("leaky_relu", param=0.1),
            stage("tanh"),
            stage("leaky_relu", param=-1.5),
            SILU,
        ),
        (1, 4),
    ),
    "diamond": ((stage("tanh"), Stage(stages.mul, (-2, -1)), RELU), (2, 3)),
    "two branches": (
        (stage("tanh"), Stage(stages.sigmoid, (0,)), Stage(stages.mul, (1, 2)), RESIDUAL),
        (4,),
    ),
    "twice the same": ((RELU, Stage(stages.add, (-1, -1))), (2,)),
    "diamond after a pool": ((RELU, MAX2, stage("tanh"), Stage(stages.mul, (-2, -1))), (1, 4)),
    "max pool": ((RELU, MAX2), (2,)),
    "bare pool": ((MAX2,), (1,)),
    "export before and after the pool": ((RELU, MAX2), (1, 2)),
    "residual, both exports": ((RESIDUAL, RELU, MAX2), (2, 3)),
    "pool, then more": ((SILU, MAX2, POOLED_RESIDUAL, RELU), (1, 2, 4)),
    "4x2 pool": ((RELU, Pool("max", (4, 2))), (2,)),
    "4x4 average": ((RELU, Pool("avg", (4, 4))), (1, 2)),
    "average": ((Pool("avg", (2, 2)), RELU), (2,)),
}


SAME = (1, 1, 1, 1)
POOLS = {
    "3x3/3": (Pool("max", (3, 3)), (9, 7)),
    "3x2/3x2 average, and what is pooled": (Pool("avg", (3, 2)), (9, 7)),
    "a remainder": (Pool("max", (2, 3), padding=(0, 0, 1, 2)), (9, 7)),
    "an average of a remainder": (Pool("avg", (2, 3), padding=(0, 0, 1, 2)), (9, 7)),
    "the whole image": (Pool("avg", (7, 7)), (7, 7)),
    "3x3/2": (Pool("max", (3, 3), stride=(2, 2)), (23, 19)),
    "3x3/2 of one tile": (Pool("max", (3, 3), stride=(2, 2)), (5, 7)),
    "3x3/2, padded": (Pool("max", (3, 3), stride=(2, 2), padding=SAME), (24, 19)),
    "3x3/2 with a remainder": (Pool("max", (3, 3), stride=(2, 2), padding=(0, 0, 1, 1)), (24, 18)),
    "3x3/1, padded": (Pool("max", (3, 3), stride=(1, 1), padding=SAME), (9, 7)),
    "5x3/3x2 average": (Pool("avg", (5, 3), stride=(3, 2)), (23, 20)),
    "1x3/1x2": (Pool("max", (1, 3), stride=(1, 2)), (1, 31)),
}


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("name", POOLS)
def test_pool(run, name, dtype):
    pool, size = POOLS[name]
    exports = (1, 3) if "and what is pooled" in name else (3,)
    options = {"padding": SAME, "dtype": dtype, "channel_major": dtype != "f16"}
    check(run, (2, 16, *size), WEIGHT, tail=(SILU, pool, RELU), exports=exports, **options)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_normalisation_across_channels(run, dtype, size):
    """Behind a sigmoid, which makes 0.5 of what a tile holds beyond the last channel."""
    norm = Stage(normalize_channels, (-1,), (size, 0.5, 0.75, 2.0, 20), across=True)
    tail = (stage("sigmoid"), norm, MAX2)
    check(run, SHAPE, WEIGHT, padding=SAME, tail=tail, exports=(2, 3), dtype=dtype)


@pytest.mark.parametrize("stride", [(), (2, 2)])
def test_a_pool_before_its_relu(run, stride):
    """It is moved ahead of the relu and of the bias: what lies beyond the output is not the 0 that
    a relu makes of it."""
    pool = Pool("max", (3, 3), stride=stride, padding=SAME)
    check(run, (2, 16, 9, 8), WEIGHT, padding=SAME, tail=(stage("leaky_relu", param=0.5), pool))


@pytest.mark.parametrize("name", TAILS)
def test_tail(run, name):
    tail, exports = TAILS[name]
    check(run, SHAPE, WEIGHT, padding=(1, 1, 1, 1), tail=tail, exports=exports)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise(run, dtype, multiplier):
    options = {"op": depthwise_conv2d, "dtype": dtype, "tile": ConvTile(16, 64, 1)}
    weight_shape = (12 * multiplier, 1, 3, 3)
    check(
        run,
        (2, 12, 9, 7),
        weight_shape,
        groups=12,
        stride=(2, 1),
        padding=(1, 0, 1, 2),
        tail=(RELU, MAX2),
        exports=(1, 2),
        **options,
    )


def test_depthwise_column_with_dilation(run):
    weight_shape = (20, 1, 5, 1)
    options = {"groups": 20, "dilation": (3, 1), "padding": (12, 0, 0, 0), "tail": (SILU,)}
    check(run, (1, 20, 14, 1), weight_shape, op=depthwise_conv2d, **options)


def launch_of(x, w, y, **options):
    attributes = {
        "kernel": (3, 3),
        "stride": (1, 1),
        "padding": (1, 1),
        "dilation": (1, 1),
        "groups": 1,
        "out_size": (8, 8),
        "tile": TILE,
    }
    return conv2d(x, w, None, [y], **(attributes | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 3}, "3 groups do not divide"),
        ({"kernel": (2, 2)}, "packed weight"),
        ({"out_size": (7, 8)}, "another shape than output"),
        ({"tail": (MAX2,)}, "another shape than output"),
        ({"tail": (RESIDUAL,)}, "does not broadcast"),
        ({"exports": (1,)}, "name no value"),
    ],
)
def test_shapes_that_disagree(options, message):
    x, w = view_of(randn(1, 16, 8, 8)), view_of(randn(16, 144))
    with pytest.raises(ValueError, match=message):
        launch_of(x, w, x, **options)


@pytest.mark.parametrize(
    ("tail", "message"),
    [((MAX2, MAX2), "at most one pool"), ((Pool("max", (2, 2), stride=(3, 3)),), "leave gaps")],
)
def test_refuses_tails_that_no_kernel_takes(tail, message):
    x, w = view_of(randn(1, 16, 8, 8)), view_of(randn(16, 144))
    with pytest.raises(Refused, match=message):
        launch_of(x, w, x, tail=tail)


def test_refuses_what_int32_offsets_cannot_address():
    far = View(None, (1, 16, 8, 8), (0, 1, 16, 2**29), "f32")
    near, w = view_of(randn(1, 16, 8, 8)), view_of(randn(16, 144))
    with pytest.raises(Refused, match="address at most"):
        launch_of(far, w, near)
    with pytest.raises(Refused, match="address at most"):
        launch_of(near, w, far)


def test_refuses_masked_loads_beyond_what_is_kept_mapped():
    w, y = view_of(randn(16, 144)), view_of(randn(1, 16, 8, 8))
    just = View(None, (1, 16, 8, 8), (0, 1, 2**20 - 16, 16), "f32")
    launch = launch_of(just, w, y)  # a row and a pixel of padding: 4 MiB
    assert launch.masked_reach == 4 << 20
    above = View(None, (1, 16, 8, 8), (0, 1, 2**20 - 15, 16), "f32")
    with pytest.raises(Refused, match="bytes past its end"):
        launch_of(above, w, y)
    tail = View(None, (16, 144), (2**18, 1), "f32")
    with pytest.raises(Refused, match="bytes past its end"):
        launch_of(view_of(randn(1, 16, 8, 8)), tail, y, tile=ConvTile(64, 64, 16))


@pytest.mark.parametrize(("dtype", "itemsize"), [("f32", 4), ("f16", 2)])
@pytest.mark.parametrize(
    ("padding", "size", "pixels"),
    [((0, 0), (6, 6), 0), ((1, 1), (8, 8), 9), ((0, 2), (6, 8), 2), ((0, 0), (8, 8), 18)],
    ids=["none", "both sides", "before", "behind"],
)
def test_a_launch_tells_how_far_its_masked_lanes_reach(padding, size, pixels, dtype, itemsize):
    shapes = (1, 16, 8, 8), (16, 144), (1, 16, *size)
    x, w, y = (view_of(randn(*shape, dtype=dtype)) for shape in shapes)
    launch = launch_of(x, w, y, padding=padding, out_size=size)
    assert launch.masked_reach == pixels * 16 * itemsize


def test_masked_lanes_reach_what_a_pipelined_loop_loads_behind_its_last_step():
    x, w, y = view_of(randn(1, 16, 8, 8)), view_of(randn(16, 16)), view_of(randn(1, 16, 8, 8))
    options = {"kernel": (1, 1), "padding": (0, 0)}
    for ahead in (0, 1, 3):
        launch = launch_of(x, w, y, tile=TILE._replace(num_stages=ahead + 1), **options)
        assert launch.masked_reach == ahead * TILE.reduction * 4


def test_nan_survives_relu_and_max_pool(run):
    x = randn(1, 16, 8, 8)
    x[0, 3, 2, 2] = float("nan")
    y = Output((1, 20, 4, 4))
    launch = launch_of(view_of(x), view_of(randn(20, 144)), y.view, tail=(MAX2, RELU))
    run(launch)
    reached = torch.zeros(4, 4, dtype=torch.bool)
    reached[:2, :2] = True  # the windows that hold a pixel within one of (2, 2)
    assert (y.tensor[0].isnan() == reached).all()


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_what_follows_an_export_reads_it_as_it_was_stored(run, dtype):
    """Rounded, and infinite where it overflowed; the rest of the chain stays wide."""
    x = randn(1, 16, 8, 8, dtype=dtype)
    x[0, :, 3, 4] = 6e4 if dtype == "f16" else 3e38
    w = randn(20, 144, dtype=dtype, seed=1)
    shrink = stage("mul", view_of(torch.full((1, 20, 1, 1), 0.0013)))
    tail, exports = (RELU, shrink, MAX2, shrink), (1, 4)
    outputs = [Output((1, 20, 8, 8), dtype), Output((1, 20, 4, 4), dtype)]
    attributes = {"kernel": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
    views = [output.view for output in outputs]
    options = {"groups": 1, "out_size": (8, 8), "tail": tail, "exports": exports, "tile": TILE}
    run(conv2d(view_of(x), view_of(w), None, views, **attributes, **options))
    stored, result = (output.tensor for output in outputs)
    assert stored.isinf().any()
    assert stored.isfinite().any()
    factor = shrink.reads[1].buffer[0, 0]
    want = F.max_pool2d(stored.float() * factor, 2) * factor
    np.testing.assert_array_equal(result.float(), want.to(result.dtype).float())


def in_turns(first, second):
    """The rows of two matrices [K, ...] in turns of eight, with rows of zeros up to whole turns."""
    zeros = first.new_zeros(-len(first) % TURN, *first.shape[1:])
    padded = (torch.cat([half, zeros]) for half in (first, second))
    rows = torch.stack([half.reshape(-1, TURN, *half.shape[1:]) for half in padded], 1)
    return rows.reshape(-1, *first.shape[1:])


@pytest.mark.parametrize("tile", [ConvTile(16, 64, 16), ConvTile(64, 64, 32)])
@pytest.mark.parametrize("filters", [4, 8, 20, 32])
@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_gated(run, filters, tile, dtype):
    """tanh of one convolution times sigmoid of another, and the product stored halfway."""
    x = randn(2, 16, 5, 7, dtype=dtype, seed=1)
    w = [randn(filters, 16, 3, 1, dtype=dtype, layout="nchw", seed=seed) for seed in (2, 3)]
    b = [randn(filters, dtype=dtype, seed=seed) for seed in (4, 5)]
    scale = randn(2, filters, 5, 7, dtype=dtype, seed=6)
    tail = (
        Half(0),
        Half(1),
        Stage(stages.tanh, (1,)),
        Stage(stages.sigmoid, (2,)),
        Stage(stages.mul, (3, 4)),
        Stage(stages.add, (5, view_of(scale))),
    )
    both = list(zip(w, b, strict=True))
    geometry = (1, (2, 0), (2, 1))
    products = [F.conv2d(x.double(), *(p.double() for p in pair), *geometry) for pair in both]
    sizes = [
        F.conv2d(x.double().abs(), *(p.double().abs() for p in pair), *geometry) for pair in both
    ]
    bound = sum(product_bound(48, size) for size in sizes) + 16 * 2.0**-24
    gated = products[0].tanh() * products[1].sigmoid()
    stored = Output(gated.shape, dtype), Output(gated.shape, dtype)
    launch = conv2d(
        view_of(x),
        view_of(in_turns(*(packed(wi, False) for wi in w))),
        view_of(in_turns(*b)),
        [output.view for output in stored],
        kernel=(3, 1),
        stride=(1, 1),
        padding=(2, 0),
        dilation=(2, 1),
        groups=1,
        out_size=(5, 7),
        tail=tail,
        exports=(5, 6),
        tile=tile,
    )
    run(launch)
    stored[0].check(gated, bound)
    rounded = 0.0 if dtype == "f32" else 2.0**-11
    stored[1].check(gated + scale.double(), bound + 2.0**-23 * (1 + scale.double().abs()) + rounded)


def test_halves_need_whole_turns_and_no_pool():
    options = {"kernel": (1, 1), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    options |= {"groups": 1, "out_size": (4, 4), "tile": TILE}
    x, w = view_of(randn(1, 16, 4, 4)), view_of(randn(24, 16, layout="nchw"))
    output = Output((1, 12, 4, 4)).view
    mul = Stage(stages.mul, (1, 2))
    with pytest.raises(ValueError, match="no two halves"):
        conv2d(x, w, None, [output], tail=(Half(0), Half(1), mul), **options)
    with pytest.raises(Refused, match="brings nothing else together"):
        conv2d(x, w, None, [output], tail=(Half(0), Half(1), mul, MAX2), **options)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize(
    ("channels", "filters", "size", "tile"),
    [
        (3, 16, 9, ConvTile(32, 64, 1)),
        (24, 144, 7, ConvTile(128, 64, 8)),
        (48, 40, 5, ConvTile(64, 32, 16)),
    ],
)
def test_filters_in_panels(run, dtype, channels, filters, size, tile):
    padding = (1, 1, 1, 1)
    shape, weight = (2, channels, size, size), (filters, channels, 3, 3)
    check(run, shape, weight, padding=padding, dtype=dtype, panel=32, tile=tile, tail=(RELU, MAX2))


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_panels_in_one_step(run, dtype):
    tile = ConvTile(64, 64, 32)
    check(run, (2, 32, 5, 7), (48, 32, 1, 1), dtype=dtype, panel=32, tile=tile, tail=(RELU,))


PAIRS = {
    "a step": ((2, 32, 5, 7), (48, 32, 1, 1), {"tile": ConvTile(64, 64, 32)}),
    "1x1 stride 2": ((2, 16, 7, 9), (40, 16, 1, 1), {"stride": (2, 2)}),
    "taps": ((2, 24, 7, 6), (144, 24, 3, 3), {"padding": (1,) * 4, "tile": ConvTile(128, 64, 8)}),
    "a pair": ((1, 6, 9, 8), (33, 6, 3, 2), {"tile": ConvTile(32, 64, 2)}),
    "row-major": ((1, 4, 6, 5), (24, 4, 3, 2), {"layouts": ("nchw",) * 2, "stride": (2, 1)}),
    "two groups": ((2, 32, 6, 5), (64, 16, 3, 3), {"groups": 2, "padding": (1,) * 4}),
    "more than 32 taps": ((1, 16, 9, 11), (8, 16, 7, 5), {"padding": (3, 2, 3, 2)}),
    "repeats": ((2, 16, 4, 5), (40, 16, 3, 3), {"padding": (1,) * 4, "repeats": (2, 2)}),
}


@pytest.mark.parametrize("name", PAIRS)
def test_filters_in_pairs(run, name):
    shape, weight, options = PAIRS[name]
    options = {"tile": ConvTile(32, 32, 4), "tail": (RELU,), "dtype": "bf16", **options}
    check(run, shape, weight, panel=32, pairs=True, **options)


def test_pairs_need_even_blocks_of_whole_channels():
    for tile in (ConvTile(32, 64, 1), ConvTile(32, 64, 4)):
        with pytest.raises(ValueError, match="channels, in pairs"):
            check(None, (1, 6, 5, 5), (32, 6, 1, 1), dtype="bf16", panel=32, pairs=True, tile=tile)


@pytest.mark.parametrize("layouts", [("nchw", "nhwc"), ("nhwc", "nchw")])
def test_panels_with_other_layouts(run, layouts):
    tile = ConvTile(32, 32, 4)
    check(run, (1, 4, 6, 5), (24, 4, 3, 2), layouts=layouts, panel=32, tile=tile, stride=(2, 1))
