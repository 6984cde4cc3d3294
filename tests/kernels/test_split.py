"""Reductions that are summed in parts: both kernels, against float64."""

import pytest
import torch

from graphcnn.kernels import (
    CPU,
    CUDA,
    ConvProblem,
    ConvTile,
    Half,
    LinearProblem,
    LinearTile,
    Pool,
    Pressure,
    Stage,
    View,
    choices,
    conv2d_in_parts,
    linear_in_parts,
    normalize_channels,
    stages,
)
from tests.kernels import test_conv2d
from tests.kernels.buffers import RELU, Output, chain, product_bound, randn, stage, view_of

SAME = (1, 1, 1, 1)
TILE = ConvTile(32, 64, 16)
SHAPE, WEIGHT = (2, 48, 9, 7), (20, 48, 3, 3)


def scratch_for(size):
    return Output((size,)).view


def convolution(x, w, bias, outputs, *, tile, **options):
    channels = options.get("filters") or w.shape[0]
    size = tile.parts * x.shape[0] * channels * options["out_size"][0] * options["out_size"][1]
    scratch = scratch_for(size)
    return conv2d_in_parts(x, w, bias, outputs, scratch=scratch, tile=tile, **options)


def check(run, parts, shape=SHAPE, weight_shape=WEIGHT, *, tile=TILE, **options):
    """A convolution in parts, as test_conv2d checks one; memory holds NaN before."""

    def run_both(launches):
        for launch in launches:
            run(launch)

    options = {"tile": tile._replace(parts=parts), "op": convolution, **options}
    test_conv2d.check(run_both, shape, weight_shape, **options)


@pytest.mark.parametrize("parts", [2, 3, 7, 16])
def test_parts(run, parts):
    """Of 27 steps of 16 channels, with a residual and the pool of what it makes."""
    tail = (stage("add", view_of(randn(2, 20, 9, 7, seed=5))), RELU, Pool("max", (2, 2)))
    check(run, parts, padding=SAME, tail=tail, exports=(2, 3))


@pytest.mark.parametrize("name", test_conv2d.GEOMETRIES)
def test_geometry(run_native, name):
    shape, weight_shape, options = test_conv2d.GEOMETRIES[name]
    check(run_native, 3, shape, weight_shape, **options)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_precision(run, dtype):
    check(run, 7, padding=SAME, tail=(RELU, Pool("max", (2, 2))), dtype=dtype)


TAILS = {
    "no step": ((), None, SHAPE, {}),
    "windows that overlap": (
        (RELU, Pool("max", (3, 3), stride=(2, 2), padding=SAME)),
        None,
        (2, 48, 23, 19),
        {},
    ),
    "an average of the map": ((Pool("avg", (7, 7)),), None, (2, 48, 7, 7), {}),
    "channels together": (
        (Stage(normalize_channels, (-1,), (5, 0.5, 0.75, 2.0, 20), across=True), RELU),
        None,
        SHAPE,
        {},
    ),
    "a gate per image": ((stage("mul", view_of(randn(2, 20, 1, 1, seed=8))),), None, SHAPE, {}),
    "row-major": ((RELU,), (0, 1), SHAPE, {"layouts": ("nchw", "nchw")}),
    "panels": ((RELU,), None, SHAPE, {"panel": 32}),
}


@pytest.mark.parametrize("name", TAILS)
def test_tails(run_native, name):
    tail, exports, shape, options = TAILS[name]
    check(run_native, 3, shape, padding=SAME, tail=tail, exports=exports, **options)


def test_a_gate(run):
    """Both halves of the channels in turns, as a gated convolution has them."""
    x, w = randn(2, 48, 5, 6, seed=1), randn(32, 432, seed=2)
    tail = (
        Half(0),
        Half(1),
        Stage(stages.tanh, (1,)),
        Stage(stages.sigmoid, (2,)),
        Stage(stages.mul, (3, 4)),
    )
    output = Output((2, 16, 5, 6))
    for launch in convolution(
        view_of(x),
        view_of(w),
        None,
        [output.view],
        kernel=(3, 3),
        stride=(1, 1),
        padding=(1, 1),
        dilation=(1, 1),
        groups=1,
        out_size=(5, 6),
        tail=tail,
        tile=TILE._replace(parts=3),
    ):
        run(launch)
    filters = w.double().view(32, 3, 3, 48).permute(0, 3, 1, 2)
    product = torch.nn.functional.conv2d(x.double(), filters, padding=1)
    turns = product.view(2, 2, 2, 8, 5, 6)
    first, second = (turns[:, :, half].reshape(2, 16, 5, 6) for half in (0, 1))
    output.check(first.tanh() * second.sigmoid(), torch.tensor(1e-4, dtype=torch.float64))


