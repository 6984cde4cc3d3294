"""Float32 in tf32 and as it is: every tile compiled for GPUs that are not here.

No spilled registers, shared memory within a block's limit, and products of tf32 or none.
"""

import re

import pytest

from graphcnn.kernels import (
    SEPARABLE,
    Head,
    Pressure,
    Stage,
    cuda_traits,
    in_precision,
    linear,
    separable_conv2d,
    stages,
)
from tests.kernels.buffers import stage
from tests.kernels.test_gpu_compile import SILU, compiled, convolution, hardest, residual, view

CAPABILITIES = (80, 90, 100, 120)
# Bytes per thread that a separable convolution keeps outside of its loops.
PARKED = 24
# tf32: what the kernel loads is rounded already, or it rounds it; float32 is as it is.
WAYS = {
    "tf32": {"precision": "tf32", "rounded": True},
    "tf32 rounds": {"precision": "tf32", "rounded": False},
    "ieee": {"precision": "ieee"},
}


def row(capability, way):
    return in_precision(cuda_traits(capability), WAYS[way]["precision"])


def assert_multiplies(binary, way):
    """Each product is one of tf32, in the operands' own type, or none of a tensor core."""
    products = re.findall(r"\b(?:wgmma|mma|tcgen05)\S*mma\S*|\bmma\.sync\S*", binary.ptx)
    assert all("tf32" in product for product in products), products[:4]
    assert bool(products) == (way != "ieee")


CONV_CASES = [
    (capability, way, tile)
    for capability in CAPABILITIES
    for way in WAYS
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
            **WAYS[way],
        )
        assert pressure == bears
        assert_multiplies(compiled(launch, capability), way)


LINEAR_CASES = [
    (capability, way, tile)
    for capability in CAPABILITIES
    for way in WAYS
    for tile in row(capability, way).linear_f32
    if tile.rows > 1
]


@pytest.mark.parametrize(("capability", "way", "tile"), LINEAR_CASES, ids=str)
def test_linear(capability, way, tile):
    for length in (4096, 1001):
        launch = linear(
            view((tile.rows, length), "f32"),
            view((1000, length), "f32"),
            view((1000,), "f32"),
            [view((tile.rows, 1000), "f32")] * 2,
            tail=(stage("add", view((tile.rows, 1000), "f32")), SILU),
            exports=(0, 2),
            tile=tile,
            **WAYS[way],
        )
        assert_multiplies(compiled(launch, capability), way)


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("way", ["tf32", "ieee"])
@pytest.mark.parametrize("tile", SEPARABLE, ids=str)
def test_separable_conv2d(tile, way, capability):
    scale = view((1, 144, 1, 1), "f32")
    launch = separable_conv2d(
        view((32, 144, 114, 114), "f32"),
        view((256, 144), "f32"),
        view((256,), "f32"),
        [view((32, 256, 57, 57), "f32")],
        head=Head(
            view((144, 9), "f32"),
            view((144,), "f32"),
            (Stage(stages.batch_norm, (-1, scale, scale)), stage("silu")),
        ),
        kernel=(3, 3),
        stride=(2, 2),
        padding=(1, 1),
        dilation=(1, 1),
        out_size=(57, 57),
        tail=(residual("f32"), stage("relu")),
        tile=tile,
        precision=way,
    )
    assert_multiplies(compiled(launch, capability, PARKED), way)


def test_tf32_takes_the_tiles_of_half_precision_at_half_the_reduction():
    for capability in CAPABILITIES:
        half, tf32 = cuda_traits(capability).conv, row(capability, "tf32").conv_f32
        assert {t._replace(reduction=2 * t.reduction) for t in tf32} < half.keys()
        assert Pressure.HIGH in tf32.values()
