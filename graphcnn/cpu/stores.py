"""Runs of stores as one loop nest, over all rows of what they store or over a block of these.

What a store narrows to 16 bits is kept as floats for a row, which is then narrowed as a whole (see
widen.h).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from graphcnn.cpu import schedule
from graphcnn.cpu.alignment import besides, limits
from graphcnn.cpu.emission import Emission
from graphcnn.cpu.nest import Nest
from graphcnn.cpu.product import LANES
from graphcnn.cpu.terms import TRUE, ZERO, Array, Index, Term, linear
from graphcnn.cpu.ttir import Operation, Type, Value

_NARROW = {"f16", "bf16"}


class Rows(NamedTuple):
    """The rows of a nest: along which dimension, and C texts of the first and of where they end."""

    dimension: int
    first: str
    end: str


def emit_stores(emission: Emission, run: list[Operation], rows: Rows | None = None) -> None:
    """Write a run of stores, of all rows or some."""
    shape, order = run[0].operands[1].type.shape, schedule.order(run[0])
    clipped = {} if emission.checked else _clipped(run)
    wide = {} if emission.checked else _wide(emission, run, clipped, rows)

    def body(nest: Nest) -> None:
        ends = _ends(nest, shape, clipped)
        index = _open(nest, shape, order, ends, rows)
        if not emission.checked:
            # What the module states of stores, a C compiler does not know.
            nest.independent()
        for store in run:
            if store in wide:
                _widen_element(nest, store, index, wide[store])
            else:
                _store_element(emission, nest, store, index)
        if wide:
            nest.close()
        for store, row in wide.items():
            _narrow_row(nest, store, index, row, ends)

    values = [operand for store in run for operand in store.operands]
    emission.nest(body, values, clipped)


def _open(
    nest: Nest,
    shape: tuple[int, ...],
    order: list[int],
    ends: Mapping[int, Term],
    rows: Rows | None,
) -> Index:
    if rows is None:
        return nest.open_all(shape, order, ends)
    index = [ZERO] * len(shape)
    for d in order:
        at = d == rows.dimension
        end = Term(rows.end, 0) if at else ends.get(d, shape[d])
        index[d] = nest.open(end, start=rows.first if at else 0, most=shape[d])
    return tuple(index)


def end_of_rows(emission: Emission, run: list[Operation], dimension: int) -> str:
    """C text of how many rows a run of stores has along a dimension."""
    shape, nest = run[0].operands[1].type.shape, Nest(emission)
    end = _ends(nest, shape, _clipped(run)).get(dimension, Term(str(shape[dimension]), 0))
    emission.out += nest.lines
    return end.text


def _clipped(run: list[Operation]) -> dict[Value, int]:
    """Comparisons that end the loops of all stores of a run (see `limits`)."""
    first, *others = ({} if len(s.operands) < 3 else limits(s.operands[2]) for s in run)
    return {v: d for v, d in first.items() if all(v in other for other in others)}


def _ends(nest: Nest, shape: tuple[int, ...], clipped: Mapping[Value, int]) -> dict[int, Term]:
    """Where loops over a shape end that comparisons clip, by dimension (see `limits`)."""
    ends: dict[int, Term] = {}
    for comparison, dimension in clipped.items():
        assert comparison.owner is not None
        start = (ZERO,) * len(comparison.type.shape)
        first, limit = (nest.value(operand, start) for operand in comparison.owner.operands)
        most = ends.get(dimension, Term(str(shape[dimension]), 0))
        end = f"MIN((int64_t){most.text}, (int64_t){limit.text} - {first.text})"
        ends[dimension] = nest.bind("int", end, 0)
    return ends


def _store_element(emission: Emission, nest: Nest, store: Operation, index: Index) -> None:
    pointer, value, *rest = store.operands
    mask = nest.value(rest[0], index) if rest else TRUE
    element = nest.value(value, index)
    condition = "" if mask == TRUE else f"if ({mask.text}) "
    if emission.checked:
        site, origin = emission.site(store.where), emission.origin(pointer)
        exact = nest.value(pointer, index).text
        condition += f"if (may_store({exact}, sizeof(*{exact}), {origin}, {site})) "
        nest.emit(f"{condition}*{exact} = {element.text};")
    else:
        base, moving = nest.address(pointer, index)
        nest.emit(f"{condition}{base.text}[{linear(moving).text}] = {element.text};")


def _wide(
    emission: Emission, run: list[Operation], clipped: Mapping[Value, int], rows: Rows | None
) -> dict[Operation, Array]:
    """Storage for a row of each store that narrows floats that lie side by side in memory."""
    found: dict[Operation, Array] = {}
    inner = schedule.inner_dimension(run[0])
    if inner is None or (rows and rows.dimension == inner):
        return {}
    for store in run:
        value, *mask = store.operands[1:]
        narrowing = value.op == "arith.truncf" and value not in emission.arrays
        if not narrowing or value.type.element not in _NARROW or value.type.shape[inner] < LANES:
            continue
        if not mask or inner not in besides(mask[0], clipped):
            found[store] = emission.declare(Type("f32", (value.type.shape[inner],)), (1,))
    return found


def _widen_element(nest: Nest, store: Operation, index: Index, row: Array) -> None:
    """Keep what a store narrows."""
    value, inner = store.operands[1], schedule.inner_dimension(store)
    assert value.owner is not None
    assert inner is not None
    place = nest.element(row, (index[inner],)).text
    nest.emit(f"{place} = {nest.value(value.owner.operands[0], index).text};")


def _narrow_row(
    nest: Nest, store: Operation, index: Index, row: Array, ends: Mapping[int, Term]
) -> None:
    """Store a row, narrowed."""
    pointer, value, *rest = store.operands
    inner, shape = schedule.inner_dimension(store), value.type.shape
    assert inner is not None
    first = tuple(ZERO if d == inner else at for d, at in enumerate(index))
    mask = nest.value(rest[0], first) if rest else TRUE
    base, moving = nest.address(pointer, first)
    condition = "" if mask == TRUE else f"if ({mask.text}) "
    count = ends.get(inner, Term(str(shape[inner]), 0)).text
    place = f"{base.text} + {linear(moving).text}"
    nest.emit(f"{condition}narrow_{value.type.element}({place}, {row.name}, {count});")
