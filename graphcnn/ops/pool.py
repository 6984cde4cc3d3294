"""Pooling: the largest or the mean element of each window."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import reduce
from math import isqrt, prod
from typing import ClassVar

import numpy as np

from graphcnn.errors import InputTooSmall, InvalidAttribute
from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import FLOAT, check_flag, check_integers, check_operands, check_rank
from graphcnn.ops.rounding import UNDERFLOW, beyond_range
from graphcnn.ops.window import AXES, Window, layout


@dataclass(frozen=True)
class Pooling(Op):
    """One number from each window of input[N, C, sizes], over `rank` spatial dimensions.

    Attributes have a number per spatial dimension; padding has one per side, those in front first.
    """

    kind: ClassVar[OpKind] = OpKind.WINDOW
    rank: ClassVar[int]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    def __post_init__(self) -> None:
        check_integers(self, "kernel_size", self.rank, 1)
        check_integers(self, "stride", self.rank, 1)
        check_integers(self, "padding", 2 * self.rank, 0)
        check_flag(self, "ceil_mode")
        # A window of padding alone has no largest element.
        window = self.window
        for axis, span in enumerate(window.spans):
            if max(window.begins[axis], window.ends[axis]) >= span:
                side = AXES[self.rank][axis]
                raise InvalidAttribute(
                    f"{self.name}: the padding is smaller than the window",
                    got=f"padding={self.padding}, a window of {side} {span}",
                    wanted=f"at most {span - 1} on each side of the {side}",
                    remedy="pad less, or put a pad op in front",
                )

    @property
    @abstractmethod
    def window(self) -> Window:
        """The pool's window."""

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, C, sizes]; raises RankError or InputTooSmall."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        check_rank(self, "input", x, layout(self.rank))
        return x.with_shape((*x.shape[:2], *self.window.outputs(self, x.shape[2:])))

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """One operation per window element."""
        return Cost(0, output.size * prod(self.kernel_size), inputs[0].size, output.size)

    def _folded(self, fold: np.ufunc, x: Array, fill: float) -> Array:
        """A function of two numbers applied tap after tap to every window of x."""
        views = self.window.view(x, self.window.outputs(self, x.shape[2:]), fill)
        first, *taps = np.ndindex(self.kernel_size)
        result: Array = views[(..., *first)].copy()
        for tap in taps:
            fold(result, views[(..., *tap)], out=result)
        return result


@dataclass(frozen=True)
class MaxPool(Pooling):
    """The largest element of each window; padding never wins.

    With `ceil_mode` a last, partial window is kept when it starts inside the input or its leading
    padding, as in PyTorch.
    """

    dilation: tuple[int, ...]
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        check_integers(self, "dilation", self.rank, 1)
        super().__post_init__()

    @property
    def window(self) -> Window:
        """The pool's window."""
        begins, ends = self.padding[: self.rank], self.padding[self.rank :]
        return Window(self.kernel_size, self.stride, begins, ends, self.dilation, self.ceil_mode)

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, C, sizes]; raises RankError or InputTooSmall."""
        type = super().infer(*inputs)
        sizes = inputs[0].shape[2:]
        for axis, side in enumerate(AXES[self.rank]):
            if self.padding[axis] and sizes[axis] < self.dilation[axis]:
                raise InputTooSmall(
                    f"{self.name}: a dilated window could hold padding only",
                    got=f"{side} {sizes[axis]}, dilation {self.dilation[axis]}",
                    wanted=f"a {side} of at least the dilation",
                    remedy=f"enlarge the {side}, or use a smaller dilation or no padding",
                )
        return type

    def reference(self, *inputs: Array) -> Array:
        """The maximum over strided views."""
        return self._folded(np.maximum, inputs[0], -np.inf)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The largest error in the window: |max a - max b| <= max |a - b|."""
        return self._folded(np.maximum, errors[0], 0.0)


