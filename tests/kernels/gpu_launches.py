"""Launches of every kernel in the configurations that can be chosen, for compilers to look at."""

from typing import NamedTuple

import torch

from graphcnn.kernels import (
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
    conv2d,
    conv2d_box,
    conv2d_in_parts,
    conv_pressure,
    copy,
    cuda_traits,
    depthwise_conv2d,
    global_avg_pool2d,
    in_precision,
    interpolate,
    linear,
    linear_in_parts,
    local_response_norm,
    max_pool2d,
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
from tests.kernels.buffers import DTYPES, RELU, stage

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
    size=57,
    **multiplied,
):
    """3x3 or 7x7, padded, batch 32, of a size odd enough to need partial windows; and the pressure
    on its registers."""
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


def residual(dtype, layout="nhwc", size=57):
    return stage("add", view((32, 256, size, size), dtype, layout))


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


# Tiles whose reductions programs share.
IN_PARTS = {
    "f16": [ConvTile(128, 128, 64, 8, 3, 4)],
    "bf16": [ConvTile(64, 64, 64, 4, 3, 16)],
    "f32": [ConvTile(64, 64, 16, 4, 3, 16)],
}


def in_parts(tile, dtype, tail, kernel=3):
    """A convolution of one small image, and the kernel that sums the parts."""
    image = (1, 512, 14, 14)
    return conv2d_in_parts(
        view(image, dtype),
        view((512, kernel * kernel * 512), dtype),
        view((512,), dtype),
        [view((1, 512, 7, 7) if isinstance(tail[-1], Pool) else image, dtype)],
        scratch=View(torch.empty(16), (10**8,), (1,), "f32"),
        kernel=(kernel, kernel),
        stride=(1, 1),
        padding=(kernel // 2, kernel // 2),
        dilation=(1, 1),
        groups=1,
        out_size=(14, 14),
        tail=tail,
        tile=tile,
    )


def layer_in_parts(tile, dtype):
    """1,000 features of 4,096, and the kernel that sums the parts."""
    return linear_in_parts(
        view((tile.rows, 4096), dtype),
        view((1000, 4096), dtype),
        view((1000,), dtype),
        [view((tile.rows, 1000), dtype)],
        scratch=View(torch.empty(16), (10**8,), (1,), "f32"),
        tail=(SILU,),
        tile=tile._replace(parts=4),
    )


class Stem(NamedTuple):
    """Rows of a filter, stride and channels of a network's first convolution."""

    taps: int
    stride: int
    channels: int


# ResNet, AlexNet, VGG, MobileNet, LeNet.
STEMS = (Stem(7, 2, 3), Stem(11, 4, 3), Stem(3, 1, 3), Stem(3, 2, 3), Stem(5, 1, 1))


def _image(dtype, form):
    """What a stem reads, where its padded copy is, and the padding before it."""
    taps, stride, channels = form
    before = (taps // 2, taps // 2)
    x = view((32, channels, 57 * stride, 57 * stride), dtype, "nchw")
    shape = padded_shape(x, (taps, taps), (stride, stride), before, (57, 57))
    return x, view(shape, dtype), before


def padded_image(dtype, form):
    """The copy of its image that a stem reads."""
    return padded(*_image(dtype, form))


def stem(tile, dtype, tail, exports, form, layout="nhwc"):
    """The product of a stem."""
    shapes = [(32, 256, 57, 57)]
    for step in tail:
        n, c, h, w = shapes[-1]
        shapes.append((n, c, *step.size(h, w)) if isinstance(step, Pool) else shapes[-1])
    return stem_conv2d(
        _image(dtype, form)[1],
        view((256, form.taps * run_length(form.taps)), dtype),
        view((256,), dtype),
        [view(shapes[e], dtype, layout) for e in exports],
        kernel=(form.taps, form.taps),
        stride=(form.stride, form.stride),
        out_size=(57, 57),
        tail=tail,
        exports=exports,
        tile=tile,
    )


def box(tile, dtype, tail, exports, kernel=1, stride=1, layout="nhwc"):
    """1x1 or 3x3, read by tensor descriptors: blocks of a matrix, or boxes of an image."""
    channels, taps = {1: 512, 3: 128}[kernel], kernel * kernel
    shapes = [(32, 256, 57, 57)]
    for step in tail:
        n, c, h, w = shapes[-1]
        shapes.append((n, c, *step.size(h, w)) if isinstance(step, Pool) else shapes[-1])
    return conv2d_box(
        view((32, channels, 57 * stride, 57 * stride), dtype),
        view((256, taps * channels), dtype),
        view((256,), dtype),
        [view(shapes[e], dtype, layout) for e in exports],
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding=(kernel // 2, kernel // 2),
        dilation=(1, 1),
        out_size=(57, 57),
        tail=tail,
        exports=exports,
        tile=tile,
    )


def linear_layer(tile, dtype, length, **multiplied):
    """Of 1,000 features, with a residual, and two values stored."""
    tail = (stage("add", view((tile.rows, 1000), dtype)), SILU)
    return linear(
        view((tile.rows, length), dtype),
        view((1000, length), dtype),
        view((1000,), dtype),
        [view((tile.rows, 1000), dtype)] * 2,
        tail=tail,
        exports=(0, 2),
        tile=tile,
        **multiplied,
    )


def depthwise(tile, dtype, layout):
    """3x3, with a residual and a pool, and what is pooled."""
    return depthwise_conv2d(
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


def separable(tile, dtype, layout, channels, **multiplied):
    """A step of the head with operands per channel, and a residual."""
    shape = (32, 256, 57, 57)
    scale = view((1, channels, 1, 1), "f32")
    return separable_conv2d(
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
        **multiplied,
    )


WINOGRAD_TAILS = {
    "two outputs of a residual": (lambda add: (add, SILU), (1, 2)),
    "a pool, and what is pooled": (lambda add: (add, RELU, MAX2), (2, 3)),
}


def winograd(tile, name):
    """3x3 in float32, with one of `WINOGRAD_TAILS`."""
    tail, exports = WINOGRAD_TAILS[name]
    steps = tail(residual("f32"))
    tile = tile._replace(workers=64, parts=2)
    sizes = [(32, 256, 28, 28) if MAX2 in steps[:e] else (32, 256, 57, 57) for e in exports]
    return winograd_conv2d(
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


def others(dtype, layout):
    x, two = (view(shape, dtype, layout) for shape in ((8, 96, 57, 57), (1, 2, 388, 388)))
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
        "softmax_of_two": softmax(two, view(two.shape, dtype, "nchw"), axis=1),
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


# How float32 is multiplied besides as three products of tf32, the default.
# tf32: what the kernel loads is rounded already, or it rounds it; float32 is as it is.
PRECISIONS = {
    "tf32": {"precision": "tf32", "rounded": True},
    "tf32 rounds": {"precision": "tf32", "rounded": False},
    "ieee": {"precision": "ieee"},
}


def call_of(launch):
    """What a compiler looks at: the kernel, its arguments and its constants."""
    return launch.kernel, launch.described(), launch.meta


def named(capability, dtype):
    """A launch of each kernel with each tile for a device and a dtype, by what it is.

    Tiles are channels x pixels x reduction x warps x stages, and parts. What differs from one half
    precision to the other is how numbers are converted, so of bfloat16 there is less; kernels that
    move numbers are there in float16 alone.
    """
    whole = dtype != "bf16"
    traits = cuda_traits(capability)
    yield from convolutions(traits, dtype, whole)
    yield from special_convolutions(traits, dtype, whole)
    for tile in traits.linear_tiles(dtype):
        label = f"linear {spelled(tile)}"
        yield f"{label} add+silu, both", linear_layer(tile, dtype, 4096)
        product, total = layer_in_parts(tile, dtype)
        yield f"{label} in parts", product
        yield f"{label} silu of the parts", total
    for tile in SEPARABLE if whole else ():
        yield f"separable {spelled(tile)} add+relu", separable(tile, dtype, "nhwc", 96)
    for tile in DEPTHWISE if whole else ():
        yield f"depthwise {spelled(tile)} add+relu+pool", depthwise(tile, dtype, "nhwc")
    for tile in traits.winograd_tiles(dtype):
        for name in WINOGRAD_TAILS:
            yield f"winograd {spelled(tile)} {name}", winograd(tile, name)
    if dtype == "f32":
        yield from in_other_precisions(traits)
    if dtype == "f16":
        yield from others(dtype, "nhwc").items()


PLAIN = {"channels": 128, "kernel": 3, "layout": "nhwc", "size": 56}
SCATTERED = {"channels": 3, "kernel": 7, "layout": "nchw", "stored": "nhwc", "size": 56}


def convolutions(traits, dtype, whole):
    """The plain one, with a pool, and with the most that a tile bears."""
    add = residual(dtype, size=56)
    for tile, bears in traits.conv_tiles(dtype).items():
        label = f"conv2d {spelled(tile)}"
        yield f"{label} relu", convolution(tile, dtype, (RELU,), (1,), **PLAIN)[0]
        yield f"{label} relu+pool", convolution(tile, dtype, (RELU, MAX2), (2,), **PLAIN)[0]
        if whole and bears != Pressure.LOW:
            most = convolution(tile, dtype, (add, SILU), (1, 2), **PLAIN)[0]
            yield f"{label} add+silu, both", most
        if whole and bears == Pressure.HIGH:
            most = convolution(tile, dtype, (RELU,), (1,), **SCATTERED)[0]
            yield f"{label} relu, of 3 channels", most


def special_convolutions(traits, dtype, whole):
    """In parts; of few channels, with the copy of the image; and by tensor descriptors."""
    for tile in [tile for tile in IN_PARTS[dtype] if tile.parts <= traits.most_parts(dtype)]:
        product, total = in_parts(tile, dtype, (SILU, MAX3))
        yield f"conv2d {spelled(tile)} in parts", product
        yield f"conv2d {spelled(tile)} silu+pool of the parts", total
    yield "padded", padded_image(dtype, STEMS[0])
    for tile, bears in traits.stem[dtype].items():
        label = f"stem {spelled(tile)}"
        yield f"{label} relu", stem(tile, dtype, (RELU,), (1,), STEMS[0])
        if whole and bears != Pressure.LOW:
            yield f"{label} relu+pool", stem(tile, dtype, (RELU, MAX3), (2,), STEMS[0])
    for tile, bears in traits.box.items() if dtype == "f16" else ():
        label, add = f"box {spelled(tile)}", residual(dtype)
        low, both = bears == Pressure.LOW, ((add, SILU), (1, 2))
        yield f"{label} relu", box(tile, dtype, (RELU,), (1,))
        yield f"{label} 3x3 relu", box(tile, dtype, (RELU,), (1,), 3)
        yield f"{label} 3x3 relu+pool", box(tile, dtype, (RELU, MAX2), (2,), 3)
        yield f"{label} 3x3/2 relu", box(tile, dtype, (RELU,), (1,), 3, 2)
        if not low:
            yield f"{label} add+silu, both", box(tile, dtype, *both)
            yield f"{label} 3x3 add+silu, both", box(tile, dtype, *both, 3)


def in_other_precisions(traits):
    """Convolutions and linear layers in float32 that is not three products of tf32."""
    for way, multiplied in PRECISIONS.items():
        row = in_precision(traits, multiplied["precision"])
        for tile in row.conv_f32:
            launch = convolution(tile, "f32", (RELU,), (1,), **PLAIN, **multiplied)[0]
            yield f"conv2d {spelled(tile)} relu in {way}", launch
        for tile in row.linear_f32:
            if tile.rows > 1:
                launch = linear_layer(tile, "f32", 4096, **multiplied)
                yield f"linear {spelled(tile)} add+silu, both in {way}", launch


def spelled(tile):
    """Its numbers, but for a reduction that is in one part."""
    whole = tile._fields[-1] == "parts" and tile.parts == 1
    return "x".join(map(str, tile[:-1] if whole else tile))
