"""Every kernel in every configuration the choosers return, compiled for GPUs that are not here.

No spilled registers, shared memory within a block's limit, and no shuffle in the pooled epilogue.
A few tiles may park some bytes outside of their loops.
"""

import re

import pytest
import torch
import triton

from graphcnn.kernels import (
    CUDA,
    DEPTHWISE,
    SEPARABLE,
    ConvTile,
    Half,
    Head,
    Places,
    Pool,
    Pressure,
    Stage,
    View,
    adaptive_pool2d,
    avg_pool2d,
    conv1x1_box,
    conv2d,
    conv2d_in_parts,
    conv_pressure,
    copy,
    cuda_traits,
    depthwise_conv2d,
    global_avg_pool2d,
    interpolate,
    linear,
    linear_in_parts,
    local_response_norm,
    max_pool2d,
    normalize_channels,
    pad,
    padded,
    padded_shape,
    pointwise,
    random_normal,
    random_uniform,
    reduction,
    roll,
    run_length,
    separable_conv2d,
    softmax,
    stages,
    standardize,
    stem_conv2d,
    winograd_conv2d,
)
from tests.gpu_compiler import compile_for_gpu_like
from tests.kernels.buffers import DTYPES, RELU, stage
from tests.kernels.test_stages import FUNCTIONS, step_of
from tests.stand_in_gpu import SHARED_BYTES

CAPABILITIES = (80, 90, 100)
# Bytes per thread, by channels, pixels and reduction of a convolution's tile, and capability: what
# an exponential that is accurate everywhere, and a relu that keeps the sign of zero, cost there.
PARKED = {(128, 256, 64, 80): 24, (128, 64, 32, 90): 16}
# And where a part of a reduction begins, on 12.0, where the compiler keeps to 96 registers.
PARKED |= {(64, 64, 64, 120): 8}
if triton.__version__.startswith("3.7."):
    PARKED |= {(64, 64, 16, 80): 8, (128, 256, 64, 90): 80, (16, 128, None, 100): 8}
