"""Slices and other strided views lie in their operand's memory, where what reads them lets them."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import DType, rebatch
from graphcnn.report import explain
from tests import strategies
from tests.stepwise import check_model

RNG = np.random.default_rng(0)


def image(*shape, dtype="float32"):
    return gx.input("image", shape or (2, 6, 8, 9), dtype)


def weight(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def conv(x, filters=4, kernel=3, **options):
    return gx.conv2d(x, weight(filters, x.shape[1], kernel, kernel), **options)


def crop_and_split(x):
    """What U-Net's crop, a gate's halves and a channel shuffle do between two convolutions."""
    h = gx.relu(conv(x, 8, padding=1))
    left, right = h[:, :, 1:-1, 2:-1].chunk(2, 1)
    return conv(gx.tanh(left) * gx.sigmoid(right))


NETWORKS = {
    "crop and split": crop_and_split,
    "a slice into each kind of kernel": lambda x: gx.concat(
        [
            gx.max_pool2d(conv(x)[:, 1:, ::2, 1:], 2)[:, :, :1, :2],
            gx.softmax(gx.avg_pool2d(conv(x), 2)[:, ::2, :, :], 1)[:, :, :1, :2],
        ],
        1,
    ),
    "depthwise": lambda x: gx.conv2d(
        conv(x, 8)[:, ::2], weight(4, 1, 3, 3), groups=4, padding=1
    ).relu(),
    "transposed convolution": lambda x: gx.conv_transpose2d(
        conv(x)[:, 1:3, :, 1:], weight(2, 3, 2, 2), stride=2
    ).relu(),
    "channels last into a linear layer": lambda x: gx.linear(
        conv(x).permute(0, 2, 3, 1), weight(5, 4)
    ).relu(),
    "rows into a linear layer": lambda x: gx.linear(x.transpose(1, 3), weight(5, 6)).relu(),
    "a sequence": lambda x: (
        gx.conv1d(x[:, :, 3].pad((2, 0)), weight(4, 6, 3))[..., -1].linear(weight(3, 4)).relu()
    ),
    "squeeze and expand": lambda x: (
        conv(x)
        * conv(x).mean((2, 3), True).squeeze().unsqueeze(-1).unsqueeze(-1).expand(-1, -1, 6, 7)
    ),
    "flatten of a slice": lambda x: gx.linear(
        conv(x)[:, 1:3].flatten(1), weight(3, 2 * 6 * 7)
    ).relu(),
    "reshape of a permutation": lambda x: (
        conv(x, 6).reshape(-1, 2, 3, 6, 7).permute(0, 2, 1, 3, 4).reshape(-1, 6, 6, 7).relu()
    ),
    "a value and its transposition": lambda x: (
        gx.relu(x[:, :, :, :8]).transpose(2, 3) + gx.relu(x[:, :, :, :8])
    ).relu(),
    "stack": lambda x: gx.stack([gx.relu(x), gx.tanh(x)], 2).sum(2).relu(),
    "super-resolution": lambda x: conv(x, 8, padding=1).pixel_shuffle(2).pixel_unshuffle(2).relu(),
    "paddings": lambda x: (
        gx.pad(gx.pad(gx.pad(conv(x), 2, "reflect"), (0, 1), "circular"), (3, 0, 1, 2), "replicate")
        .relu()
        .roll((1, -2), (2, 3))
    ),
    "a param": lambda x: x * gx.param("p", (1, 8, 6), "float32").permute(2, 1, 0)[:, 1:2],
}


@pytest.mark.parametrize("sanitize", ["", "1"], ids=["native", "sanitized"])
@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, fuse, sanitize, monkeypatch):
    if sanitize:
        monkeypatch.setenv("GRAPHCNN_SANITIZE", sanitize)
    graph = gx.graph("g", NETWORKS[name](image()))
    if name == "a param":
        params = (
            p if p.data is not None else p.__class__(p.name, p.type, weight(*p.type.shape))
            for p in graph.params
        )
        graph = graph.replace(params=tuple(params))
    model = gx.compile(graph, device="cpu", fuse=fuse)
    check_model(model, strategies.inputs(graph))
    assert gx.verify(model).ok
    wide = strategies.inputs(rebatch(graph, 3))
    assert gx.verify(model, **wide).ok


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    h = gx.pad(image(dtype=dtype), (1, 2, 0, 3), "reflect")[:, 1:5, ::2].roll(1, 3)
    graph = gx.graph("g", gx.permute(gx.pixel_shuffle(h.tanh(), 2), (0, 3, 1, 2)))
    model = gx.compile(graph, device="cpu")
    assert not any("library" in step.label for step in model.plan.steps)
    check_model(model, strategies.inputs(graph))


def labels(tensor, **options):
    return [
        step.label for step in gx.compile(gx.graph("g", tensor), device="cpu", **options).plan.steps
    ]


def test_views_between_kernels_take_no_step():
    assert labels(crop_and_split(image())) == ["conv2d+relu", "tanh", "sigmoid", "mul", "conv2d"]
    h = conv(image())[:, 1:].unsqueeze(1).squeeze(1).permute(0, 1, 3, 2)
    assert labels(gx.relu(h)) == ["conv2d", "relu"]


def test_what_must_be_row_major_is_copied_once():
    h = gx.relu(image())
    assert labels(h[:, 1:]) == ["relu", "copy"]
    assert labels(h.unsqueeze(1)) == ["relu"]
    assert labels(h[:, 1:].flatten(1).exp()) == ["relu", "copy", "exp"]
    assert labels(gx.linear(image().permute(0, 2, 3, 1), weight(3, 6))) == ["copy", "linear"]
    channels_last = gx.max_pool2d(h, 2).permute(0, 2, 3, 1)
    assert labels(gx.linear(channels_last, weight(3, 6))) == ["relu", "max_pool2d", "linear"]


def test_explain_tells_whose_memory_a_view_is():
    model = gx.compile(gx.graph("g", gx.relu(image()[:, 1:])), device="cpu")
    (gone,) = explain(model).vanished
    assert (gone.name, gone.op) == ("slice", "slice")
    assert gone.because == "another name for the memory of 'image'"


def test_an_expanded_value_takes_no_memory():
    h = gx.relu(image(2, 1, 8, 9), name="relu")
    model = gx.compile(gx.graph("g", h.expand(-1, 64, -1, -1).sum(1)), device="cpu")
    (slot,) = (slot for slot in model.plan.slots if slot.name == "relu")
    assert slot.nbytes == 2 * 8 * 9 * 4


def test_a_value_that_is_read_in_another_order_is_not_overwritten():
    """In place, elements would be gone before they are read for the transposed operand."""
    h = gx.relu(image(1, 4, 64, 64), name="relu")
    graph = gx.graph("g", gx.exp(gx.add(h, h.transpose(2, 3), name="sum")))
    model = gx.compile(graph, device="cpu", fuse=False)
    step = next(step for step in model.plan.steps if step.node == "sum")
    assert step.reads == ("relu", "relu")
    check_model(model, strategies.inputs(graph))


def test_an_identity_goes_where_it_is_one_for_any_batch_size():
    x = image()
    for same in (
        gx.slice(x, 1, 0, 6),
        gx.slice(x, 0),
        x.permute(0, 1, 2, 3),
        x.expand(-1, 6, 8, 9),
        x.roll(0, 1),
        x.pixel_shuffle(1),
    ):
        model = gx.compile(gx.graph("g", gx.relu(same)), device="cpu")
        assert [node.name for node in model.graph.nodes] == ["relu"]
    every_second = gx.slice(image(1, 3), 0, step=2)
    square = image(2, 3, 3).transpose(1, 2)
    for other in (
        gx.slice(x, 0, 0, 2),
        x.expand(2, 6, 8, 9),
        x.roll(6, 1),
        every_second,
        square,
    ):
        model = gx.compile(gx.graph("g", gx.relu(other)), device="cpu")
        assert len(model.graph.nodes) == 2


def test_more_dimensions_than_a_kernel_has():
    x = image(2, 3, 2, 3, 2, 3, 2)
    graph = gx.graph("g", gx.relu(x.permute(6, 5, 4, 3, 2, 1, 0).flatten(0)))
    model = gx.compile(graph, device="cpu")
    assert [step.label for step in model.plan.steps] == ["library permute", "relu"]
    check_model(model, {"image": DType.F32.round(RNG.standard_normal((2, 3, 2, 3, 2, 3, 2)))})
