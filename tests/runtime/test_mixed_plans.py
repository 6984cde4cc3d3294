"""Plans whose steps are kernels and calls of torch and NumPy, in one arena."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphcnn as gx
from graphcnn.analysis import LiveRange
from graphcnn.errors import SanitizerFault
from graphcnn.ir import CompileLog, with_he_weights
from graphcnn.ops import Amax, Amin, Softmax, Sum
from graphcnn.plan import Arithmetic, Call
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets import triton
from graphcnn.targets.resolve_device import resolve_device
from graphcnn.targets.triton import TritonTarget
from tests.stepwise import check_model

CALLS = {
    "kept": Call(F.silu),
    "placed": Call(lambda x: F.avg_pool2d(x, 2)),
    "fc": Call(F.linear),
    "end": Call(lambda x: np.tanh(x.numpy())),
}


class Mixed(TritonTarget):
    """The Triton target, but for the nodes of `calls`; the value `kept` has no memory planned."""

    def __init__(self, calls):
        super().__init__(resolve_device("cpu"))
        self.calls = calls

    def lower(self, graph):
        lowered = super().lower(graph)
        steps = tuple(
            step
            if step.node not in self.calls
            else replace(
                step,
                work=self.calls[step.node],
                reads=graph.producer(step.node).inputs,
                in_place=False,
            )
            for step in lowered.steps
        )
        return replace(
            lowered,
            steps=steps,
            locations={n: place for n, place in lowered.locations.items() if n != "kept"},
            buffers={n: nbytes for n, nbytes in lowered.buffers.items() if n != "kept"},
        )


def net():
    """conv (kernel), kept, placed (calls), last (kernel), a reshape, fc and end (calls)."""
    h = gx.input("image", (2, 3, 8, 8))
    h = gx.conv2d(h, gx.param("w", (4, 3, 3, 3)), padding=1, name="conv")
    h = gx.avg_pool2d(gx.silu(h, name="kept"), 2, name="placed")
    h = gx.conv2d(h, gx.param("v", (5, 4, 1, 1)), name="last")
    h = gx.linear(gx.flatten(h, name="flat"), gx.param("u", (6, 80)), name="fc")
    return with_he_weights(gx.graph("mixed", gx.tanh(h, name="end")))


def mixed(**changed):
    return CompiledModel(net(), net(), Mixed(CALLS | changed), CompileLog())


def test_kernels_and_calls_read_what_the_others_wrote():
    model = mixed()
    placed = model.plan.locations["placed"]
    assert placed.strides == (64, 1, 16, 4)  # where kernels read it, torch's result is copied
    assert {slot.name for slot in model.plan.slots} == {
        *("image", "conv", "placed", "last", "fc", "end")
    }
    inputs = example_inputs(net())
    checked, used = check_model(model, inputs)
    assert checked == 7
    assert 0 < used <= 1
    assert gx.verify(model, **inputs).ok
    for batch in (1, 5):
        image = np.random.default_rng(batch).standard_normal((batch, 3, 8, 8), np.float32)
        check_model(model, {"image": image})


def between_convolutions():
    """A softmax between two convolutions: inner images, which lie channels last."""
    h = gx.input("image", (2, 3, 8, 8))
    h = gx.relu(gx.conv2d(h, gx.param("w", (6, 3, 3, 3)), padding=1), name="before")
    h = gx.softmax(h, name="called")
    h = gx.conv2d(h, gx.param("v", (5, 6, 3, 3)), name="conv")
    return with_he_weights(gx.graph("g", gx.relu(h, name="after")))


@pytest.mark.parametrize("sanitize", ["0", "1"])
def test_an_op_without_a_kernel_between_fused_convolutions(sanitize, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", sanitize)
    monkeypatch.delitem(triton.TABLE, Softmax)
    graph = between_convolutions()
    model = gx.compile(graph, device="cpu")
    assert [step.label for step in model.plan.steps] == [
        *("conv2d+relu", "library softmax", "conv2d+relu")
    ]
    for name in ("before", "called"):
        assert model.plan.locations[name].strides == (384, 1, 48, 6)
    assert gx.verify(model).ok
    for batch in (2, 1, 3):
        image = np.random.default_rng(batch).standard_normal((batch, 3, 8, 8), np.float32)
        check_model(model, {"image": image})


@pytest.mark.parametrize("missing", ["before", "called"])
def test_the_sanitizer_sees_what_a_fallback_should_read_or_write(missing, sanitizer, monkeypatch):
    monkeypatch.delitem(triton.TABLE, Softmax)
    target = TritonTarget(resolve_device("cpu"))
    model = CompiledModel(between_convolutions(), between_convolutions(), target, CompileLog())
    assert "called" in model.log.refusals[-1].node
    steps = tuple(step for step in model.plan.steps if step.node != missing)
    model.plan = replace(model.plan, steps=steps)
    with pytest.raises(SanitizerFault, match=r"nothing wrote|no kernel stored"):
        model(**example_inputs(model.graph))


@pytest.mark.parametrize("by", ["kernels", "calls"])
@pytest.mark.parametrize("sanitize", ["0", "1"])
def test_reductions_inside_a_network(sanitize, by, monkeypatch):
    """A gate from the means of the channels, and the spread of the scores."""
    monkeypatch.setenv("GRAPHCNN_SANITIZE", sanitize)
    if by == "calls":
        for op in (Amax, Amin, Sum):
            monkeypatch.delitem(triton.TABLE, op)
    h = gx.input("image", (2, 3, 6, 6))
    h = gx.relu(gx.conv2d(h, gx.param("w", (4, 3, 3, 3)), padding=1), name="before")
    gate = gx.conv2d(gx.mean(h, (2, 3), True, name="mean"), gx.param("v", (4, 4, 1, 1)))
    h = h * gx.sigmoid(gate, name="gate")
    h = gx.linear(gx.amax(h, (2, 3), name="amax"), gx.param("u", (5, 4)), name="fc")
    spread = gx.sum(h * h, 1, name="sum")
    model = gx.compile(with_he_weights(gx.graph("g", [h, spread])), device="cpu")
    called = [step.node for step in model.plan.steps if isinstance(step.work, Call)]
    assert called == (["mean", "amax", "sum"] if by == "calls" else [])
    for batch in (2, 1, 5):
        image = np.random.default_rng(batch).standard_normal((batch, 3, 6, 6), np.float32)
        check_model(model, {"image": image})


def test_a_result_without_a_place_is_freed_after_its_last_reader():
    with mixed().loaded(example_inputs(net())) as executor:
        for step, run in executor.steps():
            run()
            if step.node == "kept":
                kept = weakref.ref(executor.value("kept"))
        assert kept() is None


@pytest.mark.parametrize(
    ("node", "wrong"),
    [("kept", F.relu), ("placed", lambda x: F.max_pool2d(x, 2)), ("fc", lambda x, w: x @ w.T + 1)],
)
def test_verify_names_a_call_that_is_wrong(node, wrong):
    verdict = gx.verify(mixed(**{node: Call(wrong)}))
    assert verdict.first_bad is not None
    assert verdict.first_bad.node == node


def test_each_step_is_judged_by_its_own_arithmetic():
    """What bfloat16 products make wrong in float32 is right where the step says bfloat16."""

    def rough(x, w):
        return F.linear(x.bfloat16().float(), w.bfloat16().float())

    model = mixed(fc=Call(rough))
    assert gx.verify(model).first_bad.node == "fc"
    for arithmetic in (Arithmetic(2.0**-9), Arithmetic(2.0**-24, growth=2.0**15)):
        steps = tuple(
            replace(step, arithmetic=arithmetic) if step.node == "fc" else step
            for step in model.plan.steps
        )
        honest = mixed(fc=Call(rough))
        honest.plan = replace(model.plan, steps=steps)
        assert gx.verify(honest).ok


@pytest.fixture
def sanitizer(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")


def test_the_sanitizer_follows_calls(sanitizer):
    image = example_inputs(net())
    got = mixed()(**image)
    assert np.ptp(got) > 0
    torch.testing.assert_close(got, gx.compile(net(), target="library", device="cpu")(**image))


@pytest.mark.parametrize("node", ["placed", "last"])
def test_the_sanitizer_sees_a_step_that_is_missing(node, sanitizer):
    """A kernel reads what a call should have written, and the other way round."""
    model = mixed()
    steps = tuple(step for step in model.plan.steps if step.node != node)
    model.plan = replace(model.plan, steps=steps)
    with pytest.raises(SanitizerFault, match=r"nothing wrote|no kernel stored"):
        model(**example_inputs(net()))


@pytest.mark.parametrize("pair", [("conv", "image"), ("fc", "last"), ("end", "fc")])
def test_the_sanitizer_sees_a_call_that_writes_over_what_is_alive(pair, sanitizer):
    model = mixed()
    slots = {slot.name: slot for slot in model.plan.slots}
    moved, over = (slots[name] for name in pair)
    assert LiveRange(moved.first, moved.last).overlaps(LiveRange(over.first, over.last))
    placed = replace(moved, offset=over.offset + 4)
    model.plan = replace(
        model.plan,
        slots=tuple(placed if slot is moved else slot for slot in model.plan.slots),
        arena_bytes=model.plan.arena_bytes + 4096,
    )
    with pytest.raises(SanitizerFault):
        model(**example_inputs(net()))
