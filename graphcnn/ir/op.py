"""The operator interface: attributes as fields, and shape rule, reference, cost and rounding error
as methods. One class is all there is to say about an op, apart from its row in a target's table."""

from __future__ import annotations

import dataclasses
import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from graphcnn.ir.types import TensorType

Array = NDArray[Any]
Row = TypeVar("Row")
Attribute = int | float | bool | str | tuple["Attribute", ...]


class OpKind(IntEnum):
    """How an op's output elements depend on its input elements, from simplest to hardest to fuse.

    The lattice follows TVM's operator-fusion pattern kinds, with views told from other movements
    and reductions of whole dimensions from windows.
    """

    ELEMENTWISE = 0
    BROADCAST = 1
    VIEW = 2  # another name for the same elements in the same order
    INJECTIVE = 3
    WINDOW = 4
    REDUCTION = 5  # of whole dimensions
    ANCHOR = 6
    OPAQUE = 7


@dataclass(frozen=True, slots=True)
class Cost:
    """Work of one op. `macs` counts multiply-accumulates, one per weight use at each output
    position, padding taps included; `flops` all floating-point operations (2 per MAC);
    `reads` and `writes` elements of operands and result."""

    macs: int = 0
    flops: int = 0
    reads: int = 0
    writes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*map(operator.add, dataclasses.astuple(self), dataclasses.astuple(other)))


class Op(ABC):
    """An operator. Every subclass is a frozen dataclass whose fields are the attributes."""

    name: ClassVar[str]
    kind: ClassVar[OpKind]
    # Whether nodes of equal op and operands are one computation. Random draws are not.
    pure: ClassVar[bool] = True
    # Whether an operand that is not finite may reach results beyond those that it is a part of.
    spreads: ClassVar[bool] = False
    registry: ClassVar[dict[str, type[Op]]] = {}

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            Op.registry[cls.name] = cls

    @abstractmethod
    def infer(self, *inputs: TensorType) -> TensorType:
        """Type of the output.

        Raises:
            ShapeError: or a subclass, with the rule, got, wanted and the nearest fix.
        """

    def check_constants(self, *inputs: Array | None) -> None:  # noqa: B027 -- most accept any
        """Check the operands whose numbers are known beforehand; None stands for the others.

        Raises:
            InvalidAttribute: for numbers that the op is not defined for.
        """

    def choices(self, *inputs: TensorType) -> int:
        """How many numbers, from 0 on, an operand of whole numbers is one of."""
        return 1

    @abstractmethod
    def reference(self, *inputs: Array) -> Array:
        """The op's meaning in NumPy: float64 in, float64 out."""

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """Work of the op; one operation per output element unless a subclass says otherwise."""
        return Cost(flops=output.size, reads=sum(type.size for type in inputs), writes=output.size)

    @abstractmethod
    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """Running bound on |computed - exact| of the output, elementwise.

        Args:
            inputs: Exact operand values, float64.
            errors: Absolute error bounds of the operands, of the same shapes.
            output: Exact result, float64.
            unit: Unit roundoff of the arithmetic the op is computed in.
        """

    def noise(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """What rounding stays within in practice: no proof, and much less for a long sum.

        Arguments and result are those of `error`, which is the answer where an output element
        takes only a few roundings.
        """
        return self.error(inputs, errors, output, unit)

    def row(self, table: Mapping[type, Row]) -> Row | None:
        """The row of a table for this op, or for the nearest family that it belongs to."""
        return next((table[family] for family in type(self).__mro__ if family in table), None)

    def attributes(self) -> dict[str, Attribute]:
        """Attributes that differ from their defaults, in field order."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)  # type: ignore[arg-type]  # subclasses are dataclasses
            if getattr(self, field.name) != field.default
        }

    def __str__(self) -> str:
        listed = ", ".join(f"{name}={value!r}" for name, value in self.attributes().items())
        return f"{self.name}({listed})"


def gamma(terms: int, unit: float) -> float:
    """Relative error bound of a sum of `terms` rounded products: n*u / (1 - n*u).

    Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, section 3.1.
    """
    scaled = terms * unit
    return scaled / (1 - scaled) if scaled < 1 else float(np.inf)
