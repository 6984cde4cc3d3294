"""Convolution."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from graphcnn.errors import ChannelMismatch
from graphcnn.ir.op import Array, Cost, Op, OpKind
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import (
    check_bias,
    check_integer,
    check_integers,
    check_operands,
    check_rank,
)
from graphcnn.ops.rounding import product_error, product_noise
from graphcnn.ops.window import Window

# Elements of the unrolled input that the reference holds at a time (128 MB of float64).
_CHUNK = 2**24


@dataclass(frozen=True)
class Conv2d(Op):
    """y[n,k,p,q] = bias[k] + sum over c,r,s of x[n,c,p*sh+r*dh-top,q*sw+s*dw-left] * w[k,c,r,s].

    Operands are input[N, C, H, W], weight[K, C/groups, R, S] and optionally bias[K]; the output is
    [N, K, P, Q] with P = floor((H + top + bottom - dh*(R-1) - 1) / sh) + 1 and Q alike. Outside
    the input x is zero. Group g of K/groups output channels reads group g of C/groups input
    channels.
    """

    name: ClassVar[str] = "conv2d"
    kind: ClassVar[OpKind] = OpKind.ANCHOR
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        check_integers(self, "stride", 2, 1)
        check_integers(self, "padding", 4, 0)
        check_integers(self, "dilation", 2, 1)
        check_integer(self, "groups", 1)

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, K, P, Q]; raises RankError, ChannelMismatch, InputTooSmall or ShapeError."""
        check_operands(self, inputs, ("input", "weight"), "bias")
        x, weight = inputs[:2]
        check_rank(self, "input", x, "N, C, H, W")
        check_rank(self, "weight", weight, "K, C/groups, R, S")
        channels, filters, depth = x.shape[1], weight.shape[0], weight.shape[1]
        if channels % self.groups or filters % self.groups:
            raise ChannelMismatch(
                "conv2d: groups divides the input channels and the filters",
                got=f"groups={self.groups}, {channels} input channels, {filters} filters",
                wanted=f"channels {self.groups}, {2 * self.groups}, {3 * self.groups}, ...",
                remedy=f"use one of groups={_common_divisors(channels, filters)}",
            )
        if depth * self.groups != channels:
            raise ChannelMismatch(
                "conv2d: the weight's second dimension is the input channels over the groups",
                got=f"input {x} has {channels} channels, weight {weight} with "
                f"groups={self.groups} reads {depth} * {self.groups} = {depth * self.groups}",
                wanted=f"weight[{filters}, {channels} / {self.groups} = "
                f"{channels // self.groups}, ...]",
                remedy=_depth_remedy(channels, filters, depth),
            )
        check_bias(self, inputs, filters)
        height, width = self._window(weight.shape).outputs(self, *x.shape[2:])
        return x.with_shape((x.shape[0], filters, height, width))

    def reference(self, *inputs: Array) -> Array:
        """im2col and a matrix product, in chunks of images and rows."""
        y = self._convolve(inputs[0], inputs[1])
        if len(inputs) == 3:
            y += inputs[2][:, None, None]
        return y

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """R*S*C/groups MACs per output element."""
        macs = output.size * prod(inputs[1].shape[1:])
        biased = output.size if len(inputs) == 3 else 0
        return Cost(macs, 2 * macs + biased, sum(type.size for type in inputs), output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """gamma(n) * sum |x||w|, in any order of summation, plus the operands' errors."""
        terms = prod(inputs[1].shape[1:]) + 2
        operands, slack = _with_column(inputs), _with_column(errors)
        return product_error(self._convolve, operands, slack, terms, unit)

    def noise(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """That of a long sum, from a second pass over squares."""
        terms = prod(inputs[1].shape[1:]) + 2
        operands, slack = _with_column(inputs), _with_column(errors)
        return product_noise(self._convolve, operands, slack, output, terms, unit)

    def _window(self, weight: tuple[int, ...]) -> Window:
        return Window((weight[2], weight[3]), self.stride, self.padding, self.dilation)

    def _convolve(self, x: Array, weight: Array) -> Array:
        window = self._window(weight.shape)
        images, filters, groups = x.shape[0], weight.shape[0], self.groups
        height, width = window.outputs(self, *x.shape[2:])
        views = window.view(x, (height, width), 0.0)
        matrices = weight.reshape(groups, filters // groups, -1)
        y = np.empty((images, groups, filters // groups, height, width))
        rows = max(1, _CHUNK // (groups * matrices.shape[2] * width))
        for image in range(images):
            for top in range(0, height, rows):
                chunk = views[image, :, top : top + rows].transpose(0, 3, 4, 1, 2)
                columns = chunk.reshape(groups, matrices.shape[2], -1)
                taken = y[image, :, :, top : top + rows]
                taken[:] = (matrices @ columns).reshape(taken.shape)
        return y.reshape(images, filters, height, width)


def _with_column(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """The operands with the bias, if there is one, as it is added to the product."""
    return (*arrays[:2], *(bias[:, None, None] for bias in arrays[2:]))


def _common_divisors(channels: int, filters: int) -> str:
    # Channel counts of real networks are small; the cap keeps absurd ones from taking long.
    most = min(channels, filters, 4096)
    found = [g for g in range(1, most + 1) if channels % g == 0 and filters % g == 0]
    return ", ".join(map(str, found[:8])) + (", ..." if len(found) > 8 else "")


def _depth_remedy(channels: int, filters: int, depth: int) -> str:
    if channels % depth == 0 and filters % (channels // depth) == 0:
        return f"pass groups={channels // depth}, or a weight for {channels} input channels"
    return f"feed it {depth} channels per group, or use a weight for {channels} input channels"
