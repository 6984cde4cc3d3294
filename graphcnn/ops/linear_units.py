"""Linear units: identity or linear on an interval, clipped or exponential beside it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np

from graphcnn.errors import InvalidAttribute
from graphcnn.ir.op import Array
from graphcnn.ops.activation import Unary
from graphcnn.ops.checks import check_number
from graphcnn.ops.rounding import UNDERFLOW

# The constants of `Selu`.
SCALE = 1.0507009873554805
ALPHA = 1.6732632423543772


class Clipped(Unary):
    """y = min(max(x, least), most), with `limits` as (least, most)."""

    roundings = 1  # of a limit

    @property
    @abstractmethod
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest result."""

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        least, most = self.limits
        y: Array = np.minimum(np.maximum(inputs[0], least), most)
        return y


@dataclass(frozen=True)
class Relu6(Clipped):
    """y = min(max(x, 0), 6)."""

    name: ClassVar[str] = "relu6"
    roundings = 0
    limits = (0.0, 6.0)


@dataclass(frozen=True)
class Hardtanh(Clipped):
    """y = min(max(x, min_val), max_val).

    Raises:
        InvalidAttribute: for a limit that is NaN, or finite and beyond the arithmetic's range, or
            for limits in the wrong order.
    """

    name: ClassVar[str] = "hardtanh"
    min_val: float = -1.0
    max_val: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "min_val", infinite=True)
        check_number(self, "max_val", infinite=True)
        if self.min_val > self.max_val:
            raise InvalidAttribute(
                "hardtanh: min_val is at most max_val",
                got=f"min_val={self.min_val!r}, max_val={self.max_val!r}",
                wanted="min_val <= max_val",
                remedy="exchange them; clamp takes them as they are, and returns max",
            )

    @property
    def limits(self) -> tuple[float, float]:
        """Both attributes."""
        return self.min_val, self.max_val


@dataclass(frozen=True)
class Clamp(Clipped):
    """y = min(max(x, min), max): max everywhere where min is larger.

    Raises:
        InvalidAttribute: for a limit that is NaN, or finite and beyond the arithmetic's range.
    """

    name: ClassVar[str] = "clamp"
    min: float = -inf
    max: float = inf

    def __post_init__(self) -> None:
        check_number(self, "min", infinite=True)
        check_number(self, "max", infinite=True)

    @property
    def limits(self) -> tuple[float, float]:
        """Both attributes."""
        return self.min, self.max


@dataclass(frozen=True)
class Hardsigmoid(Unary):
    """y = min(max(x + 3, 0), 6) / 6.

    Source: A. Howard et al., Searching for MobileNetV3, 2019.
    """

    name: ClassVar[str] = "hardsigmoid"
    slope = 1 / 6
    roundings = 4  # the sum, the factor 1/6, the product, and what these add to each other

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.clip(inputs[0] + 3, 0, 6) / 6
        return y


@dataclass(frozen=True)
class Elu(Unary):
    """y = x where x > 0, else alpha * (exp(x) - 1).

    Source: D.-A. Clevert, T. Unterthiner and S. Hochreiter, Fast and Accurate Deep Network
    Learning by Exponential Linear Units, 2016.

    Raises:
        InvalidAttribute: for an alpha that is not finite in the arithmetic's range.
    """

    name: ClassVar[str] = "elu"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "alpha")

    @property
    def slope(self) -> float:
        """The larger of both sides' at 0."""
        return max(1.0, abs(self.alpha))

    @property
    def monotone(self) -> bool:
        """Not with a negative alpha."""
        return self.alpha >= 0

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        return _elu(inputs[0], self.alpha, 1.0)


@dataclass(frozen=True)
class Selu(Unary):
    """y = scale * elu(x, alpha), scale = 1.0507009873554805, alpha = 1.6732632423543772.

    Source: G. Klambauer et al., Self-Normalizing Neural Networks, 2017.
    """

    name: ClassVar[str] = "selu"
    slope = SCALE * ALPHA

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = SCALE * _elu(inputs[0], ALPHA, 1.0)
        return y


@dataclass(frozen=True)
class Celu(Unary):
    """y = x where x > 0, else alpha * (exp(x / alpha) - 1).

    Source: J. T. Barron, Continuously Differentiable Exponential Linear Units, 2017.

    Raises:
        InvalidAttribute: for an alpha that is not positive and in the arithmetic's range.
    """

    name: ClassVar[str] = "celu"
    # The factor 1 / alpha, its product, exp - 1 within two units in the last place, alpha, its
    # product, and what these add to each other.
    roundings = 9
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "alpha", least=UNDERFLOW)

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        return _elu(inputs[0], self.alpha, self.alpha)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The general one, and what an x / alpha that underflows loses."""
        return super().error(inputs, errors, output, unit) + self.alpha * UNDERFLOW


def _elu(x: Array, alpha: float, width: float) -> Array:
    # Positive elements, whose exponential may overflow, are not used there.
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / width))
