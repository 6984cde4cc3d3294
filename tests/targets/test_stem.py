"""Convolutions of few channels as a GPU meets them: where runs are taken, told and right."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import DType, Param, TensorType
from graphcnn.kernels import CPU, CUDA, ConvProblem, Pressure, Stem, by_rule, choices, stem_conv2d
from graphcnn.runtime.boundary import example_inputs
from graphcnn.targets import resolve
from graphcnn.targets.pack import in_runs
from tests.stand_in_gpu import stand_in_target
from tests.stepwise import check_model

DRAW = np.random.default_rng(7)


def network(dtype, channels=3, size=150, **options):
    """ResNet's beginning, on an image that is large enough for runs to pay."""
    x = gx.input("image", (2, channels, size, size - 2), dtype)
    weight = DRAW.standard_normal((64, channels, 7, 7)) / np.sqrt(49 * channels)
    options = {"stride": 2, "padding": 3, **options}
    h = gx.relu(gx.conv2d(x, weight, DRAW.standard_normal(64), name="stem", **options))
    return gx.graph("net", gx.max_pool2d(h, 2, name="pool"))


@pytest.fixture
def gpu(monkeypatch):
    target, driver = stand_in_target(90)
    monkeypatch.setattr("graphcnn.compiler.resolve", lambda *_: target)
    return driver


@pytest.mark.compile
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_it_is_two_launches_and_right(gpu, dtype):
    graph = network(dtype)
    model = gx.compile(graph, device="cuda")
    labels = [(step.label, step.work.kernel.__name__) for step in model.plan.steps]
    assert labels == [
        ("padded image of conv2d+relu+max_pool2d", "padded_kernel"),
        ("stem conv2d+relu+max_pool2d", "stem_kernel"),
    ]
    padded, stem = model.plan.steps
    assert (padded.reads, padded.writes) == (("image",), ("stem@scratch",))
    assert "stem@scratch" in stem.reads
    assert check_model(model, example_inputs(graph))[0] > 0
    assert gx.verify(model).ok
    assert [run.spills for run in gpu.launches] == [0] * len(gpu.launches)


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({}, True),
        ({"channels": 4}, True),
        ({"channels": 5}, False),
        ({"size": 20}, False),
        ({"dilation": 2}, False),
        ({"channels": 1, "padding": (3, 0), "size": 800}, True),
        ({"channels": 1}, False),
    ],
)
def test_where_it_is_taken(options, taken):
    graph = network("float16", **options)
    for target, expected in ((stand_in_target(90)[0], taken), (resolve("triton", "cpu"), False)):
        kernels = [step.work.kernel.__name__ for step in target.lower(graph).steps]
        assert ("stem_kernel" in kernels) == expected


@pytest.mark.parametrize(
    ("rows", "taps", "side", "taken"), [(7, 7, 112, True), (3, 3, 448, True), (5, 5, 28, False)]
)
@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_runs_have_to_pay_for_a_launch(rows, taps, side, taken, dtype):
    stem = Stem((rows, taps), 2 * 4 * side * side, Pressure.LOW)
    problem = ConvProblem(dtype, 64, 3, 1, side * side, Pressure.HIGH, stem=stem)
    found = choices(problem, CUDA)
    assert (by_rule(problem, found, CUDA).launch is stem_conv2d) == taken
    assert stem_conv2d not in {choice.launch for choice in choices(problem, CPU)}


@pytest.mark.parametrize(("taps", "block"), [(3, 16), (5, 32), (7, 32), (11, 16)])
def test_a_block_divides_a_run(taps, block):
    stem = Stem((taps, taps), 10**6, Pressure.LOW)
    problem = ConvProblem("f16", 64, 3, 1, 10**6, Pressure.HIGH, stem=stem)
    tile = by_rule(problem, choices(problem, CUDA), CUDA).tile
    assert (tile.channels, tile.pixels, tile.reduction) == (64, 128, block)


@pytest.mark.parametrize("shape", [(5, 3, 2, 7), (4, 1, 5)])
def test_filters_in_runs(shape):
    weight = DRAW.standard_normal(shape).astype(np.float32)
    packing = in_runs(Param("w", TensorType(shape, DType.F32), weight))
    filters, channels, *rest = shape
    rows, taps = (1, *rest)[-2:]
    packed = packing.pack({"w": Param("w", TensorType(shape, DType.F32), weight)})
    assert packed.shape == packing.shape
    runs = packed.reshape(filters, rows, -1)
    pixels = runs[..., : 4 * taps].reshape(filters, rows, taps, 4)
    wanted = weight.reshape(filters, channels, rows, taps).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(pixels[..., :channels], wanted)
    assert not pixels[..., channels:].any()
    assert not runs[..., 4 * taps :].any()
