"""Sums over taps: a loop that adds rows of a map times weights of the columns (see taps.h).

It is what a depthwise convolution does. The rows are read through a table of pointers like those of
a product, as the sums of a block of rows stay in registers over all taps.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphcnn.cpu import analysis
from graphcnn.cpu.alignment import besides, limits
from graphcnn.cpu.control import pin_captured
from graphcnn.cpu.emission import Emission
from graphcnn.cpu.expressions import c_type
from graphcnn.cpu.nest import Nest
from graphcnn.cpu.product import STEPS, Load, gate_of, load_of, steps_of
from graphcnn.cpu.sums import Sums, loaded
from graphcnn.cpu.terms import ZERO
from graphcnn.cpu.ttir import Operation, Type, Value

_ELEMENTS = {"f16", "bf16", "f32"}


@dataclass(frozen=True)
class Taps:
    """A loop over taps.

    Attributes:
        loop: The loop.
        rows: The load of the map's rows; its mask holds for whole rows, but for `limit`.
        weights: Pointers to the weights of a tap.
        limit: The comparison that ends the columns; None where all exist.
    """

    loop: Operation
    rows: Load
    weights: Value
    limit: Value | None


def taps_of(emission: Emission, loop: Operation) -> Taps | None:
    """The taps that a loop adds up in float32, if that is all it does.

    Rows and weights are both of one type; those of 16 bits are widened as they are loaded.
    """
    block = loop.blocks[0]
    if emission.checked or len(loop.results) != 1 or loop.result.type.element != "f32":
        return None
    if not analysis.is_zero(loop.operands[3]) or not 0 < steps_of(loop) <= STEPS:
        return None
    carried, total = block.arguments[1], block.yielded[0].owner
    if len(carried.users) != 1 or total is None or total.name != "arith.addf":
        return None
    terms = [operand.owner for operand in total.operands if operand is not carried]
    product = terms[0] if len(terms) == 1 else None
    if product is None or product.name != "arith.mulf" or len(product.result.users) != 1:
        return None
    if not all(analysis.is_lazy(inner) for inner in block.operations[:-1]):
        return None
    for map_, weights in (product.operands, product.operands[::-1]):
        found = _taps(emission, loop, map_, weights)
        if found:
            return found
    return None


def _taps(emission: Emission, loop: Operation, map_: Value, weights: Value) -> Taps | None:
    map_ = _narrow(map_)
    vector, element = analysis.contiguous(map_), map_.type.element
    if vector is None or len(map_.type.shape) != 2 or element not in _ELEMENTS:
        return None
    rows, vectors = load_of(emission, map_, 1 - vector), _vectors(weights, vector)
    if rows is None or vectors is None or analysis.stride(rows.pointer, vector) != 1:
        return None
    if vectors.pointer.type.element != element:
        return None
    limit = _limit(rows.mask, vector)
    if any(comparison.owner in loop.blocks[0].operations for comparison in limit):
        return None
    own = [] if vectors.mask is None else [*limits(vectors.mask)]
    if len(limit) > 1 or own not in ([], limit) or besides(rows.mask, limit) - {1 - vector}:
        return None
    return Taps(loop, rows, vectors.pointer, limit[0] if limit else None)


def _narrow(value: Value) -> Value:
    """What a value is widened from; itself where it is not."""
    owner = value.owner
    return owner.operands[0] if owner is not None and owner.name == "arith.extf" else value


def _vectors(weights: Value, vector: int) -> Load | None:
    """The load of a vector of weights, which is the same for all rows."""
    weights = _narrow(weights)
    while weights.owner is not None and weights.op in ("tt.broadcast", "tt.expand_dims"):
        source = analysis.source_dimension(weights.owner, vector)
        if source is None:
            return None
        vector, weights = source, _narrow(weights.owner.operands[0])
    load = weights.owner
    if load is None or load.name != "tt.load":
        return None
    pointer, *masked = load.operands
    mask = masked[0] if masked else None
    alone = analysis.varying(pointer) <= {vector} and analysis.stride(pointer, vector) == 1
    whole = mask is None or not besides(mask, [*limits(mask)])
    return Load(pointer, mask, vector) if alone and whole and len(weights.type.shape) == 1 else None


def _limit(mask: Value | None, vector: int) -> list[Value]:
    """The comparisons that end the columns."""
    return [] if mask is None else [v for v, d in limits(mask).items() if d == vector]


class TapSums(Sums):
    """The sums of taps."""

    def __init__(self, emission: Emission, taps: Taps) -> None:
        loop = taps.loop
        super().__init__(emission, loop, loop.result, 1 - taps.rows.outer, loop.operands[3], STEPS)
        self.taps = taps
        self.element = Type(taps.rows.pointer.type.element)
        self.holding = [] if taps.limit is None else [taps.limit]

    def sources(self) -> list[Value]:
        """The pointers of the map and of the weights."""
        return loaded(self.loop)

    def pin(self) -> None:
        """What the loop captures."""
        pin_captured(self.emission, self.taps.loop)

    def limit(self) -> None:
        """By the gate of the rows, and where the columns end."""
        self.count_live("rows", self.count, 1, gate_of(self.taps.rows, self.loop))
        names, columns = self.names, str(self.columns)
        limit = self.taps.limit
        if limit is not None and limit.owner is not None:
            nest = Nest(self.emission)
            start = (ZERO,) * len(limit.type.shape)
            first, end = (nest.value(operand, start) for operand in limit.owner.operands)
            self.emission.out += nest.lines
            columns = f"MIN({columns}, {end.text} - {first.text})"
        self.emission.out += [
            f"int const {names['columns']} = {columns};",
            f"const {c_type(self.element)}* {names['panel']}[{self.most}];",
        ]

    def tables(self, stride: str) -> None:
        """Pointers to the weights of each tap."""
        names = self.names

        def body(nest: Nest) -> None:
            text = nest.value(self.taps.weights, (ZERO,)).text
            nest.emit(f"{names['panel']}[{names['at']}] = {text};")

        self.each_step(body, stride)

    def block(self, stride: str, rows: str, fresh: str, count: str) -> None:
        """Pointers to rows, and the sums."""
        names, kind = self.names, c_type(self.element)
        self.point_to_rows(self.taps.rows, self.columns, stride, self.holding)
        name = "sum_taps"
        if kind != "float":
            name = f"sum_taps_{kind}"
            functions = f"SUMS_OF_TAPS({name}, {kind}, vector_of_{kind}, {kind}_to_float)"
            self.emission.functions[functions] = None
        self.emission.out.append(
            f"{name}({names['sums']} + {names['row']} * {self.columns}, {self.columns}, {rows}, "
            f"{names['columns']}, {names['from']}, {names['panel']}, {count});"
        )
