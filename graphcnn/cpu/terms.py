"""Parts of the C that is written: terms, each with the loops it depends on, and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from graphcnn.cpu.ttir import Type


class Term(NamedTuple):
    """C text and the number of open loops it depends on (0: none)."""

    text: str
    depth: int


Index = tuple[Term, ...]
ZERO = Term("0", 0)
TRUE = Term("1", 0)


@dataclass(frozen=True, slots=True)
class Array:
    """Storage of a computed tensor: element (i, j, ...) at the sum of index times stride."""

    name: str
    type: Type
    strides: tuple[int, ...]

    @property
    def length(self) -> int:
        """Elements held; a stride of 0 marks a dimension along which nothing changes."""
        sizes = zip(self.type.shape, self.strides, strict=True)
        return 1 + sum((extent - 1) * step for extent, step in sizes)


def strides_of(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Dense strides for the dimensions in `order` (slowest first), 0 for the others."""
    strides, step = [0] * len(shape), 1
    for dimension in reversed(order):
        strides[dimension] = step
        step *= shape[dimension]
    return tuple(strides)


def linear(parts: Sequence[tuple[Term, int]]) -> Term:
    """The sum of index times stride."""
    texts = [term.text if step == 1 else f"{term.text} * {step}" for term, step in parts]
    return Term(" + ".join(texts) or "0", max((term.depth for term, _ in parts), default=0))
