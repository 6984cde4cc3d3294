"""Reductions summed in parts as a user meets them: two launches of a node, told, judged, right."""

from dataclasses import replace

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import CompileLog
from graphcnn.passes import default_pipeline, run_passes
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets.policy import Policy
from graphcnn.targets.resolve_device import resolve_device
from graphcnn.targets.triton import TritonTarget
from tests.stepwise import check_model

DRAW = np.random.default_rng(3)


class Parts(Policy):
    """As many parts as there are choices of."""

    def kernel(self, anchor, problem, found, device):
        return max(found, key=lambda choice: (choice.tile.parts, choice.tile.reduction == 16))


def weights(*shape):
    return DRAW.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))


def network(batch=2, dtype="float32"):
    x = gx.input("image", (batch, 3, 9, 10), dtype)
    h = gx.relu(gx.conv2d(x, weights(64, 3, 3, 3), DRAW.standard_normal(64), name="first"))
    h = gx.relu(gx.conv2d(h, weights(64, 64, 3, 3), padding=1, name="conv") + h, name="residual")
    h = gx.conv_transpose2d(h, weights(64, 64, 3, 3), stride=2, name="larger")
    h = gx.max_pool2d(gx.relu(gx.conv2d(h, weights(64, 64, 1, 1), name="mix")), 2, name="pool")
    h = gx.linear(gx.flatten(h), weights(40, 64 * 7 * 8), DRAW.standard_normal(40), name="fc")
    return gx.graph("net", gx.relu(h, name="answer"))


def compiled(graph, policy=None, **traits):
    """For the CPU, as if it had need of so many programs."""
    device = resolve_device("cpu")
    given = {
        "parts": 16,
        "parts_f32": 16,
        "programs": 4096,
        "winograd": (),
        "winograd_f32": (),
        **traits,
    }
    target = TritonTarget(
        replace(device, traits=replace(device.traits, **given)), policy or Parts()
    )
    fused = run_passes(graph, default_pipeline(target.supports), CompileLog())
    return CompiledModel(graph, fused, target, CompileLog())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_it_is_right_and_told(dtype):
    graph = network(dtype=dtype)
    model = compiled(graph)
    labels = [step.label for step in model.plan.steps]
    assert "parts of conv2d+add+relu" in labels
    assert "sum of conv2d+add+relu" in labels
    assert sum(label.startswith("parts of conv_transpose2d") for label in labels) == 4
    assert labels[-2:] == ["parts of linear+relu", "sum of linear+relu"]
    check_model(model, example_inputs(graph))
    assert gx.verify(model).ok
    told = [row.kernel for row in gx.explain(model).rows]
    assert told[-1] == "parts of linear+relu, sum of linear+relu"


def test_the_sums_are_a_part_of_the_arena():
    model = compiled(network())
    slots = {slot.name: slot for slot in model.plan.slots}
    for index, step in enumerate(model.plan.steps):
        if step.label.startswith("parts of"):
            (written,) = step.writes
            assert written.endswith("@scratch")
            assert slots[written].first <= index < slots[written].last
            assert written in model.plan.steps[index + 1].reads
            assert written not in model.plan.steps[index + 1].writes


def test_other_batch_sizes_and_the_same_bits():
    model = compiled(network())
    (image,) = example_inputs(network()).values()
    both = model(image=image)
    np.testing.assert_array_equal(model(image=image), both)
    np.testing.assert_allclose(model(image=image[:1]), both[:1], atol=1e-5)


def test_one_row(monkeypatch):
    """A matrix-vector product in parts, every access checked."""
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    graph = network(1)
    model = compiled(graph)
    kernels = [step.work.kernel.__name__ for step in model.plan.steps]
    assert kernels[-2:] == ["matvec_kernel", "sum_parts_kernel"]
    assert model.plan.steps[-2].work.grid[1] > 1
    check_model(model, example_inputs(graph))
