"""Group, instance and layer norm: rows of elements over their own mean and variance."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from graphcnn.errors import ChannelMismatch, InvalidAttribute, RankError, ShapeError, shown
from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import (
    FLOAT,
    check_integer,
    check_number,
    check_operands,
    check_range,
    is_integer,
)
from graphcnn.ops.rounding import UNDERFLOW, beyond_range, sum_noise

# Roundings in (x - m)*r*w + b and in x*(r*w) + (b - m*r*w), with r = 1 / sqrt(v + eps).
_ROUNDINGS = 12
# Roundings of a mean or a variance beside those of a sum.
_OF_MEAN = 8


class Standardize(Op):
    """y = (x - m) / sqrt(v + eps) * weight + bias, with the mean m and the variance v of each row.

    The variance is divided by the number of elements. Weight and bias may be left out, the bias
    also alone.

    Raises:
        InvalidAttribute: for an eps below 2^-126, with which a row of equal elements might be
            divided by 0.
    """

    kind: ClassVar[OpKind] = OpKind.REDUCTION
    eps: float

    def __post_init__(self) -> None:
        check_number(self, "eps", least=UNDERFLOW)

    @abstractmethod
    def rows(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """How many rows an input of a shape has, one behind the other, and how long they are."""

    def affine(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape with the elements of weight and bias that broadcasts to the input's: one each
        per channel, [C, 1, ...]."""
        return (shape[1], *(1,) * (len(shape) - 2))

    @abstractmethod
    def check_input(self, x: TensorType) -> tuple[int, ...]:
        """The shape of weight and bias; raises an error for an input that is not fit."""

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type; raises RankError, ShapeError, ChannelMismatch or InvalidAttribute."""
        check_operands(self, inputs, 1, input=FLOAT, weight=FLOAT, bias=FLOAT)
        x = inputs[0]
        check_range(self, "eps", x.dtype.arithmetic)
        wanted = self.check_input(x)
        for role, type in zip(("weight", "bias"), inputs[1:], strict=False):
            if type.shape != wanted:
                raise ChannelMismatch(
                    f"{self.name}: the {role} has the shape {list(wanted)}",
                    got=f"{role} {type}, input {x}",
                    wanted=f"{role}{list(wanted)}",
                    remedy=f"reshape the {role}, or normalise the value that it was made for",
                )
        return x

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """A sum, a sum of squared distances, and the affine form, per element."""
        reads = sum(type.size for type in inputs)
        return Cost(0, 6 * output.size, reads, output.size)

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        x, *affine = inputs
        rows = x.reshape(self.rows(x.shape))
        centred = rows - rows.mean(axis=1, keepdims=True)
        variance = (centred**2).mean(axis=1, keepdims=True)
        y: Array = (centred / np.sqrt(variance + self.eps)).reshape(x.shape)
        for combine, vector in zip((np.multiply, np.add), affine, strict=False):
            y = combine(y, vector.reshape(self.affine(x.shape)))
        return y

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """Means and variances are sums in any order; a mean that is off moves the variance."""
        x, slack = (array.reshape(self.rows(array.shape)) for array in (inputs[0], errors[0]))
        grown = gamma(x.shape[1] + _OF_MEAN, unit)
        off = _mean(slack) + grown * _mean(np.abs(x) + slack)
        distance = np.abs(x - _mean(x))
        spread = slack + off
        off_variance = _mean(spread * (2 * distance + spread))
        off_variance = off_variance + grown * _mean((distance + spread) ** 2) + 2 * UNDERFLOW
        return self._bound(inputs, errors, off, off_variance, unit)

    def noise(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """That of long sums (see `sum_noise`); the operands' errors add up by their squares."""
        x, slack = (array.reshape(self.rows(array.shape)) for array in (inputs[0], errors[0]))
        length, mean = x.shape[1], _mean(x)
        rounding = gamma(_OF_MEAN, unit)
        off = _mean_noise(x, unit) + np.sqrt(_mean(slack**2) / length) + rounding * np.abs(mean)
        distance = np.abs(x - mean)
        squares = distance**2
        moved = 2 * np.sqrt(_mean(squares * slack**2) / length) + 2 * off * _mean(distance)
        off_variance = _mean_noise(squares, unit) + rounding * _mean(squares) + moved
        off_variance = off_variance + _mean((slack + off) ** 2) + 2 * UNDERFLOW
        return self._bound(inputs, errors, off, off_variance, unit)

    def _bound(
        self,
        inputs: tuple[Array, ...],
        errors: tuple[Array, ...],
        off: Array,
        off_variance: Array,
        unit: float,
    ) -> Array:
        """The bound on the affine form, from bounds on the means and variances."""
        shape = inputs[0].shape
        x, slack = (array.reshape(self.rows(shape)) for array in (inputs[0], errors[0]))
        mean, spread = _mean(x), slack + off
        distance = np.abs(x - mean)
        variance = _mean(distance**2)
        inverse = 1 / np.sqrt(variance + self.eps)
        steepest = 1 / np.sqrt(np.maximum(variance - off_variance, 0) + self.eps)
        own = (spread * steepest + distance * (steepest - inverse)).reshape(shape)
        reach = ((np.abs(x) + np.abs(mean) + spread) * steepest).reshape(shape)
        vectors = [np.abs(array).reshape(self.affine(shape)) for array in inputs[1:]]
        slacks = [array.reshape(self.affine(shape)) for array in errors[1:]]
        e_weight, e_bias = [*slacks, *(np.zeros(()),) * 2][:2]
        weight = vectors[0] + e_weight if vectors else np.ones(())
        bias = vectors[1] + e_bias if vectors[1:] else np.zeros(())
        magnitude = weight * reach + bias
        slope = (distance * inverse).reshape(shape)
        bound = weight * own + slope * e_weight + e_bias + gamma(_ROUNDINGS, unit) * magnitude
        total = (x.shape[1] * _mean((distance + spread) ** 2)).repeat(x.shape[1], axis=1)
        sizes_on_the_way = np.maximum(magnitude, total.reshape(shape))
        return beyond_range(sizes_on_the_way, bound + _ROUNDINGS * (1 + weight) * UNDERFLOW)


