"""GPUs as data."""

import pytest

from graphcnn.costs.devices import GPUS, gpu_like
from graphcnn.costs.traits import traits_of
from graphcnn.kernels import ConvTile

# Dense TFLOP/s of float16 summed in float32, of the data sheets.
SHEETS = {
    "t4": 65,
    "a100": 312,
    "a10": 125,
    "rtx3070": 40.6,
    "l4": 121,
    "l40": 181,
    "l40s": 362,
    "rtx4090": 165,
    "h100": 989,
    "h200": 989,
    "b200": 2250,
    "rtxpro6000": 504,
    "mi300x": 1307,
}


@pytest.mark.parametrize("name", GPUS)
def test_the_peak_is_that_of_the_data_sheet(name):
    gpu = GPUS[name]
    peak = 2 * gpu.tensor * gpu.sms * gpu.peaks[0] / 1e3
    assert peak == pytest.approx(SHEETS[name], rel=0.03)
    assert gpu.dram <= gpu.peaks[1]
    assert gpu.clock <= gpu.peaks[0] * 1.02


@pytest.mark.parametrize(
    ("told", "name"),
    [
        (("NVIDIA H200", 90, 132), "h200"),
        (("NVIDIA H100 80GB HBM3", 90, 114), "h100"),
        (("NVIDIA GH200 480GB", 90, 132), "h200"),
        (("NVIDIA A100-SXM4-80GB", 80, 108), "a100"),
        (("NVIDIA A30", 80, 56), "a100"),
        (("NVIDIA GeForce RTX 3060", 86, 28), "a10"),
        (("NVIDIA L40S", 89, 142), "l40s"),
        (("NVIDIA GeForce RTX 5090", 120, 170), "rtxpro6000"),
        (("NVIDIA GB10", 121, 48), "rtxpro6000"),
        (("NVIDIA Jetson AGX Orin", 87, 16), "a10"),
        (("NVIDIA B300", 103, 148), "b200"),
    ],
)
def test_a_device_is_like_a_row_with_its_own_multiprocessors(told, name):
    found = gpu_like(*told)
    assert (found.name, found.sms) == (name, told[2])
    assert traits_of(found).programs == told[2]


@pytest.mark.parametrize("name", ["a10", "rtx3070", "l4", "l40s", "rtx4090", "rtxpro6000"])
def test_the_largest_tile_is_not_for_small_shared_memories(name):
    assert ConvTile(128, 256, 64, 8, 3) not in traits_of(GPUS[name]).conv


@pytest.mark.parametrize("name", ["h100", "h200", "b200"])
def test_no_tile_of_half_precision_misses_the_wide_instructions(name):
    assert all(tile.channels >= 64 for tile in traits_of(GPUS[name]).conv)
