import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcnn.kernels import (
    Pressure,
    choose_conv_tile,
    choose_linear_tile,
    conv_tiles,
    linear_tiles,
)

DEVICES = st.sampled_from(["cpu", "cuda"])
TYPES = st.sampled_from(["f32", "f16", "bf16"])
COUNTS = st.integers(1, 5000)


@given(DEVICES, TYPES, COUNTS, st.integers(1, 10**7), COUNTS, st.sampled_from(Pressure))
def test_conv_choice_is_listed_and_bears_the_pressure(device, dtype, k, pixels, c, pressure):
    tile = choose_conv_tile(device, dtype, k, pixels, c, pressure)
    if c % tile.reduction:  # flattened: the most scattered addresses
        pressure = Pressure.HIGH
    assert tile in conv_tiles(device, dtype, pressure)


@given(DEVICES, TYPES, COUNTS)
def test_linear_choice_is_listed_and_serves_the_rows(device, dtype, rows):
    tile = choose_linear_tile(device, dtype, rows)
    assert tile in linear_tiles(device, dtype)
    assert (tile.rows == 1) == (rows == 1)


@pytest.mark.parametrize(
    ("problem", "tile"),
    [
        ((512, 32 * 28 * 28, 256, Pressure.LOW), (128, 256, 64)),
        ((512, 32 * 28 * 28, 256, Pressure.NORMAL), (128, 128, 64)),
        ((512, 14 * 14, 512, Pressure.LOW), (64, 64, 64)),
        ((64, 224 * 224, 3, Pressure.HIGH), (64, 64, 32)),
        ((10, 224 * 224, 96, Pressure.NORMAL), (32, 64, 32)),
    ],
)
def test_conv_choices_on_cuda(problem, tile):
    assert choose_conv_tile("cuda", "f16", *problem)[:3] == tile
