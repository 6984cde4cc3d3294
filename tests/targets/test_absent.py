"""Plans for GPUs that are not here: what they read, and that every layer has one."""

import pytest

import graphcnn as gx
from graphcnn.compiler import optimize
from graphcnn.costs.devices import GPUS, gpu_like
from graphcnn.costs.traits import traits_of
from graphcnn.ir import rebatch
from graphcnn.kernels import ConvProblem, LinearProblem, Pressure, choices, in_precision
from graphcnn.passes import journal
from graphcnn.targets.absent import AbsentGpu
from graphcnn.targets.policy import MODEL
from graphcnn.targets.triton import TritonTarget
from graphcnn.tuning.candidates import ranked

H100 = TritonTarget(AbsentGpu.of(GPUS["h100"]))
SMALL = ConvProblem("f16", 256, 256, 1, 14 * 14, Pressure.LOW, taps=9)


def param(name, *shape):
    return gx.param(name, shape, "float16")


def test_the_stem_reads_what_its_tail_reads():
    """Else its residual's memory would be given to its own output."""
    rgb, depth = (gx.input(name, (32, 3, 256, 256), "float16") for name in ("rgb", "depth"))
    first = gx.relu(gx.conv2d(rgb, param("v", 64, 3, 7, 7), stride=2, padding=3), name="first")
    h = gx.conv2d(depth, param("w", 64, 3, 7, 7), stride=2, padding=3, name="second")
    h = gx.max_pool2d(gx.relu(gx.add(h, first)), 2, name="pool")
    graph = gx.graph("stems", h)
    lowered = H100.lower(optimize(graph, H100, journal()))
    (stem,) = (step for step in lowered.steps if step.node == "pool" and "stem" in step.label)
    assert "first" in stem.reads
    assert "second@scratch" in stem.reads


@pytest.mark.parametrize(("gpu", "dtype"), [("h100", "f16"), ("a100", "f32")])
def test_a_depthwise_convolution_with_a_pool_is_planned(gpu, dtype):
    x = gx.input("x", (1, 64, 56, 56), "float16")
    h = gx.relu(gx.conv2d(x, param("w", 64, 1, 3, 3), padding=1, groups=64))
    graph = gx.graph("g", [gx.max_pool2d(h, 2), gx.global_avg_pool2d(h)])
    assert gx.estimate(graph, device=gpu, dtype=dtype).total.microseconds > 0


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_a_device_without_a_model_ranks_parts_too(precision):
    traits = in_precision(traits_of(GPUS["h100"]), precision)
    for problem in (SMALL._replace(dtype="f32"), LinearProblem("f32", 1, 100, 25088)):
        found = choices(problem, traits)
        best = ranked(MODEL, None, problem, found, traits, most=len(found))
        assert set(best) == set(found)
        assert best[0].tile.parts == 1


def test_other_batch_sizes_take_the_same_kernel():
    """So that none is compiled anew."""
    x = gx.input("x", (1, 256, 14, 14), "float16")
    w = param("w", 256, 256, 3, 3)
    graph = gx.graph("g", gx.conv2d(x, w, padding=1, name="conv"))
    following = H100.following(graph)
    picked = {}
    for batch in (1, 2, 4, 8, 16, 32, 64):
        chosen = following.lower(rebatch(graph, batch)).choices
        (picked[batch],) = (event.chosen for event in chosen if event.what == "kernel")
    assert picked[1].tile.parts > 1
    assert set(picked.values()) == {picked[1]}


def test_products_are_told_apart():
    for name, row in (("NVIDIA L4", "l4"), ("NVIDIA L40", "l40"), ("NVIDIA L40S", "l40s")):
        assert gpu_like(name, 89, 100).name == row
