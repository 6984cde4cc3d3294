"""Linear layer: a matrix product through the convolution kernel, or a matrix-vector product."""

from collections.abc import Sequence

import triton
import triton.language as tl

from .conv2d import conv2d
from .epilogue import Tail, epilogue, map_operands, operands, tail_refusal
from .finish import finish, load_bias, store_tile
from .launch import (
    Launch,
    Refused,
    View,
    ceil_div,
    constants,
    grid_refusal,
    offset_refusal,
    require,
)
from .parts import first_part, share
from .rows import images_of_rows
from .tf32 import Precision
from .tile import ConvTile, LinearTile


@triton.jit
def matvec_kernel(
    x,
    w,
    bias,
    sizes,
    tail,
    BLOCK_F: tl.constexpr,
    BLOCK_RED: tl.constexpr,
    PARTS: tl.constexpr = 1,
):
    """Compute BLOCK_F outputs of one row: y = W[BLOCK_F, RED] @ x[RED]; sizes is (features, RED).

    Bound by reading W once. Products are kept as [BLOCK_F, BLOCK_RED] float32 partial sums, which
    are reduced after the loop over RED. PARTS is as of `conv2d_kernel`.
    """
    RED: tl.constexpr = sizes[1]
    feature = tl.program_id(0) * BLOCK_F + tl.arange(0, BLOCK_F)
    feature_live = feature < sizes[0]
    block = tl.arange(0, BLOCK_RED)
    sums = tl.zeros((BLOCK_F, BLOCK_RED), dtype=tl.float32)
    begin = 0
    end = RED
    if PARTS > 1:
        begin, end = share(tl.program_id(1), RED, BLOCK_RED, PARTS)
    for start in range(begin, end, BLOCK_RED):
        k = start + block
        row = tl.load(x.ptr + k * x.strides[1], mask=k < RED, other=0.0)
        weight = tl.load(
            w.ptr + (feature * w.strides[0])[:, None] + (k * w.strides[1])[None, :],
            mask=feature_live[:, None] & (k < RED)[None, :],
            other=0.0,
        )  # [BLOCK_F, BLOCK_RED]
        sums += weight.to(tl.float32) * row.to(tl.float32)[None, :]
    value = tl.sum(sums, axis=1)[None, :]
    if PARTS > 1:
        part = tl.program_id(1) + tl.arange(0, 1)
        live = tl.full((1,), True, tl.int1)
        store_tile(tail.outputs[0], value, (part, part, part, feature, live, feature_live, part))
    else:
        bias_row = load_bias(bias, feature, feature_live)
        finish(value, bias_row, 0, 1, 1, 1, feature, feature_live, tail)


def linear(
    x: View,
    w: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    tail: Tail = (),
    exports: Sequence[int] | None = None,
    tile: LinearTile,
    features: int = 0,
    precision: Precision = "tf32x3",
    rounded: bool = False,
) -> Launch:
    """Launch y = x @ w^T + bias with its tail: x [..., K], w [N, K], bias [N], outputs [..., N].

    Operands of stages have the rank of the outputs. A tile of one row takes the matrix-vector form
    and needs a single row; the others run as a 1x1 convolution over the leading dimensions, whose
    filters may be packed to panels (see `conv2d`): the number N of `features` is given then.
    `precision` and `rounded` are those of `product_meta`; the matrix-vector form is always exact.

    Raises:
        ValueError: for shapes that disagree.
        Refused: for a pool, for more than four dimensions whose strides do not follow one another,
            and for what 32-bit offsets or the grid cannot hold.
    """
    image, outputs, tail = as_images(x, w, outputs, tail)
    if tile.rows > 1:
        return conv2d(
            image,
            w,
            bias,
            outputs,
            kernel=(1, 1),
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            groups=1,
            out_size=(image.shape[2], image.shape[3]),
            tail=tail,
            exports=exports,
            tile=ConvTile(*tile),
            filters=features,
            precision=precision,
            rounded=rounded,
        )
    return matvec(image, w, bias, outputs, tail=tail, exports=exports, tile=tile)


def matvec(
    x: View,
    w: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    tail: Tail = (),
    exports: Sequence[int] | None = None,
    tile: LinearTile,
) -> Launch:
    """Launch the matrix-vector form of `linear` on an image [1, K, 1, 1] of one pixel.

    With a tile of parts the output is [parts, N, 1, 1], in float32: what a part of the reduction
    adds up to, without bias and tail.
    """
    features, reduction = w.shape
    if x.shape != (1, reduction, 1, 1):
        raise ValueError(f"a matrix-vector tile cannot serve {x.shape}")
    if bias is not None and bias.shape != (features,):
        raise ValueError(f"bias {bias.shape}, wanted {(features,)}")
    if tile.parts > 1:
        outputs = [first_part(outputs, 1, tile.parts)]
    end = epilogue((1, features, 1, 1), tail, exports, outputs, 1)
    require(offset_refusal(x, w))
    grid = (ceil_div(features, tile.features), tile.parts, 1)
    require(grid_refusal(grid))
    args = (
        x.argument,
        w.argument,
        bias and bias.argument,
        constants((features, reduction)),
        end.argument,
    )
    meta = {
        "BLOCK_F": tile.features,
        "BLOCK_RED": tile.reduction,
        "num_warps": tile.num_warps,
        "num_stages": tile.num_stages,
    } | ({"PARTS": tile.parts} if tile.parts > 1 else {})
    return Launch(matvec_kernel, grid, args, meta)


def as_images(
    x: View, w: View, outputs: Sequence[View], tail: Tail
) -> tuple[View, Sequence[View], Tail]:
    """The input, outputs and tail of a layer with their views [..., C] as images [N, C, H, W].

    Raises:
        ValueError: for shapes that disagree.
        Refused: for a pool, and for more than four dimensions whose strides do not follow one
            another.
    """
    if x.shape[-1] != w.shape[1]:
        raise ValueError(f"weight {w.shape} does not fit an input of {x.shape}")
    read = [view.expand(outputs[0].shape) for view in operands(tail)]
    image, *images = _as_images([x, *outputs, *read])
    rest = iter(images[len(outputs) :])
    tail = map_operands(tail, lambda _: next(rest))
    if refused := tail_refusal(tail, None):
        raise refused
    return image, images[: len(outputs)], tail


def _as_images(views: list[View]) -> list[View]:
    """Views [..., C] as [N, C, H, W]: rows as images of one pixel where the strides of all allow
    it, and otherwise the second and third dimension as height and width."""
    if rows := images_of_rows(views):
        return rows
    rank = len(views[0].shape)
    if rank > 4:
        raise Refused(f"the rows of {views[0].shape} do not follow one another in memory")
    return [view.permuted(0, rank - 1, 1, 2 if rank == 4 else -1) for view in views]
