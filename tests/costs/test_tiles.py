"""The model of kernels that multiply in tiles: against what was measured, and by itself."""

import csv
from dataclasses import replace

import pytest

from bench.tile_choice import Replay, of_cutlass, on_h200
from graphcnn.costs.counts import COUNTS
from graphcnn.costs.devices import GPUS
from graphcnn.costs.others import floor, layer_time, work_time
from graphcnn.costs.tiles import LAUNCH
from graphcnn.costs.traits import traits_of
from graphcnn.kernels import ConvProblem, ConvTile, LinearProblem, LinearTile, Pressure

WIDE = ConvProblem("f16", 512, 512, 1, 32 * 28 * 28, Pressure.LOW, taps=9)
TILE = ConvTile(128, 128, 64, 8, 3)


@pytest.mark.parametrize(("dtype", "mean", "worst"), [("f16", 0.02, 0.16), ("f32", 0.011, 0.14)])
def test_the_first_choice_is_what_was_fast_on_an_h200(dtype, mean, worst):
    """No network takes 4 percent longer than with the best tile of every layer."""
    replay = Replay.of(list(on_h200(dtype)))
    assert replay.layers > 110
    assert replay.mean < mean
    assert replay.worst < worst
    assert len(replay.groups) == 6
    assert max(replay.groups.values()) < 0.04
    assert replay.off < 0.2


def test_a_file_of_cutlass_is_read(tmp_path):
    names = ("n", "h", "w", "c", "k", "r", "s", "p", "q", "stride_h", "stride_w")
    fixed = dict(zip(names, (256, 14, 14, 512, 512, 3, 3, 14, 14, 1, 1), strict=True)) | {
        "inst_k": 16,
        "Operation": "x_align8",
        "accum": "f32",
        "Output": "f32:nhwc",
    }
    fixed |= {"warps_m": 2, "warps_n": 2, "cta_k": 32, "stages": 3}
    rows = [
        fixed | {"cta_m": 64, "cta_n": 64, "Runtime": 2.0},
        fixed | {"cta_m": 128, "cta_n": 128, "Runtime": 1.0},
        fixed | {"cta_m": 128, "cta_n": 64, "Runtime": 1.5, "Operation": "x_align4"},
    ]
    path = tmp_path / "profile.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*fixed, "cta_m", "cta_n", "Runtime"])
        writer.writeheader()
        writer.writerows(rows)
    (found,) = of_cutlass(path)
    assert found.picked in found.measured
    assert found.loss == found.measured[found.picked] / 1000 - 1
    assert sorted(found.measured.values()) == [1000, 2000]


@pytest.mark.parametrize("name", GPUS)
def test_every_listed_tile_was_counted(name):
    traits, code = traits_of(GPUS[name]), GPUS[name].family.code
    for dtype in ("f16", "f32"):
        rows = [tile for tile in traits.linear_tiles(dtype) if tile.rows > 1]
        for tile in (*traits.conv_tiles(dtype), *rows):
            size = "x".join(map(str, tile[:5]))
            assert (code, dtype, size) in COUNTS
            if isinstance(tile, ConvTile) and traits.conv_tiles(dtype)[tile] == Pressure.HIGH:
                assert (code, dtype, f"{size} scattered") in COUNTS


def test_what_binds_a_kernel_follows_what_is_made_dearer():
    gpu = GPUS["a100"]
    assert layer_time(WIDE, TILE, gpu).bound == "tensor"
    assert layer_time(WIDE, TILE, replace(gpu, l2_rate=5)).bound == "L2"
    assert layer_time(WIDE, TILE, replace(gpu, tensor=50_000, l2_rate=1000)).bound == "issue"
    assert layer_time(WIDE, TILE, replace(gpu, dram=10, l2=0)).bound == "DRAM"
    least = WIDE._replace(pixels=49, channels=64, filters=64, taps=1)
    assert layer_time(least, ConvTile(64, 64, 64, 4, 3), GPUS["h100"]).bound == "launch"


def test_more_multiprocessors_and_fewer_pixels_take_less():
    gpu = GPUS["a100"]
    taken = layer_time(WIDE, TILE, gpu).microseconds
    assert layer_time(WIDE, TILE, replace(gpu, sms=2 * gpu.sms)).microseconds < 0.6 * taken
    half = WIDE._replace(pixels=WIDE.pixels // 2)
    assert 0.4 * taken < layer_time(half, TILE, gpu).microseconds < 0.7 * taken


def test_parts_pay_where_few_programs_have_many_steps():
    gpu, small = GPUS["h100"], WIDE._replace(pixels=14 * 14)
    few, whole = ConvTile(64, 64, 64, 4, 3), layer_time(small, ConvTile(64, 64, 64, 4, 3), gpu)
    assert layer_time(small, few._replace(parts=4), gpu).microseconds < whole.microseconds
    full = layer_time(WIDE, few, gpu)
    assert layer_time(WIDE, few._replace(parts=4), gpu).microseconds > full.microseconds


def test_a_matrix_vector_product_takes_the_time_of_its_weights():
    gpu, problem = GPUS["a100"], LinearProblem("f16", 1, 4096, 25088)
    time = layer_time(problem, LinearTile(4, 1, 1024, 4, 1), gpu)
    assert time.bound == "DRAM"
    assert 2 * 4096 * 25088 / gpu.dram / 1e3 < time.microseconds < 150


def test_no_prediction_is_below_the_floor():
    for name, gpu in GPUS.items():
        for tile in traits_of(gpu).conv:
            if WIDE.channels % tile.reduction == 0:
                flops = 2 * WIDE.filters * WIDE.channels * WIDE.taps * WIDE.pixels
                nbytes = 2 * WIDE.pixels * (WIDE.filters + WIDE.channels)
                least = floor(nbytes, flops, gpu, "f16")
                assert least < layer_time(WIDE, tile, gpu).microseconds, name


def test_a_kernel_that_only_moves_takes_the_time_of_memory_or_of_l2():
    gpu = GPUS["a100"]
    large, small = work_time(1e9, 0, gpu), work_time(1e7, 0, gpu)
    assert (large.bound, small.bound) == ("DRAM", "L2")
    assert large.microseconds > 1e9 / gpu.peaks[1] / 1e3
    assert small.microseconds - LAUNCH < 1e7 / gpu.dram / 1e3
    assert work_time(100, 0, gpu).bound == "launch"
    assert work_time(1e6, 1e12, gpu).bound == "issue"
