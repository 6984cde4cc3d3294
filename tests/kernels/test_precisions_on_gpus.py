"""Float32 in tf32 and as it is: every tile compiled for GPUs that are not here.

No spilled registers, shared memory within a block's limit, and products of tf32 or none.
"""

import re

import pytest
import triton

from graphcnn.kernels import SEPARABLE, Pressure, cuda_traits, in_precision
from tests.kernels.gpu_launches import PRECISIONS, convolution, hardest, linear_layer, separable
from tests.kernels.test_gpu_compile import compiled

CAPABILITIES = (80, 90, 100, 120)
# Bytes per thread that a separable convolution keeps outside of its loops.
PARKED = 24
# What an exponential that is accurate everywhere costs outside of one loop, ahead of a row-major
# pool, on 8.0.
PARKED_ROUNDING = {(80, "tf32 rounds", (64, 128, 32)): 8}
# Channels and pixels, precision and capability of the one that Triton 3.6 makes no better.
WORST = ((128, 64), "ieee", 100)


def row(capability, way):
    return in_precision(cuda_traits(capability), PRECISIONS[way]["precision"])


def assert_multiplies(code, way):
    """Each product is one of tf32, in the operands' own type, or none of a tensor core."""
    products = re.findall(r"\b(?:wgmma|mma|tcgen05)\S*mma\S*|\bmma\.sync\S*", code.assembly)
    assert all("tf32" in product for product in products), products[:4]
    assert bool(products) == (way != "ieee")


CONV_CASES = [
    (capability, way, tile)
    for capability in CAPABILITIES
    for way in PRECISIONS
    for tile in row(capability, way).conv_f32
]


@pytest.mark.parametrize(
    ("capability", "way", "tile"), CONV_CASES, ids=lambda v: str(v).removeprefix("ConvTile")
)
def test_conv2d(capability, way, tile):
    bears = row(capability, way).conv_f32[tile]
    for tail, exports, layout, stored, channels, kernel in hardest(bears, "f32"):
        launch, pressure = convolution(
            tile,
            "f32",
            tail,
            exports,
            channels=channels,
            kernel=kernel,
            layout=layout,
            stored=stored,
            **PRECISIONS[way],
        )
        assert pressure == bears
        parked = PARKED_ROUNDING.get((capability, way, tile[:3]), 0)
        assert_multiplies(compiled(launch, capability, parked), way)


LINEAR_CASES = [
    (capability, way, tile)
    for capability in CAPABILITIES
    for way in PRECISIONS
    for tile in row(capability, way).linear_f32
    if tile.rows > 1
]


@pytest.mark.parametrize(("capability", "way", "tile"), LINEAR_CASES, ids=str)
def test_linear(capability, way, tile):
    for length in (4096, 1001):
        launch = linear_layer(tile, "f32", length, **PRECISIONS[way])
        assert_multiplies(compiled(launch, capability), way)


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("way", ["tf32", "ieee"])
@pytest.mark.parametrize("tile", SEPARABLE, ids=str)
def test_separable_conv2d(tile, way, capability, request):
    if triton.__version__.startswith("3.6.") and (tile[:2], way, capability) == WORST:
        request.applymarker(pytest.mark.xfail(strict=True, reason="16 bytes spilled in its loop"))
    launch = separable(tile, "f32", "nhwc", 144, precision=way)
    assert_multiplies(compiled(launch, capability, PARKED), way)


def test_tf32_takes_the_tiles_of_half_precision_at_half_the_reduction():
    for capability in CAPABILITIES:
        half, tf32 = cuda_traits(capability).conv, row(capability, "tf32").conv_f32
        assert {t._replace(reduction=2 * t.reduction) for t in tf32} < half.keys()
        assert Pressure.HIGH in tf32.values()
