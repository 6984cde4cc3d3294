"""Group, instance and layer norm against torch in float64."""

import pytest
import torch
from torch.nn import functional as F

from graphcnn.kernels import standardize
from tests.kernels.buffers import F32, UNWRITTEN, Output, randn, view_of

CASES = {
    "instance": (lambda x, w, b, eps: F.instance_norm(x, None, None, w, b, eps=eps), (2, 3)),
    "layer": (lambda x, w, b, eps: F.layer_norm(x, x.shape[1:], w, b, eps), (1, 2, 3)),
    "last": (lambda x, w, b, eps: F.layer_norm(x, x.shape[3:], w, b, eps), (3,)),
}


def affine_shape(x, axes):
    return (1, x.shape[1], 1, 1) if 1 not in axes and len(axes) == 2 else x.shape[axes[0] :]


def check(run, x, case, *, affine=2, dtype="f32", layout="nhwc", eps=1e-3):
    function, axes = CASES[case]
    shape = affine_shape(x, axes)
    vectors = [randn(*shape, dtype=dtype, layout="nchw", seed=s) for s in range(affine)]
    given = [v.double().flatten() if case == "instance" else v.double() for v in vectors]
    want = function(x.double(), *given, *(None,) * (2 - affine), eps)
    y = Output(want.shape, dtype, layout)
    views = [view_of(v[(None,) * (4 - v.dim())]) for v in vectors]
    run(standardize(view_of(x), y.view, *views, axes=axes, eps=eps))
    # Means and variances of `count` elements, of which none is far from its row's mean.
    count = x[0].numel()
    y.check(want, 4 * (count + 16) * F32 * (1 + want.abs()))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("channels", [3, 70])
def test_layouts_and_blocks(run, channels, layout, case):
    check(run, 2 * randn(2, channels, 7, 9, layout=layout) + 0.5, case, layout=layout)


@pytest.mark.parametrize("affine", [0, 1])
def test_without_weight_or_bias(run, affine):
    for case in CASES:
        check(run, randn(2, 5, 6, 8), case, affine=affine)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_precision(run, dtype):
    """Squares of 300 are beyond float16."""
    check(run, 300 * randn(1, 6, 5, 4, dtype=dtype), "instance", dtype=dtype)


def test_a_mean_far_from_zero_costs_no_digits_of_the_variance(run_native):
    """The mean of squares less the square of the mean would be off by more than the variance."""
    x = 4000 + randn(2, 3, 60, 70)
    want = F.instance_norm(x.double(), eps=1e-5)
    y = Output(want.shape)
    run_native(standardize(view_of(x), y.view, axes=(2, 3), eps=1e-5))
    y.check(want, 4000 * 16 * F32 * (1 + want.abs()))


def test_rows_longer_than_a_block(run):
    check(run, randn(1, 3, 50, 70, layout="nchw"), "layer", layout="nchw")


def test_a_strided_input(run):
    check(run, randn(2, 12, 6, 8)[:, ::2, 1:, ::3], "instance")


def test_rows_of_equal_elements_are_the_bias(run):
    x, y = torch.full((1, 2, 3, 3), 7.0), torch.full((1, 2, 3, 3), torch.nan)
    one, bias = torch.ones(1, 2, 1, 1), torch.tensor([1.5, -2.0]).reshape(1, 2, 1, 1)
    views = [view_of(v) for v in (x, y, one, bias)]
    run(standardize(*views, axes=(2, 3), eps=1e-5))
    assert torch.equal(y, bias.expand_as(y))


def test_nan_and_infinities_spread_over_their_row(run):
    x = randn(1, 3, 4, 4)
    x[0, 0, 0, 0], x[0, 1, 0, 1] = float("nan"), float("inf")
    y = torch.full_like(x, UNWRITTEN)
    run(standardize(view_of(x), view_of(y), axes=(2, 3), eps=1e-5))
    torch.testing.assert_close(y, F.instance_norm(x), equal_nan=True)


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match="cannot fill"):
        standardize(view_of(randn(2, 3)), view_of(randn(3, 2)), axes=(1,), eps=1e-5)
