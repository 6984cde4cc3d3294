import pytest
import torch
import torch.nn.functional as F

from graphcnn.kernels import Refused, View, copy, pad, roll
from tests.kernels.buffers import Output, randn, view_of

EXACT = torch.zeros(())
LAYOUTS = [("nhwc", "nhwc"), ("nchw", "nhwc"), ("nhwc", "nchw"), ("nchw", "nchw")]


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_copy_converts(run, dtype):
    x = randn(2, 5, 7, 6, layout="nchw")
    y = Output(x.shape, dtype)
    run(copy(view_of(x), y.view))
    assert torch.equal(y.tensor, x.to(y.tensor.dtype))


def test_copies_into_windows_concatenate(run):
    parts = [randn(2, c, 3, 4, seed=c) for c in (5, 2)]
    y = Output((2, 7, 3, 4))
    run(copy(view_of(parts[0]), view_of(y.tensor[:, :5])))
    run(copy(view_of(parts[1]), view_of(y.tensor[:, 5:])))
    y.check(torch.cat(parts, 1).double(), EXACT)


def test_integers_are_copied_exactly(run):
    x = torch.tensor([2**53 + 1, -7], dtype=torch.int64)
    y = torch.full_like(x, 777)
    run(copy(View(x, (2,), (1,), "i64"), View(y, (2,), (1,), "i64")))
    assert torch.equal(x, y)


STRIDED = {
    "every third": lambda x: x[:, 1::2, :, 1::3],
    "another order": lambda x: x.permute(3, 1, 0, 2),
    "repeated": lambda x: x[:, :1].expand(-1, 5, -1, -1),
    "one row": lambda x: x[1],
    "six dimensions": lambda x: x.reshape(2, 2, 3, 5, 2, 3).permute(4, 1, 3, 5, 0, 2),
}


@pytest.mark.parametrize("make", STRIDED.values(), ids=STRIDED)
def test_copy_reads_any_strides(run, make):
    x = make(randn(2, 6, 5, 6, layout="nchw"))
    y = Output(x.shape)
    run(copy(view_of(x), y.view))
    assert torch.equal(y.tensor, x)


def test_refuses_more_than_six_dimensions():
    x = view_of(torch.randn(2, 3, 2, 3, 2, 3, 2).permute(6, 5, 4, 3, 2, 1, 0))
    with pytest.raises(Refused, match="at most six dimensions"):
        copy(x, view_of(torch.randn(x.shape)))


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("layouts", LAYOUTS, ids="-".join)
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad_is_torchs(run, mode, layouts, dtype):
    x = randn(2, 3, 4, 5, dtype=dtype, layout=layouts[0])
    y = Output((2, 3, 4 + 1 + 3, 5 + 4 + 2), dtype, layouts[1])
    value = 1 / 3 if mode == "constant" else 0.0
    run(pad(view_of(x), y.view, begins=(0, 0, 1, 4), mode=mode, value=value))
    options = {"value": value} if mode == "constant" else {}
    y.check(F.pad(x.float(), (4, 2, 1, 3), mode, **options).to(x.dtype).double(), EXACT)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad_of_one_side_of_a_line(run, mode):
    x = randn(3, 2, 70)
    y = Output((3, 2, 76))
    run(pad(view_of(x), y.view, begins=(0, 0, 6), mode=mode))
    y.check(F.pad(x, (6, 0), mode).double(), EXACT)


def test_pad_of_every_dimension_of_one_element(run):
    x = randn(1, 1, 1, 1)
    y = Output((3, 1, 2, 2))
    run(pad(view_of(x), y.view, begins=(1, 0, 0, 1), value=2.0))
    y.check(F.pad(x, (1, 0, 0, 1, 0, 0, 1, 1), value=2.0).double(), EXACT)


@pytest.mark.parametrize(
    ("mode", "begins", "size"), [("reflect", 4, 8), ("circular", 0, 9), ("constant", 3, 6)]
)
def test_pad_by_more_than_there_is(mode, begins, size):
    with pytest.raises(ValueError, match="cannot fill"):
        pad(view_of(randn(2, 4)), view_of(randn(2, size)), begins=(0, begins), mode=mode)


@pytest.mark.parametrize("layouts", LAYOUTS, ids="-".join)
@pytest.mark.parametrize(
    "shifts", [{0: 1}, {1: -2, 3: 7}, {2: 3}, {0: 3, 1: 3, 2: 1, 3: -1}], ids=str
)
def test_roll_is_torchs(run, shifts, layouts):
    x = randn(3, 5, 4, 6, layout=layouts[0])
    y = Output(x.shape, "f32", layouts[1])
    run(roll(view_of(x), y.view, shifts=shifts))
    y.check(torch.roll(x, tuple(shifts.values()), tuple(shifts)).double(), EXACT)


def test_roll_of_another_shape():
    with pytest.raises(ValueError, match="cannot fill"):
        roll(view_of(randn(2, 3)), view_of(randn(3, 2)), shifts={0: 1})