# Of local memory, in which libdevice turns large angles by a table of seven words; some versions of
# ptxas leave it there.
ANGLE = 32
MAX2 = Pool("max", (2, 2))
MAX3 = Pool("max", (3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
AVG7 = Pool("avg", (7, 7))
SILU = stage("silu")


def view(shape, dtype, layout="nhwc"):
    """A view whose size nothing here reads: only the compiler sees it."""
    strides = [1]
    order = (0, 2, 3, 1) if len(shape) == 4 and layout == "nhwc" else range(len(shape))
    for d in reversed([shape[i] for i in order][1:]):
        strides.insert(0, strides[0] * d)
    logical = [0] * len(shape)
    for position, d in enumerate(order):
        logical[d] = strides[position]
    return View(torch.empty(16, dtype=DTYPES[dtype]), tuple(shape), tuple(logical), dtype)


def compiled(launch, capability, parked=0, *, turns=False):
    binary = compile_for_gpu_like(launch.kernel, launch.args, launch.meta, capability)
    if turns or launch.kernel.__name__ == "random_kernel":
        assert binary.spills in (0, ANGLE)
    elif binary.spills:
        told = f"{binary.spills} bytes spilled, {binary.registers} registers"
        tile = (launch.meta.get(name) for name in ("BLOCK_CH", "BLOCK_PIX", "BLOCK_RED"))
        assert binary.spills <= max(parked, PARKED.get((*tile, capability), 0)), told
        assert not binary.spills_in_loops(), told
    assert binary.shared_bytes <= SHARED_BYTES[capability]
    return binary


def convolution(
    tile,
    dtype,
    tail,
    exports,
    *,
    channels,
    kernel,
    layout,
    stored=None,
    out_channels=256,
    repeats=(1, 1),
    **multiplied,
):
    """3x3 or 7x7, padded, batch 32, of a size odd enough to need partial windows."""
    size = 57
    shapes = [(32, out_channels, size, size)]
    for step in tail:
        n, c, h, w = shapes[-1]
        shapes.append((n, c, *step.size(h, w)) if isinstance(step, Pool) else shapes[-1])
    if tail[:1] == (Half(0),):
        shapes[-1] = (32, out_channels // 2, size, size)
    taps = kernel * kernel
    x = view((32, channels, size // repeats[0], size // repeats[1]), dtype, layout)
    outputs = [view(shapes[e], dtype, stored or layout) for e in exports]
    launch = conv2d(
        x,
        view((out_channels, taps * channels), dtype),
        view((out_channels,), dtype),
        outputs,
        kernel=(kernel, kernel),
        stride=(1, 1),
        padding=(kernel // 2, kernel // 2),
        dilation=(1, 1),
        groups=1,
        out_size=(size, size),
        tail=tail,
        exports=exports,
        tile=tile,
        repeats=repeats,
        **multiplied,
    )
    return launch, conv_pressure(x, outputs, tail, (kernel, kernel))


def residual(dtype, layout="nhwc"):
    return stage("add", view((32, 256, 57, 57), dtype, layout))


def hardest(pressure, dtype):
    """The most demanding convolutions of each pressure.

    Tail and exports, layouts of what is read and stored, C, and the size of a filter.
    """
    if pressure == Pressure.LOW:
        add = residual(dtype)
        return [
            ((SILU,), (1,), "nhwc", "nhwc", 128, 3),
            ((add, RELU, MAX2), (3,), "nhwc", "nhwc", 128, 3),
        ]
    if pressure == Pressure.NORMAL:
        add = residual(dtype)
        return [
            ((add, SILU), (1, 2), "nhwc", "nhwc", 128, 3),
            ((add, RELU, MAX2), (2, 3), "nhwc", "nhwc", 128, 7),
            ((add, SILU, MAX2), (3,), "nhwc", "nchw", 128, 3),
        ]
    add = residual(dtype, "nchw")
    return [
        ((add, SILU), (1, 2), "nchw", "nchw", 128, 3),
        ((add, RELU, MAX2), (2, 3), "nchw", "nchw", 3, 7),
    ]


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
    code = compiled(launch, capability).sass()
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
PRODUCTS = {80: "HMMA", 90: "HGMMA", 100: "UTCHMMA"}


@pytest.mark.parametrize(
    ("capability", "tile"), [(c, tile) for c, dtype, tile in CONV_CASES if dtype == "f16"], ids=str
)
def test_matrix_instruction(capability, tile):
    launch, _ = convolution(tile, "f16", (RELU,), (1,), channels=128, kernel=3, layout="nhwc")
    code = compiled(launch, capability).sass()
    assert set(re.findall(r"\b(?:H|HG|UTCH)MMA\b", code)) == {PRODUCTS[capability]}


def test_only_tiles_of_64_channels_where_tensor_cores_take_as_many():
    for capability in (90, 100):
        tiles = cuda_traits(capability).conv_tiles("f16")
        assert min(tile.channels for tile in tiles) == 64


def divisions(launch, capability):
    """Instructions that multiply by what a divisor's reciprocal is."""
    binary = compile_for_gpu_like(launch.kernel, launch.args, launch.meta, capability)
    return len(re.findall(r"\bIMAD\.HI\b", binary.sass()))


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
    assert 0 < 4 * divisions(dense, capability) < divisions(row_major, capability)


PARTS_CASES = [
    ("f16", ConvTile(128, 128, 64, 8, 3, 4)),
    ("bf16", ConvTile(64, 64, 64, 4, 3, 16)),
    ("f32", ConvTile(64, 64, 16, 4, 3, 16)),
]


@pytest.mark.parametrize("capability", [*CAPABILITIES, 120])
@pytest.mark.parametrize(("dtype", "tile"), PARTS_CASES, ids=str)
def test_parts(dtype, tile, capability, request):
    if (dtype, capability) == ("f32", 120):
        because = "24 bytes spill, and three accesses to them are in the loop"
        request.applymarker(pytest.mark.xfail(strict=True, reason=because))
    scratch = View(torch.empty(16), (10**8,), (1,), "f32")
    for tail in ((stage("add", view((1, 512, 14, 14), dtype)), RELU), (SILU, MAX3)):
        shape = (1, 512, 7, 7) if tail[-1] is MAX3 else (1, 512, 14, 14)
        launches = conv2d_in_parts(
            view((1, 512, 14, 14), dtype),
            view((512, 9 * 512), dtype),
            view((512,), dtype),
            [view(shape, dtype)],
            scratch=scratch,
            kernel=(3, 3),
            stride=(1, 1),
            padding=(1, 1),
            dilation=(1, 1),
            groups=1,
            out_size=(14, 14),
            tail=tail,
            tile=tile,
        )
        for launch in launches:
            compiled(launch, capability)


@pytest.mark.parametrize("capability", [*CAPABILITIES, 120])
@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_in_parts(dtype, capability):
    for tile in CUDA.linear_tiles(dtype):
        launches = linear_in_parts(
            view((tile.rows, 4096), dtype),
            view((1000, 4096), dtype),
            view((1000,), dtype),
            [view((tile.rows, 1000), dtype)],
            scratch=View(torch.empty(16), (10**8,), (1,), "f32"),
            tail=(SILU,),
            tile=tile._replace(parts=4),
        )
        for launch in launches:
            compiled(launch, capability)


POOLED_CASES = [case for case in CONV_CASES if case[0] in (80, 90)]


@pytest.mark.parametrize(("capability", "dtype", "tile"), POOLED_CASES, ids=str)
def test_pooled_epilogue_stays_in_registers(capability, dtype, tile):
    launch, _ = convolution(tile, dtype, (RELU, MAX2), (2,), channels=128, kernel=3, layout="nhwc")
    code = compiled(launch, capability).sass()
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
# Rows of a filter, stride and channels: ResNet, AlexNet, VGG, MobileNet, LeNet.
STEMS = ((7, 2, 3), (11, 4, 3), (3, 1, 3), (3, 2, 3), (5, 1, 1))


def stem(tile, dtype, tail, exports, taps, stride, channels, layout="nhwc", pad=False):
    """The product of a stem, or its padded image."""
    size = (57, 57)
    shapes = [(32, 256, *size)]
    for step in tail:
        n, c, h, w = shapes[-1]
        shapes.append((n, c, *step.size(h, w)) if isinstance(step, Pool) else shapes[-1])
    square, steps, before = (taps, taps), (stride, stride), (taps // 2, taps // 2)
    x = view((32, channels, 57 * stride, 57 * stride), dtype, "nchw")
    image = view(padded_shape(x, square, steps, before, size), dtype)
    if pad:
        return padded(x, image, before)
    return stem_conv2d(
        image,
        view((256, taps * run_length(taps)), dtype),
        view((256,), dtype),
        [view(shapes[e], dtype, layout) for e in exports],
        kernel=square,
        stride=steps,
        out_size=size,
        tail=tail,
        exports=exports,
        tile=tile,
    )


@pytest.mark.parametrize(
    ("capability", "dtype", "tile"), STEM_CASES, ids=lambda v: str(v).removeprefix("ConvTile")
)
def test_stem_conv2d(capability, dtype, tile):
    """Every copy is asynchronous, of 16 bytes but for pixels at odd strides in half precision."""
    bears = cuda_traits(capability).stem[dtype][tile]
    for tail, exports, _, stored, _, _ in hardest(bears, dtype):
        compiled(stem(tile, dtype, tail, exports, *STEMS[0], stored), capability)
    for taps, stride, channels in STEMS:
        if run_length(taps) % tile.reduction == 0:
            launch = stem(tile, dtype, (RELU,), (1,), taps, stride, channels)
            binary = compiled(launch, capability)
            copies = re.findall(r"cp\.async\.c[ag]\.shared\.global.*?0x(\d+)", binary.ptx)
            narrow = dtype != "f32" and stride % 2
            assert set(copies) == ({"8", "10"} if narrow else {"10"})
            assert re.search(r"\bH\w*MMA|UTCHMMA", binary.sass())


@pytest.mark.parametrize("capability", [*CAPABILITIES, 120])
@pytest.mark.parametrize("dtype", DTYPES)
def test_padded_images(dtype, capability):
    for case in STEMS:
        compiled(stem(None, dtype, (), (), *case, pad=True), capability)


@pytest.mark.parametrize("capability", [90, 100, 120])
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_conv1x1_box(dtype, capability):
    """The copy engine loads all that is multiplied, and tensor cores read it where it lies."""
    shape, channels = (32, 256, 57, 57), 128
    for tile in cuda_traits(capability).box:
        for tail, exports in (((RELU,), (1,)), ((residual(dtype), SILU), (1, 2))):
            launch = conv1x1_box(
                view((32, channels, 57, 57), dtype),
                view((256, channels), dtype),
                view((256,), dtype),
                [view(shape, dtype) for _ in exports],
                tail=tail,
                exports=exports,
                tile=tile,
            )
            binary = compiled(launch._replace(args=launch.described()), capability)
            code = binary.sass()
            assert "cp.async.bulk.tensor.2d" in binary.ptx
            assert "UTMALDG" in code
            assert "LDGSTS" not in code
            wanted = {90: "HGMMA", 100: "UTCHMMA", 120: "HMMA"}[capability]
            assert re.search(rf"\b{wanted}", code)


LINEAR_CASES = [(dtype, tile) for dtype in DTYPES for tile in CUDA.linear_tiles(dtype)]


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize(("dtype", "tile"), LINEAR_CASES, ids=str)
def test_linear(dtype, tile, capability):
    for length in (4096, 1001):
        tail = (stage("add", view((tile.rows, 1000), dtype)), SILU)
        launch = linear(
            view((tile.rows, length), dtype),
            view((1000, length), dtype),
            view((1000,), dtype),
            [view((tile.rows, 1000), dtype)] * 2,
            tail=tail,
            exports=(0, 2),
            tile=tile,
        )
        compiled(launch, capability)


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("tile", DEPTHWISE, ids=str)
def test_depthwise_conv2d(tile, capability):
    for dtype, layout in (("f32", "nhwc"), ("f16", "nchw")):
        launch = depthwise_conv2d(
            view((32, 256, 57, 57), dtype, layout),
            view((256, 9), dtype),
            view((256,), dtype),
            [view((32, 256, 57, 57), dtype, layout), view((32, 256, 28, 28), dtype, layout)],
            kernel=(3, 3),
            stride=(1, 1),
            padding=(1, 1),
            dilation=(1, 1),
            groups=256,
            out_size=(57, 57),
            tail=(residual(dtype, layout), RELU, MAX2),
            exports=(2, 3),
            tile=tile,
        )
        compiled(launch, capability)


@pytest.mark.parametrize("capability", [*CAPABILITIES, 120])
@pytest.mark.parametrize("tile", SEPARABLE, ids=str)
def test_separable_conv2d(tile, capability):
    """A step of the head with operands per channel, a residual, channels that do not divide."""
    for dtype, layout, channels in (
        ("f32", "nhwc", 144),
        ("f16", "nhwc", 96),
        ("f16", "nchw", 96),
    ):
        shape = (32, 256, 57, 57)
        scale = view((1, channels, 1, 1), "f32")
        launch = separable_conv2d(
            view((32, channels, 114, 114), dtype, layout),
            view((256, channels), dtype),
            view((256,), dtype),
            [view(shape, dtype, layout)],
            head=Head(
                view((channels, 9), dtype),
                view((channels,), dtype),
                (Stage(stages.batch_norm, (-1, scale, scale)), stage("silu")),
            ),
            kernel=(3, 3),
            stride=(2, 2),
            padding=(1, 1),
            dilation=(1, 1),
            out_size=(57, 57),
            tail=(residual(dtype, layout), RELU),
            tile=tile,
        )
        compiled(launch, capability)


WINOGRAD_TAILS = {
    "two outputs of a residual": (lambda add: (add, SILU), (1, 2)),
    "a pool, and what is pooled": (lambda add: (add, RELU, MAX2), (2, 3)),
}


@pytest.mark.parametrize("capability", [*CAPABILITIES, 120])
@pytest.mark.parametrize("tile", CUDA.winograd_f32, ids=str)
@pytest.mark.parametrize("name", WINOGRAD_TAILS)
def test_winograd_conv2d(tile, capability, name):
    tail, exports = WINOGRAD_TAILS[name]
    steps = tail(residual("f32"))
    tile = tile._replace(workers=64, parts=2)
    sizes = [(32, 256, 28, 28) if MAX2 in steps[:e] else (32, 256, 57, 57) for e in exports]
    launch = winograd_conv2d(
        view((32, 128, 57, 57), "f32"),
        view((256 // tile.channels, tile.points, tile.channels, 128), "f32"),
        view((256,), "f32"),
        [view(size, "f32") for size in sizes],
        scratch=View(torch.empty(1), (tile.scratch(128),), (1,), "f32"),
        padding=(1, 1),
        out_size=(57, 57),
        tail=steps,
        exports=exports,
        tile=tile,
    )
    binary = compiled(launch, capability)
    products = re.findall(r"\bH\w*MMA\S*", binary.sass())
    assert products
    assert all("TF32" in product for product in products)


def others(dtype, layout):
    x = view((8, 96, 57, 57), dtype, layout)
    half = view((8, 96, 28, 28), dtype, layout)
    scale = stage("mul", view((1, 96, 1, 1), dtype))
    window = {"kernel": (3, 3), "stride": (2, 2)}
    vector, width = view((1, 96, 1, 1), dtype), view((1, 1, 1, 57), dtype)
    (images, _, *size), (first, step, *rest) = x.shape, x.strides
    shape, strides = (images, 32, 3, *size), (first, 3 * step, step, *rest)
    grouped = View(x.buffer, shape, strides, dtype)
    half_way, taken = Places(0.5, 0.5, LINEAR=True), Places(0.5, 0.0, LINEAR=False)
    return {
        "max_pool2d": max_pool2d(x, half, **window),
        "avg_pool2d": avg_pool2d(x, half, count_include_pad=False, **window),
        "adaptive_max_pool2d": adaptive_pool2d(x, view((8, 96, 7, 5), dtype), pool_max=True),
        "adaptive_avg_pool2d": adaptive_pool2d(x, view((8, 96, 7, 5), dtype), pool_max=False),
        "nearest": interpolate(half, x, rows=taken, columns=taken),
        "bilinear": interpolate(half, x, rows=half_way, columns=half_way),
        **{
            kind: reduction(x, view((8, 96, 1, 1), dtype), kind=kind, axes=(2, 3))
            for kind in ("sum", "mean", "amax", "amin")
        },
        "mean_of_channels": reduction(x, view((8, 1, 57, 57), dtype), kind="mean", axes=(1,)),
        "instance_norm": standardize(x, x, vector, vector, axes=(2, 3), eps=1e-5),
        "group_norm": standardize(grouped, grouped, axes=(2, 3, 4), eps=1e-5),
        "layer_norm": standardize(x, x, width, width, axes=(3,), eps=1e-5),
        "global_avg_pool2d": global_avg_pool2d(x, view((8, 96, 1, 1), dtype)),
        "local_response_norm": local_response_norm(x, x, size=5, alpha=5e-4, beta=0.75, k=2.0),
        "softmax": softmax(x, x, axis=1),
        "log_softmax": softmax(view((8, 1000), dtype), view((8, 1000), dtype), axis=1, log=True),
        "pointwise": pointwise(x, x, (scale, stage("tanh"), stage("add", x))),
        "arithmetic": pointwise(x, x, tuple(stage(n, x) for n in ("div", "sub", "maximum"))),
        "comparisons": pointwise(x, x, tuple(stage(n, x) for n in ("eq", "gt", "le", "prelu"))),
        "where": pointwise(x, x, (Stage(stages.where, (0, x, x)),)),
        "copy": copy(x, view(x.shape, dtype, "nchw")),
        "pixel_shuffle": copy(six(x, 28), six(view(x.shape, dtype, "nchw"), 28)),
        "roll": roll(x, x, shifts={1: 3, 2: 5, 3: -1}),
        **{
            mode: pad(half, x, begins=(0, 0, 14, 9), mode=mode)
            for mode in ("constant", "replicate")
        },
        **{
            mode: pad(half, view((8, 96, 41, 40), dtype), begins=(0, 0, 7, 9), mode=mode)
            for mode in ("reflect", "circular")
        },
        "random_normal": random_normal(x, seed=1, offset=0),
        "random_uniform": random_uniform(x, seed=2**40, offset=2**40, bits=24),
    }


def six(x, size):
    """Two rows and columns of each pixel as dimensions of their own."""
    n, c, h, w = x.strides
    return View(x.buffer, (8, 96, size, 2, size, 2), (n, c, 2 * h, h, 2 * w, w), x.dtype)


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize(("dtype", "layout"), [("f32", "nhwc"), ("f16", "nchw"), ("bf16", "nhwc")])
def test_others(dtype, layout, capability):
    for launch in others(dtype, layout).values():
        compiled(launch, capability)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_element(name):
    """Without spills. Roots are IEEE's: other functions of libdevice flush the smallest numbers."""
    x = view((8, 96, 57, 57), "f32")
    binary = compiled(pointwise(x, x, (step_of(name),)), 90, turns=name in ("sin", "cos"))
    if name in ("sqrt", "rsqrt", "pow_half"):
        assert "sqrt.rn.f32" in binary.ptx
        assert ".ftz" not in binary.ptx
