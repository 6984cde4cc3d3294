"""Weight layouts: how each constant is arranged, once, for the kernel that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from graphcnn.ir import Array, DType, Param


def pack(
    layout: str, sources: Sequence[str], options: Sequence[float], params: Mapping[str, Param]
) -> tuple[Array, DType]:
    """The packed array, contiguous, and the dtype it is stored in.

    Args:
        layout: A key of `LAYOUTS`.
        sources: Names of the params it is made from.
        options: Numbers the layout needs, such as a batch norm's eps.
        params: By name.

    Raises:
        MissingWeights: when a source has no data.
    """
    arrays = [params[name].values for name in sources]
    packed, dtype = LAYOUTS[layout](*arrays, *options), DType.F32
    if layout not in _STATISTICS:
        dtype = params[sources[0]].type.dtype
    return np.ascontiguousarray(dtype.round(packed)), dtype


def _plain(weight: Array) -> Array:
    return weight


def _reduction_major(weight: Array) -> Array:
    """[K, C, R, S] to [K, R * S * C]: each output channel's reduction is contiguous."""
    channels, inner = weight.shape[:2]
    return weight.reshape(channels, inner, -1).transpose(0, 2, 1).reshape(channels, -1)


def _channel_major(weight: Array) -> Array:
    """[K, C, R, S] to [R * S * C, K]: the output channels of one tap and channel are contiguous."""
    return _reduction_major(weight).T


def _batch_norm_scale(var: Array, weight: Array, eps: float) -> Array:
    scale: Array = weight.astype(np.float64) / np.sqrt(var.astype(np.float64) + eps)
    return scale


def _batch_norm_shift(mean: Array, var: Array, weight: Array, bias: Array, eps: float) -> Array:
    shift: Array = bias - mean * _batch_norm_scale(var, weight, eps)
    return shift


LAYOUTS: dict[str, Callable[..., Array]] = {
    "plain": _plain,
    "reduction_major": _reduction_major,
    "channel_major": _channel_major,
    "batch_norm_scale": _batch_norm_scale,
    "batch_norm_shift": _batch_norm_shift,
}
# Kept in float32 whatever the graph's dtype: rounding a scale would cost more than it saves.
_STATISTICS = {"batch_norm_scale", "batch_norm_shift"}
