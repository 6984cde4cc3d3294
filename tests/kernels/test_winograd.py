"""Convolutions by minimal filtering against float64, within the bound that they are judged by."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from graphcnn.ir import DType, Param, TensorType
from graphcnn.kernels import (
    Half,
    Pool,
    Refused,
    Stage,
    View,
    WinogradTile,
    normalize_channels,
    stages,
    winograd_conv2d,
)
from graphcnn.targets.winograd import WinogradConv2d, filters
from tests.kernels.buffers import RELU, Output, chain, randn, stage, view_of

TILE = WinogradTile(4, 32, 16, 16, workers=2, parts=2)
SMALL = TILE._replace(outputs=2)
MAX2 = Pool("max", (2, 2))
SILU = stage("silu")


def packed(weight, tile, order="channel_major"):
    array = weight.float().numpy()
    param = Param("w", TensorType(array.shape, DType.F32), array)
    packing = filters(param, tile, order)
    memory = torch.from_numpy(packing.pack({"w": param}))
    return View(memory.reshape(-1), packing.shape, packing.strides, "f32")


def check(
    run,
    shape,
    filter_count,
    *,
    padding=(1, 1, 1, 1),
    tail=(RELU,),
    exports=None,
    layouts=("nhwc", "nhwc"),
    bias=True,
    order="channel_major",
    tile=TILE,
    dtype="f32",
):
    """Run one convolution and compare every export with float64."""
    x = randn(*shape, layout=layouts[0], seed=1, dtype=dtype)
    w = randn(filter_count, shape[1], 3, 3, layout="nchw", seed=2, dtype=dtype)
    b = randn(filter_count, seed=3, dtype=dtype) if bias else None
    top, left, bottom, right = padding
    wide = F.pad(x.double(), (left, right, top, bottom))
    want = F.conv2d(wide, w.double(), None if b is None else b.double())
    op = WinogradConv2d((1, 1), padding, outputs=tile.outputs)
    operands = tuple(t.double().numpy() for t in (x, w, b) if t is not None)
    none = tuple(np.zeros(operand.shape) for operand in operands)
    bound = torch.from_numpy(op.error(operands, none, want.numpy(), 2.0**-24))
    exports = (len(tail),) if exports is None else exports
    values = chain(want, bound, tail, exports, dtype)
    outputs = [Output(values[i][0].shape, dtype, layouts[1]) for i in exports]
    scratch = Output((tile.scratch(shape[1]),))
    launch = winograd_conv2d(
        view_of(x),
        packed(w, tile, order),
        None if b is None else view_of(b),
        [o.view for o in outputs],
        scratch=scratch.view,
        padding=(top, left),
        out_size=tuple(want.shape[2:]),
        tail=tail,
        exports=exports,
        tile=tile,
    )
    run(launch)
    for output, index in zip(outputs, exports, strict=True):
        output.check(*values[index])


GEOMETRIES = {
    "whole tiles": ((1, 16, 8, 8), 32, {}),
    "tiles that are cut off, a batch of 3": ((3, 16, 9, 7), 20, {}),
    "2x2": ((2, 32, 7, 9), 40, {"tile": SMALL}),
    "channels that no block divides": ((2, 19, 6, 13), 33, {"bias": False}),
    "no padding": ((2, 16, 11, 6), 8, {"padding": (0, 0, 0, 0)}),
    "padding of 2": ((1, 16, 5, 9), 8, {"padding": (2, 2, 2, 2)}),
    "asymmetric": ((2, 16, 6, 8), 8, {"padding": (0, 2, 1, 0)}),
    "an output": ((1, 16, 3, 3), 70, {"padding": (0, 0, 0, 0)}),
    "padding wider than the input": ((1, 16, 1, 2), 8, {"padding": (3, 4, 4, 2)}),
    "reduction-major": ((1, 32, 6, 5), 64, {"order": "reduction_major"}),
    "row-major": ((2, 16, 6, 7), 20, {"layouts": ("nchw", "nchw")}),
    "row-major to channels-last": ((2, 16, 6, 7), 20, {"layouts": ("nchw", "nhwc")}),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometry(run, name):
    shape, filter_count, options = GEOMETRIES[name]
    check(run, shape, filter_count, **options)


SHAPE = (2, 16, 9, 7)
RESIDUAL = stage("add", view_of(randn(2, 20, 9, 7, seed=5)))
SCALE = stage("mul", view_of(randn(1, 20, 1, 1, seed=6)))
GATE = stage("mul", view_of(randn(2, 20, 1, 1, seed=8)))
POOLED_RESIDUAL = stage("add", view_of(randn(2, 20, 4, 3, seed=9)))
TAILS = {
    "none": ((), (0,)),
    "before and after relu": ((RELU,), (0, 1)),
    "residual, a scale, a gate": ((RESIDUAL, SCALE, RELU, stage("sigmoid"), GATE), (5,)),
    "diamond": ((stage("tanh"), Stage(stages.mul, (-2, -1)), RELU), (2, 3)),
    "max pool": ((RELU, MAX2), (2,)),
    "what is pooled, and the pool": ((RESIDUAL, SILU, MAX2), (2, 3)),
    "pool, then more": ((SILU, MAX2, POOLED_RESIDUAL, RELU), (1, 2, 4)),
    "4x2 pool": ((RELU, Pool("max", (4, 2))), (2,)),
    "4x4 average": ((SILU, Pool("avg", (4, 4))), (1, 2)),
    "bare average": ((Pool("avg", (1, 2)), RELU), (2,)),
}


@pytest.mark.parametrize("name", TAILS)
def test_tail(run, name):
    tail, exports = TAILS[name]
    check(run, SHAPE, 20, tail=tail, exports=exports)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_precision(run, dtype):
    tail = (stage("add", view_of(randn(2, 20, 9, 7, seed=5, dtype=dtype))), SILU, MAX2)
    check(run, SHAPE, 20, tail=tail, exports=(2, 3), dtype=dtype)


def test_tail_of_small_tiles(run):
    check(run, SHAPE, 20, tail=(RESIDUAL, SILU, MAX2), exports=(2, 3), tile=SMALL)


def launch_of(
    x=None, *, weight=None, dtype=torch.float32, scratch=None, filter_count=16, **options
):
    x = view_of(randn(1, 16, 8, 8)) if x is None else x
    y = view_of(randn(1, filter_count, 8, 8))
    size = TILE.scratch(16) if scratch is None else scratch
    return winograd_conv2d(
        x,
        view_of(torch.zeros(weight or (1, 36, 32, 16), dtype=dtype)),
        None,
        [y],
        scratch=view_of(torch.zeros(size)),
        padding=(1, 1),
        out_size=(8, 8),
        tile=TILE,
        **options,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": (1, 16, 32, 16)}, "packed weight"),
        ({"scratch": 100}, "scratch of 100"),
        ({"dtype": torch.float16}, "weight f16 and scratch f32, wanted f32"),
    ],
)
def test_shapes_that_disagree(options, message):
    with pytest.raises(ValueError, match=message):
        launch_of(**options)


NORM = Stage(normalize_channels, (-1,), (5, 0.5, 0.75, 2.0, 16), across=True)


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ((Half(0), Half(1)), "channels together"),
        ((NORM,), "channels together"),
        ((Pool("max", (3, 3)),), "lie across tiles"),
        ((Pool("max", (2, 2), stride=(1, 1)),), "lie across tiles"),
        ((Pool("max", (2, 2), padding=(0, 0, 1, 1)),), "lie across tiles"),
    ],
)
def test_refuses_tails_that_tiles_do_not_end_in(tail, message):
    with pytest.raises(Refused, match=message):
        launch_of(tail=tail)


def test_refuses_what_int32_offsets_cannot_address():
    with pytest.raises(Refused, match="address at most"):
        launch_of(View(None, (1, 16, 8, 8), (0, 1, 16, 2**29), "f32"))
    with pytest.raises(Refused, match="bytes past its end"):
        launch_of(View(None, (1, 16, 8, 8), (0, 1, 2**20, 16), "f32"))
