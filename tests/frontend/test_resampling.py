"""Functions that resample, against PyTorch's, and their short forms."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphcnn as gx
from graphcnn import errors, ir, ops

RNG = np.random.default_rng(0)
LINE, MAP = RNG.standard_normal((2, 3, 9)), RNG.standard_normal((2, 3, 9, 10))


def value(function, array, *args, **kwargs):
    """What a function of graphcnn makes of an array, in float64."""
    y = function(gx.input("x", array.shape, "float64"), *args, name="y", **kwargs)
    return ir.evaluate(gx.graph("g", y), {"x": array})["y"]


def check(function, torchs, array, *args, **kwargs):
    got = value(function, array, *args, **kwargs)
    wanted = torchs(torch.from_numpy(array), *args, **kwargs).numpy()
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    assert np.nanmin(got) < np.nanmax(got)


@pytest.mark.parametrize("p", [1, 2, 2.5, 4])
@pytest.mark.parametrize(("stride", "ceil"), [(None, False), (2, True), (3, False)])
def test_pools_by_norms(p, stride, ceil):
    line, image = (LINE, MAP) if p in (2, 4) else (np.abs(LINE), np.abs(MAP))
    check(gx.lp_pool1d, F.lp_pool1d, line, p, 3, stride, ceil)
    check(gx.lp_pool2d, F.lp_pool2d, image, p, (3, 2), stride, ceil)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_an_odd_norm_of_negative_sums_is_nan_as_in_torch():
    got, wanted = value(gx.lp_pool1d, LINE, 3, 2), F.lp_pool1d(torch.from_numpy(LINE), 3, 2)
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-12)
    assert np.isnan(got).any()


@pytest.mark.parametrize("p", [0, True, "a", float("inf"), None, 5e-324])
def test_what_is_no_norm(p):
    with pytest.raises(errors.InvalidAttribute) as caught:
        gx.lp_pool1d(gx.input("x", (1, 2, 8)), p, 2)
    assert caught.value.remedy


def test_sizes_of_adaptive_pools():
    for size in (3, (4, 2), (None, 3), (7, None)):
        check(gx.adaptive_avg_pool2d, F.adaptive_avg_pool2d, MAP, size)
        check(gx.adaptive_max_pool2d, F.adaptive_max_pool2d, MAP, size)
    check(gx.adaptive_avg_pool1d, F.adaptive_avg_pool1d, LINE, 4)
    check(gx.adaptive_max_pool1d, F.adaptive_max_pool1d, LINE, (4,))


def test_global_pools():
    for function, array, wanted in (
        (gx.global_avg_pool1d, LINE, LINE.mean(2, keepdims=True)),
        (gx.global_max_pool1d, LINE, LINE.max(2, keepdims=True)),
        (gx.global_max_pool2d, MAP, MAP.max((2, 3), keepdims=True)),
    ):
        np.testing.assert_allclose(value(function, array), wanted)
    with pytest.raises(errors.RankError):
        gx.global_max_pool2d(gx.input("x", LINE.shape))


@pytest.mark.parametrize(
    "how",
    [
        {"size": 7},
        {"size": (20, 5)},
        {"scale_factor": 2},
        {"scale_factor": (0.7, 1.3)},
        {"size": (20, 5), "mode": "bilinear", "align_corners": True},
        {"scale_factor": 1.5, "mode": "bilinear"},
        {"scale_factor": (1.05, 2.55), "mode": "bilinear", "recompute_scale_factor": True},
        {"scale_factor": (1.05, 2.55), "mode": "bilinear", "align_corners": False},
    ],
    ids=str,
)
def test_interpolation_takes_what_torchs_takes(how):
    check(gx.interpolate, F.interpolate, MAP, **how)
    if how.get("mode") is None and isinstance(next(iter(how.values())), int):
        check(gx.interpolate, F.interpolate, LINE, **how)
        check(gx.interpolate, F.interpolate, LINE, mode="linear", **how)


def test_a_size_that_stays():
    """The step of a factor that adds no element is 1 for means, as in PyTorch."""
    for factor in (1.05, 1.1):
        check(gx.interpolate, F.interpolate, LINE, scale_factor=factor, mode="linear")
        check(gx.interpolate, F.interpolate, LINE, scale_factor=factor)


def test_the_nearest_element_is_that_of_float32():
    """82 of 2 elements: in exact arithmetic, place 41 is that of element 1."""
    line = np.arange(2.0).reshape(1, 1, 2)
    got = value(gx.interpolate, line, 82)
    wanted = F.interpolate(torch.from_numpy(line).float(), 82).numpy()
    np.testing.assert_array_equal(got, wanted)
    assert got[0, 0, 41] == 0.0


def test_numpy_numbers_are_sizes_and_factors():
    x = gx.input("x", (1, 2, 4, 4))
    by_size = gx.interpolate(x, np.int64(8))
    assert gx.graph("g", by_size).nodes[0].op == ops.Interpolate((8, 8))
    by_factor = gx.interpolate(x, scale_factor=[np.float32(2), 1])
    assert gx.graph("g", by_factor).nodes[0].op == ops.Interpolate(scale_factor=(2.0, 1))
