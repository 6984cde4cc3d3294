"""Convolutions, pools and padding of symbolic tensors, under PyTorch's functional names.

Weights are as in `functional`. Sizes, strides and dilations are one number, or one per spatial
dimension; paddings may also be one number per side.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from graphcnn import ops
from graphcnn.errors import InvalidAttribute, shown
from graphcnn.frontend.expr import Tensor, WeightLike, apply, on_the_users_line, symbolic
from graphcnn.frontend.short_forms import integer, number, per_axis, per_side
from graphcnn.ir.op import Op

Single = int | tuple[int]
Pair = int | tuple[int, int]
Ends = int | tuple[int] | tuple[int, int]
Sides = int | tuple[int] | tuple[int, int] | tuple[int, int, int, int]
Named = Literal["valid", "same"]
Mode = Literal["constant", "reflect", "replicate", "circular"]


@on_the_users_line
def conv1d(
    input: Tensor,
    weight: WeightLike,
    bias: WeightLike | None = None,
    stride: Single = 1,
    padding: Ends | Named = 0,
    dilation: Single = 1,
    groups: int = 1,
    *,
    name: str | None = None,
) -> Tensor:
    """Convolution (cross-correlation) of input[N, C, L] with weight[K, C/groups, R].

    Args:
        input: [N, C, L].
        weight: [K, C/groups, R].
        bias: [K].
        stride: Steps of the window.
        padding: Zeros around the input: one number, (left, right), "valid" for none, or "same"
            for as many as keep the length, at stride 1; an odd one is at the right.
        dilation: Spacing of the filter's taps.
        groups: Number of groups; C for a depthwise convolution.
        name: Name of the value.

    Returns:
        [N, K, P] with P = floor((L + left + right - dilation*(R-1) - 1)/stride) + 1.

    Raises:
        As for conv2d.
    """
    op = _conv(ops.Conv1d, weight, stride, padding, dilation, groups)
    return apply(op, name, input, weight=weight, bias=bias)


@on_the_users_line
def conv2d(
    input: Tensor,
    weight: WeightLike,
    bias: WeightLike | None = None,
    stride: Pair = 1,
    padding: Sides | Named = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    name: str | None = None,
) -> Tensor:
    """Convolution (cross-correlation) of input[N, C, H, W] with weight[K, C/groups, R, S].

    Args:
        input: [N, C, H, W].
        weight: [K, C/groups, R, S].
        bias: [K].
        stride: Steps of the window, one number or (height, width).
        padding: Zeros around the input: one number, (height, width), (top, left, bottom, right),
            "valid" for none, or "same" for as many as keep the size, at stride 1; an odd one is at
            the bottom and the right.
        dilation: Spacing of the filter's taps.
        groups: Number of groups; C for a depthwise convolution.
        name: Name of the value.

    Returns:
        [N, K, P, Q] with P = floor((H + top + bottom - dh*(R-1) - 1)/sh) + 1, Q alike.

    Raises:
        RankError, ChannelMismatch, InputTooSmall, ShapeError, InvalidAttribute, DTypeMismatch,
        NonFiniteWeights, InputKindError: with the user's line.
    """
    op = _conv(ops.Conv2d, weight, stride, padding, dilation, groups)
    return apply(op, name, input, weight=weight, bias=bias)


@on_the_users_line
def conv_transpose1d(
    input: Tensor,
    weight: WeightLike,
    bias: WeightLike | None = None,
    stride: Single = 1,
    padding: Single = 0,
    output_padding: Single = 0,
    groups: int = 1,
    dilation: Single = 1,
    *,
    name: str | None = None,
) -> Tensor:
    """Transposed convolution of input[N, C, L] with weight[C, K/groups, R]; as the 2-d one."""
    op = ops.ConvTranspose1d(
        per_axis(stride, 1),
        per_axis(padding, 1),
        per_axis(output_padding, 1),
        per_axis(dilation, 1),
        integer(groups),
    )
    return apply(op, name, input, weight=weight, bias=bias)


@on_the_users_line
def conv_transpose2d(
    input: Tensor,
    weight: WeightLike,
    bias: WeightLike | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
    *,
    name: str | None = None,
) -> Tensor:
    """Transposed convolution of input[N, C, H, W] with weight[C, K/groups, R, S].

    Args:
        input: [N, C, H, W].
        weight: [C, K/groups, R, S].
        bias: [K].
        stride: Distance between the places of neighbouring input elements in the output.
        padding: Elements taken off both sides of the output.
        output_padding: Elements added at the bottom and the right; below stride or dilation.
        groups: Number of groups.
        dilation: Spacing of the filter's taps.
        name: Name of the value.

    Returns:
        [N, K, P, Q] with P = (H - 1)*sh - 2*padding + dh*(R - 1) + output_padding + 1, Q alike.

    Raises:
        RankError, ChannelMismatch, InputTooSmall, ShapeError, InvalidAttribute, DTypeMismatch,
        NonFiniteWeights, InputKindError: with the user's line.
    """
    op = ops.ConvTranspose2d(
        per_axis(stride, 2),
        per_axis(padding, 2),
        per_axis(output_padding, 2),
        per_axis(dilation, 2),
        integer(groups),
    )
    return apply(op, name, input, weight=weight, bias=bias)


@on_the_users_line
def max_pool1d(
    input: Tensor,
    kernel_size: Single,
    stride: Single | None = None,
    padding: Ends = 0,
    dilation: Single = 1,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """Largest element of each window of input[N, C, L]; the stride defaults to the window.

    Raises:
        RankError, InputTooSmall, InvalidAttribute: with the user's line.
    """
    options = (per_axis(dilation, 1), ceil_mode)
    return apply(pool(ops.MaxPool1d, kernel_size, stride, padding, *options), name, input)


@on_the_users_line
def max_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Sides = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """Largest element of each window of input[N, C, H, W]; the stride defaults to the window.

    Raises:
        RankError, InputTooSmall, InvalidAttribute: with the user's line.
    """
    options = (per_axis(dilation, 2), ceil_mode)
    return apply(pool(ops.MaxPool2d, kernel_size, stride, padding, *options), name, input)


@on_the_users_line
def avg_pool1d(
    input: Tensor,
    kernel_size: Single,
    stride: Single | None = None,
    padding: Ends = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    name: str | None = None,
) -> Tensor:
    """Mean of each window of input[N, C, L]; the stride defaults to the window.

    Raises:
        RankError, InputTooSmall, InvalidAttribute: with the user's line.
    """
    options = (ceil_mode, count_include_pad)
    return apply(pool(ops.AvgPool1d, kernel_size, stride, padding, *options), name, input)


@on_the_users_line
def avg_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Sides = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    name: str | None = None,
) -> Tensor:
    """Mean of each window of input[N, C, H, W]; the stride defaults to the window.

    Raises:
        RankError, InputTooSmall, InvalidAttribute: with the user's line.
    """
    options = (ceil_mode, count_include_pad)
    return apply(pool(ops.AvgPool2d, kernel_size, stride, padding, *options), name, input)


@on_the_users_line
def pad(
    input: Tensor,
    padding: Sides,
    mode: Mode = "constant",
    value: float = 0.0,
    *,
    name: str | None = None,
) -> Tensor:
    """Surround the maps of input[N, C, L] or input[N, C, H, W].

    Args:
        input: [N, C, L] or [N, C, H, W].
        padding: One number, one per spatial dimension, or one per side: (left, right), or (top,
            left, bottom, right), which is not the order of torch's `pad`.
        mode: "constant" for `value`; "reflect" mirrors a map at its outermost elements,
            "replicate" repeats these, "circular" goes on at the other end.
        value: What to pad with; may be an infinity.
        name: Name of the value.

    Raises:
        RankError, ShapeError, InvalidAttribute: with the user's line.
    """
    rank = 1 if len(symbolic(input).shape) == 3 else 2
    return apply(ops.Pad(per_side(padding, rank), number(value), mode), name, input)


def _conv(
    op: type[ops.Conv], weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Op:
    step, spread = per_axis(stride, op.rank), per_axis(dilation, op.rank)
    if not isinstance(padding, str):
        return op(step, per_side(padding, op.rank), spread, integer(groups))
    conv = op(step, (0,) * 2 * op.rank, spread, integer(groups))
    kernel = getattr(weight, "shape", ())[2:]
    if padding == "valid" or (padding == "same" and len(kernel) != op.rank):
        return conv  # the operator refuses a weight of another rank
    if padding != "same" or conv.stride != (1,) * op.rank:
        raise InvalidAttribute(
            f'{op.name} pads by numbers, "valid", or "same" at stride 1',
            got=f"padding {shown(padding)} at stride {conv.stride}",
            wanted='a number, one per side, "valid", or at stride 1 "same"',
            remedy="give as many zeros as the output's size asks for",
        )
    over = [d * (k - 1) for d, k in zip(conv.dilation, kernel, strict=True)]
    sides = (*(zeros // 2 for zeros in over), *(zeros - zeros // 2 for zeros in over))
    return replace(conv, padding=sides)


def pool(
    op: type[ops.Pooling], kernel_size: Any, stride: Any, padding: Any, *options: Any
) -> ops.Pooling:
    """A pool from the short forms of its window; the stride defaults to the window."""
    size = per_axis(kernel_size, op.rank)
    step = size if stride is None else per_axis(stride, op.rank)
    return op(size, step, per_side(padding, op.rank), *options)
