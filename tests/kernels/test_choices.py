import json
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcnn.kernels import (
    CPU,
    CUDA,
    CUDA_SMALL,
    HOPPER,
    ConvProblem,
    LinearProblem,
    Pressure,
    SeparableProblem,
    Stage,
    by_rule,
    choices,
    conv_pressure,
    depthwise_conv2d,
    separable_conv2d,
    stages,
)
from tests.kernels.buffers import randn, stage, view_of

DEVICES = st.sampled_from([CPU, CUDA, CUDA_SMALL, HOPPER])
TYPES = st.sampled_from(["f32", "f16", "bf16"])
COUNTS = st.integers(1, 5000)
MEASURED = Path(__file__).parents[2] / "bench/results/h200_tiles.json"


@given(DEVICES, TYPES, COUNTS, COUNTS, st.integers(1, 10**7), st.sampled_from(Pressure))
def test_conv_choice_is_listed_and_bears_the_pressure(device, dtype, k, c, pixels, pressure):
    problem = ConvProblem(dtype, k, c, 1, pixels, pressure)
    tile = by_rule(problem, choices(problem, device), device).tile
    if c % tile.reduction:  # flattened: the most scattered addresses
        pressure = Pressure.HIGH
    assert device.conv_tiles(dtype)[tile] >= pressure


@given(DEVICES, TYPES, COUNTS)
def test_linear_choice_is_listed_and_serves_the_rows(device, dtype, rows):
    problem = LinearProblem(dtype, rows)
    tile = by_rule(problem, choices(problem, device), device).tile
    assert tile in device.linear_tiles(dtype)
    assert (tile.rows == 1) == (rows == 1)


@pytest.mark.parametrize(
    ("problem", "tile"),
    [
        ((512, 256, 1, 32 * 28 * 28, Pressure.LOW), (128, 256, 64)),
        ((512, 256, 1, 32 * 28 * 28, Pressure.NORMAL), (128, 128, 64)),
        ((512, 512, 1, 14 * 14, Pressure.LOW), (64, 64, 64)),
        ((64, 3, 1, 224 * 224, Pressure.HIGH), (64, 64, 32)),
        ((10, 96, 1, 224 * 224, Pressure.NORMAL), (32, 64, 32)),
        ((1, 1, 40, 56 * 56, Pressure.LOW), (64, 32, 1)),
    ],
)
def test_choices_of_the_rule_on_cuda(problem, tile):
    problem = ConvProblem("f16", *problem)
    assert by_rule(problem, choices(problem, CUDA), CUDA).tile[:3] == tile


def test_the_rule_on_hopper_picks_what_was_fast_on_an_h200():
    """Each network takes at most a tenth longer than with the best tile of every layer."""
    taken, best = defaultdict(float), defaultdict(float)
    for row in json.loads(MEASURED.read_text())["rows"]:
        figures = [row[name] for name in ("dtype", "filters", "channels", "groups", "pixels")]
        problem = ConvProblem(*figures, Pressure[row["pressure"]])
        found = choices(problem, HOPPER)
        times = {
            choice: row["microseconds"]["x".join(map(str, choice.tile))]
            for choice in found
            if "x".join(map(str, choice.tile)) in row["microseconds"]
        }
        picked = by_rule(problem, found, HOPPER)
        if picked in times:  # the layers of three channels take tiles that were not swept
            network = row["network"], row["dtype"], row["batch"]
            taken[network] += times[picked]
            best[network] += min(times.values())
    ratios = [taken[network] / best[network] for network in best]
    assert len(ratios) == 12
    assert max(ratios) < 1.1
    assert sum(ratios) < 12 * 1.04


def test_a_depthwise_convolution_may_be_a_grouped_product():
    problem = ConvProblem("f32", 1, 1, 40, 56 * 56, Pressure.LOW)
    launches = {choice.launch for choice in choices(problem, CPU)}
    assert len(launches) == 2
    assert by_rule(problem, choices(problem, CPU), CPU).launch is depthwise_conv2d


@pytest.mark.parametrize(
    ("filters", "pixels", "tile"),
    [
        (24, 8 * 56 * 56, (32, 64)),
        (24, 56 * 56, (32, 16)),
        (16, 10**6, (16, 64)),
        (96, 10**6, (128, 64)),
        (320, 10**6, (128, 64)),
        (320, 7 * 7, (128, 16)),
    ],
)
def test_a_separable_convolution_is_made_as_seldom_as_can_be(filters, pixels, tile):
    problem = SeparableProblem(filters, pixels)
    found = choices(problem, CUDA)
    assert {choice.launch for choice in found} == {separable_conv2d}
    assert by_rule(problem, found, CUDA).tile[:2] == tile


def test_a_value_that_is_read_again_takes_registers():
    x, sigmoid = view_of(randn(1, 8, 6, 6)), stage("sigmoid")
    assert conv_pressure(x, [x], (sigmoid, stage("silu")), (3, 3)) == Pressure.LOW
    diamond = (sigmoid, Stage(stages.mul, (0, 1)))
    assert conv_pressure(x, [x], diamond, (3, 3)) == Pressure.NORMAL
