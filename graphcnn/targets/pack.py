"""Weights in the layouts that kernels read: each arranged once, when a model is bound."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

import numpy as np

from graphcnn.ir import Array, DType, Node, Param, TensorType
from graphcnn.kernels import LANES, TURN, run_length
from graphcnn.ops import BatchNorm
from graphcnn.plan import Packing
from graphcnn.targets.layout import contiguous


def plain(param: Param, shape: tuple[int, ...] | None = None) -> Packing:
    """A param as it is, perhaps under another shape."""
    shape = param.type.shape if shape is None else shape
    name = f"{param.name}@plain"
    return Packing(name, (param.name,), shape, contiguous(shape), param.type.dtype, np.asarray)


def along_channels(param: Param, type: TensorType) -> Packing:
    """A vector [C], or [1], that broadcasts to maps [N, C, ...]."""
    step = 1 if param.type.size > 1 else 0
    strides = tuple(step if axis == 1 else 0 for axis in range(len(type.shape)))
    name = f"{param.name}@channels"
    return Packing(name, (param.name,), type.shape, strides, param.type.dtype, np.asarray)


def filters(param: Param, order: str, channels: int | None = None) -> Packing:
    """A filter [K, C, taps] as the matrix [K, taps * C] of an implicit GEMM.

    Args:
        param: The filter.
        order: "reduction_major" or "channel_major": what is contiguous (see `DeviceTraits`).
        channels: C, where the filter is given as the matrix [K, C * taps].
    """
    features, *inner = param.type.shape
    shape = (features, prod(inner))
    by_channel = order == "channel_major"
    arrange: Callable[..., Array] = channel_major if by_channel else reduction_major
    name = f"{param.name}@{order}"
    if channels is not None:
        name += f"@{channels}"
        arrange = partial(_of_matrix, channels=channels, arrange=arrange)
    strides = (1, features) if by_channel else contiguous(shape)
    return Packing(name, (param.name,), shape, strides, param.type.dtype, arrange)


def _of_matrix(weight: Array, *, channels: int, arrange: Callable[..., Array]) -> Array:
    return arrange(weight.reshape(len(weight), channels, -1))


def reduction_major(weight: Array) -> Array:
    """[K, C, taps] to [K, taps * C]: each output channel's reduction is contiguous."""
    channels, inner = weight.shape[:2]
    return weight.reshape(channels, inner, -1).transpose(0, 2, 1).reshape(channels, -1)


def channel_major(weight: Array) -> Array:
    """[K, C, taps] to [taps * C, K]: the output channels of one tap and channel are contiguous."""
    return reduction_major(weight).T


def in_runs(param: Param) -> Packing:
    """A filter [K, C, taps] as the matrix [K, rows * run]: of each row of taps the channels of one
    side by side, with zeros between and behind, as `kernels/stem.py` has them."""
    filters, channels, *rest = param.type.shape
    rows, taps = (1, *rest)[-2:]
    shape = (filters, rows * run_length(taps))
    arrange = partial(_runs, sizes=(filters, channels, rows, taps))
    name = f"{param.name}@runs"
    return Packing(name, (param.name,), shape, contiguous(shape), param.type.dtype, arrange)


def _runs(weight: Array, *, sizes: tuple[int, ...]) -> Array:
    filters, channels, rows, taps = sizes
    by_tap = weight.reshape(sizes).transpose(0, 2, 3, 1)
    pixels = np.pad(by_tap, [(0, 0)] * 3 + [(0, LANES - channels)]).reshape(filters, rows, -1)
    runs = np.pad(pixels, [(0, 0)] * 2 + [(0, run_length(taps) - LANES * taps)])
    return runs.reshape(filters, -1)


