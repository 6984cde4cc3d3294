import pytest
import torch

from graphcnn.kernels import softmax
from tests.kernels.buffers import F32, Output, randn, view_of


def check(run, x, axis, log, dtype="f32"):
    function = torch.log_softmax if log else torch.softmax
    want = function(x.double(), axis)
    y = Output(want.shape, dtype)
    run(softmax(view_of(x), y.view, axis=axis, log=log))
    largest = x.double().abs().max()
    length = x.shape[axis]
    relative = (length + 8 + 4 * largest) * F32  # exp turns absolute into relative error
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


def test_refuses_an_axis_that_is_not_there():
    x = view_of(randn(2, 3))
    with pytest.raises(ValueError, match="axis 2"):
        softmax(x, x, axis=2)
