"""Pooling: the largest or the mean element of each window."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt, prod
from typing import ClassVar

import numpy as np

from graphcnn.errors import InputTooSmall, InvalidAttribute
from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import check_flag, check_integers, check_operands, check_rank
from graphcnn.ops.rounding import UNDERFLOW, beyond_range
from graphcnn.ops.window import Window


@dataclass(frozen=True)
class MaxPool2d(Op):
    """y[n,c,p,q] = max over r,s of x[n,c,p*sh+r*dh-top,q*sw+s*dw-left]; padding never wins.

    With `ceil_mode` a last, partial window is kept when it starts inside the input or its leading
    padding, as in PyTorch.
    """

    name: ClassVar[str] = "max_pool2d"
    kind: ClassVar[OpKind] = OpKind.WINDOW
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        check_integers(self, "kernel_size", 2, 1)
        check_integers(self, "stride", 2, 1)
        check_integers(self, "padding", 4, 0)
        check_integers(self, "dilation", 2, 1)
        check_flag(self, "ceil_mode")
        _check_padding(self, self._window)

    @property
    def _window(self) -> Window:
        return Window(self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, C, P, Q]; raises RankError or InputTooSmall."""
        check_operands(self, inputs, ("input",))
        (x,) = inputs
        check_rank(self, "input", x, "N, C, H, W")
        outputs = self._window.outputs(self, *x.shape[2:])
        for axis, side in enumerate(("height", "width")):
            if self.padding[axis] and x.shape[2 + axis] < self.dilation[axis]:
                raise InputTooSmall(
                    "max_pool2d: a dilated window could hold padding only",
                    got=f"{side} {x.shape[2 + axis]}, dilation {self.dilation[axis]}",
                    wanted=f"a {side} of at least the dilation",
                    remedy=f"enlarge the {side}, or use a smaller dilation or no padding",
                )
        return x.with_shape((*x.shape[:2], *outputs))

    def reference(self, *inputs: Array) -> Array:
        """The maximum over strided views."""
        return self._largest(inputs[0], -np.inf)

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """One comparison per window element."""
        return Cost(0, output.size * prod(self.kernel_size), inputs[0].size, output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The largest error in the window: |max a - max b| <= max |a - b|."""
        return self._largest(errors[0], 0.0)

    def _largest(self, x: Array, fill: float) -> Array:
        outputs = self._window.outputs(self, *x.shape[2:])
        views = self._window.view(x, outputs, fill)
        taps = [(r, s) for r in range(self.kernel_size[0]) for s in range(self.kernel_size[1])]
        largest: Array = views[..., 0, 0].copy()
        for r, s in taps[1:]:
            np.maximum(largest, views[..., r, s], out=largest)
        return largest


@dataclass(frozen=True)
class AvgPool2d(Op):
    """y[n,c,p,q] = (sum over the window of x) / divisor; padding counts as zeros.

    The divisor is the number of window elements inside the padded input, or inside the input with
    `count_include_pad=False`; what `ceil_mode` adds beyond the padding never counts (PyTorch).
    """

    name: ClassVar[str] = "avg_pool2d"
    kind: ClassVar[OpKind] = OpKind.WINDOW
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        check_integers(self, "kernel_size", 2, 1)
        check_integers(self, "stride", 2, 1)
        check_integers(self, "padding", 4, 0)
        check_flag(self, "ceil_mode")
        check_flag(self, "count_include_pad")
        _check_padding(self, self._window)

    @property
    def _window(self) -> Window:
        return Window(self.kernel_size, self.stride, self.padding, ceil=self.ceil_mode)

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, C, P, Q]; raises RankError or InputTooSmall."""
        check_operands(self, inputs, ("input",))
        (x,) = inputs
        check_rank(self, "input", x, "N, C, H, W")
        return x.with_shape((*x.shape[:2], *self._window.outputs(self, *x.shape[2:])))

    def divisors(self, height: int, width: int) -> Array:
        """Divisor of every output element, float64 [P, Q], for an input [.., height, width]."""
        outputs = self._window.outputs(self, height, width)
        counts = []
        for axis, size in enumerate((height, width)):
            before, after = self.padding[axis], self.padding[axis + 2]
            start = np.arange(outputs[axis], dtype=np.float64) * self.stride[axis] - before
            stop = np.minimum(start + self.kernel_size[axis], size + after)
            if not self.count_include_pad:
                start, stop = np.maximum(start, 0), np.minimum(stop, size)
            counts.append(stop - start)
        return np.outer(*counts)

    def reference(self, *inputs: Array) -> Array:
        """Sums over strided views, divided."""
        return self._mean(inputs[0])

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """One operation per window element."""
        return Cost(0, output.size * prod(self.kernel_size), inputs[0].size, output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The mean of the errors, plus the rounding of a sum in any order and of a division."""
        terms = prod(self.kernel_size) + 2
        magnitude = self._mean(np.abs(inputs[0]) + errors[0])
        bound = self._mean(errors[0]) + gamma(terms, unit) * magnitude + UNDERFLOW
        return beyond_range(terms * magnitude, bound)

    def _mean(self, x: Array) -> Array:
        outputs = self._window.outputs(self, *x.shape[2:])
        views = self._window.view(x, outputs, 0.0)
        total = np.zeros(views.shape[:4])
        for r in range(self.kernel_size[0]):
            for s in range(self.kernel_size[1]):
                total += views[..., r, s]
        return total / self.divisors(*x.shape[2:])


@dataclass(frozen=True)
class GlobalAvgPool2d(Op):
    """y[n,c,0,0] = mean over h,w of x[n,c,h,w]."""

    name: ClassVar[str] = "global_avg_pool2d"
    kind: ClassVar[OpKind] = OpKind.WINDOW

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, C, 1, 1]; raises RankError."""
        check_operands(self, inputs, ("input",))
        check_rank(self, "input", inputs[0], "N, C, H, W")
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


def _check_padding(op: Op, window: Window) -> None:
    """Every window has to reach the input: a window of padding alone has no largest element."""
    for axis, side in enumerate(("height", "width")):
        span = window.dilation[axis] * (window.kernel[axis] - 1) + 1
        if max(window.padding[axis], window.padding[axis + 2]) >= span:
            raise InvalidAttribute(
                f"{op.name}: the padding is smaller than the window",
                got=f"padding={window.padding}, a window of {side} {span}",
                wanted=f"at most {span - 1} on each side of the {side}",
                remedy="pad less, or put a pad op in front",
            )
