"""Convolution."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from graphcnn.errors import ChannelMismatch
from graphcnn.ir.op import Array
from graphcnn.ir.types import TensorType
from graphcnn.ops.anchor import Anchor
from graphcnn.ops.checks import (
    FLOAT,
    check_bias,
    check_integer,
    check_integers,
    check_operands,
    check_rank,
)
from graphcnn.ops.window import Window, layout

# Elements of the unrolled input that the reference holds at a time (128 MB of float64).
_CHUNK = 2**24


@dataclass(frozen=True)
class Conv(Anchor):
    """Cross-correlation with a filter per output channel, over `rank` spatial dimensions.

    Operands are input[N, C, sizes], weight[K, C/groups, taps] and optionally bias[K]. Attributes
    have a number per spatial dimension; padding has one per side, those in front first. Outside
    the input x is zero. Group g of K/groups output channels reads group g of C/groups input
    channels.
    """

    rank: ClassVar[int]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def __post_init__(self) -> None:
        check_integers(self, "stride", self.rank, 1)
        check_integers(self, "padding", 2 * self.rank, 0)
        check_integers(self, "dilation", self.rank, 1)
        check_integer(self, "groups", 1)

    def window(self, weight: tuple[int, ...]) -> Window:
        """The window of a weight of this shape."""
        begins, ends = self.padding[: self.rank], self.padding[self.rank :]
        return Window(weight[2:], self.stride, begins, ends, self.dilation)

    def is_depthwise(self, x: TensorType) -> bool:
        """Whether each of several groups reads one channel of the input x."""
        return 1 < self.groups == x.shape[1]

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, K, sizes]; raises RankError, ChannelMismatch, InputTooSmall or ShapeError."""
        check_operands(self, inputs, 2, input=FLOAT, weight=FLOAT, bias=FLOAT)
        x, weight = inputs[:2]
        check_rank(self, "input", x, layout(self.rank))
        check_rank(self, "weight", weight, ", ".join(("K", "C/groups", *"RST"[: self.rank])))
        channels, filters, depth = x.shape[1], weight.shape[0], weight.shape[1]
        if channels % self.groups or filters % self.groups:
            raise ChannelMismatch(
                f"{self.name}: groups divides the input channels and the filters",
                got=f"groups={self.groups}, {channels} input channels, {filters} filters",
                wanted=f"channels {self.groups}, {2 * self.groups}, {3 * self.groups}, ...",
                remedy=f"use one of groups={_common_divisors(channels, filters)}",
            )
        if depth * self.groups != channels:
            raise ChannelMismatch(
                f"{self.name}: the weight's second dimension is the input channels over the groups",
                got=f"input {x} has {channels} channels, weight {weight} with "
                f"groups={self.groups} reads {depth} * {self.groups} = {depth * self.groups}",
                wanted=f"weight[{filters}, {channels} / {self.groups} = "
                f"{channels // self.groups}, ...]",
                remedy=_depth_remedy(channels, filters, depth),
            )
        check_bias(self, inputs, filters)
        sizes = self.window(weight.shape).outputs(self, x.shape[2:])
        return x.with_shape((x.shape[0], filters, *sizes))

    def _product(self, x: Array, weight: Array) -> Array:
        """im2col and a matrix product, in chunks of images and rows."""
        window = self.window(weight.shape)
        images, filters, groups = x.shape[0], weight.shape[0], self.groups
        sizes = window.outputs(self, x.shape[2:])
        views = window.view(x, sizes, 0.0)
        matrices = weight.reshape(groups, filters // groups, -1)
        y = np.empty((images, groups, filters // groups, *sizes))
        rows = max(1, _CHUNK // (groups * matrices.shape[2] * prod(sizes[1:])))
        # From [C, sizes, taps] to [C, taps, sizes].
        order = (0, *range(1 + self.rank, 1 + 2 * self.rank), *range(1, 1 + self.rank))
        for image in range(images):
            for top in range(0, sizes[0], rows):
                chunk = views[image, :, top : top + rows].transpose(order)
                columns = chunk.reshape(groups, matrices.shape[2], -1)
                taken = y[image, :, :, top : top + rows]
                taken[:] = (matrices @ columns).reshape(taken.shape)
        return y.reshape(images, filters, *sizes)


@dataclass(frozen=True)
class Conv1d(Conv):
    """y[n,k,p] = bias[k] + sum over c,r of x[n,c,p*stride+r*dilation-left] * w[k,c,r].

    Operands are input[N, C, L], weight[K, C/groups, R] and optionally bias[K]; the output is
    [N, K, P] with P = floor((L + left + right - dilation*(R-1) - 1) / stride) + 1.
    """

    name: ClassVar[str] = "conv1d"
    rank: ClassVar[int] = 1
    stride: tuple[int] = (1,)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int] = (1,)


@dataclass(frozen=True)
class Conv2d(Conv):
    """y[n,k,p,q] = bias[k] + sum over c,r,s of x[n,c,p*sh+r*dh-top,q*sw+s*dw-left] * w[k,c,r,s].

    Operands are input[N, C, H, W], weight[K, C/groups, R, S] and optionally bias[K]; the output is
    [N, K, P, Q] with P = floor((H + top + bottom - dh*(R-1) - 1) / sh) + 1 and Q alike.
    """

    name: ClassVar[str] = "conv2d"
    rank: ClassVar[int] = 2
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)


def _common_divisors(channels: int, filters: int) -> str:
    # Channel counts of real networks are small; the cap keeps absurd ones from taking long.
    most = min(channels, filters, 4096)
    found = [g for g in range(1, most + 1) if channels % g == 0 and filters % g == 0]
    return ", ".join(map(str, found[:8])) + (", ..." if len(found) > 8 else "")


def _depth_remedy(channels: int, filters: int, depth: int) -> str:
    if channels % depth == 0 and filters % (channels // depth) == 0:
        return f"pass groups={channels // depth}, or a weight for {channels} input channels"
    return f"feed it {depth} channels per group, or use a weight for {channels} input channels"
