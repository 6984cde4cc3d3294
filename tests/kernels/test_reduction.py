"""Reductions over whole dimensions against torch in float64."""

import pytest
import torch

from graphcnn.kernels import Refused, View, reduction
from tests.kernels.buffers import F32, UNWRITTEN, Output, randn, view_of

KINDS = ("sum", "mean", "amax", "amin")


def check(run, x, kind, axes, dtype="f32", layout="nhwc"):
    want = getattr(torch, kind)(x.double(), axes, keepdim=True)
    y = Output(want.shape, dtype, layout)
    run(reduction(view_of(x), y.view, kind=kind, axes=axes))
    sizes = x.double().abs().sum(axes, keepdim=True)
    count = x.numel() // want.numel()
    bound = (count + 2) * F32 * sizes / (count if kind == "mean" else 1)
    y.check(want, bound if kind in ("sum", "mean") else torch.zeros(()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("axes", [(2, 3), (1,), (3,), (1, 2, 3), (0, 2)], ids=str)
def test_axes(run, axes, layout, kind):
    check(run, randn(3, 70, 7, 9, layout=layout), kind, axes, layout=layout)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_precision(run, dtype, kind):
    check(run, randn(2, 70, 7, 9, dtype=dtype), kind, (2, 3), dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_longer_than_a_block(run, kind):
    check(run, randn(2, 5000), kind, (1,))


def test_a_strided_input(run):
    check(run, randn(2, 12, 6, 8)[:, ::2, 1:, ::3], "mean", (2, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_nan_and_infinities_are_as_in_torch(run, kind):
    inf, nan = float("inf"), float("nan")
    x = torch.tensor([[inf, 0, 1], [-inf, -inf, 2], [inf, -inf, 0], [nan, inf, 1]])
    y = torch.full((4, 1), UNWRITTEN)
    run(reduction(view_of(x), view_of(y), kind=kind, axes=(1,)))
    torch.testing.assert_close(y, getattr(torch, kind)(x, 1, keepdim=True), equal_nan=True)


def test_a_sum_is_no_chain(run_native):
    """One number a million times: the additions of a chain round all one way."""
    x = torch.full((1, 1_000_000), 0.1)
    y = torch.full((1, 1), torch.nan)
    run_native(reduction(view_of(x), view_of(y), kind="mean", axes=(1,)))
    assert abs(y.double() - x[0, 0].double()) <= 500 * F32 * 0.1


def test_refuses_what_it_cannot_do():
    x = view_of(randn(2, 3))
    with pytest.raises(ValueError, match="cannot fill"):
        reduction(x, x, kind="sum", axes=(1,))
    with pytest.raises(ValueError, match="no reduction 'prod'"):
        reduction(x, view_of(randn(2, 1)), kind="prod", axes=(1,))
    apart = View(x.buffer, (2, 2, 2, 2, 2), (1000, 400, 100, 30, 7), "f32")
    one = View(x.buffer, (1, 1, 1, 1, 2), (0, 0, 0, 0, 1), "f32")
    with pytest.raises(Refused, match="at most three dimensions"):
        reduction(apart, one, kind="sum", axes=(0, 1, 2, 3))
