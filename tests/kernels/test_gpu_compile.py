"""Every kernel in every configuration the choosers return, compiled for GPUs that are not here.

No spilled registers, shared memory within a block's limit, and no shuffle in the pooled epilogue.
A few tiles may park some bytes outside of their loops.
"""

import re

import pytest
import torch
import triton

from graphcnn.gpu_code import architecture, compile_for, problems
from graphcnn.kernels import (
    CUDA,
    DEPTHWISE,
    SEPARABLE,
    ConvTile,
    Half,
    Pool,
    Pressure,
    Stage,
    View,
    cuda_traits,
    normalize_channels,
    pointwise,
    run_length,
    stages,
)
from tests.kernels.buffers import DTYPES, RELU, stage
from tests.kernels.gpu_launches import (
    AVG7,
    IN_PARTS,
    MAX2,
    MAX3,
    SILU,
    STEMS,
    WINOGRAD_TAILS,
    box,
    call_of,
    convolution,
    depthwise,
    hardest,
    in_parts,
    layer_in_parts,
    linear_layer,
    others,
    padded_image,
    residual,
    separable,
    stem,
    view,
    winograd,
)
from tests.kernels.test_stages import FUNCTIONS, step_of

CAPABILITIES = (80, 90, 100)
# Bytes per thread, by channels, pixels and reduction of a convolution's tile, and capability: what
# an exponential that is accurate everywhere, and a relu that keeps the sign of zero, cost there.
PARKED = {(128, 256, 64, 80): 24, (128, 64, 32, 90): 16}
# And where a part of a reduction begins, on 12.0, where the compiler keeps to 96 registers.
PARKED |= {(64, 64, 64, 120): 8}
match triton.__version__[:4]:
    case "3.6.":
        PARKED |= {(64, 128, 16, 120): 8, (64, 64, 16, 90): 8, (32, 128, 32, 120): 8}
        PARKED |= {(128, 128, 64, 120): 16, (64, 128, 64, 120): 8}
        PARKED |= {(32, 64, 32, capability): 8 for capability in CAPABILITIES}
    case "3.7.":
        PARKED |= {(64, 64, 16, 80): 8, (64, 128, 16, 80): 8, (64, 64, 16, 100): 16}
        PARKED |= {(128, 256, 64, 90): 80, (16, 128, None, 100): 8}
        PARKED |= {(32, 64, 32, 80): 8, (32, 64, 32, 90): 8}
    case "3.8.":
        PARKED |= {(64, 64, 16, 100): 16}


def compiled(launch, capability, parked=0):
    code = compile_for(call_of(launch), architecture(f"sm_{capability}"))
    assert problems(code) == ()
    tile = (launch.meta.get(name) for name in ("BLOCK_CH", "BLOCK_PIX", "BLOCK_RED"))
    assert code.spilled_bytes <= max(parked, PARKED.get((*tile, capability), 0))
    return code


CONV_CASES = [
    (capability, dtype, tile)
    for capability in CAPABILITIES
    for dtype in DTYPES
    for tile in cuda_traits(capability).conv_tiles(dtype)
]


@pytest.mark.parametrize(
    ("capability", "dtype", "tile"), CONV_CASES, ids=lambda v: str(v).removeprefix("ConvTile")
)
def test_conv2d(capability, dtype, tile):
    bears = cuda_traits(capability).conv_tiles(dtype)[tile]
    for tail, exports, layout, stored, channels, kernel in hardest(bears, dtype):
        launch, pressure = convolution(
            tile,
            dtype,
            tail,
            exports,
            channels=channels,
            kernel=kernel,
            layout=layout,
            stored=stored,
        )
        assert pressure == bears
        compiled(launch, capability)


@pytest.mark.parametrize(
    ("capability", "dtype", "tile"), CONV_CASES, ids=lambda v: str(v).removeprefix("ConvTile")
)
def test_conv2d_of_repeated_pixels(capability, dtype, tile):
    bears = cuda_traits(capability).conv_tiles(dtype)[tile]
    tail, exports, layout, _, channels, kernel = hardest(bears, dtype)[0]
    options = {"channels": channels, "kernel": kernel, "layout": layout}
    launch, _ = convolution(tile, dtype, tail, exports, repeats=(3, 2), **options)
    compiled(launch, capability)


DIAMOND_CASES = [
    (capability, dtype, tile)
    for capability, dtype, tile in CONV_CASES
    if cuda_traits(capability).conv_tiles(dtype)[tile] != Pressure.LOW
]


