"""Linear layer: a matrix product through the convolution kernel, or a matrix-vector product."""

from collections.abc import Sequence

import triton
import triton.language as tl

from .conv2d import conv2d
from .epilogue import Stage, epilogue
from .finish import finish
from .launch import Launch, View, ceil_div, grid_refusal, offset_refusal, require
from .tile import ConvTile, LinearTile


@triton.jit
def matvec_kernel(
    x_ptr,
    w_ptr,
    bias_ptr,
    outputs,
    operands,
    x_strides,
    w_strides,
    stride_bias,
    output_strides,
    operand_strides,
    STAGES,
    PARAMS: tl.constexpr,
    SLOTS: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    STORES: tl.constexpr,
    POOL_AT: tl.constexpr,
    POOL_MAX: tl.constexpr,
    POOL_H: tl.constexpr,
    POOL_W: tl.constexpr,
    PARTIAL_WINDOWS: tl.constexpr,
    K: tl.constexpr,
    FEATURES: tl.constexpr,
    BLOCK_F: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Compute BLOCK_F outputs of one row: y = W[BLOCK_F, K] @ x[K].

    Bound by reading W once. Products are kept as [BLOCK_F, BLOCK_K] float32 partial sums, which
    are reduced after the loop over K.
    """
    feature = tl.program_id(0) * BLOCK_F + tl.arange(0, BLOCK_F)
    feature_live = feature < FEATURES
    block = tl.arange(0, BLOCK_K)
    sums = tl.zeros((BLOCK_F, BLOCK_K), dtype=tl.float32)
    for start in range(0, K, BLOCK_K):
        k = start + block
        x = tl.load(x_ptr + k * x_strides[1], mask=k < K, other=0.0)
        w = tl.load(
            w_ptr + (feature * w_strides[0])[:, None] + (k * w_strides[1])[None, :],
            mask=feature_live[:, None] & (k < K)[None, :],
            other=0.0,
        )  # [BLOCK_F, BLOCK_K]
        sums += w.to(tl.float32) * x.to(tl.float32)[None, :]
    if bias_ptr is None:
        bias = tl.zeros((BLOCK_F,), dtype=tl.float32)
    else:
        bias = tl.load(bias_ptr + feature * stride_bias, mask=feature_live, other=0.0)
    finish(
        tl.sum(sums, axis=1)[None, :],
        bias.to(tl.float32),
        0,
        1,
        1,
        1,
        feature,
        feature_live,
        outputs,
        output_strides,
        operands,
        operand_strides,
        STAGES,
        PARAMS,
        SLOTS,
        PER_CHANNEL,
        STORES,
        POOL_AT,
        POOL_MAX,
        POOL_H,
        POOL_W,
        PARTIAL_WINDOWS,
    )


def linear(
    x: View,
    w: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    tail: tuple[Stage, ...] = (),
    exports: Sequence[int] | None = None,
    tile: LinearTile,
) -> Launch:
    """Launch y = x @ w^T + bias with its tail: x [M, K], w [N, K], bias [N], outputs [M, N].

    Stage operands are 2-D and broadcast to [M, N]. A tile of one row takes the matrix-vector form
    and needs M == 1; the others run as a 1x1 convolution of M images of one pixel.
    Raises ValueError for shapes that disagree and for what 32-bit offsets or the grid cannot hold.
    """
    rows, reduction = x.shape
    features = w.shape[0]
    if w.shape != (features, reduction):
        raise ValueError(f"weight {w.shape} does not fit an input of {x.shape}")
    lifted = tuple(
        Stage(s.fn, None if s.operand is None else s.operand.lift(), s.param) for s in tail
    )
    exports = (len(tail),) if exports is None else exports
    out_views = [v.lift() for v in outputs]
    if tile.rows > 1:
        return conv2d(
            x.lift(),
            w,
            bias,
            out_views,
            kernel=(1, 1),
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            groups=1,
            out_size=(1, 1),
            tail=lifted,
            exports=exports,
            tile=ConvTile(
                tile.features, tile.rows, tile.reduction, tile.num_warps, tile.num_stages
            ),
        )
    if rows != 1:
        raise ValueError(f"a matrix-vector tile cannot serve {rows} rows")
    if bias is not None and bias.shape != (features,):
        raise ValueError(f"bias {bias.shape}, wanted {(features,)}")
    end = epilogue((1, features, 1, 1), lifted, exports, out_views)
    require(offset_refusal(x, w))
    grid = (ceil_div(features, tile.features), 1, 1)
    require(grid_refusal(grid))
    args = (
        x.buffer,
        w.buffer,
        None if bias is None else bias.buffer,
        end.outputs,
        end.operands,
        x.strides,
        w.strides,
        1 if bias is None else bias.strides[0],
        end.output_strides,
        end.operand_strides,
    )
    meta = end.meta | {
        "K": reduction,
        "FEATURES": features,
        "BLOCK_F": tile.features,
        "BLOCK_K": tile.reduction,
        "num_warps": tile.num_warps,
        "num_stages": tile.num_stages,
    }
    return Launch(matvec_kernel, grid, args, meta)
