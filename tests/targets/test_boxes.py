"""1x1 convolutions by tensor descriptors as a GPU meets them: listed, measured, and right."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.kernels import (
    CUDA,
    ConvProblem,
    Pressure,
    by_rule,
    choices,
    conv1x1_box,
    conv2d,
    cuda_traits,
)
from graphcnn.runtime.boundary import example_inputs
from graphcnn.targets.policy import MODEL, Policy
from graphcnn.targets.triton import TritonTarget
from graphcnn.tuning.candidates import candidates, ranked
from tests.stand_in_gpu import stand_in_target
from tests.stepwise import check_model

DRAW = np.random.default_rng(7)


class ByBox(Policy):
    """Descriptors wherever they may serve."""

    def kernel(self, anchor, problem, found, device):
        boxes = [choice for choice in found if choice.launch is conv1x1_box]
        return super().kernel(anchor, problem, boxes or found, device)


def conv(x, filters, taps, **options):
    depth = x.shape[1]
    weight = DRAW.standard_normal((filters, depth, taps, taps)) / np.sqrt(taps**2 * depth)
    return gx.conv2d(x, weight, DRAW.standard_normal(filters), padding=taps // 2, **options)


def bottleneck(dtype):
    """ResNet-50's block, at an odd size."""
    x = gx.input("image", (2, 64, 9, 7), dtype)
    first = gx.relu(conv(x, 128, 3, name="first"))
    h = gx.relu(conv(first, 64, 1, name="down"))
    h = gx.relu(conv(h, 64, 3, name="middle"))
    h = gx.relu(conv(h, 128, 1, name="up") + first)
    return gx.graph("net", gx.max_pool2d(gx.relu(conv(h, 72, 1, name="pooled")), 2))


def kernels(model):
    return [step.work.kernel.__name__ for step in model.plan.steps]


@pytest.mark.compile
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_they_are_right_where_a_policy_takes_them(monkeypatch, dtype):
    target, driver = stand_in_target(90)
    asked = TritonTarget(target.on, ByBox())
    monkeypatch.setattr("graphcnn.compiler.resolve", lambda *_: asked)
    graph = bottleneck(dtype)
    model = gx.compile(graph, device="cuda")
    boxes = [s for s in model.plan.steps if s.work.kernel.__name__ == "conv1x1_box_kernel"]
    assert [step.label for step in boxes] == [
        "descriptors conv2d+relu",
        "descriptors conv2d+add+relu",
    ]
    assert check_model(model, example_inputs(graph))[0] > 0
    assert gx.verify(model).ok
    assert [run.spills for run in driver.launches] == [0] * len(driver.launches)


def test_the_model_does_not_take_them():
    for capability, listed in ((80, False), (86, False), (90, True), (100, True), (120, True)):
        device = cuda_traits(capability)
        problem = ConvProblem("f16", 256, 64, 1, 10**5, Pressure.LOW, box=True)
        found = choices(problem, device)
        assert (conv1x1_box in {choice.launch for choice in found}) == listed
        assert by_rule(problem, found, device).launch is conv2d
    assert "conv1x1_box_kernel" not in [
        step.work.kernel.__name__
        for step in stand_in_target(90)[0].lower(bottleneck("float16")).steps
    ]


@pytest.mark.parametrize("change", [{"box": False}, {"pressure": Pressure.HIGH}])
def test_scattered_views_have_no_descriptors(change):
    problem = ConvProblem("f16", 256, 64, 1, 10**5, Pressure.LOW, box=True)
    found = choices(problem._replace(**change), cuda_traits(90))
    assert found
    assert conv1x1_box not in {choice.launch for choice in found}


def test_tuning_measures_the_best_of_them():
    problem = ConvProblem("f16", 256, 64, 1, 10**5, Pressure.LOW, box=True)
    found, device = choices(problem, cuda_traits(90)), cuda_traits(90)
    best = ranked(MODEL, None, problem, found, device)
    assert [choice.launch is conv1x1_box for choice in best] == [False, False, False, True]
    plain = choices(problem, CUDA)
    assert all(choice.launch is conv2d for choice in ranked(MODEL, None, problem, plain, CUDA))
    ways = candidates(bottleneck("float16"), stand_in_target(90)[0])
    assert any(way.name.startswith("conv1x1_box") for way in ways["down"])
    assert not any(way.name.startswith("conv1x1_box") for way in ways["middle"])