@dataclass(frozen=True)
class GroupNorm(Standardize):
    """y = (x - m) / sqrt(v + eps) * weight[c] + bias[c]; a row is a group of channels of a sample.

    The channels of input[N, C, ...] are divided into `num_groups` groups of neighbours.
    """

    name: ClassVar[str] = "group_norm"
    num_groups: int
    eps: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self, "num_groups", 1)

    def rows(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """A row for every sample and group."""
        return shape[0] * self.num_groups, prod(shape[1:]) // self.num_groups

    def check_input(self, x: TensorType) -> tuple[int, ...]:
        """[C]."""
        _check_maps(self, x, 2)
        channels = x.shape[1]
        if channels % self.num_groups:
            divisors = [str(d) for d in range(1, channels + 1) if channels % d == 0]
            raise ChannelMismatch(
                "group_norm: num_groups divides the channels",
                got=f"num_groups={self.num_groups}, input {x} with {channels} channels",
                wanted=f"a divisor of {channels}",
                remedy=f"use one of {', '.join(divisors)}",
            )
        return x.shape[1:2]


@dataclass(frozen=True)
class InstanceNorm(Standardize):
    """y = (x - m) / sqrt(v + eps) * weight[c] + bias[c]; a row is a channel of a sample.

    Of input[N, C, ...], whose own statistics are taken at inference too (PyTorch's default).
    """

    name: ClassVar[str] = "instance_norm"
    eps: float = 1e-5

    def rows(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """A row for every sample and channel."""
        return shape[0] * shape[1], prod(shape[2:])

    def check_input(self, x: TensorType) -> tuple[int, ...]:
        """[C]."""
        _check_maps(self, x, 3)
        return x.shape[1:2]


@dataclass(frozen=True)
class LayerNorm(Standardize):
    """y = (x - m) / sqrt(v + eps) * weight + bias; a row is all of the last dimensions.

    These, and weight and bias, have the shape `normalized_shape`.
    """

    name: ClassVar[str] = "layer_norm"
    normalized_shape: tuple[int, ...]
    eps: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = self.normalized_shape
        if type(shape) is not tuple or not shape or not all(is_integer(n, 1) for n in shape):
            raise InvalidAttribute(
                "layer_norm: normalized_shape has the sizes of the last dimensions",
                got=f"normalized_shape={shown(shape)}",
                wanted="a tuple of at least one positive integer",
                remedy="for example normalized_shape=x.shape[1:]",
            )

    def rows(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """A row for every index of the first dimensions."""
        length = prod(self.normalized_shape)
        return prod(shape) // length, length

    def affine(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Their own."""
        return self.normalized_shape

    def check_input(self, x: TensorType) -> tuple[int, ...]:
        """Of the last dimensions."""
        shape = self.normalized_shape
        if x.shape[-len(shape) :] != shape:
            raise ShapeError(
                "layer_norm: normalized_shape is that of the input's last dimensions",
                got=f"normalized_shape={shape}, input {x}",
                wanted=f"an input [..., {', '.join(map(str, shape))}]",
                remedy=f"for example normalized_shape={x.shape[-len(shape) :] or (1,)}",
            )
        return shape


def _check_maps(op: Op, x: TensorType, least: int) -> None:
    """Raise RankError unless an input [N, C, ...] has at least so many dimensions."""
    if len(x.shape) < least:
        layout = ", ".join(("N", "C", "sizes")[:least])
        raise RankError(
            f"the input of {op.name} has at least {least} dimensions, [{layout}]",
            got=str(x),
            wanted=f"[{layout}]",
            remedy=f"reshape it to {[*x.shape, *(1,) * (least - len(x.shape))]}",
        )


def _mean(rows: Array) -> Array:
    mean: Array = rows.mean(axis=1, keepdims=True)
    return mean


def _mean_noise(rows: Array, unit: float) -> Array:
    """What rounding does in practice to the means of rows."""
    total, squares, sizes = (
        array.sum(axis=1, keepdims=True) for array in (rows, rows**2, np.abs(rows))
    )
    noise: Array = sum_noise(total, squares, sizes, rows.shape[1], unit) / rows.shape[1]
    return noise
