"""Pooling to a given size, whose windows follow from the input's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import ClassVar

import numpy as np

from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import FLOAT, check_integers, check_operands, check_rank
from graphcnn.ops.rounding import UNDERFLOW, beyond_range
from graphcnn.ops.window import layout


@dataclass(frozen=True)
class AdaptivePool(Op):
    """One number from each of `output_size` windows, of input[N, C, sizes].

    Window p of P over n elements starts at element p*n/P rounded down and ends before (p + 1)*n/P
    rounded up, so that windows may overlap by an element, and are all alike where P divides n
    (PyTorch's rule).
    """

    kind: ClassVar[OpKind] = OpKind.WINDOW
    rank: ClassVar[int]
    output_size: tuple[int, ...]

    def __post_init__(self) -> None:
        check_integers(self, "output_size", self.rank, 1)

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, C, output_size]; raises RankError."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        check_rank(self, "input", x, layout(self.rank))
        return x.with_shape((*x.shape[:2], *self.output_size))

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """One operation per window element."""
        taps = prod(int(lengths.sum()) for lengths in self._lengths(inputs[0].shape[2:]))
        return Cost(0, prod(output.shape[:2]) * taps, inputs[0].size, output.size)

    def _lengths(self, sizes: tuple[int, ...]) -> list[Array]:
        """Elements of every window, per spatial dimension."""
        bounds = (_bounds(n, windows) for n, windows in zip(sizes, self.output_size, strict=True))
        return [ends - starts for starts, ends in bounds]

    def _folded(self, fold: np.ufunc, x: Array) -> Array:
        """A function of two numbers applied to every window, one dimension after the other."""
        for axis, windows in enumerate(self.output_size, 2):
            spans = zip(*_bounds(x.shape[axis], windows), strict=True)
            lines = (np.take(x, range(*span), axis) for span in spans)
            x = np.stack([fold.reduce(line, axis) for line in lines], axis)
        return x


def _bounds(size: int, windows: int) -> tuple[Array, Array]:
    """The first element of every window along a dimension, and the one behind its last."""
    position = np.arange(windows + 1, dtype=object) * size  # Python's integers do not overflow
    return (position[:-1] // windows).astype(int), -(-position[1:] // windows).astype(int)


class AdaptiveMaxPool(AdaptivePool):
    """The largest element of each window."""

    def reference(self, *inputs: Array) -> Array:
        """The maximum."""
        return self._folded(np.maximum, inputs[0])

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The largest error in the window: |max a - max b| <= max |a - b|."""
        return self._folded(np.maximum, errors[0])


class AdaptiveAvgPool(AdaptivePool):
    """The mean of each window."""

    def reference(self, *inputs: Array) -> Array:
        """The sum over the number of elements."""
        (x,) = inputs
        means: Array = self._folded(np.add, x) / reduce(
            np.multiply.outer, self._lengths(x.shape[2:])
        )
        return means

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The mean of the errors, plus the rounding of a sum in any order and of a division."""
        terms = prod(int(lengths.max()) for lengths in self._lengths(inputs[0].shape[2:])) + 2
        magnitude = self.reference(np.abs(inputs[0]) + errors[0])
        bound = self.reference(errors[0]) + gamma(terms, unit) * magnitude + UNDERFLOW
        return beyond_range(terms * magnitude, bound)


@dataclass(frozen=True)
class AdaptiveMaxPool1d(AdaptiveMaxPool):
    """y[n,c,p] = max over the elements i of window p of x[n,c,i]."""

    name: ClassVar[str] = "adaptive_max_pool1d"
    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class AdaptiveMaxPool2d(AdaptiveMaxPool):
    """y[n,c,p,q] = max over the elements i, j of window p, q of x[n,c,i,j]."""

    name: ClassVar[str] = "adaptive_max_pool2d"
    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class AdaptiveAvgPool1d(AdaptiveAvgPool):
    """y[n,c,p] = mean over the elements i of window p of x[n,c,i]."""

    name: ClassVar[str] = "adaptive_avg_pool1d"
    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class AdaptiveAvgPool2d(AdaptiveAvgPool):
    """y[n,c,p,q] = mean over the elements i, j of window p, q of x[n,c,i,j]."""

    name: ClassVar[str] = "adaptive_avg_pool2d"
    rank: ClassVar[int] = 2
