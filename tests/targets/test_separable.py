"""Networks whose depthwise convolutions are made inside of the 1x1 ones that read them."""

from functools import partial

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import CompileLog, DType, Fused, Graph, inline
from graphcnn.kernels import Refused, stages
from graphcnn.report import verify
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets import resolve
from tests.stepwise import check_model
from tests.targets.chains import drawn_separable, supports

DRAW = np.random.default_rng(6)


def draw(*shape: int) -> np.ndarray:
    return DRAW.standard_normal(shape).astype(np.float32)


def inverted_residual(dtype: str = "float32") -> Graph:
    """As MobileNetV2's: a head with an activation, a batch norm that stays, and a residual."""
    x = gx.input("image", (2, 12, 7, 9), dtype)
    h = gx.conv2d(x, draw(12, 1, 3, 3), draw(12), padding=1, groups=12, name="depthwise")
    h = gx.relu6(h, name="clipped")
    norm = (draw(12), 1 + draw(12) ** 2, draw(12), draw(12))
    h = gx.batch_norm(h, *norm, name="norm")
    h = gx.conv2d(h, draw(12, 12, 1, 1), draw(12), name="project")
    return gx.graph("net", gx.relu(gx.add(h, x, name="sum"), name="y"))


def strided(dtype: str = "float32") -> Graph:
    """Stride, dilation and uneven padding; a pool in the tail, and what is before it is stored."""
    x = gx.input("image", (1, 20, 13, 15), dtype)
    h = gx.conv2d(x, draw(20, 1, 3, 2), stride=(2, 1), padding=(2, 0), dilation=(2, 3), groups=20)
    h = gx.conv2d(gx.silu(h), draw(33, 20, 1, 1), name="project")
    return gx.graph("net", [h, gx.max_pool2d(gx.relu(h), 2)])


def signal(dtype: str = "float32") -> Graph:
    """One dimension, causal; a gate of the head by another value of the graph."""
    x = gx.input("signal", (2, 6, 13), dtype)
    gate = gx.sigmoid(x, name="gate")
    h = gx.conv1d(gx.pad(x, (4, 0)), draw(6, 1, 3), dilation=2, groups=6, name="depthwise")
    h = gx.conv1d(gx.mul(h, gate, name="gated"), draw(8, 6, 1), name="project")
    return gx.graph("net", gx.tanh(h))


NETS = {"inverted residual": inverted_residual, "strided": strided, "signal": signal}


def compiled(net: Graph, **options: object) -> CompiledModel:
    """With its head in the kernel of the 1x1 convolution, whether that pays or not."""
    convs = tuple(node.name for node in net.nodes if node.op.name.startswith("conv"))
    model = gx.compile(net, device="cpu", must_fuse=[convs], **options)
    assert sum(isinstance(node.op, Fused) for node in model.graph.nodes) == 1
    return model


@pytest.mark.parametrize("sanitize", [False, True], ids=["native", "sanitized"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", NETS)
def test_every_value_is_within_its_bound(name, dtype, sanitize, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", str(int(sanitize)))
    net = NETS[name](dtype)
    model = compiled(net)
    check_model(model, example_inputs(net))
    verdict = verify(model)
    assert verdict.ok, str(verdict)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_drawn_groups(dtype):
    """Any head and tail, any of whose values leave the kernel."""
    target, checked = resolve("triton", "cpu"), 0
    for seed in range(18):
        graph = drawn_separable(seed, dtype, batch=2)
        if supports(graph.nodes[-1].op.body) is None:
            model = CompiledModel(inline(graph), graph, target, CompileLog())
            check_model(model, example_inputs(graph))
            checked += 1
    assert checked > 8


def test_another_batch_size():
    net = inverted_residual()
    model = compiled(net, batches=(1,))
    for batch in (1, 3):
        assert verify(model, image=draw(batch, 12, 7, 9)).ok


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_special_values_raise_no_false_alarm(dtype):
    image = draw(2, 12, 7, 9)
    for value in (np.nan, np.inf, -np.inf, 6e4, 1e-7, 0.0, -0.0):
        image[tuple(DRAW.integers(size) for size in image.shape)] = value
    verdict = verify(compiled(inverted_residual(dtype)), image=DType.of(dtype).round(image))
    assert verdict.ok, str(verdict)


def test_a_head_that_overflows_does_as_the_value_in_memory_would():
    x = gx.input("image", (1, 4, 5, 5), "float16")
    h = gx.relu(gx.conv2d(x, 200 * draw(4, 1, 3, 3), groups=4))
    net = gx.graph("net", gx.conv2d(h, 1e-3 * draw(6, 4, 1, 1)))
    image = DType.F16.round(100 * draw(1, 4, 5, 5))
    fused, apart = compiled(net), gx.compile(net, device="cpu", fuse=False)
    assert verify(fused, image=image).ok
    got, want = (np.asarray(model(image=image)) for model in (fused, apart))
    infinite = np.isinf(want)
    assert 0 < infinite.sum() < infinite.size
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
    np.testing.assert_array_equal(got[infinite], want[infinite])


FAULTS = {"depthwise": "depthwise.weight", "project": "project.weight"}


@pytest.mark.parametrize("node", FAULTS)
def test_a_wrong_packed_weight_names_its_node(node):
    model = compiled(inverted_residual())
    (name,) = [n for n in model._weights.tensors if n.startswith(FAULTS[node])]
    model._weights.tensors[name][7] += 0.01
    bad = verify(model).first_bad
    assert (bad.node, bad.group) == (node, "y")


@pytest.mark.parametrize(("op", "node"), [("relu6", "clipped"), ("relu", "y")])
def test_a_dropped_activation_names_its_node(op, node, monkeypatch):
    monkeypatch.setattr(stages, op, stages.neg)
    bad = verify(compiled(inverted_residual())).first_bad
    assert (bad.node, bad.group) == (node, "y")
    assert __file__ in bad.where


def test_a_group_that_a_kernel_refuses_is_taken_apart(monkeypatch):
    """Both halves run then, each by itself."""
    net = inverted_residual()
    refuse = partial(_refused, "no kernel today")
    monkeypatch.setattr("graphcnn.targets.groups._separable", refuse)
    model = gx.compile(net, device="cpu", passes=(gx.passes.Fuse(),))
    assert "no kernel today" in str(model.log.refusals[-1])
    assert verify(model).ok


def _refused(because: str, *_: object) -> None:
    raise Refused(because)