def in_panels(filters: Packing, width: int) -> Packing:
    """A channel-major matrix [K, inner] as panels [K / width, inner, width], zeros behind the last
    channel: what one pass of the vectors over the reduction reads lies together."""
    channels, inner = filters.shape
    shape = (-(-channels // width), inner, width)
    return Packing(
        f"{filters.name}@panels",
        filters.sources,
        shape,
        contiguous(shape),
        filters.dtype,
        partial(_panels, arrange=filters.arrange, width=width),
    )


def _panels(*weights: Array, arrange: Callable[..., Array], width: int) -> Array:
    matrix = arrange(*weights)
    inner, channels = matrix.shape
    whole, rest = divmod(channels, width)
    panels = np.zeros((whole + (rest > 0), inner, width), matrix.dtype)
    filled = matrix[:, : whole * width].reshape(inner, whole, width)
    panels[:whole] = filled.transpose(1, 0, 2)
    if rest:
        panels[whole, :, :rest] = matrix[:, whole * width :]
    return panels


def in_pairs(panels: Packing) -> Packing:
    """Panels [K / width, inner, width] as [K / width, inner / 2, width, 2]: what one instruction
    multiplies and adds up lies together."""
    blocks, inner, width = panels.shape
    shape = (blocks, inner // 2, width, 2)
    arrange = partial(_pairs, arrange=panels.arrange)
    name = f"{panels.name}@pairs"
    return Packing(name, panels.sources, shape, contiguous(shape), panels.dtype, arrange)


def _pairs(*weights: Array, arrange: Callable[..., Array]) -> Array:
    panels = arrange(*weights)
    blocks, inner, width = panels.shape
    pairs: Array = panels.reshape(blocks, inner // 2, 2, width).transpose(0, 1, 3, 2)
    return pairs


def in_turns(first: Packing, second: Packing) -> Packing:
    """The rows [K] of two packings in turns of `TURN`, with rows of zeros up to whole turns."""
    turns = -(-first.shape[0] // TURN)
    shape = (2 * TURN * turns, *first.shape[1:])
    by_row = first.strides == contiguous(first.shape)
    return Packing(
        f"{first.name}&{second.name}",
        (*first.sources, *second.sources),
        shape,
        contiguous(shape) if by_row else (1, shape[0]),
        first.dtype,
        partial(_alternate, arrange=first.arrange, by_row=by_row),
    )


def _alternate(*weights: Array, arrange: Callable[..., Array], by_row: bool) -> Array:
    halves = [arrange(weight) if by_row else arrange(weight).T for weight in weights]
    rest = [(0, -len(halves[0]) % TURN), *[(0, 0)] * (halves[0].ndim - 1)]
    rows = [np.pad(half, rest).reshape(-1, TURN, *half.shape[1:]) for half in halves]
    both: Array = np.stack(rows, axis=1).reshape(-1, *halves[0].shape[1:])
    return both if by_row else both.T


def scale_and_shift(norm: Node) -> tuple[Packing, Packing]:
    """A batch norm as a factor and a summand per channel, that broadcast to its value.

    In float32 whatever the graph's dtype: rounding a scale would cost more than it saves.
    """
    assert isinstance(norm.op, BatchNorm)
    eps = norm.op.eps
    _, mean, var, weight, bias = norm.inputs
    strides = (0, 1, *(0,) * (len(norm.type.shape) - 2))

    def vector(kind: str, arrange: Callable[..., Array], *sources: str) -> Packing:
        name = f"{'+'.join(sources)}@batch_norm_{kind}@{eps!r}"
        return Packing(
            name, sources, norm.type.shape, strides, DType.F32, partial(arrange, eps=eps)
        )

    return (
        vector("scale", _scale, var, weight),
        vector("shift", _shift, mean, var, weight, bias),
    )


def _scale(var: Array, weight: Array, *, eps: float) -> Array:
    scale: Array = weight.astype(np.float64) / np.sqrt(var.astype(np.float64) + eps)
    return scale


def _shift(mean: Array, var: Array, weight: Array, bias: Array, *, eps: float) -> Array:
    shift: Array = bias - mean * _scale(var, weight, eps=eps)
    return shift
