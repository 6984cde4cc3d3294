"""Local response normalisation against torch in float64."""

import pytest
import torch
from torch.nn import functional as F

from graphcnn.kernels import local_response_norm
from tests.kernels.buffers import F32, UNWRITTEN, Output, randn, view_of

PAPER = {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}
STEEP = {"size": 4, "alpha": 3.0, "beta": 2.5, "k": 0.1}


def check(run, x, how, dtype="f32", layout="nhwc"):
    want = F.local_response_norm(x.double(), how["size"], how["alpha"], how["beta"], how["k"])
    y = Output(want.shape, dtype, layout)
    run(local_response_norm(view_of(x), y.view, **how))
    y.check(want, 16 * (1 + how["beta"]) * F32 * want.abs())


@pytest.mark.parametrize("how", [PAPER, STEEP], ids=["paper", "steep"])
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("channels", [3, 70])
def test_layouts_and_blocks_of_channels(run, how, layout, channels):
    check(run, 2 * randn(2, channels, 5, 7, layout=layout), how, layout=layout)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_precision(run, dtype):
    """Squares of 300 are beyond float16."""
    check(run, 300 * randn(1, 6, 3, 4, dtype=dtype), PAPER, dtype)


def test_a_window_wider_than_all_channels(run):
    check(run, randn(1, 4, 3, 3), PAPER | {"size": 4000, "alpha": 4000.0})


def test_a_strided_input(run):
    check(run, randn(2, 12, 6, 8)[:, ::2, 1:, ::3], PAPER)


@pytest.mark.parametrize("beta", [0.0, 0.75])
def test_nan_and_infinities_are_as_in_torch(run, beta):
    x = randn(1, 9, 2, 2)
    x[0, 1, 0, 0], x[0, 5, 0, 1], x[0, 8, 1, 1] = float("nan"), float("inf"), -float("inf")
    want = F.local_response_norm(x.double(), 3, 0.5, beta).float()
    y = torch.full_like(x, UNWRITTEN)
    run(local_response_norm(view_of(x), view_of(y), size=3, alpha=0.5, beta=beta, k=1.0))
    torch.testing.assert_close(y, want, equal_nan=True)


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match="cannot fill"):
        local_response_norm(view_of(randn(1, 2, 3, 4)), view_of(randn(1, 2, 3, 5)), **PAPER)
