"""Resampling of symbolic tensors, under PyTorch's functional names: pools by p-norms, pools to a
given size and interpolation.

Sizes, strides and factors are one number, or one per spatial dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from graphcnn import ops
from graphcnn.errors import InvalidAttribute, shown
from graphcnn.frontend.arithmetic import mul
from graphcnn.frontend.expr import Tensor, apply, on_the_users_line, symbolic
from graphcnn.frontend.short_forms import number, per_axis
from graphcnn.frontend.spatial import Pair, Single, pool
from graphcnn.ops.elementary import Pow


@on_the_users_line
def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: Single,
    stride: Single | None = None,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """The p-norm of each window of input[N, C, L], p = `norm_type`.

    That is the root of the sum of powers. As in PyTorch it is NaN where an odd power leaves a
    negative sum, and `ceil_mode` takes the mean of a partial window for what it lacks.

    Raises:
        RankError, InputTooSmall, InvalidAttribute: with the user's line.
    """
    return _lp_pool(ops.AvgPool1d, input, norm_type, kernel_size, stride, ceil_mode, name)


@on_the_users_line
def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: Pair,
    stride: Pair | None = None,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """The p-norm of each window of input[N, C, H, W], p = `norm_type`.

    That is the root of the sum of powers. As in PyTorch it is NaN where an odd power leaves a
    negative sum, and `ceil_mode` takes the mean of a partial window for what it lacks.

    Raises:
        RankError, InputTooSmall, InvalidAttribute: with the user's line.
    """
    return _lp_pool(ops.AvgPool2d, input, norm_type, kernel_size, stride, ceil_mode, name)


@on_the_users_line
def adaptive_avg_pool1d(input: Tensor, output_size: Single, *, name: str | None = None) -> Tensor:
    """Mean of each of the `output_size` windows that cover input[N, C, L].

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return apply(ops.AdaptiveAvgPool1d(per_axis(output_size, 1)), name, input)


@on_the_users_line
def adaptive_avg_pool2d(
    input: Tensor, output_size: int | tuple[int | None, int | None], *, name: str | None = None
) -> Tensor:
    """Mean of each of the `output_size` windows that cover input[N, C, H, W].

    None for one of both sizes keeps the input's.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return apply(ops.AdaptiveAvgPool2d(_kept(output_size, input)), name, input)


@on_the_users_line
def adaptive_max_pool1d(input: Tensor, output_size: Single, *, name: str | None = None) -> Tensor:
    """Largest element of each of the `output_size` windows that cover input[N, C, L].

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return apply(ops.AdaptiveMaxPool1d(per_axis(output_size, 1)), name, input)


@on_the_users_line
def adaptive_max_pool2d(
    input: Tensor, output_size: int | tuple[int | None, int | None], *, name: str | None = None
) -> Tensor:
    """Largest element of each of the `output_size` windows that cover input[N, C, H, W].

    None for one of both sizes keeps the input's.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return apply(ops.AdaptiveMaxPool2d(_kept(output_size, input)), name, input)


@on_the_users_line
def global_avg_pool1d(input: Tensor, *, name: str | None = None) -> Tensor:
    """Mean of each channel of input[N, C, L]: [N, C, 1].

    Raises:
        RankError: with the user's line.
    """
    return apply(ops.AdaptiveAvgPool1d((1,)), name, input)


@on_the_users_line
def global_max_pool1d(input: Tensor, *, name: str | None = None) -> Tensor:
    """Largest element of each channel of input[N, C, L]: [N, C, 1].

    Raises:
        RankError: with the user's line.
    """
    return apply(ops.AdaptiveMaxPool1d((1,)), name, input)


@on_the_users_line
def global_max_pool2d(input: Tensor, *, name: str | None = None) -> Tensor:
    """Largest element of each channel of input[N, C, H, W]: [N, C, 1, 1].

    Raises:
        RankError: with the user's line.
    """
    return apply(ops.AdaptiveMaxPool2d((1, 1)), name, input)


@on_the_users_line
def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """Maps of another size from input[N, C, L] or input[N, C, H, W].

    Args:
        input: The maps.
        size: Of the result: one number, or one per spatial dimension.
        scale_factor: Instead, the ratio to the input's; the product is rounded down.
        mode: "nearest", "nearest-exact", whose places are those of the elements' centres, "linear"
            for [N, C, L] or "bilinear" for [N, C, H, W].
        align_corners: In linear modes, whether the elements in the corners stay as they are.
        recompute_scale_factor: Whether places follow from both sizes, not from a `scale_factor`
            whose product with the size was rounded.
        name: Name of the value.

    Raises:
        RankError, InputTooSmall, InvalidAttribute: with the user's line.
    """
    rank = max(1, min(2, len(symbolic(input).shape) - 2))
    if (size is None) == (scale_factor is None):
        raise InvalidAttribute(
            "interpolate: either size or scale_factor should be defined",
            got="neither"
            if size is None
            else f"size={shown(size)}, scale_factor={shown(scale_factor)}",
            wanted="one of both",
            remedy="for example scale_factor=2" if size is None else "leave out one of both",
        )
    linear = {1: "linear", 2: "bilinear"}[rank]
    other = isinstance(mode, str) and mode in {"linear", "bilinear"} - {linear}
    if other and len(input.shape) in (3, 4):
        raise InvalidAttribute(
            f"interpolate: mode {mode!r} is for maps of another number of dimensions",
            got=str(input.type),
            wanted='"linear" for [N, C, L], "bilinear" for [N, C, H, W]',
            remedy=f'pass mode="{linear}"',
        )
    sizes = () if size is None else per_axis(size, rank)
    factors = () if scale_factor is None else _factors(scale_factor, rank)
    flags = (False if f is None else f for f in (align_corners, recompute_scale_factor))
    return apply(ops.Interpolate(sizes, factors, mode, *flags), name, input)


def _lp_pool(
    op: type[ops.AvgPool], input: Tensor, p: Any, kernel: Any, stride: Any, ceil: bool, name: Any
) -> Tensor:
    power = Pow(number(p))
    if power.exponent == 0:
        raise InvalidAttribute(
            "there is no 0-norm of a window",
            got="norm_type=0",
            wanted="a number other than 0",
            remedy="norm_type=2 is the root of the sum of squares",
        )
    means = pool(op, kernel, stride, 0, ceil)
    averaged = apply(means, None, apply(power, None, input))
    sums = mul(averaged, float(prod(means.kernel_size)))
    return apply(Pow(1 / power.exponent), name, sums)


def _kept(output_size: Any, input: Tensor) -> Any:
    """(height, width), with the input's for None."""
    sizes, own = per_axis(output_size, 2), symbolic(input).shape[2:]
    if not isinstance(sizes, tuple) or len(sizes) != len(own):
        return sizes
    return tuple(n if size is None else size for size, n in zip(sizes, own, strict=True))


def _factors(factor: Any, rank: int) -> Any:
    """A number per spatial dimension, from one for all or a list or tuple."""
    if isinstance(factor, list | tuple):
        return tuple(map(number, factor))
    return (number(factor),) * rank
