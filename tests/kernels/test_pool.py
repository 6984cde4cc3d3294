import pytest
import torch
import torch.nn.functional as F

from graphcnn.kernels import avg_pool2d, global_avg_pool2d, max_pool2d
from tests.kernels.buffers import F32, Output, randn, view_of

MAX_CASES = [
    {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)},
    {"kernel_size": (3, 2), "stride": (2, 3), "padding": (0, 1), "ceil_mode": True},
    {"kernel_size": (2, 2), "stride": (1, 1), "dilation": (3, 2)},
]
AVG_CASES = [
    {"kernel_size": (2, 2), "stride": (2, 2)},
    {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1), "ceil_mode": True},
    {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0), "count_include_pad": False},
]


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("case", MAX_CASES, ids=str)
def test_max_pool2d(run, case, dtype):
    x = randn(2, 5, 11, 12, dtype=dtype, layout="nchw" if "dilation" in case else "nhwc")
    want = F.max_pool2d(x.double(), **case)
    y = Output(want.shape, dtype)
    options = {k: case[k] for k in ("stride", "padding", "dilation") if k in case}
    run(max_pool2d(view_of(x), y.view, kernel=case["kernel_size"], **options))
    y.check(want, torch.zeros(()))


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("case", AVG_CASES, ids=str)
def test_avg_pool2d(run, case, dtype):
    x = randn(2, 70, 10, 11, dtype=dtype)
    want = F.avg_pool2d(x.double(), **case)
    y = Output(want.shape, dtype, "nchw")
    options = {k: case[k] for k in ("stride", "padding", "count_include_pad") if k in case}
    run(avg_pool2d(view_of(x), y.view, kernel=case["kernel_size"], **options))
    y.check(want, 12 * F32 * x.double().abs().max())


def test_avg_pool2d_pads_each_side_on_its_own(run):
    x = randn(1, 3, 5, 6)
    want = F.avg_pool2d(F.pad(x.double(), (1, 0, 0, 1)), 2, 1)
    y = Output(want.shape)
    run(avg_pool2d(view_of(x), y.view, kernel=(2, 2), stride=(1, 1), padding=(0, 1, 1, 0)))
    y.check(want, 8 * F32 * x.double().abs().max())


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_global_avg_pool2d(run, dtype, layout):
    x = randn(2, 70, 7, 9, dtype=dtype, layout=layout)
    y = Output((2, 70, 1, 1), dtype)
    run(global_avg_pool2d(view_of(x), y.view))
    want = x.double().mean((2, 3), keepdim=True)
    y.check(want, 66 * F32 * x.double().abs().mean((2, 3), keepdim=True))


def equal_pixels(height, width, layout="nhwc"):
    """Maps of one number each: every addition of a chain rounds the same way."""
    numbers = torch.tensor([0.1, 0.3, 0.7])[None, :, None, None]
    x = randn(1, 3, height, width, layout=layout)
    return x.copy_(numbers.expand_as(x)), numbers.double()


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_the_mean_of_a_large_map_is_no_chain(run_native, layout):
    x, want = equal_pixels(600, 701, layout)
    y = Output((1, 3, 1, 1))
    run_native(global_avg_pool2d(view_of(x), y.view))
    y.check(want, F32 * want)


def test_the_mean_of_a_large_window_is_two_short_chains(run_native):
    x, want = equal_pixels(64, 65)
    y = Output((1, 3, 2, 2))
    run_native(avg_pool2d(view_of(x), y.view, kernel=(63, 64), stride=(1, 1)))
    y.check(want.expand(1, 3, 2, 2), 2 * 64 * F32 * want)


def test_refuses_a_window_of_padding_only():
    x, y = view_of(randn(1, 4, 4, 4)), view_of(randn(1, 4, 4, 4))
    with pytest.raises(ValueError, match="wholly outside"):
        max_pool2d(x, y, kernel=(2, 2), stride=(2, 2))
