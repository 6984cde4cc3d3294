import json
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcnn.kernels import (
    CPU,
    CPU_BF16,
    CUDA,
    CUDA_SMALL,
    HOPPER,
    ConvProblem,
    LinearProblem,
    Maps,
    Pool,
    Pooled,
    Pressure,
    SeparableProblem,
    Stage,
    by_rule,
    choices,
    conv_pressure,
    cpu_traits,
    depthwise_conv2d,
    directly,
    separable_conv2d,
    stages,
    work_of,
)
from tests.kernels.buffers import randn, stage, view_of

DEVICES = st.sampled_from([CPU, CPU_BF16, CUDA, CUDA_SMALL, HOPPER])
TYPES = st.sampled_from(["f32", "f16", "bf16"])
COUNTS = st.integers(1, 5000)
MEASURED = Path(__file__).parents[2] / "bench/results/h200_tiles.json"


@given(DEVICES, TYPES, COUNTS, COUNTS, st.integers(1, 10**7), st.sampled_from(Pressure))
def test_conv_choice_is_listed_and_bears_the_pressure(device, dtype, k, c, pixels, pressure):
    problem = ConvProblem(dtype, k, c, 1, pixels, pressure)
    tile = by_rule(problem, choices(problem, device), device).tile
    if c % tile.reduction:  # flattened: the most scattered addresses
        pressure = Pressure.HIGH
    assert device.conv_tiles(dtype)[tile._replace(parts=1)] >= pressure


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


@given(DEVICES, TYPES, COUNTS, COUNTS, COUNTS)
def test_linear_choice_is_listed_and_serves_the_rows(device, dtype, rows, features, reduction):
    problem = LinearProblem(dtype, rows, features, reduction)
    tile = by_rule(problem, choices(problem, device), device).tile
    assert tile._replace(parts=1) in device.linear_tiles(dtype)
    assert (tile.rows == 1) == (rows == 1)


@pytest.mark.parametrize(
    ("features", "reduction", "tile"),
    [
        (4096, 25088, (128, 64, 512)),
        (1000, 4096, (128, 64, 512)),
        (512, 9216, (64, 64, 512)),
        (10, 84, (32, 64, 4)),
        (84, 121, (32, 64, 1)),
    ],
)
def test_one_kernel_of_the_cpu_serves_several_rows(features, reduction, tile):
    for rows in (2, 64, 1000):
        problem = LinearProblem("f32", rows, features, reduction)
        assert by_rule(problem, choices(problem, CPU), CPU).tile[:3] == tile


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
        found = [choice for choice in choices(problem, HOPPER) if choice.tile.parts == 1]
        times = {
            choice: row["microseconds"]["x".join(map(str, choice.tile[:-1]))]
            for choice in found
            if "x".join(map(str, choice.tile[:-1])) in row["microseconds"]
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
    ("channels", "tile"), [(16, 16), (32, 32), (96, 128), (144, 256), (960, 256)]
)
def test_a_cpu_makes_most_channels_of_a_depthwise_convolution_at_once(channels, tile):
    problem = ConvProblem("f32", 1, 1, channels, 56 * 56, Pressure.LOW)
    assert by_rule(problem, choices(problem, CPU), CPU).tile[:2] == (tile, 64)


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


def test_pairs_halve_the_price_of_direct_sums():
    def price(dtype, device):
        maps = Maps(1, (56, 56), (2, 4))
        problem = ConvProblem(dtype, 128, 128, 1, 56 * 56, Pressure.LOW, maps=maps)
        return work_of(directly(problem, choices(problem, device), device), problem, device).time

    assert cpu_traits(bf16=False) is CPU
    assert cpu_traits(bf16=True) is CPU_BF16
    assert price("bf16", CPU_BF16) < 0.6 * price("bf16", CPU)
    assert price("f16", CPU_BF16) == price("f16", CPU) == price("bf16", CPU)


@pytest.mark.parametrize(
    ("channels", "side", "outputs"),
    [(512, 1, 0), (512, 4, 0), (512, 7, 2), (256, 2, 0), (256, 7, 2), (128, 4, 0), (64, 8, 2)],
)
def test_minimal_filtering_is_not_for_maps_of_a_few_pixels(channels, side, outputs):
    """By measured times: its filters take more bytes, and it has tiles that hold no pixel."""
    maps = Maps(1, (side, side), (2, 4))
    problem = ConvProblem("f32", channels, channels, 1, side * side, Pressure.LOW, maps=maps)
    tile = by_rule(problem, choices(problem, CPU), CPU).tile
    assert getattr(tile, "outputs", 0) == outputs


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