@pytest.mark.parametrize(("capability", "dtype", "tile"), DIAMOND_CASES, ids=str)
def test_conv2d_with_three_values_alive(capability, dtype, tile):
    """A diamond on the product and a sum with a residual, both read again at the end."""
    bears = cuda_traits(capability).conv_tiles(dtype)[tile]
    layout = "nchw" if bears == Pressure.HIGH else "nhwc"
    tail = (
        stage("sigmoid"),
        Stage(stages.add, (0, residual(dtype, layout).reads[1])),
        Stage(stages.mul, (1, 2)),
        Stage(stages.add, (3, 0)),
    )
    # Row-major in float32, a second output takes more registers than there are: up to 88 bytes.
    exports = (4,) if dtype == "f32" else (3, 4)
    launch, pressure = convolution(
        tile, dtype, tail, exports, channels=128, kernel=3, layout=layout
    )
    assert pressure == (Pressure.HIGH if layout == "nchw" else Pressure.NORMAL)
    compiled(launch, capability)


@pytest.mark.parametrize(("capability", "dtype", "tile"), DIAMOND_CASES, ids=str)
def test_a_gate_stays_in_registers(capability, dtype, tile):
    """tanh of a filter times sigmoid of a gate: both halves of a channel lie in one thread."""
    bears = cuda_traits(capability).conv_tiles(dtype)[tile]
    layout = "nchw" if bears == Pressure.HIGH else "nhwc"
    gate = Stage(stages.tanh, (1,)), Stage(stages.sigmoid, (2,)), Stage(stages.mul, (3, 4))
    tail = (Half(0), Half(1), *gate)
    launch, pressure = convolution(tile, dtype, tail, (5,), channels=128, kernel=3, layout=layout)
    assert pressure == (Pressure.HIGH if layout == "nchw" else Pressure.NORMAL)
    code = compiled(launch, capability).machine_code
    assert len(re.findall(r"\bSHFL\b", code)) == 0


@pytest.mark.parametrize(("capability", "dtype", "tile"), DIAMOND_CASES, ids=str)
def test_conv2d_with_a_slope_per_channel_and_a_choice(capability, dtype, tile):
    """where(h > number, h, number) of h = prelu(product)."""
    bears = cuda_traits(capability).conv_tiles(dtype)[tile]
    shape, memory = (32, 256, 57, 57), torch.empty(256)
    slope, number = View(memory, shape, (0, 1, 0, 0), "f32"), View(memory, shape, (0,) * 4, "f32")
    tail = (
        Stage(stages.prelu, (0, slope)),
        Stage(stages.gt, (1, number)),
        Stage(stages.where, (2, 1, number)),
    )
    layout = "nchw" if bears == Pressure.HIGH else "nhwc"
    launch, pressure = convolution(tile, dtype, tail, (3,), channels=128, kernel=3, layout=layout)
    assert pressure == bears
    compiled(launch, capability)


# The instruction of the tensor cores that takes most products at once.
PRODUCTS = {80: "HMMA", 90: "HGMMA", 100: "UTCHMMA", 120: "HMMA"}


@pytest.mark.parametrize(
    ("capability", "tile"), [(c, tile) for c, dtype, tile in CONV_CASES if dtype == "f16"], ids=str
)
def test_matrix_instruction(capability, tile):
    launch, _ = convolution(tile, "f16", (RELU,), (1,), channels=128, kernel=3, layout="nhwc")
    code = compiled(launch, capability).machine_code
    assert set(re.findall(r"\b(?:H|HG|UTCH)MMA\b", code)) == {PRODUCTS[capability]}


def test_only_tiles_of_64_channels_where_tensor_cores_take_as_many():
    for capability in (90, 100):
        tiles = cuda_traits(capability).conv_tiles("f16")
        assert min(tile.channels for tile in tiles) == 64


def divisions(launch, capability):
    """Instructions that multiply by what a divisor's reciprocal is."""
    code = compile_for(call_of(launch), architecture(f"sm_{capability}"))
    return len(re.findall(r"\bIMAD\.HI\b", code.machine_code))


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_pixels_that_follow_one_another_take_no_division(capability):
    """Those of a 1x1 convolution; and those of any that are stored, which have coordinates where
    they are row-major."""
    tile = ConvTile(128, 128, 64, 8, 3)
    options = {"channels": 256, "layout": "nhwc"}
    tail = (residual("f16"), RELU)
    same, _ = convolution(tile, "f16", tail, (2,), kernel=1, **options)
    assert divisions(same, capability) == 0
    dense, row_major = (
        convolution(tile, "f16", (RELU,), (1,), kernel=3, stored=stored, **options)[0]
        for stored in ("nhwc", "nchw")
    )
    # With Triton 3.6 row-major ones take few as well.
    fewer = 1 if triton.__version__.startswith("3.6.") else 4
    assert 0 < fewer * divisions(dense, capability) < divisions(row_major, capability)


