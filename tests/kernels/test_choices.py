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
    Pool,
    Pooled,
    Pressure,
    SeparableProblem,
    Stage,
    across_refusal,
    by_rule,
    choices,
    conv_pressure,
    depthwise_conv2d,
    saving_refusal,
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


POOLS = st.builds(
    lambda kernel, overlap: Pool("avg", kernel, stride=tuple(max(1, k - overlap) for k in kernel)),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.integers(0, 1),
).filter(lambda pool: pool.refusal(8, 8) is None)


@given(DEVICES, TYPES, POOLS, st.sampled_from(Pressure), st.sampled_from([3, 64, 512]))
def test_every_tile_holds_the_window_of_a_pool(device, dtype, pool, pressure, channels):
    problem = ConvProblem(dtype, 64, channels, 1, 8 * 64, pressure, Pooled(pool, 8, (8, 8)))
    found = choices(problem, device)
    assert all(choice.tile.pixels >= pool.pixels for choice in found)
    assert by_rule(problem, found, device) in found
    assert problem.computed(by_rule(problem, found, device).tile) >= 64
    saving_refusal(problem, 9, 2, device)


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


MAX3 = Pool("max", (3, 3), stride=(2, 2))


def pooled(pool, filters, channels, images, size, dtype="f16"):
    pixels = images * size * size
    place = Pooled(pool, images, (size, size))
    return ConvProblem(dtype, filters, channels, 1, pixels, Pressure.LOW, place)


def test_windows_that_overlap_take_the_tile_with_the_least_halo():
    problem = pooled(MAX3, 192, 64, 32, 27)
    tile = by_rule(problem, choices(problem, CUDA), CUDA).tile
    assert (tile.pixels, problem.computed(tile)) == (256, 32 * 4 * 256)


def test_a_tile_holds_a_window():
    seven = Pool("avg", (7, 7))
    problem = ConvProblem("f16", 1, 1, 40, 49, Pressure.LOW, Pooled(seven, 1, (7, 7)))
    assert all(choice.tile.pixels >= 64 for choice in choices(problem, CUDA))


@pytest.mark.parametrize("device", [CPU, CUDA, CUDA_SMALL])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("pressure", Pressure)
@pytest.mark.parametrize("channels", [3, 64])
def test_a_tile_holds_the_channels_that_are_brought_together(device, dtype, pressure, channels):
    problem = ConvProblem(dtype, 128, channels, 1, 49, pressure, across=True)
    found = choices(problem, device)
    assert found
    assert all(choice.tile.channels == 128 for choice in found)


def test_bringing_channels_together_pays_on_a_gpu():
    assert across_refusal(1000, "f16", CUDA) is None
    assert across_refusal(1000, "f32", CUDA) is None
    assert across_refusal(1000, "f32", CPU) == (
        "bringing the channels of 1,000 values together would take the time of 25,000 products, "
        "where the 8,000 bytes that it would not move take that of 16,000"
    )


MORE_THAN_IT_SAVES = {
    "AlexNet's second layer": (pooled(MAX3, 192, 64, 32, 27), 25, CUDA),
    "ResNet's stem in float32": (pooled(MAX3, 64, 3, 32, 112, "f32"), 49, CUDA),
    "SqueezeNet's stem on a CPU": (pooled(MAX3, 64, 3, 1, 111, "f32"), 9, CPU),
    "windows of three on a CPU": (pooled(Pool("max", (3, 3)), 64, 64, 1, 54, "f32"), 1, CPU),
    "a 7 x 7 map on a CPU": (pooled(Pool("avg", (7, 7)), 2048, 512, 8, 7, "f32"), 1, CPU),
}
LESS_THAN_IT_SAVES = {
    "ResNet's stem": (pooled(MAX3, 64, 3, 32, 112), 49, CUDA),
    "SqueezeNet's stem": (pooled(MAX3, 64, 3, 32, 111), 9, CUDA_SMALL),
    "windows of three": (pooled(Pool("max", (3, 3)), 64, 64, 1, 54), 1, CUDA),
    "a 7 x 7 map of one image on a CPU": (pooled(Pool("avg", (7, 7)), 2048, 512, 1, 7), 1, CPU),
    "2 x 2 on a CPU": (pooled(Pool("max", (2, 2)), 64, 64, 1, 56, "f32"), 9, CPU),
    "2 x 2 of an odd size on a CPU": (pooled(Pool("max", (2, 2)), 64, 64, 1, 55, "f32"), 9, CPU),
}


@pytest.mark.parametrize("name", MORE_THAN_IT_SAVES)
def test_a_pool_is_refused_where_it_costs_more_than_it_saves(name):
    problem, taps, device = MORE_THAN_IT_SAVES[name]
    refusal = saving_refusal(problem, taps, 2, device)
    assert refusal is not None
    assert problem.overlaps == ("bring" in refusal)


@pytest.mark.parametrize("name", LESS_THAN_IT_SAVES)
def test_a_pool_is_taken_where_it_costs_less(name):
    problem, taps, device = LESS_THAN_IT_SAVES[name]
    assert saving_refusal(problem, taps, 2, device) is None


def test_the_refusal_of_a_pool_carries_its_numbers():
    # Tiles of 8 x 8 pixels, 3 x 3 windows: 5 x 5 of them for 13 x 13, where 27 x 27 pixels are 12.
    problem = pooled(MAX3, 10, 32, 1, 27, "f32")
    assert saving_refusal(problem, 9, 2, CPU) == (
        "its windows overlap: tiles of 64 pixels would compute 832 pixels more, 2,396,160 products,"
        " and bring 16,000 values together: the time of 2,796,160 products, where the 58,320 bytes"
        " that it would not move take that of 116,640"
    )
    assert "29,160 bytes" in saving_refusal(problem, 9, 1, CPU)
