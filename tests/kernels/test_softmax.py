import pytest
import torch

from graphcnn.kernels import softmax
from tests.kernels.buffers import F32, UNWRITTEN, Output, randn, view_of


def check(run, x, axis, log, dtype="f32"):
    function = torch.log_softmax if log else torch.softmax
    want = function(x.double(), axis)
    y = Output(want.shape, dtype)
    run(softmax(view_of(x), y.view, axis=axis, log=log))
    largest = x.double().abs().max()
    length = x.shape[axis]
    # exp turns the rounding of a difference of two elements into a relative error.
    relative = (length + 8 + 2 * largest) * F32
    y.check(want, relative * (1 + largest) if log else relative * want)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_every_axis(run, axis, log):
    check(run, randn(3, 5, 4, 6, layout="nchw"), axis, log)


def test_rows_longer_than_a_block(run):
    check(run, randn(2, 2500) * 20, 1, False)


def test_large_values_do_not_overflow(run):
    check(run, randn(2, 10) * 10 + 1000, 1, True)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_precision(run, dtype, log):
    check(run, randn(4, 101, dtype=dtype), -1, log, dtype)


@pytest.mark.parametrize("log", [False, True])
def test_rows_that_are_not_finite_are_as_in_torch(run, log):
    inf, nan = float("inf"), float("nan")
    rows = [[inf, 0, 1], [-inf, -inf, -inf], [-inf, 0, 1], [inf, inf, 0], [nan, 0, 1], [0, -inf, 2]]
    x = torch.tensor(rows)
    want = (torch.log_softmax if log else torch.softmax)(x.double(), 1)
    y = torch.full_like(x, UNWRITTEN)
    run(softmax(view_of(x), view_of(y), axis=1, log=log))
    assert torch.equal(y.isnan(), want.isnan())
    finite = want.isfinite()
    assert torch.equal(y[~finite].nan_to_num(7.0), want[~finite].float().nan_to_num(7.0))
    assert ((y - want).abs()[finite] <= 8 * F32 * (1 + want.abs()[finite])).all()


def test_refuses_an_axis_that_is_not_there():
    x = view_of(randn(2, 3))
    with pytest.raises(ValueError, match="axis 2"):
        softmax(x, x, axis=2)