IN_PARTS_CASES = [
    (dtype, tile, capability)
    for dtype, tiles in IN_PARTS.items()
    for tile in tiles
    for capability in (*CAPABILITIES, 120)
    if cuda_traits(capability).most_parts(dtype) > 1
]


@pytest.mark.parametrize(("dtype", "tile", "capability"), IN_PARTS_CASES, ids=str)
def test_parts(dtype, tile, capability):
    for tail in ((stage("add", view((1, 512, 14, 14), dtype)), RELU), (SILU, MAX3)):
        for launch in in_parts(tile, dtype, tail):
            compiled(launch, capability)


@pytest.mark.parametrize("tile", cuda_traits(100).conv_tiles("f32"), ids=str)
def test_pixels_in_a_row_in_parts(tile):
    """Where four warps of 64 x 64 x 16 spill."""
    for launch in in_parts(tile._replace(parts=2), "f32", (RELU,), kernel=1):
        assert compiled(launch, 100).spilled_bytes == 0


@pytest.mark.parametrize("capability", [*CAPABILITIES, 120])
@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_in_parts(dtype, capability):
    for tile in CUDA.linear_tiles(dtype):
        for launch in layer_in_parts(tile, dtype):
            compiled(launch, capability)


POOLED_CASES = [case for case in CONV_CASES if case[0] in (80, 90)]


@pytest.mark.parametrize(("capability", "dtype", "tile"), POOLED_CASES, ids=str)
def test_pooled_epilogue_stays_in_registers(capability, dtype, tile):
    launch, _ = convolution(tile, dtype, (RELU, MAX2), (2,), channels=128, kernel=3, layout="nhwc")
    code = compiled(launch, capability).machine_code
    assert len(re.findall(r"\bSHFL\b", code)) == 0
    products = re.findall(r"\bHG?MMA\S*", code)
    assert products
    assert all(("TF32" in product) == (dtype == "f32") for product in products)


@pytest.mark.parametrize(("capability", "dtype", "tile"), CONV_CASES, ids=str)
def test_pools_of_large_windows(capability, dtype, tile):
    """Windows that overlap, behind a residual, and the sum of a map."""
    add = residual(dtype)
    scattered = cuda_traits(capability).conv_tiles(dtype)[tile] == Pressure.HIGH
    channels, kernel = (3, 7) if scattered else (128, 3)
    for pool in (MAX3, AVG7):
        options = {"channels": channels, "kernel": kernel, "layout": "nhwc"}
        if pool.pixels > tile.pixels:
            with pytest.raises(ValueError, match="a tile has 32"):
                convolution(tile, dtype, (add, RELU, pool), (3,), **options)
            continue
        launch, _ = convolution(tile, dtype, (add, RELU, pool), (3,), **options)
        compiled(launch, capability)


ACROSS_CASES = [("f16", ConvTile(128, 64, 32, 8, 3)), ("f32", ConvTile(128, 64, 16, 8, 3))]


@pytest.mark.parametrize(("dtype", "tile"), ACROSS_CASES, ids=str)
def test_channels_brought_together(dtype, tile):
    """AlexNet's first layer: a normalisation across channels, and windows that overlap."""
    norm = Stage(normalize_channels, (-1,), (5, 5e-4, 0.75, 2.0, 96), across=True)
    options = {"channels": 3, "kernel": 11, "layout": "nchw", "out_channels": 96}
    launch, pressure = convolution(tile, dtype, (RELU, norm, MAX3), (3,), **options)
    assert pressure == Pressure.HIGH
    compiled(launch, 90)


STEM_CASES = [
    (capability, dtype, tile)
    for capability in (*CAPABILITIES, 120)
    for dtype in DTYPES
    for tile in cuda_traits(capability).stem[dtype]
]


@pytest.mark.parametrize(
    ("capability", "dtype", "tile"), STEM_CASES, ids=lambda v: str(v).removeprefix("ConvTile")
)
def test_stem_conv2d(capability, dtype, tile):
    """Every copy is asynchronous, of 16 bytes but for pixels at odd strides in half precision."""
    bears = cuda_traits(capability).stem[dtype][tile]
    for tail, exports, _, stored, _, _ in hardest(bears, dtype):
        compiled(stem(tile, dtype, tail, exports, STEMS[0], stored), capability)
    for form in STEMS:
        if run_length(form.taps) % tile.reduction == 0:
            code = compiled(stem(tile, dtype, (RELU,), (1,), form), capability)
            copies = re.findall(r"cp\.async\.c[ag]\.shared\.global.*?0x(\d+)", code.assembly)
            narrow = dtype != "f32" and form.stride % 2
            assert set(copies) == ({"8", "10"} if narrow else {"10"})
            assert re.search(r"\bH\w*MMA|UTCHMMA", code.machine_code)


