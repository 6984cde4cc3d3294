"""What convolutions and linear layers share: a product with a weight, and a bias."""

from __future__ import annotations

from abc import abstractmethod
from math import prod
from typing import ClassVar

import numpy as np

from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.rounding import UNDERFLOW, beyond_range, sum_noise


class Anchor(Op):
    """y = product(x, weight) + bias, the product being linear in both.

    Operands are input, weight and optionally bias, which has one number per output feature.

    Attributes:
        filter_axis: The weight's dimension that counts the output features.
        channel_axis: The output's.
    """

    kind: ClassVar[OpKind] = OpKind.ANCHOR
    filter_axis: ClassVar[int] = 0
    channel_axis: ClassVar[int] = 1

    @abstractmethod
    def _product(self, x: Array, weight: Array) -> Array:
        """The op without its bias, in an array of its own."""

    def reference(self, *inputs: Array) -> Array:
        """The product, plus the bias."""
        y = self._product(inputs[0], inputs[1])
        if len(inputs) == 3:
            y += self._along_features(inputs[2], y)
        return y

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """A MAC for each weight of its filter, per output element."""
        macs = output.size * self._products(inputs[1].shape)
        biased = output.size if len(inputs) == 3 else 0
        return Cost(macs, 2 * macs + biased, sum(type.size for type in inputs), output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """gamma(n) * sum |x||w|, in any order of summation, plus the operands' errors.

        A sum has its products, its bias and a rounding of the result.
        """
        terms = self._products(inputs[1].shape) + 2
        x, weight = np.abs(inputs[0]), np.abs(inputs[1])
        bound: Array | float = 0.0
        if errors[1].any():
            bound = self._product(x, errors[1])
            weight = weight + errors[1]
        magnitude = self._product(x, weight)
        if errors[0].any():
            spread = self._product(errors[0], weight)
            bound = bound + spread
            magnitude += spread
        if len(inputs) == 3:
            bias, slack = (self._along_features(part[2], output) for part in (inputs, errors))
            bound = bound + slack
            magnitude += np.abs(bias) + slack
        bound = bound + self._taken_for_zero(inputs) + terms * UNDERFLOW
        return beyond_range(magnitude, bound + gamma(terms, unit) * magnitude)

    def noise(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """That of a long sum (see `sum_noise`), from a second pass over squares.

        The operands' errors are as likely of one sign as of the other: their squares add up.
        """
        terms = self._products(inputs[1].shape) + 2
        magnitude = self._product(np.abs(inputs[0]), np.abs(inputs[1]))
        # Only now: a weight may take a gigabyte, and its sizes are gone.
        x, weight = inputs[0] ** 2, inputs[1] ** 2
        squares = self._product(x, weight)
        if len(inputs) == 3:
            # A term like the others: the accumulator may start from it.
            bias = self._along_features(inputs[2], output)
            squares += bias**2
            magnitude += np.abs(bias)
        noise = sum_noise(output, squares, magnitude, terms, unit)
        if errors[0].any():
            noise = np.hypot(noise, np.sqrt(self._product(errors[0] ** 2, weight)))
        if errors[1].any():
            noise = np.hypot(noise, np.sqrt(self._product(x, errors[1] ** 2)))
        if len(inputs) == 3:
            noise = noise + self._along_features(errors[2], output)
        noise = noise + self._taken_for_zero(inputs) + terms * UNDERFLOW
        return beyond_range(magnitude, noise + 2 * unit * np.abs(output))

    def _taken_for_zero(self, inputs: tuple[Array, ...]) -> Array | float:
        """What products lose whose operands below the normal range count as zero, as where one
        instruction multiplies and adds up two of bfloat16."""
        lost: Array | float = 0.0
        for at in (0, 1):
            operand = inputs[at]
            below = (operand < UNDERFLOW) & (operand > -UNDERFLOW) & (operand != 0)
            if below.any():
                sizes = [np.abs(inputs[0]), np.abs(inputs[1])]
                sizes[at] = np.where(below, sizes[at], 0.0)
                lost = lost + self._product(sizes[0], sizes[1])
        return lost

    def _products(self, weight: tuple[int, ...]) -> int:
        """How many products an output element adds up."""
        return prod(weight) // weight[self.filter_axis]

    def _along_features(self, vector: Array, output: Array) -> Array:
        """A vector of one number per feature that broadcasts to the output."""
        return vector.reshape(-1, *(1,) * (output.ndim - 1 - self.channel_axis % output.ndim))
