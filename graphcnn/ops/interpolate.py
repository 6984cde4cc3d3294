"""Maps of another size, by the nearest element or between the nearest ones."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import ClassVar

import numpy as np

from graphcnn.errors import InputTooSmall, InvalidAttribute, shown
from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import (
    FLOAT,
    check_choice,
    check_flag,
    check_operands,
    check_rank,
    is_integer,
)
from graphcnn.ops.rounding import UNDERFLOW
from graphcnn.ops.window import AXES, layout

# The number of spatial dimensions that each mode is for.
_RANKS = {"nearest": (1, 2), "nearest-exact": (1, 2), "linear": (1,), "bilinear": (2,)}
_LARGEST = 2.0**31


@dataclass(frozen=True)
class Interpolate(Op):
    """y[n,c,...] = x[n,c,...] at other positions, with PyTorch's rule for these.

    Of the outputs p along a dimension, p takes the place p*step ("nearest", and
    `align_corners`), (p + 1/2)*step ("nearest-exact") or (p + 1/2)*step - 1/2, at least 0. Places
    of the nearest are rounded down. The step is the input's size over the output's;
    1 / scale_factor where that is given and not computed anew; and with `align_corners` such that
    the first and last elements stay. "linear" and "bilinear" take the mean of the two elements
    around a place, weighted by its distances from them, along each dimension; where a size stays,
    of each element and itself.

    Attributes:
        size: The output's, per spatial dimension; or empty.
        scale_factor: Its ratio to the input's, whose product is rounded down; or empty.
        mode: "nearest", "nearest-exact", "linear" over one spatial dimension or "bilinear" over
            two.
        align_corners: Whether corners are the centres of corner elements, not their corners.
        recompute_scale_factor: Whether the step follows from the sizes.
    """

    name: ClassVar[str] = "interpolate"
    kind: ClassVar[OpKind] = OpKind.INJECTIVE
    size: tuple[int, ...] = ()
    scale_factor: tuple[float, ...] = ()
    mode: str = "nearest"
    align_corners: bool = False
    recompute_scale_factor: bool = False

    def __post_init__(self) -> None:
        check_choice(self, "mode", tuple(_RANKS))
        check_flag(self, "align_corners")
        check_flag(self, "recompute_scale_factor")
        ranks = _RANKS[self.mode]
        wanted = f"one of both, with {' or '.join(map(str, ranks))} numbers for {self.mode!r}"
        tuples = type(self.size) is type(self.scale_factor) is tuple
        if not (tuples and {len(self.size), len(self.scale_factor)} in [{0, n} for n in ranks]):
            got = f"size={shown(self.size)}, scale_factor={shown(self.scale_factor)}"
            remedy = f"for example size={(8,) * ranks[0]}"
            self._refuse("size or scale_factor has a number per dimension", got, wanted, remedy)
        if not all(is_integer(size, 1) for size in self.size):
            remedy = f"for example size={(8,) * ranks[0]}"
            self._refuse("sizes are integers of at least 1", shown(self.size), "integers", remedy)
        if not all(type(f) in (int, float) and 0 < f < _LARGEST for f in self.scale_factor):
            got, remedy = shown(self.scale_factor), f"for example scale_factor={(2.0,) * ranks[0]}"
            self._refuse("scale factors are above 0 and below 2^31", got, "numbers", remedy)
        if self.align_corners and not self.linear:
            remedy = "leave it out, or interpolate linearly"
            self._refuse("align_corners is for linear modes", "True", "False", remedy)
        if self.recompute_scale_factor and self.size:
            got, remedy = f"True beside size={self.size}", "leave it out: a size needs no factor"
            self._refuse("recompute_scale_factor is of a scale_factor", got, "False", remedy)

    def _refuse(self, what: str, got: str, wanted: str, remedy: str) -> None:
        raise InvalidAttribute(f"interpolate: {what}", got=got, wanted=wanted, remedy=remedy)

    @property
    def rank(self) -> int:
        """The number of spatial dimensions."""
        return len(self.size or self.scale_factor)

    @property
    def linear(self) -> bool:
        """Whether elements are means, and not the nearest ones."""
        return self.mode in ("linear", "bilinear")

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, C, sizes]; raises RankError, or InputTooSmall where a size would be 0."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        check_rank(self, "input", x, layout(self.rank))
        factors = zip(x.shape[2:], self.scale_factor, strict=False)
        sizes = self.size or tuple(floor(size * factor) for size, factor in factors)
        for axis, size in enumerate(sizes):
            if size == 0:
                side = AXES[self.rank][axis]
                raise InputTooSmall(
                    "interpolate leaves at least one element in every dimension",
                    got=f"{side} {x.shape[2 + axis]} times {self.scale_factor[axis]}",
                    wanted="a product of at least 1",
                    remedy=f"use a larger scale_factor, or give the {side} by size",
                )
        return x.with_shape((*x.shape[:2], *sizes))

    def step(self, axis: int, size: int, outputs: int) -> tuple[float, float]:
        """From one output's place to the next along a spatial dimension, and an offset: output p
        has the place (p + offset) * step, less the offset in linear modes."""
        if self.linear and size == outputs:
            return 1.0, 0.0
        if self.align_corners:
            return (size - 1) / (outputs - 1) if outputs > 1 else 0.0, 0.0
        given = self.scale_factor and not self.recompute_scale_factor
        step = 1 / self.scale_factor[axis] if given else size / outputs
        return step, 0.0 if self.mode == "nearest" else 0.5

    def repeats(self, x: TensorType) -> tuple[int, ...] | None:
        """How often each element of x stands side by side along each spatial dimension; None where
        the output is no such repetition."""
        found = []
        for axis, (size, outputs) in enumerate(
            zip(x.shape[2:], self.infer(x).shape[2:], strict=True)
        ):
            count = outputs // size
            repeated = np.arange(size).repeat(count)
            if self.linear or not np.array_equal(self._places(axis, size, outputs)[0], repeated):
                return None
            found.append(count)
        return tuple(found)

    def _places(self, axis: int, size: int, outputs: int) -> tuple[Array, Array, Array]:
        """The elements before and behind each output's place, and how far it is from the first.

        The nearest element is that of PyTorch's arithmetic, in float32.
        """
        step, offset = self.step(axis, size, outputs)
        position: Array = np.arange(outputs, dtype=np.float64 if self.linear else np.float32)
        back = offset if self.linear else 0.0
        places = np.maximum((position + offset) * step - back, 0)
        low = np.minimum(places.astype(np.int64), size - 1)
        high = low if (step, offset) == (1.0, 0.0) else np.minimum(low + 1, size - 1)
        return low, high, np.minimum(places - low, 1)

    def reference(self, *inputs: Array) -> Array:
        """Elements are taken, or means of two of them, along one dimension after the other."""
        (x,) = inputs
        for axis, size in self._resized(x):
            places = self._places(axis - 2, x.shape[axis], size)
            x = _mean(x, *places, axis) if self.linear else np.take(x, places[0], axis)
        return x

    def _resized(self, x: Array) -> list[tuple[int, int]]:
        """The spatial dimensions, the last one first, each with its new size."""
        sizes = self.infer(TensorType(x.shape)).shape
        return [(axis, sizes[axis]) for axis in reversed(range(2, x.ndim))]

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """Two multiplications and an addition for a mean of two; nothing for the nearest."""
        means = 2**self.rank - 1 if self.linear else 0
        return Cost(0, 3 * means * output.size, inputs[0].size, output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The operand's errors, the rounding of means, and what rounding makes of the places.

        A place that is off moves a mean by its slope, which is at most twice the largest element
        near it.
        """
        (bound,) = errors
        if not self.linear:
            return self.reference(bound)
        reach = np.abs(inputs[0]) + bound
        for axis, size in self._resized(bound):
            places = low, _, weight = self._places(axis - 2, bound.shape[axis], size)
            step, offset = self.step(axis - 2, bound.shape[axis], size)
            off = 4 * unit * (low + weight + 2 * offset) if step not in (0.0, 1.0) else 0.0 * low
            near = np.max(
                [np.take(reach, low + s, axis, mode="clip") for s in range(-1, 3)], axis=0
            )
            moved = 2 * _along(off, near, axis) * near
            mean = _mean(reach, *places, axis)
            bound = _mean(bound, *places, axis) + moved
            bound = bound + gamma(4, unit) * mean + 2 * UNDERFLOW
            reach = mean + bound
        return bound


def _mean(x: Array, low: Array, high: Array, weight: Array, axis: int) -> Array:
    """From elements `low` of a dimension to elements `high`, `weight` of the way."""
    first, second = np.take(x, low, axis), np.take(x, high, axis)
    weight = _along(weight, first, axis)
    mean: Array = (1 - weight) * first + weight * second
    return mean


def _along(vector: Array, x: Array, axis: int) -> Array:
    """A vector that broadcasts along a dimension of x."""
    return vector.reshape(-1, *(1,) * (x.ndim - 1 - axis))
