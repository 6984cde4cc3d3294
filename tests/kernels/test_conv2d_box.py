import itertools

import pytest
import torch
import torch.nn.functional as F

from graphcnn.kernels import ConvTile, Pool, Refused, View, box_refusal, conv2d_box, pixel_rows
from tests.kernels.buffers import RELU, Output, chain, product_bound, randn, stage, view_of

TILE, WIDE = ConvTile(64, 64, 64), ConvTile(64, 128, 64)
MAX2, AVG2 = Pool("max", (2, 2)), Pool("avg", (2, 2))
ONE = {
    "kernel": (1, 1),
    "stride": (1, 1),
    "padding": (0, 0),
    "dilation": (1, 1),
}


def check(
    run,
    shape,
    filters,
    kernel=(1, 1),
    *,
    stride=(1, 1),
    sides=(0, 0, 0, 0),
    dilation=(1, 1),
    dtype="f16",
    tail=(),
    exports=None,
    layout="nhwc",
    tile=TILE,
    x=None,
):
    """Run one convolution, padded by (top, left, bottom, right), and compare every export with
    float64."""
    x = randn(*shape, dtype=dtype, seed=1) if x is None else x
    length = shape[1] * kernel[0] * kernel[1]
    w = randn(filters, shape[1], *kernel, dtype=dtype, seed=2)
    b = randn(filters, dtype=dtype, seed=3)
    exports = (len(tail),) if exports is None else exports
    top, left, bottom, right = sides

    def convolved(x, w, b):
        image = F.pad(x, (left, right, top, bottom))
        return F.conv2d(image, w, b, stride=stride, dilation=dilation)

    want = convolved(x.double(), w.double(), b.double())
    sizes = convolved(x.double().abs(), w.double().abs(), b.double().abs())
    values = chain(want, product_bound(length, sizes), tail, exports, dtype)
    outputs = [Output(values[i][0].shape, dtype, layout) for i in exports]
    launch = conv2d_box(
        view_of(x),
        view_of(w.permute(0, 2, 3, 1).reshape(filters, length)),
        view_of(b),
        [output.view for output in outputs],
        kernel=kernel,
        stride=stride,
        padding=(top, left),
        dilation=dilation,
        out_size=tuple(want.shape[2:]),
        tail=tail,
        exports=exports,
        tile=tile,
    )
    run(launch)
    for output, index in zip(outputs, exports, strict=True):
        output.check(*values[index])
    return launch


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize(
    ("shape", "filters"),
    [((2, 64, 7, 5), 64), ((1, 128, 9, 11), 40), ((3, 64, 1, 1), 72), ((2, 192, 8, 8), 136)],
)
def test_a_product_of_sizes_that_no_tile_divides(run, shape, filters, dtype):
    launch = check(run, shape, filters, dtype=dtype)
    assert len(launch.args[0].block) == 2


@pytest.mark.parametrize(("dtype", "tile"), [("f16", TILE), ("bf16", WIDE)], ids=["f16", "bf16"])
@pytest.mark.parametrize(
    ("shape", "filters", "kernel", "sides"),
    [
        ((2, 64, 9, 11), 40, (3, 3), (1, 1, 1, 1)),
        ((1, 128, 7, 5), 72, (3, 3), (0, 2, 1, 0)),
        ((2, 64, 1, 13), 64, (1, 3), (0, 1, 0, 1)),
        ((1, 64, 8, 16), 24, (5, 2), (2, 0, 2, 1)),
        ((1, 64, 12, 17), 16, (7, 7), (3, 3, 3, 3)),
        ((1, 64, 7, 9), 16, (3, 3), (-1, -2, 0, -1)),
    ],
)
def test_boxes_that_reach_out_of_the_image(run, shape, filters, kernel, sides, dtype, tile):
    launch = check(run, shape, filters, kernel, sides=sides, dtype=dtype, tile=tile)
    assert len(launch.args[0].block) == 4


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "sides", "dtype"),
    [
        ((10, 12), (3, 3), (2, 2), (1, 1, 1, 1), "f16"),
        ((14, 22), (3, 3), (2, 2), (0, 0, 1, 1), "bf16"),
        ((14, 14), (1, 1), (2, 2), (0, 0, 0, 0), "f16"),
        ((12, 18), (7, 7), (2, 2), (3, 3, 3, 3), "f16"),
        ((12, 18), (5, 4), (2, 2), (-1, 2, 3, -1), "bf16"),
        ((8, 7), (3, 3), (2, 1), (1, 1, 1, 1), "f16"),
        ((7, 8), (3, 3), (1, 2), (1, 1, 1, 1), "f16"),
        ((9, 12), (4, 4), (3, 4), (2, 1, 0, 3), "f16"),
    ],
)
def test_planes_of_an_image_at_a_stride(run, size, kernel, stride, sides, dtype):
    shape = (2, 64, *size)
    launch = check(run, shape, 24, kernel, stride=stride, sides=sides, dtype=dtype)
    assert len(launch.args[0].block) == 5


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)], ids=["1", "2"])
@pytest.mark.parametrize("tile", [TILE, WIDE], ids=["64", "128"])
@pytest.mark.parametrize(
    ("tail", "exports"),
    [
        ((MAX2,), (1,)),
        ((AVG2, RELU), (2,)),
        ((RELU, MAX2), (1, 2)),
        ((stage("silu"), AVG2), (0, 1, 2)),
        ((RELU, Pool("avg", (4, 2))), (2,)),
        ((RELU, Pool("max", (1, 4))), (2,)),
        ((RELU, Pool("max", (3, 3), stride=(2, 2), padding=(1, 1, 1, 1))), (2,)),
        ((RELU, Pool("avg", (3, 2), stride=(1, 2), padding=(1, 0, 1, 1))), (2,)),
        ((RELU, Pool("max", (8, 8))), (2,)),
    ],
    ids=["max", "avg", "both", "all", "4x2", "1x4", "overlapping", "padded", "one block"],
)
def test_pools(run_native, tail, exports, tile, stride):
    """Of an output whose rows and columns windows do not divide."""
    size = tuple(n * step for n, step in zip((9, 19), stride, strict=True))
    shape, sides = (2, 64, *size), (1, 1, 1, 1)
    options = {"stride": stride, "sides": sides, "tail": tail, "exports": exports, "tile": tile}
    check(run_native, shape, 40, (3, 3), **options)