def layer(run, rows, features, reduction, tile, dtype="f32"):
    """A linear layer in parts, with a residual; what it stores."""
    x, w = randn(*rows, reduction, dtype=dtype, seed=1), randn(features, reduction, dtype=dtype)
    bias = randn(features, dtype=dtype, seed=3)
    tail = (stage("add", view_of(randn(*rows, features, dtype=dtype, seed=4))), RELU)
    want = x.double() @ w.double().t() + bias.double()
    sizes = x.double().abs() @ w.double().abs().t() + bias.double().abs()
    values = chain(want, product_bound(reduction, sizes), tail, (0, 2), dtype)
    outputs = [Output((*rows, features), dtype, "nchw") for _ in range(2)]
    views = [output.view for output in outputs]
    scratch = scratch_for(tile.parts * want.numel())
    options = {"tail": tail, "exports": (0, 2), "tile": tile, "scratch": scratch}
    for launch in linear_in_parts(view_of(x), view_of(w), view_of(bias), views, **options):
        run(launch)
    outputs[0].check(*values[0])
    outputs[1].check(*values[2])
    return outputs[1].tensor


MATVEC = LinearTile(8, 1, 64)
MATRIX = LinearTile(32, 16, 16)


@pytest.mark.parametrize("parts", [2, 3, 7, 16])
@pytest.mark.parametrize(("rows", "tile"), [((1,), MATVEC), ((5,), MATRIX)])
def test_linear(run, rows, tile, parts):
    layer(run, rows, 37, 1100, tile._replace(parts=parts))


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_linear_in_half_precision(run_native, dtype):
    for rows, tile in (((1,), MATVEC), ((2, 3), MATRIX)):
        layer(run_native, rows, 37, 500, tile._replace(parts=3), dtype)


def test_the_result_is_the_same_in_every_run(run_native):
    for rows, tile in (((1,), MATVEC), ((5,), MATRIX)):
        results = [layer(run_native, rows, 37, 1100, tile._replace(parts=7)) for _ in range(2)]
        assert torch.equal(*results)


def test_refuses_too_little_memory():
    x, w = view_of(randn(1, 512)), view_of(randn(4, 512))
    with pytest.raises(ValueError, match=r"scratch \(11,\) of f32, wanted 12"):
        linear_in_parts(
            x,
            w,
            None,
            [view_of(randn(1, 4))],
            scratch=scratch_for(11),
            tile=MATVEC._replace(parts=3),
        )


def test_refuses_sums_that_are_not_channels_last():
    x, w = view_of(randn(*SHAPE)), view_of(randn(20, 432))
    sums = Output((6, 20, 9, 7), layout="nchw").view
    with pytest.raises(ValueError, match="takes no 3 parts of 2 images"):
        test_conv2d.launch_of(x, w, sums, tile=TILE._replace(parts=3), out_size=(9, 7))
    flat = View(sums.buffer, (2, 20, 9, 7), (1260, 1, 140, 20), "f32")
    with pytest.raises(ValueError, match="takes no 3 parts of 2 images"):
        test_conv2d.launch_of(x, w, flat, tile=TILE._replace(parts=3), out_size=(9, 7))


def test_parts_are_listed_where_programs_are_few():
    """Of at least four steps each, and nowhere on a device that needs none."""
    listed = set()
    for dtype in ("f16", "bf16", "f32"):
        for pixels in (49, 196, 784, 50176):
            problem = ConvProblem(dtype, 512, 512, 1, pixels, Pressure.LOW, taps=9)
            for choice in choices(problem, CUDA):
                whole = choice.tile._replace(parts=1)
                listed.add(choice.tile.parts)
                assert problem.steps(whole) >= 4 * choice.tile.parts
                assert choice.tile.parts == 1 or problem.programs(whole) < CUDA.programs
            assert {choice.tile.parts for choice in choices(problem, CPU)} == {1}
    assert listed == {1, 2, 3, 4, 6, 8, 12, 16}
    layer = LinearProblem("f16", 1, 100, 25088)
    assert {choice.tile.parts for choice in choices(layer, CUDA)} == {1, 2, 3, 4, 6}
