"""Short steps of a product: rows that no step masks, read at one offset in each step.

Whether a step masks a row is a conjunction of comparisons. Of each the steps' numbers that can fail
it are folded into one, so that one look at a row tells about all steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphcnn.cpu import analysis
from graphcnn.cpu.product import Load, Product
from graphcnn.cpu.ttir import Operation, Value

# Products of a step, up to which the pointers of a table cost as much as what they are read for.
SHORT = 4
_FOLDS = {"slt": "MAX", "sle": "MAX", "sge": "MIN", "sgt": "MIN"}
_BROADCASTS = ("tt.expand_dims", "tt.broadcast")


@dataclass(frozen=True)
class Demand:
    """A comparison that a mask demands of a row.

    Attributes:
        value: The comparison; where `fold` is "OR", the bits that a step tests one of.
        dimension: Of these, that of rows.
        number: Of a step, which `value` is compared with; None where all steps compare alike.
        fold: What makes one of the numbers of all steps that decides: "MIN", "MAX" or "OR".
    """

    value: Value
    dimension: int
    number: Value | None = None
    fold: str = ""


@dataclass(frozen=True)
class Whole:
    """How rows are read that no step masks.

    Attributes:
        pointer: Of their elements, from outside the loop.
        offset: What a step adds to it.
        demands: What such a row fulfils.
    """

    pointer: Value
    offset: Value
    demands: tuple[Demand, ...]


def whole_of(product: Product, load: Load | None) -> Whole | None:
    """How to read the rows of a product of short steps that no step masks, if that is known."""
    if product.loop is None or load is None or product.inner > SHORT:
        return None
    loop = _Loop(product.loop)
    step = load.pointer.owner
    if step is None or step.name != "tt.addptr" or step not in loop.inside:
        return None
    pointer, offset = step.operands
    demands = [] if load.mask is None else loop.demands(load.mask, load.outer)
    if demands is None or not loop.is_steady(pointer) or offset.op != "tt.splat":
        return None
    assert offset.owner is not None
    return Whole(pointer, offset.owner.operands[0], tuple(demands))


class _Loop:
    """What is asked about the values of a loop."""

    def __init__(self, loop: Operation) -> None:
        (block,) = loop.blocks
        self.inside = set(block.operations)
        self._arguments = set(block.arguments)

    def is_steady(self, value: Value) -> bool:
        """Whether it is the same in all steps."""
        operation = value.owner
        if operation is None or operation not in self.inside:
            return value not in self._arguments
        return all(map(self.is_steady, operation.operands))

    def demands(self, mask: Value, dimension: int) -> list[Demand] | None:
        """What a mask demands of the rows in all steps; None where that is not known."""
        operation = mask.owner
        if self.is_steady(mask):
            return [Demand(mask, dimension)]
        assert operation is not None
        operands = operation.operands
        if operation.name in _BROADCASTS:
            source = analysis.source_dimension(operation, dimension)
            return None if source is None else self.demands(operands[0], source)
        if operation.name == "arith.andi":
            first, second = (self.demands(operand, dimension) for operand in operands)
            return None if first is None or second is None else first + second
        if operation.name != "arith.cmpi":
            return None
        predicate = operation.text.split(",")[0]
        if predicate == "ne":
            tested = self._tested(operands, dimension)
            return [tested] if tested else None
        number = self._added(operands[0]) if self.is_steady(operands[1]) else None
        fold = _FOLDS.get(predicate)
        known = number is not None and number.type.element == "i32" and fold is not None
        return [Demand(mask, dimension, number, fold or "")] if known else None

    def _tested(self, operands: list[Value], dimension: int) -> Demand | None:
        """Of `(bits >> number) & 1` and 0."""
        bit, zero = operands
        if bit.op != "arith.andi" or bit.owner is None or not analysis.is_zero(zero):
            return None
        shifted, one = bit.owner.operands
        if shifted.op not in ("arith.shrsi", "arith.shrui") or shifted.owner is None:
            return None
        bits, by = shifted.owner.operands
        known = analysis.constant(one) == 1 and self.is_steady(bits) and by.op == "tt.splat"
        if not known or by.owner is None or bits.type.element != "i32":
            return None
        return Demand(bits, dimension, by.owner.operands[0], "OR")

    def _added(self, value: Value) -> Value | None:
        """The number of a step that is added to what is the same in all."""
        operation = value.owner
        if operation is None:
            return None
        operands = operation.operands
        if operation.name == "tt.splat":
            return operands[0]
        if operation.name in _BROADCASTS:
            return self._added(operands[0])
        if operation.name != "arith.addi":
            return None
        first, *others = [operand for operand in operands if not self.is_steady(operand)]
        return None if others else self._added(first)