@pytest.mark.parametrize("tail", [(MAX2,), (RELU, AVG2)], ids=["max", "avg"])
def test_pools_touch_nothing_else(run, tail):
    """And a pool brings windows of a product together, too."""
    for kernel, sides in (((3, 3), (1, 1, 1, 1)), ((1, 1), (0, 0, 0, 0))):
        launch = check(run, (1, 64, 7, 10), 24, kernel, sides=sides, tail=tail)
        assert len(launch.args[0].block) == 4


RESIDUAL = stage("add", view_of(randn(2, 40, 7, 5, dtype="f16", seed=5)))


@pytest.mark.parametrize(
    ("tail", "exports"),
    [((RELU,), (1,)), ((RESIDUAL, RELU), (2,)), ((RESIDUAL, stage("silu")), (0, 1, 2))],
    ids=["relu", "residual", "three exports"],
)
@pytest.mark.parametrize(
    ("layout", "kernel"), [("nhwc", (1, 1)), ("nhwc", (3, 3)), ("nchw", (3, 3))], ids=str
)
def test_tail(run, tail, exports, layout, kernel):
    sides = (kernel[0] // 2,) * 4
    options = {"sides": sides, "tail": tail, "exports": exports, "layout": layout}
    check(run, (2, 64, 7, 5), 40, kernel, **options)


def test_taps_that_are_apart(run):
    check(run, (1, 64, 11, 9), 24, (3, 3), sides=(2, 3, 2, 3), dilation=(2, 3))
    options = {"stride": (2, 2), "dilation": (3, 2), "sides": (3, 2, 3, 2)}
    check(run, (1, 64, 12, 10), 24, (3, 3), **options)


@pytest.mark.parametrize(
    ("kernel", "stride"), [((1, 1), (1, 1)), ((3, 3), (1, 1)), ((3, 3), (2, 2))], ids=str
)
def test_a_part_of_wider_pixels(run, kernel, stride):
    """As an operand of a concat lies."""
    wide = randn(2, 96, 6, 8, dtype="f16", seed=1)
    options = {"stride": stride, "sides": (kernel[0] // 2,) * 4}
    check(run, (2, 64, 6, 8), 24, kernel, x=wide[:, 16:80], **options)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)], ids=["1", "2"])