@pytest.mark.parametrize("capability", [*CAPABILITIES, 120])
@pytest.mark.parametrize("dtype", DTYPES)
def test_padded_images(dtype, capability):
    for form in STEMS:
        compiled(padded_image(dtype, form), capability)


BOX_CASES = [(c, tile) for c in (90, 100, 120) for tile in cuda_traits(c).box]
# Type, size of a filter and stride, and the dimensions of what it reads.
BOXES = [("f16", 1, 1, 2), ("bf16", 1, 1, 2), ("f16", 1, 2, 5)]
BOXES += [("f16", 3, 1, 4), ("bf16", 3, 1, 4), ("f16", 3, 2, 5)]


@pytest.mark.parametrize(("dtype", "kernel", "stride", "rank"), BOXES)
@pytest.mark.parametrize(("capability", "tile"), BOX_CASES, ids=str)
def test_conv2d_box(dtype, capability, tile, kernel, stride, rank):
    """The copy engine loads all that is multiplied, and tensor cores read it where it lies."""
    tails = hardest(cuda_traits(capability).box[tile], dtype)
    if kernel > 1 == stride:
        tails += [((SILU, MAX3), (2,), "nhwc", "nhwc", 128, 3)]
    for tail, exports, _, stored, _, _ in tails:
        if rank == 2 and any(isinstance(step, Pool) for step in tail):
            continue
        code = compiled(box(tile, dtype, tail, exports, kernel, stride, stored), capability)
        assert f"cp.async.bulk.tensor.{rank}d" in code.assembly
        assert "UTMALDG" in code.machine_code
        assert "LDGSTS" not in code.machine_code
        assert re.search(rf"\b{PRODUCTS[capability]}", code.machine_code)


@pytest.mark.parametrize(("capability", "tile"), BOX_CASES, ids=str)
def test_pooled_boxes_stay_in_registers(capability, tile):
    """Windows of 28 of 32 columns; on 12.0 those of narrower boxes do not."""
    if capability == 120 and tile.pixels == 64:
        pytest.skip("its boxes of 57 columns are narrower")
    code = compiled(box(tile, "f16", (RELU, MAX2), (2,), 3), capability)
    assert "SHFL" not in code.machine_code


LINEAR_CASES = [(dtype, tile) for dtype in DTYPES for tile in CUDA.linear_tiles(dtype)]


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize(("dtype", "tile"), LINEAR_CASES, ids=str)
def test_linear(dtype, tile, capability):
    for length in (4096, 1001):
        compiled(linear_layer(tile, dtype, length), capability)


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("tile", DEPTHWISE, ids=str)
def test_depthwise_conv2d(tile, capability):
    for dtype, layout in (("f32", "nhwc"), ("f16", "nchw")):
        compiled(depthwise(tile, dtype, layout), capability)


@pytest.mark.parametrize("capability", [*CAPABILITIES, 120])
@pytest.mark.parametrize("tile", SEPARABLE, ids=str)
def test_separable_conv2d(tile, capability):
    for dtype, layout, channels in (("f32", "nhwc", 144), ("f16", "nhwc", 96), ("f16", "nchw", 96)):
        compiled(separable(tile, dtype, layout, channels), capability)


# Tail and capability of the one that Triton 3.8 keeps to 128 registers, and spills.
WORST = ("two outputs of a residual", 80)


@pytest.mark.parametrize("capability", [*CAPABILITIES, 120])
@pytest.mark.parametrize("tile", CUDA.winograd_f32, ids=str)
@pytest.mark.parametrize("name", WINOGRAD_TAILS)
def test_winograd_conv2d(tile, capability, name, request):
    if triton.__version__.startswith("3.8.") and (name, capability) == WORST:
        request.applymarker(pytest.mark.xfail(strict=True, reason="8 bytes spilled in its loop"))
    code = compiled(winograd(tile, name), capability)
    products = re.findall(r"\bH\w*MMA\S*", code.machine_code)
    assert products
    assert all("TF32" in product for product in products)


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize(("dtype", "layout"), [("f32", "nhwc"), ("f16", "nchw"), ("bf16", "nhwc")])
def test_others(dtype, layout, capability):
    for launch in others(dtype, layout).values():
        compiled(launch, capability)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_element(name):
    """Without spills. Roots are IEEE's: other functions of libdevice flush the smallest numbers."""
    x = view((8, 96, 57, 57), "f32")
    code = compiled(pointwise(x, x, (step_of(name),)), 90)
    if name in ("sqrt", "rsqrt", "pow_half"):
        assert "sqrt.rn.f32" in code.assembly
        assert ".ftz" not in code.assembly
