"""Linear layer: a matrix product through the convolution kernel, or a matrix-vector product."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import triton
import triton.language as tl

from .conv2d import conv2d
from .epilogue import Tail, epilogue, map_operands, operands, tail_refusal
from .finish import finish, load_bias
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
from .tf32 import Precision
from .tile import ConvTile, LinearTile


@triton.jit
def matvec_kernel(x, w, bias, sizes, tail, BLOCK_F: tl.constexpr, BLOCK_RED: tl.constexpr):
    """Compute BLOCK_F outputs of one row: y = W[BLOCK_F, RED] @ x[RED]; sizes is (features, RED).

    Bound by reading W once. Products are kept as [BLOCK_F, BLOCK_RED] float32 partial sums, which
    are reduced after the loop over RED.
    """
    RED: tl.constexpr = sizes[1]
    feature = tl.program_id(0) * BLOCK_F + tl.arange(0, BLOCK_F)
    feature_live = feature < sizes[0]
    block = tl.arange(0, BLOCK_RED)
    sums = tl.zeros((BLOCK_F, BLOCK_RED), dtype=tl.float32)
    for start in range(0, RED, BLOCK_RED):
        k = start + block
        row = tl.load(x.ptr + k * x.strides[1], mask=k < RED, other=0.0)
        weight = tl.load(
            w.ptr + (feature * w.strides[0])[:, None] + (k * w.strides[1])[None, :],
            mask=feature_live[:, None] & (k < RED)[None, :],
            other=0.0,
        )  # [BLOCK_F, BLOCK_RED]
        sums += weight.to(tl.float32) * row.to(tl.float32)[None, :]
    bias_row = load_bias(bias, feature, feature_live)
    finish(tl.sum(sums, axis=1)[None, :], bias_row, 0, 1, 1, 1, feature, feature_live, tail)


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
    reduction = w.shape[1]
    if x.shape[-1] != reduction:
        raise ValueError(f"weight {w.shape} does not fit an input of {x.shape}")
    read = [view.expand(outputs[0].shape) for view in operands(tail)]
    image, *images = _as_images([x, *outputs, *read])
    outputs, rest = images[: len(outputs)], iter(images[len(outputs) :])
    tail = map_operands(tail, lambda _: next(rest))
    if refused := tail_refusal(tail, None):
        raise refused
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
    features = w.shape[0]
    if image.shape != (1, reduction, 1, 1):
        raise ValueError(f"a matrix-vector tile cannot serve {x.shape}")
    if bias is not None and bias.shape != (features,):
        raise ValueError(f"bias {bias.shape}, wanted {(features,)}")
    end = epilogue((1, features, 1, 1), tail, exports, outputs, 1)
    require(offset_refusal(x, w))
    grid = (ceil_div(features, tile.features), 1, 1)
    require(grid_refusal(grid))
    args = (
        image.argument,
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
    }
    return Launch(matvec_kernel, grid, args, meta)


def _as_images(views: list[View]) -> list[View]:
    """Views [..., C] as [N, C, H, W]: rows as images of one pixel where the strides of all allow
    it, and otherwise the second and third dimension as height and width."""
    rows = [merged for view in views if (merged := _rows(view))]
    if len(rows) == len(views):
        return [view.permuted(0, 1, -1, -1) for view in rows]
    rank = len(views[0].shape)
    if rank > 4:
        raise Refused(f"the rows of {views[0].shape} do not follow one another in memory")
    return [view.permuted(0, rank - 1, 1, 2 if rank == 4 else -1) for view in views]


def _rows(view: View) -> View | None:
    """A view [..., C] as [rows, C]; None where its leading dimensions do not follow one another."""
    *leading, channels = view.shape
    *steps, last = view.strides
    counted = [(d, s) for d, s in zip(leading, steps, strict=True) if d > 1]
    if any(s != inner[0] * inner[1] for (_, s), inner in pairwise(counted)):
        return None
    step = counted[-1][1] if counted else steps[-1]
    return View(view.buffer, (prod(leading), channels), (step, last), view.dtype)
