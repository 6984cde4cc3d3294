import pytest
import torch
import torch.nn.functional as F

from graphcnn.kernels import ConvTile, Pool, Refused, View, box_refusal, conv1x1_box
from tests.kernels.buffers import RELU, Output, chain, product_bound, randn, stage, view_of

TILE = ConvTile(64, 64, 64)


def check(run, shape, filters, *, dtype="f16", tail=(), exports=None, layout="nhwc", tile=TILE):
    """Run one convolution and compare every export with float64."""
    x = randn(*shape, dtype=dtype, seed=1)
    w, b = randn(filters, shape[1], dtype=dtype, seed=2), randn(filters, dtype=dtype, seed=3)
    exports = (len(tail),) if exports is None else exports
    kernel, bias = w.double()[:, :, None, None], b.double()
    want = F.conv2d(x.double(), kernel, bias)
    sizes = F.conv2d(x.double().abs(), kernel.abs(), bias.abs())
    values = chain(want, product_bound(shape[1], sizes), tail, exports, dtype)
    outputs = [Output(values[i][0].shape, dtype, layout) for i in exports]
    views = [output.view for output in outputs]
    run(
        conv1x1_box(
            view_of(x), view_of(w), view_of(b), views, tail=tail, exports=exports, tile=tile
        )
    )
    for output, index in zip(outputs, exports, strict=True):
        output.check(*values[index])


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize(
    ("shape", "filters"),
    [((2, 64, 7, 5), 64), ((1, 128, 9, 11), 40), ((3, 64, 1, 1), 72), ((2, 192, 8, 8), 136)],
)
def test_sizes_that_no_tile_divides(run, shape, filters, dtype):
    check(run, shape, filters, dtype=dtype)


RESIDUAL = stage("add", view_of(randn(2, 40, 7, 5, dtype="f16", seed=5)))


@pytest.mark.parametrize(
    ("tail", "exports"),
    [((RELU,), (1,)), ((RESIDUAL, RELU), (2,)), ((RESIDUAL, stage("silu")), (0, 1, 2))],
    ids=["relu", "residual", "three exports"],
)
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_tail(run, tail, exports, layout):
    check(run, (2, 64, 7, 5), 40, tail=tail, exports=exports, layout=layout)


def test_a_part_of_wider_pixels(run):
    """As an operand of a concat lies."""
    wide = randn(2, 96, 5, 7, dtype="f16", seed=1)
    x, w = wide[:, 16:80], randn(24, 64, dtype="f16", seed=2)
    output = Output((2, 24, 5, 7), "f16")
    run(conv1x1_box(view_of(x), view_of(w), None, [output.view], tile=TILE))
    kernel = w.double()[:, :, None, None]
    bound = product_bound(64, F.conv2d(x.double().abs(), kernel.abs()))
    output.check(F.conv2d(x.double(), kernel), bound)


def image(channels=64, strides=None, dtype="f16"):
    pixel = channels if strides is None else strides[3]
    strides = strides or (30 * pixel, 1, 6 * pixel, pixel)
    return View(None, (2, channels, 5, 6), strides, dtype)


@pytest.mark.parametrize(
    ("x", "tail", "offset", "because"),
    [
        (image(), (RELU,), 8, None),
        (image(dtype="f32"), (), 0, "half precision"),
        (image(96), (), 0, "64 channels, which do not divide 96"),
        (image(strides=(1920, 30, 6, 1)), (), 0, "no rows of a matrix"),
        (image(strides=(2000, 1, 384, 64)), (), 0, "no rows of a matrix"),
        (image(strides=(30 * 68, 1, 6 * 68, 68)), (), 0, "do not start at 16 bytes"),
        (image(), (), 4, "do not start at 16 bytes"),
        (image(), (RELU, Pool("max", (2, 2))), 0, "a pool wants windows"),
    ],
)
def test_what_descriptors_do_not_serve(x, tail, offset, because):
    told = box_refusal(x, tail, offset)
    assert told is None if because is None else because in told
    if because and not offset:
        y = View(None, (2, 8, 5, 6), (240, 1, 48, 8), x.dtype)
        w = View(None, (8, x.shape[1]), (x.shape[1], 1), x.dtype)
        with pytest.raises(Refused, match=because):
            conv1x1_box(x, w, None, [y], tail=tail, tile=TILE)


def test_shapes_that_disagree():
    x, y = view_of(randn(1, 64, 4, 4, dtype="f16")), view_of(randn(1, 8, 4, 4, dtype="f16"))
    w = view_of(randn(8, 64, dtype="f16"))
    with pytest.raises(ValueError, match="packed weight"):
        conv1x1_box(x, view_of(randn(8, 32, dtype="f16")), None, [y], tile=TILE)
    with pytest.raises(ValueError, match="bias"):
        conv1x1_box(x, w, view_of(torch.zeros(7)), [y], tile=TILE)
    with pytest.raises(ValueError, match="blocks of 32"):
        conv1x1_box(x, w, None, [y], tile=ConvTile(64, 64, 32))
