"""Transposed convolution: the adjoint of a convolution with respect to its input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, gcd, prod
from typing import ClassVar

import numpy as np

from graphcnn.errors import ChannelMismatch, InputTooSmall, InvalidAttribute
from graphcnn.ir.op import Array, Cost
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
from graphcnn.ops.window import AXES, layout


@dataclass(frozen=True)
class ConvTranspose(Anchor):
    """Every input element adds its multiple of a filter to the output, `stride` apart.

    Operands are input[N, C, sizes], weight[C, K/groups, taps] and optionally bias[K]. Attributes
    have a number per spatial dimension. `padding` takes so many elements off both sides of the
    output and `output_padding` adds some to its end, which are there to choose among the output
    sizes that a convolution of this stride maps to one input size.
    """

    filter_axis: ClassVar[int] = 1
    rank: ClassVar[int]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def __post_init__(self) -> None:
        check_integers(self, "stride", self.rank, 1)
        check_integers(self, "padding", self.rank, 0)
        check_integers(self, "output_padding", self.rank, 0)
        check_integers(self, "dilation", self.rank, 1)
        check_integer(self, "groups", 1)
        limits = tuple(map(max, self.stride, self.dilation))
        if any(more >= most for more, most in zip(self.output_padding, limits, strict=True)):
            raise InvalidAttribute(
                f"{self.name}: output_padding is smaller than the stride or the dilation",
                got=f"output_padding={self.output_padding}, stride={self.stride}, "
                f"dilation={self.dilation}",
                wanted=f"output_padding below {limits}",
                remedy="pad the output with graphcnn.pad where it should be larger",
            )

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, K, sizes]; raises RankError, ChannelMismatch, InputTooSmall or ShapeError."""
        check_operands(self, inputs, 2, input=FLOAT, weight=FLOAT, bias=FLOAT)
        x, weight = inputs[:2]
        check_rank(self, "input", x, layout(self.rank))
        check_rank(self, "weight", weight, ", ".join(("C", "K/groups", *"RST"[: self.rank])))
        channels = x.shape[1]
        if weight.shape[0] != channels or channels % self.groups:
            raise ChannelMismatch(
                f"{self.name}: the weight's first dimension is the input channels, which groups "
                "divides",
                got=f"input {x} has {channels} channels, weight {weight}, groups={self.groups}",
                wanted=f"weight[{channels}, K/groups, ...] and a divisor of {channels} as groups",
                remedy="exchange the weight's first two dimensions if it is a convolution's",
            )
        filters = weight.shape[1] * self.groups
        check_bias(self, inputs, filters, "groups times the weight's second dimension")
        sizes = self.sizes(x.shape[2:], weight.shape[2:])
        for axis, size in zip(AXES[self.rank], sizes, strict=True):
            if size < 1:
                raise InputTooSmall(
                    f"the padding of {self.name} takes its whole output away",
                    got=f"an output {axis} of {size}",
                    wanted=f"an output {axis} of at least 1",
                    remedy=f"enlarge the input, or pad by {ceil((1 - size) / 2)} less",
                )
        return x.with_shape((x.shape[0], filters, *sizes))

    def sizes(self, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial sizes of the output: (H - 1)*sh - 2*padding + dh*(R - 1) + output_padding + 1."""
        attributes = (self.stride, self.padding, self.output_padding, self.dilation)
        return tuple(
            (size - 1) * step - 2 * before + spread * (taps - 1) + more + 1
            for size, taps, step, before, more, spread in zip(
                sizes, kernel, *attributes, strict=True
            )
        )

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """A MAC for each weight of its filters, per input element; padding's are counted too."""
        macs = inputs[0].size * prod(inputs[1].shape[1:])
        return replace(super().cost(inputs, output), macs=macs, flops=2 * macs + output.size)

    def _product(self, x: Array, weight: Array) -> Array:
        """A matrix product per tap, added to the output elements that the tap reaches."""
        images, channels, *sizes = x.shape
        depth, *kernel = weight.shape[1:]
        uncropped = replace(self, padding=(0,) * self.rank)
        y = np.zeros((images, self.groups * depth, *uncropped.sizes(tuple(sizes), tuple(kernel))))
        columns = x.reshape(images, self.groups, channels // self.groups, -1)
        matrices = weight.reshape(self.groups, channels // self.groups, depth, *kernel)
        for taps in np.ndindex(*kernel):
            reached = tuple(
                slice(tap * spread, tap * spread + (size - 1) * step + 1, step)
                for tap, spread, size, step in zip(
                    taps, self.dilation, sizes, self.stride, strict=True
                )
            )
            part = matrices[:, :, :, *taps].swapaxes(1, 2) @ columns
            y[:, :, *reached] += part.reshape(images, -1, *sizes)
        return y[
            :, :, *(slice(n, size - n) for n, size in zip(self.padding, y.shape[2:], strict=True))
        ]

    def _products(self, weight: tuple[int, ...]) -> int:
        """Taps that meet one output element lie stride / gcd(stride, dilation) apart."""
        axes = zip(weight[2:], self.stride, self.dilation, strict=True)
        taps = prod(ceil(taps * gcd(step, spread) / step) for taps, step, spread in axes)
        return taps * weight[0] // self.groups


@dataclass(frozen=True)
class ConvTranspose1d(ConvTranspose):
    """y[n,k,p*stride+r*dilation-padding] += x[n,c,p] * w[c,k,r], on top of bias[k].

    Operands are input[N, C, L], weight[C, K/groups, R] and optionally bias[K].
    """

    name: ClassVar[str] = "conv_transpose1d"
    rank: ClassVar[int] = 1
    stride: tuple[int] = (1,)
    padding: tuple[int] = (0,)
    output_padding: tuple[int] = (0,)
    dilation: tuple[int] = (1,)


@dataclass(frozen=True)
class ConvTranspose2d(ConvTranspose):
    """y[n,k,p*sh+r*dh-top,q*sw+s*dw-left] += x[n,c,p,q] * w[c,k,r,s], on top of bias[k].

    Operands are input[N, C, H, W], weight[C, K/groups, R, S] and optionally bias[K].
    """

    name: ClassVar[str] = "conv_transpose2d"
    rank: ClassVar[int] = 2
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    output_padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
