"""Functions to whole numbers: the next one below, above, towards 0, or on either side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn.ir.op import Array
from graphcnn.ops.elementary import Steep


class Step(Steep):
    """A function that is constant but for its steps, and rounds nothing.

    An operand's error that may take it over a step makes one of at least 1.
    """

    roundings = 0


@dataclass(frozen=True)
class Floor(Step):
    """The largest whole number that is at most x."""

    name: ClassVar[str] = "floor"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.floor(inputs[0])
        return y


@dataclass(frozen=True)
class Ceil(Step):
    """The smallest whole number that is at least x."""

    name: ClassVar[str] = "ceil"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.ceil(inputs[0])
        return y


@dataclass(frozen=True)
class Trunc(Step):
    """x without what stands behind the point: the next whole number towards 0."""

    name: ClassVar[str] = "trunc"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.trunc(inputs[0])
        return y


@dataclass(frozen=True)
class Round(Step):
    """The nearest whole number; of two the even one."""

    name: ClassVar[str] = "round"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.rint(inputs[0])
        return y
