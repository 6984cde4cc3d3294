"""Interpolation against torch: of elements exactly, of means in float64."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphcnn as gx
from graphcnn.kernels import Places, interpolate
from graphcnn.ops import Interpolate
from tests.kernels.buffers import F32, Output, randn, view_of

MEANS = [
    {"size": (11, 14), "mode": "bilinear"},
    {"size": (5, 3), "mode": "bilinear", "align_corners": True},
    {"scale_factor": (1.7, 0.45), "mode": "bilinear"},
    {"scale_factor": (1.7, 0.45), "mode": "bilinear", "recompute_scale_factor": True},
]
NEAREST = [
    {"size": (5, 17)},
    {"scale_factor": (2.0, 2.0)},
    {"scale_factor": (0.7, 3.3)},
    {"size": (5, 17), "mode": "nearest-exact"},
    {"scale_factor": (0.7, 3.3), "mode": "nearest-exact"},
]


def places(op, x, y):
    sizes = zip(x.shape[2:], y.shape[2:], strict=True)
    return [Places(*op.step(axis, *pair), op.linear) for axis, pair in enumerate(sizes)]


def launched(run, x, y, case):
    rows, columns = places(Interpolate(**case), x, y.tensor)
    run(interpolate(view_of(x), y.view, rows=rows, columns=columns))


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("case", NEAREST, ids=str)
def test_nearest(run, case, dtype):
    x = randn(2, 5, 7, 10, dtype=dtype, layout="nchw" if "size" in case else "nhwc")
    want = F.interpolate(x.float(), **case).double()
    y = Output(want.shape, dtype)
    launched(run, x, y, case)
    y.check(want, torch.zeros(()))


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("case", MEANS, ids=str)
def test_means(run, case, dtype):
    x = randn(2, 70, 7, 10, dtype=dtype, layout="nchw" if "size" in case else "nhwc")
    want = F.interpolate(x.double(), **case)
    y = Output(want.shape, dtype, "nchw")
    launched(run, x, y, case)
    y.check(want, 100 * F32 * x.double().abs().max())


def test_a_strided_input(run):
    x = randn(2, 12, 6, 8)[:, ::2, 1:, ::3]
    want = F.interpolate(x.double(), (7, 4), mode="bilinear")
    y = Output(want.shape)
    launched(run, x, y, {"size": (7, 4), "mode": "bilinear"})
    y.check(want, 100 * F32 * x.double().abs().max())


def test_every_size_takes_the_elements_that_torch_takes(run_native):
    """Also where rounding the step takes the element before the one of exact arithmetic."""
    inexact = 0
    for size in (1, 2, 3, 7, 12, 25):
        x = torch.arange(float(size)).expand(1, 1, 3, size)
        for outputs in (*range(1, 40), 82, 94, 110, 123):
            y = torch.full((1, 1, 3, outputs), torch.nan)
            case = {"size": (3, outputs)}
            rows, columns = places(Interpolate(**case), x, y)
            run_native(interpolate(view_of(x), view_of(y), rows=rows, columns=columns))
            assert torch.equal(y, F.interpolate(x, **case))
            inexact += not np.array_equal(y[0, 0, 0], np.arange(outputs) * size // outputs)
    assert inexact


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_maps_of_one_dimension_and_infinities_are_as_in_torch(mode):
    numbers = np.array([1, 2, np.inf, 4, 5, -np.inf, np.nan, 8], np.float32).reshape(1, 2, 4)
    x = gx.input("x", numbers.shape)
    outputs = [gx.interpolate(x, size, mode=mode, name=f"to{size}") for size in (3, 4, 9, 12)]
    model = gx.compile(gx.graph("g", outputs), device="cpu")
    for y in model(x=torch.from_numpy(numbers)).values():
        want = F.interpolate(torch.from_numpy(numbers), y.shape[2], mode=mode)
        torch.testing.assert_close(y, want, equal_nan=True)


def test_refuses_other_channels():
    x, y = view_of(randn(1, 2, 3, 4)), view_of(randn(1, 3, 3, 4))
    stays = Places(1.0, 0.0, LINEAR=False)
    with pytest.raises(ValueError, match="cannot fill"):
        interpolate(x, y, rows=stays, columns=stays)