def test_a_part_of_a_larger_image(run, stride):
    """Its pixels do not follow one another, and its neighbours count as 0."""
    large = randn(2, 64, 10, 14, dtype="f16", seed=1)
    for kernel in ((1, 1), (3, 3)):
        options = {"stride": stride, "sides": (kernel[0] // 2,) * 4}
        check(run, (2, 64, 6, 8), 24, kernel, x=large[:, :, 2:8, 3:11], **options)


@pytest.mark.parametrize("stride", [(1, 1), (1, 2)], ids=str)
def test_every_step_of_a_descriptor_is_a_multiple_of_the_one_within(stride):
    """Also of dimensions of one, for which views have any."""
    x = View(None, (1, 64, 1, 16), (0, 1, 0, 64), "f16")
    y = View(None, (1, 8, 1, 16 // stride[1]), (128, 1, 128, 8), "f16")
    w, options = View(None, (8, 192), (192, 1), "f16"), {**ONE, "kernel": (1, 3), "stride": stride}
    launch = conv2d_box(x, w, None, [y], tile=TILE, **options, out_size=y.shape[2:])
    *steps, last = launch.args[0].strides
    assert last == 1
    assert all(step > 0 for step in steps)
    assert all(a % b == 0 for a, b in itertools.pairwise((*steps, 8)))


def image(channels=64, strides=None, dtype="f16", size=(5, 6)):
    height, width = size
    pixel = channels if strides is None else strides[3]
    strides = strides or (height * width * pixel, 1, width * pixel, pixel)
    return View(None, (2, channels, *size), strides, dtype)


@pytest.mark.parametrize(
    ("x", "tail", "stride", "offset", "because"),
    [
        (image(), (RELU,), (1, 1), 8, None),
        (image(), (RELU, MAX2), (1, 1), 0, None),
        (image(strides=(2304, 1, 384, 64)), (), (1, 1), 0, None),
        (image(strides=(2000, 1, 384, 64)), (), (1, 1), 0, "they are [2000, 384, 64, 1]"),
        (
            image(strides=(5760, 1, 576, 64), size=(6, 8)),
            (),
            (2, 2),
            0,
            "[5760, 1152, 576, 128, 1]",
        ),
        (image(size=(6, 8)), (), (2, 2), 0, None),
        (image(size=(5, 8)), (), (1, 2), 0, None),
        (image(dtype="f32"), (), (1, 1), 0, "half precision"),
        (image(96), (), (1, 1), 0, "64 channels, which do not divide 96"),
        (image(strides=(1920, 30, 6, 1)), (), (1, 1), 0, "has strides (1920, 30, 6, 1)"),
        (image(strides=(30 * 68, 1, 6 * 68, 68)), (), (1, 1), 0, "steps of 16 bytes"),
        (image(strides=(0, 1, 384, 64)), (), (1, 1), 0, "steps of 16 bytes"),
        (image(), (), (1, 1), 4, "from element 4 on"),
        (image(), (), (2, 2), 0, "a stride of 2x2 reads planes of an image, and does not divide"),
        (image(), (), (2, 2), 0, "its size 5x6"),
        (image(), (RELU, Pool("max", (3, 3))), (1, 1), 0, "the pool's are (3, 3)"),
        (View(None, (2, 64, 5), (320, 1, 64), "f16"), (), (1,), 0, "(2, 64, 5) has 1"),
    ],
)
def test_what_descriptors_do_not_serve(x, tail, stride, offset, because):
    told = box_refusal(x, tail, stride, offset)
    assert told is None if because is None else because in told
    if because and not offset:
        y, w = image(8), View(None, (8, x.shape[1]), (x.shape[1], 1), x.dtype)
        options = {**ONE, "stride": stride, "out_size": x.shape[2:]}
        with pytest.raises(Refused) as refused:
            conv2d_box(x, w, None, [y], tail=tail, tile=TILE, **options)
        assert because in refused.value.because


@pytest.mark.parametrize(
    ("x", "change", "rows"),
    [
        (image(), {}, 60),
        (image(strides=(1920 * 2, 1, 384 * 2, 128)), {}, 60),
        (image(strides=(2304, 1, 384, 64)), {}, None),
        (image(), {"stride": (2, 2)}, None),
        (image(), {"kernel": (3, 3)}, None),
        (image(), {"padding": (1, 0)}, None),
        (image(), {"out_size": (6, 6)}, None),
        (image(), {"tail": (MAX2,)}, None),
    ],
)
def test_what_is_a_product_of_matrices(x, change, rows):
    options = {"kernel": (1, 1), "stride": (1, 1), "padding": (0, 0), "out_size": (5, 6)}
    found = pixel_rows(x, **{"tail": (), **options, **change})
    assert (found and found.shape[0]) == rows


def test_shapes_that_disagree():
    x, y = view_of(randn(1, 64, 4, 4, dtype="f16")), view_of(randn(1, 8, 4, 4, dtype="f16"))
    w, options = view_of(randn(8, 64, dtype="f16")), {**ONE, "out_size": (4, 4)}
    with pytest.raises(ValueError, match="packed weight"):
        conv2d_box(x, view_of(randn(8, 32, dtype="f16")), None, [y], tile=TILE, **options)
    with pytest.raises(ValueError, match="packed weight"):
        conv2d_box(x, w, None, [y], tile=TILE, **{**options, "kernel": (3, 3)})
    with pytest.raises(ValueError, match="bias"):
        conv2d_box(x, w, view_of(torch.zeros(7)), [y], tile=TILE, **options)
    with pytest.raises(ValueError, match="blocks of 32"):
        conv2d_box(x, w, None, [y], tile=ConvTile(64, 64, 32), **options)
