import pytest
import torch
import torch.nn.functional as F

from graphcnn.kernels import Refused, View, adaptive_pool2d
from tests.kernels.buffers import F32, UNWRITTEN, Output, randn, view_of


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("size", [(3, 5), (1, 1), (11, 4), (13, 2)], ids=str)
@pytest.mark.parametrize("pool_max", [True, False])
def test_adaptive_pool2d(run, pool_max, size, dtype):
    x = randn(2, 70, 11, 12, dtype=dtype, layout="nchw" if size[0] == 3 else "nhwc")
    want = (F.adaptive_max_pool2d if pool_max else F.adaptive_avg_pool2d)(x.double(), size)
    y = Output(want.shape, dtype)
    run(adaptive_pool2d(view_of(x), y.view, pool_max=pool_max))
    y.check(want, torch.zeros(()) if pool_max else 160 * F32 * x.double().abs().max())


def test_nan_wins(run):
    x = randn(1, 2, 5, 5)
    x[0, 1, 2, 2] = float("nan")
    y = torch.full((1, 2, 2, 2), UNWRITTEN)
    run(adaptive_pool2d(view_of(x), view_of(y), pool_max=True))
    torch.testing.assert_close(y, F.adaptive_max_pool2d(x, 2), equal_nan=True)


def test_refuses_what_it_cannot_hold():
    x = view_of(randn(1, 2, 3, 4))
    with pytest.raises(ValueError, match="cannot fill"):
        adaptive_pool2d(x, view_of(randn(1, 3, 2, 2)), pool_max=True)
    long = View(x.buffer, (1, 1, 1, 100_000), (0, 0, 0, 1), "f32")
    short = View(x.buffer, (1, 1, 1, 50_000), (0, 0, 0, 1), "f32")
    with pytest.raises(Refused, match="100000 \\* 50000"):
        adaptive_pool2d(long, short, pool_max=True)
