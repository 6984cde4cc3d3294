"""Each kernel template in a few small configurations, as the tests of `tests/kernels` run them.

A row takes what runs a launch, makes the operands, and compares what the launch wrote with float64;
outputs hold NaN before. Tiles are those of the tables for CUDA, of several stages, and filters lie
as they are packed there: one output's after another's.
"""

import torch

from graphcnn.kernels import (
    ConvTile,
    LinearTile,
    Pool,
    Stage,
    WinogradTile,
    copy,
    depthwise_conv2d,
    normalize_channels,
    pad,
    roll,
)
from tests.kernels import (
    test_adaptive_pool,
    test_conv2d,
    test_interpolate,
    test_linear,
    test_lrn,
    test_pointwise,
    test_pool,
    test_reduction,
    test_separable,
    test_softmax,
    test_standardize,
    test_winograd,
)
from tests.kernels.buffers import RELU, Output, randn, stage, view_of

MAX2, MAX3 = Pool("max", (2, 2)), Pool("max", (3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
SAME = (1, 1, 1, 1)
SILU = stage("silu")


def conv(run, shape, weight, tile, dtype="f16", **options):
    options = {"padding": SAME, "tail": (RELU,), "channel_major": False} | options
    test_conv2d.check(run, shape, weight, tile=ConvTile(*tile), dtype=dtype, **options)


def residual(*shape, dtype="f16"):
    return stage("add", view_of(randn(*shape, dtype=dtype, seed=5)))


def depthwise(run, dtype, **options):
    options = {"op": depthwise_conv2d, "groups": 40, "tile": (32, 64, 1)} | options
    conv(run, (2, 40, 9, 7), (40, 1, 3, 3), dtype=dtype, **options)


def separable(run, dtype, channels, tile, **options):
    options = {"tail": (RELU,), "channel_major": False, "dtype": dtype} | options
    test_separable.check(run, (2, channels, 9, 7), 72, tile=ConvTile(*tile), **options)


def linear(run, rows, features, reduction, tile, dtype="f16", **options):
    test_linear.check(run, rows, features, reduction, LinearTile(*tile), dtype=dtype, **options)


def across(size, channels):
    return Stage(normalize_channels, (-1,), (size, 5e-4, 0.75, 2.0, channels), across=True)


def winograd(run, **options):
    tile = WinogradTile(2, 32, 16, 16, workers=2, parts=1, num_warps=8)
    test_winograd.check(run, (1, 19, 6, 7), 20, tile=tile, order="reduction_major", **options)


def same_elements(run, dtype, make):
    """Kernels that move elements, beside the same of torch."""
    x = randn(2, 20, 9, 7, dtype=dtype)
    want, launch = make(x)
    y = Output(want.shape, dtype, "nchw")
    run(launch(view_of(x), y.view))
    y.check(want.double(), torch.zeros(()))


CASES = {
    # A step is a block of channels of one tap.
    "conv2d f16 64x64x64": lambda run: conv(run, (1, 64, 9, 7), (72, 64, 3, 3), (64, 64, 64, 4, 3)),
    "conv2d f16 128x128x64": lambda run: conv(
        run, (2, 64, 9, 8), (128, 64, 3, 3), (128, 128, 64, 8, 3), tail=(RELU, MAX2)
    ),
    "conv2d f16 1x1": lambda run: conv(
        run, (2, 128, 7, 5), (40, 128, 1, 1), (32, 64, 32, 4, 3), padding=(0,) * 4
    ),
    "conv2d bf16": lambda run: conv(
        run, (2, 32, 7, 9), (40, 32, 3, 3), (64, 64, 32, 4, 3), "bf16", stride=(2, 2)
    ),
    "conv2d f32": lambda run: conv(run, (2, 16, 7, 9), (72, 16, 3, 3), (64, 64, 16, 4, 3), "f32"),
    "conv2d f16 of 35 taps": lambda run: conv(
        run, (1, 32, 9, 11), (24, 32, 7, 5), (32, 64, 32, 4, 3), padding=(3, 2, 3, 2)
    ),
    "conv2d f16 grouped": lambda run: conv(
        run, (2, 64, 6, 5), (72, 32, 3, 3), (64, 64, 32, 4, 3), groups=2
    ),
    "conv2d f16 of repeated pixels": lambda run: conv(
        run, (2, 32, 4, 5), (40, 32, 3, 3), (32, 64, 32, 4, 3), repeats=(2, 2)
    ),
    # The reduction is cut into blocks.
    "conv2d f16 3 channels": lambda run: conv(
        run,
        (1, 3, 17, 15),
        (40, 3, 7, 7),
        (64, 64, 32, 4, 3),
        padding=(3,) * 4,
        stride=(2, 2),
        layouts=("nchw", "nhwc"),
    ),
    "conv2d bf16 3 channels": lambda run: conv(
        run, (2, 3, 9, 8), (24, 3, 3, 3), (32, 64, 32, 4, 3), "bf16"
    ),
    "conv2d f32 5 channels": lambda run: conv(
        run, (1, 5, 9, 8), (24, 5, 3, 3), (32, 64, 16, 4, 3), "f32", tail=(RELU, MAX2)
    ),
    # Tails.
    "conv2d f16 residual": lambda run: conv(
        run,
        (2, 32, 9, 7),
        (40, 32, 3, 3),
        (64, 64, 32, 4, 3),
        tail=(residual(2, 40, 9, 7), SILU),
        exports=(1, 2),
    ),
    "conv2d f16 residual and pool": lambda run: conv(
        run,
        (2, 32, 9, 7),
        (40, 32, 3, 3),
        (32, 128, 64, 4, 3),
        tail=(residual(2, 40, 9, 7), RELU, MAX2),
        exports=(2, 3),
    ),
    "conv2d f32 residual and pool": lambda run: conv(
        run,
        (2, 16, 9, 7),
        (40, 16, 3, 3),
        (32, 64, 16, 4, 3),
        "f32",
        tail=(residual(2, 40, 9, 7, dtype="f32"), RELU, MAX2),
    ),
    "conv2d f16 average pool": lambda run: conv(
        run, (1, 32, 9, 8), (40, 32, 3, 3), (64, 64, 32, 4, 3), tail=(RELU, Pool("avg", (4, 4)))
    ),
    "conv2d f16 overlapping pool": lambda run: conv(
        run, (1, 32, 12, 11), (40, 32, 3, 3), (64, 128, 32, 4, 3), tail=(RELU, MAX3)
    ),
    "conv2d f32 overlapping pool": lambda run: conv(
        run, (1, 16, 9, 8), (24, 16, 3, 3), (32, 64, 16, 4, 3), "f32", tail=(RELU, MAX3)
    ),
    "conv2d f16 across channels": lambda run: conv(
        run,
        (1, 32, 9, 7),
        (40, 32, 3, 3),
        (64, 64, 32, 4, 3),
        tail=(RELU, across(5, 40), MAX2),
    ),
    "conv2d f16 gate": lambda run: test_conv2d.test_gated(run, 40, ConvTile(64, 64, 16), "f16"),
    "conv2d f32 gate": lambda run: test_conv2d.test_gated(run, 20, ConvTile(32, 64, 16), "f32"),
    "conv2d f16 row-major": lambda run: conv(
        run, (2, 32, 6, 7), (40, 32, 3, 3), (64, 64, 16, 4, 3), layouts=("nchw", "nchw")
    ),
    # Others with filters.
    "depthwise_conv2d f16": lambda run: depthwise(run, "f16", tail=(RELU, MAX2), exports=(1, 2)),
    "depthwise_conv2d f32": lambda run: depthwise(run, "f32", stride=(2, 1)),
    "separable_conv2d f16": lambda run: separable(run, "f16", 96, (64, 64, 32, 8, 1)),
    "separable_conv2d bf16": lambda run: separable(run, "bf16", 40, (64, 64, 32, 8, 1)),
    "separable_conv2d f32": lambda run: separable(run, "f32", 44, (32, 64, 32, 4, 1)),
    "linear f16": lambda run: linear(run, 70, 72, 192, (64, 64, 64, 4, 3)),
    "linear bf16": lambda run: linear(run, 19, 40, 384, (32, 32, 128, 4, 4), "bf16"),
    "linear f32": lambda run: linear(run, 19, 37, 192, (32, 16, 64, 4, 4), "f32"),
    "linear f16 of an odd reduction": lambda run: linear(run, 5, 37, 101, (64, 16, 128, 4, 4)),
    "matvec f16": lambda run: linear(run, 1, 37, 1500, (4, 1, 1024, 4, 1)),
    "matvec f32": lambda run: linear(run, 1, 10, 1100, (4, 1, 1024, 4, 1), "f32"),
    "winograd_conv2d f32": winograd,
    "winograd_conv2d f32 pool": lambda run: winograd(run, tail=(RELU, MAX2), exports=(1, 2)),
    # Others.
    "pointwise f32": lambda run: test_pointwise.test_chain_with_broadcast_operands(
        run, ("nhwc", "nchw")
    ),
    "pointwise f16": lambda run: test_pointwise.test_half_precision(run, "f16"),
    "pointwise bf16": lambda run: test_pointwise.test_half_precision(run, "bf16"),
    "max_pool2d f16": lambda run: test_pool.test_max_pool2d(run, test_pool.MAX_CASES[0], "f16"),
    "max_pool2d bf16": lambda run: test_pool.test_max_pool2d(run, test_pool.MAX_CASES[2], "bf16"),
    "avg_pool2d f32": lambda run: test_pool.test_avg_pool2d(run, test_pool.AVG_CASES[1], "f32"),
    "avg_pool2d f16": lambda run: test_pool.test_avg_pool2d(run, test_pool.AVG_CASES[2], "f16"),
    "global_avg_pool2d f16": lambda run: test_pool.test_global_avg_pool2d(run, "f16", "nhwc"),
    "global_avg_pool2d f32": lambda run: test_pool.test_global_avg_pool2d(run, "f32", "nchw"),
    "adaptive_pool2d max f16": lambda run: test_adaptive_pool.test_adaptive_pool2d(
        run, True, (3, 5), "f16"
    ),
    "adaptive_pool2d avg f32": lambda run: test_adaptive_pool.test_adaptive_pool2d(
        run, False, (3, 5), "f32"
    ),
    "softmax f32": lambda run: test_softmax.check(run, randn(2, 2500) * 20, 1, False),
    "log_softmax f16": lambda run: test_softmax.check(
        run, randn(4, 101, dtype="f16"), -1, True, "f16"
    ),
    "softmax f32 of channels": lambda run: test_softmax.check(
        run, randn(3, 5, 4, 6, layout="nchw"), 1, False
    ),
    "instance_norm f32": lambda run: test_standardize.check(
        run, 2 * randn(1, 6, 7, 9) + 0.5, "instance"
    ),
    "layer_norm f16": lambda run: test_standardize.check(
        run, randn(1, 6, 5, 40, dtype="f16"), "last", dtype="f16"
    ),
    "mean f16": lambda run: test_reduction.check(
        run, randn(2, 70, 7, 9, dtype="f16"), "mean", (2, 3), "f16"
    ),
    "amax f32": lambda run: test_reduction.check(run, randn(2, 5000), "amax", (1,)),
    "nearest bf16": lambda run: test_interpolate.test_nearest(
        run, test_interpolate.NEAREST[0], "bf16"
    ),
    "bilinear f32": lambda run: test_interpolate.test_means(run, test_interpolate.MEANS[0], "f32"),
    "bilinear f16": lambda run: test_interpolate.test_means(run, test_interpolate.MEANS[1], "f16"),
    "local_response_norm f32": lambda run: test_lrn.check(
        run, 2 * randn(1, 70, 5, 7), test_lrn.PAPER
    ),
    "local_response_norm f16": lambda run: test_lrn.check(
        run, randn(1, 6, 3, 4, dtype="f16"), test_lrn.STEEP, "f16"
    ),
    "copy f16": lambda run: same_elements(run, "f16", lambda x: (x, copy)),
    "roll f16": lambda run: same_elements(
        run,
        "f16",
        lambda x: (x.roll((3, -1), (1, 3)), lambda v, y: roll(v, y, shifts={1: 3, 3: -1})),
    ),
    "pad f32": lambda run: same_elements(
        run,
        "f32",
        lambda x: (
            torch.nn.functional.pad(x, (2, 1, 1, 3), mode="reflect"),
            lambda v, y: pad(v, y, begins=(0, 0, 1, 2), mode="reflect"),
        ),
    ),
}
