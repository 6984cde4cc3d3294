"""What PyTorch has in more forms than graphcnn: how each comes in, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import graphcnn as gx
from graphcnn.errors import BatchError, IndexOutOfRange, UnsupportedModule, UnsupportedOp
from graphcnn.ir import evaluate
from graphcnn.ir.rebatch import rebatch

pytestmark = pytest.mark.pure

GRID = torch.tensor([[0, 1], [2, 2]])
MASK = torch.tensor([True, False, True])
VOLUMES, MAPS = (2, 3, 4, 5, 6), (2, 3, 4, 5)


class Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class CalledOnTwo(Called):
    def forward(self, x, other):
        return self.function(x, other)


def resized(**how):
    return lambda x: F.interpolate(x, **how)


def norm(x, eps):
    weight, bias = torch.tensor([0.5, 1, 2]), torch.tensor([1.0, 2, 3])
    return F.group_norm(x, 3, weight, bias, eps) + F.layer_norm(x, x.shape[2:], eps=eps)


# By name: a function, and the shape of what it takes.
FORMS = {
    "trilinear": (resized(scale_factor=1.5, mode="trilinear"), VOLUMES),
    "trilinear, aligned": (
        resized(size=(3, 7, 2), mode="trilinear", align_corners=True),
        VOLUMES,
    ),
    "nearest volume": (resized(size=(7, 3, 4)), VOLUMES),
    "nearest-exact": (resized(size=(7, 3), mode="nearest-exact"), MAPS),
    "nearest-exact volume": (resized(scale_factor=(1.3, 2, 0.7), mode="nearest-exact"), VOLUMES),
    "bicubic": (resized(scale_factor=1.7, mode="bicubic"), MAPS),
    "bicubic, aligned": (resized(size=(3, 9), mode="bicubic", align_corners=True), MAPS),
    "antialiased": (resized(size=(3, 3), mode="bilinear", antialias=True), MAPS),
    "area of a volume": (resized(size=(3, 2, 4), mode="area"), VOLUMES),
    "places in dimensions apart": (lambda x: x[:, [0, 1, 2], :, [4, 0, 0]], MAPS),
    "places in dimensions together": (lambda x: x[:, [0, 2], [1, -1]], MAPS),
    "a grid of places": (lambda x: x[:, :, GRID], MAPS),
    "places of samples": (lambda x: x[[0, 1, 1], 2], MAPS),
    "a mask": (lambda x: x[:, MASK], MAPS),
    "a mask of two dimensions": (lambda x: x[:, GRID.new_ones(3, 4).tril() > 0], MAPS),
    "pad of volumes": (lambda x: F.pad(x, (1, 1, 0, 2, 1, 0), mode="replicate"), VOLUMES),
    "pad of all dimensions": (lambda x: F.pad(x, (1, 1, 0, 2, 1, 0, 2, 1), value=3.0), MAPS),
    "cropped to copies": (lambda x: F.pad(x, (-7, 4, 3, -6), mode="replicate"), MAPS),
    "cropped at the end": (lambda x: F.pad(x, (4, -7, -6, 3), mode="replicate"), MAPS),
    "half a correction": (lambda x: x.std(dim=1, correction=0.5), MAPS),
    "a negative correction": (lambda x: x.var(correction=-1), MAPS),
    "no eps": (lambda x: norm(x, 0.0), MAPS),
    "a negative eps": (lambda x: norm(x, -0.01), MAPS),
    "floored quotient": (lambda x: torch.div(x, 0.3, rounding_mode="floor"), MAPS),
    "truncated quotient": (lambda x: torch.div(x, x[:1, :1], rounding_mode="trunc"), MAPS),
    "whole numbers": (lambda x: (3 * x).floor() + 2 * (3 * x).ceil() + (3 * x).round(), MAPS),
    "powers": (lambda x: x.abs() ** x + 2**x, MAPS),
    "every second row": (lambda x: torch.slice_scatter(x, 3 * x[..., :2], 3, 1, 5, 2), MAPS),
    "lerp by a tensor": (lambda x: torch.lerp(x, 2 * x, x.sigmoid()), MAPS),
    "largest of a number": (lambda x: x.mean().max(0)[0] * x, MAPS),
    "softmax of a number": (lambda x: x.mean().softmax(0) * x, MAPS),
}
# Those that read samples by number, or all of them, or give the batch another place.
FIXED = {
    "places in dimensions apart",
    *("places of samples", "pad of all dimensions", "truncated quotient"),
    *("a negative correction", "largest of a number", "softmax of a number"),
}


def result(graph, *tensors):
    given = {v.name: x.numpy() for v, x in zip(graph.inputs, tensors, strict=True)}
    return evaluate(graph, given)[graph.outputs[0]]


def check(graph, function, *tensors):
    wanted = function(*tensors).numpy()
    assert wanted.std() > 0 or wanted.size == 1
    tolerance = 1e-5 * np.abs(np.nan_to_num(wanted)).max()
    np.testing.assert_allclose(result(graph, *tensors), wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_computes_what_torch_does(name):
    function, shape = FORMS[name]
    torch.manual_seed(0)
    x = torch.randn(shape)
    graph = gx.from_torch(Called(function), x)
    check(graph, function, x)
    if name not in FIXED:
        more = torch.randn(5, *shape[1:])
        check(rebatch(graph, 5), function, more)


# What reads samples by number, and may be larger than some batches.
SAMPLED = {
    "the first three": (lambda x: x[:3]),
    "all but the first": (lambda x: x[1:]),
    "all but the last": (lambda x: x[:-1]),
    "the last two": (lambda x: x[-2:]),
    "the last by a list": (lambda x: x[[-1]]),
    "the first two by a list": (lambda x: x[[0, 1]]),
    "the last": (lambda x: x[-1]),
    "the second half": (lambda x: x[x.shape[0] // 2 :]),
    "up to the batch": (lambda x: x[: x.shape[0]]),
    "narrowed": (lambda x: x.narrow(0, 0, 2)),
    "narrowed from behind": (lambda x: x.narrow(0, -2, 1)),
    "all of a narrowing": (lambda x: x.narrow(0, 0, x.shape[0])),
    "flipped": (lambda x: x.flip(0)),
    "cropped": (lambda x: F.pad(x, (0, 0, 0, 0, -1, 0))),
    "cropped behind": (lambda x: F.pad(x, (0, 0, 0, 0, 0, -1))),
    "padded": (lambda x: F.pad(x, (0, 0, 0, 0, 1, 2))),
    "written": (lambda x: torch.slice_scatter(x, 3 * x[:1], 0, 1, 2)),
    "repeated": (lambda x: x.repeat(2, 1, 1)),
}


FREE = {
    *("all but the first", "all but the last", "all of a narrowing"),
    "up to the batch",
    *("cropped", "repeated"),
}


@pytest.mark.parametrize("batch", [2, 4])
@pytest.mark.parametrize("name", SAMPLED)
def test_another_batch_is_right_or_refused(name, batch):
    function = SAMPLED[name]
    graph = gx.from_torch(Called(function), torch.randn(batch, 3, 4))
    check(graph, function, torch.randn(batch, 3, 4))
    try:
        wider = rebatch(graph, 5)
    except BatchError:
        assert name not in FREE
    else:
        check(wider, function, torch.randn(5, 3, 4))


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_places_that_are_computed(dim):
    def function(x, index):
        return x.index_select(dim, index) * 2

    x, index = torch.randn(3, 4, 5), torch.tensor([1, 0, 2, 2])
    graph = gx.from_torch(CalledOnTwo(function), x, index)
    check(graph, function, x, index)
    model = gx.compile(graph, target="numpy")
    with pytest.raises(IndexOutOfRange, match="7"):
        model(**{v.name: v_ for v, v_ in zip(graph.inputs, (x, index + 5), strict=True)})


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: x[x > 0].sum(), "aten"),
        (lambda x: x[:0].sum() + x.sum(), "an empty slice"),
        (lambda x: torch.linalg.matrix_norm(x[0], "nuc"), "linalg.vector_norm"),
        (lambda x: x.var(correction=1000.5), "a smaller correction"),
        (lambda x: (x.nonzero() * 2).float(), "nonzero"),
    ],
)
def test_what_is_lacking_is_said(function, says):
    with pytest.raises((UnsupportedOp, UnsupportedModule), match=says):
        gx.from_torch(Called(function), torch.randn(2, 3, 4))


def test_a_module_that_fails_on_its_example():
    def function(x, index):
        return x.gather(1, index)

    x = torch.randn(2, 3)
    for module, example in (
        (CalledOnTwo(function), (x, torch.full((2, 2), 7))),
        (CalledOnTwo(lambda x, y: x @ y), (x, x)),
    ):
        with pytest.raises(UnsupportedModule, match="torch fails when it calls") as caught:
            gx.from_torch(module, *example)
        assert isinstance(caught.value.__cause__, RuntimeError)
    program = torch.export.export(CalledOnTwo(function), (x, torch.zeros(2, 2, dtype=torch.int64)))
    with pytest.raises(UnsupportedModule, match="torch fails when it calls"):
        gx.from_torch(program, x, torch.full((2, 2), 7))