@dataclass(frozen=True)
class AvgPool(Pooling):
    """The sum of each window over its divisor; padding counts as zeros.

    The divisor is the number of window elements inside the padded input, or inside the input with
    `count_include_pad=False`; what `ceil_mode` adds beyond the padding never counts (PyTorch).
    """

    ceil_mode: bool = False
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        check_flag(self, "count_include_pad")
        super().__post_init__()

    @property
    def window(self) -> Window:
        """The pool's window."""
        begins, ends = self.padding[: self.rank], self.padding[self.rank :]
        dense = (1,) * self.rank
        return Window(self.kernel_size, self.stride, begins, ends, dense, self.ceil_mode)

    def divisors(self, sizes: tuple[int, ...]) -> Array:
        """Divisor of every output element, float64, for an input [N, C, sizes]."""
        window = self.window
        counts = []
        for axis, extent in enumerate(window.outputs(self, sizes)):
            start = np.arange(extent, dtype=np.float64) * self.stride[axis] - window.begins[axis]
            stop = np.minimum(start + self.kernel_size[axis], sizes[axis] + window.ends[axis])
            if not self.count_include_pad:
                start, stop = np.maximum(start, 0), np.minimum(stop, sizes[axis])
            counts.append(stop - start)
        return reduce(np.multiply.outer, counts)

    def reference(self, *inputs: Array) -> Array:
        """Sums over strided views, divided."""
        (x,) = inputs
        return self._folded(np.add, x, 0.0) / self.divisors(x.shape[2:])

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The mean of the errors, plus the rounding of a sum in any order and of a division."""
        terms = prod(self.kernel_size) + 2
        magnitude = self.reference(np.abs(inputs[0]) + errors[0])
        bound = self.reference(errors[0]) + gamma(terms, unit) * magnitude + UNDERFLOW
        return beyond_range(terms * magnitude, bound)


@dataclass(frozen=True)
class MaxPool1d(MaxPool):
    """y[n,c,p] = max over r of x[n,c,p*stride+r*dilation-left]; padding never wins."""

    name: ClassVar[str] = "max_pool1d"
    rank: ClassVar[int] = 1
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int] = (1,)


@dataclass(frozen=True)
class MaxPool2d(MaxPool):
    """y[n,c,p,q] = max over r,s of x[n,c,p*sh+r*dh-top,q*sw+s*dw-left]; padding never wins."""

    name: ClassVar[str] = "max_pool2d"
    rank: ClassVar[int] = 2
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class AvgPool1d(AvgPool):
    """y[n,c,p] = (sum over r of x[n,c,p*stride+r-left]) / divisor."""

    name: ClassVar[str] = "avg_pool1d"
    rank: ClassVar[int] = 1
    padding: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class AvgPool2d(AvgPool):
    """y[n,c,p,q] = (sum over r,s of x[n,c,p*sh+r-top,q*sw+s-left]) / divisor."""

    name: ClassVar[str] = "avg_pool2d"
    rank: ClassVar[int] = 2
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class GlobalAvgPool2d(Op):
    """y[n,c,0,0] = mean over h,w of x[n,c,h,w]."""

    name: ClassVar[str] = "global_avg_pool2d"
    kind: ClassVar[OpKind] = OpKind.REDUCTION

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, C, 1, 1]; raises RankError."""
        check_operands(self, inputs, input=FLOAT)
        check_rank(self, "input", inputs[0], layout(2))
        return inputs[0].with_shape((*inputs[0].shape[:2], 1, 1))

    def reference(self, *inputs: Array) -> Array:
        """The mean of each channel; NumPy sums pairwise along a row in memory."""
        (x,) = inputs
        mean: Array = x.reshape(*x.shape[:2], -1).mean(axis=2)[:, :, None, None]
        return mean

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """One addition per input element."""
        return Cost(0, inputs[0].size, inputs[0].size, output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The mean of the errors, plus the rounding of a sum in blocks and of a division.

        No target adds the pixels of a large map in one chain: the kernel's sum is a float64, NumPy
        sums pairwise, torch in cascades. All are shorter than blocks of sqrt(n) pixels, whose sums
        are two chains of that length; a map of 64 pixels or fewer may be a chain.
        """
        pixels = prod(inputs[0].shape[2:])
        terms = min(pixels, 2 * isqrt(pixels) + 64) + 2
        slack = self.reference(errors[0])
        magnitude = self.reference(np.abs(inputs[0])) + slack
        bound = slack + gamma(terms, unit) * magnitude + UNDERFLOW
        return beyond_range(pixels * magnitude, bound)
