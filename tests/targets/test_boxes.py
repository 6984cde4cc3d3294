"""Convolutions by tensor descriptors as a GPU meets them: listed, measured, and right."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.kernels import (
    CUDA,
    Boxes,
    ConvProblem,
    ConvTile,
    Pool,
    Pooled,
    Pressure,
    by_rule,
    choices,
    conv2d,
    conv2d_box,
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
        boxes = [choice for choice in found if choice.launch is conv2d_box]
        return super().kernel(anchor, problem, boxes or found, device)


PROBLEMS = [
    ConvProblem("f16", 256, 64, 1, 10**5, Pressure.LOW, boxes=boxes, taps=taps)
    for boxes, taps in ((Boxes(32, (56, 56), rows=True), 1), (Boxes(32, (56, 56)), 9))
]


def conv(x, filters, taps, **options):
    depth = x.shape[1]
    weight = DRAW.standard_normal((filters, depth, taps, taps)) / np.sqrt(taps**2 * depth)
    return gx.conv2d(x, weight, DRAW.standard_normal(filters), padding=taps // 2, **options)


def bottleneck(dtype):
    """ResNet-50's block of stride 2, to an odd size, pooled layers, and a stride from the odd size.

    The image's channels are apart.
    """
    x = gx.relu(conv(gx.input("image", (2, 64, 18, 14), dtype), 64, 3, name="first"))
    h = gx.relu(conv(x, 64, 1, name="down"))
    h = gx.relu(conv(h, 64, 3, name="middle", stride=2))
    h = gx.relu(conv(h, 128, 1, name="up") + conv(x, 128, 1, name="short", stride=2))
    least = gx.max_pool2d(gx.relu(conv(h, 72, 1, name="pooled")), 2)
    mean = gx.avg_pool2d(gx.relu(conv(h, 72, 3, name="averaged")), 2)
    return gx.graph("net", (least, mean, conv(h, 40, 3, name="odd", stride=2)))


# Where descriptors may serve, and the dimensions of those of the pixels.
BY_BOX = {"down": 2, "middle": 5, "up": 2, "short": 5, "pooled": 4, "averaged": 4}


def ranks(model):
    """The same of a model."""
    found = {}
    for step in model.plan.steps:
        if step.work.kernel.__name__ == "conv2d_box_kernel":
            assert step.label.startswith("descriptors conv2d")
            members = next(node.members for node in model.graph.nodes if node.name == step.node)
            found |= {m.name: len(step.work.args[0].block) for m in members if m.name in BY_BOX}
    return found


@pytest.mark.compile
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_they_are_right_where_a_policy_takes_them(monkeypatch, dtype):
    target, driver = stand_in_target(90)
    asked = TritonTarget(target.on, ByBox())
    monkeypatch.setattr("graphcnn.compiler.resolve", lambda *_: asked)
    graph = bottleneck(dtype)
    model = gx.compile(graph, device="cuda")
    assert ranks(model) == BY_BOX
    assert check_model(model, example_inputs(graph))[0] > 0
    assert gx.verify(model).ok
    assert [run.spills for run in driver.launches] == [0] * len(driver.launches)


def test_the_model_does_not_take_them():
    for capability, listed in ((80, False), (86, False), (90, True), (100, True), (120, True)):
        device = cuda_traits(capability)
        for problem in PROBLEMS:
            found = choices(problem, device)
            assert (conv2d_box in {choice.launch for choice in found}) == listed
            assert by_rule(problem, found, device).launch is conv2d
    steps = stand_in_target(90)[0].lower(bottleneck("float16")).steps
    assert "conv2d_box_kernel" not in {step.work.kernel.__name__ for step in steps}


@pytest.mark.parametrize("change", [{"boxes": None}, {"pressure": Pressure.HIGH}])
def test_scattered_views_have_no_descriptors(change):
    for problem in PROBLEMS:
        found = choices(problem._replace(**change), cuda_traits(90))
        assert found
        assert conv2d_box not in {choice.launch for choice in found}


def test_the_widest_box_bears_little_beside_it():
    widest = ConvTile(128, 256, 64, 8, 3)
    for pressure, capability, listed in (
        (Pressure.LOW, 90, True),
        (Pressure.LOW, 100, True),
        (Pressure.LOW, 120, False),
        (Pressure.NORMAL, 90, False),
    ):
        problem = PROBLEMS[1]._replace(pressure=pressure)
        found = choices(problem, cuda_traits(capability))
        tiles = [choice.tile for choice in found if choice.launch is conv2d_box]
        assert tiles
        assert (widest in tiles) == listed


@pytest.mark.parametrize(
    ("images", "size", "filters", "pool", "tile"),
    [
        (32, (56, 56), 256, None, (128, 256)),  # 14 of 16 columns, and reads least
        (1, (14, 14), 256, None, (64, 64)),  # too few of any
        (32, (56, 56), 64, None, (64, 128)),
        (
            32,
            (7, 7),
            512,
            None,
            (64, 64),
        ),  # 49 of 64 pixels: of 128 it reads as much for twice the products
        (32, (56, 56), 256, Pool("max", (2, 2)), (128, 256)),
    ],
)
def test_the_box_that_is_measured(images, size, filters, pool, tile):
    device, pixels = cuda_traits(90), images * size[0] * size[1]
    pooled = Pooled(pool, images, size) if pool else None
    problem = ConvProblem("f16", filters, 64, 1, pixels, Pressure.LOW, pooled, taps=9)
    problem = problem._replace(boxes=Boxes(images, size))
    found = [choice for choice in choices(problem, device) if choice.launch is conv2d_box]
    assert by_rule(problem, found, device).tile[:2] == tile


@pytest.mark.parametrize("problem", PROBLEMS, ids=["1x1", "3x3"])
def test_tuning_measures_the_best_of_them(problem):
    found, device = choices(problem, cuda_traits(90)), cuda_traits(90)
    best = ranked(MODEL, None, problem, found, device)
    assert [choice.launch is conv2d_box for choice in best] == [False, False, False, True]
    plain = choices(problem, CUDA)
    assert all(choice.launch is conv2d for choice in ranked(MODEL, None, problem, plain, CUDA))
    ways = candidates(bottleneck("float16"), stand_in_target(90)[0])
    boxed = {node for node in ways if any("conv2d_box" in way.name for way in ways[node])}
    assert boxed == BY_BOX.keys()
