"""The C of sums, their loop turned inside out so that they stay in registers (see product.h).

Outside are chunks of the loop, so that a chunk's panels stay in cache and no chain of additions is
longer than `CHAIN`; inside are blocks of rows, and inside these the panels. An operand is read
where it lies: of float32 loads whose masks hold or fail for whole rows, each step takes a table of
pointers, to zeros for a row that is masked; where steps are short and mask no row of a block, a
table of offsets. Any other operand is computed into a tile, of bfloat16 where the panels are in
pairs (see pairs.h). Rows and panels that are masked in every step are left out.

Where sums end in stores, row by row (see `tail_of`), each block of rows is stored at once, from L1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from functools import partial

from graphcnn.cpu import analysis
from graphcnn.cpu.emission import Emission
from graphcnn.cpu.expressions import c_type, size
from graphcnn.cpu.nest import Nest
from graphcnn.cpu.product import LANES, Load, steps_of
from graphcnn.cpu.stores import Rows, emit_stores, end_of_rows
from graphcnn.cpu.tail import tail_of
from graphcnn.cpu.terms import ZERO, Array, Term
from graphcnn.cpu.ttir import Operation, Type, Value

# Most rows of a block (see dot.h).
BLOCK = 8
EACH_ROW = Term("BLOCK", 0)


def emit_sums(emission: Emission, sums: Sums) -> None:
    """Write sums and define their value: now, or with the stores that they end in."""
    tail = tail_of(emission, sums.value, 1 - sums.vector, sums.sources())
    if tail is None or not sums.steps or not analysis.is_zero(sums.start):
        sums.write()
    else:
        last, dimension = tail
        emission.ending[last] = partial(sums.write, emission.runs[last], dimension)


def loaded(loop: Operation | None) -> list[Value]:
    """The pointers that a loop loads through."""
    inside = loop.walk() if loop else ()
    return [inner.operands[0] for inner in inside if inner.name == "tt.load"]


class Sums(ABC):
    """Sums over the steps of a loop, by blocks of rows.

    Attributes:
        value: What they are, [rows, columns] or the other way round.
        vector: The dimension of its columns.
        start: What is added to.
        steps: How many there are; 0 where that is not known.
        element: What rows are read as.

    Args:
        emission: Where they are written.
        loop: The loop; None for one step.
        value: See above.
        vector: See above.
        start: See above.
        most: Steps of a chunk.
    """

    def __init__(
        self,
        emission: Emission,
        loop: Operation | None,
        value: Value,
        vector: int,
        start: Value,
        most: int,
    ) -> None:
        self.emission, self.loop, self.most = emission, loop, most
        self.value, self.vector, self.start = value, vector, start
        self.count, self.columns = value.type.shape[1 - vector], value.type.shape[vector]
        words = ("first", "last", "rows", "columns", "row", "from", "panel", "at", "sums", "offset")
        self.names = {word: f"{word}{next(emission.numbers)}" for word in words}
        self.steps, self.element = steps_of(loop), Type("f32")

    @abstractmethod
    def sources(self) -> list[Value]:
        """Pointers that are read through."""

    @abstractmethod
    def pin(self) -> None:
        """Compute what the loops would compute again."""

    @abstractmethod
    def limit(self) -> None:
        """Write how many rows and columns there are, up to the last that some mask admits."""

    @abstractmethod
    def tables(self, stride: str) -> None:
        """Write what a chunk's blocks share."""

    @abstractmethod
    def block(self, stride: str, rows: str, fresh: str, count: str) -> None:
        """Write the sums of a block of `rows` rows, over `count` steps: to zero where `fresh`."""

    def write(self, run: list[Operation] | None = None, dimension: int = 0) -> None:
        """Write the loops, which end in a run of stores with rows in this dimension, or define the
        value."""
        emission, names, out = self.emission, self.names, self.emission.out
        kind, begin, end, stride = "int", "0", "1", "1"
        if self.loop:
            begin, end, stride = (emission.scalars[bound] for bound in self.loop.operands[:3])
            kind = c_type(self.loop.blocks[0].arguments[0].type)
        self.pin()
        by_block = run is not None and self.steps <= self.most
        tile = emission.declare(
            Type("f32", (BLOCK if by_block else self.count, self.columns)), (self.columns, 1)
        )
        self.limit()
        first, last, row, rows = names["first"], names["last"], names["row"], names["rows"]
        zero, ends = analysis.is_zero(self.start), rows
        place = (self.columns, 1) if self.vector else (1, self.columns)
        if not by_block:
            names["sums"] = tile.name
        sums = Array(names["sums"], self.value.type, place)
        if not zero:
            emission.fill(sums, self.start)
        elif not by_block:
            out.append(
                f"zero_rest({tile.name}, {self.columns}, {self.count}, "
                f"{begin} < {end} ? {rows} : 0, {names['columns']});"
            )
        if run is not None:
            ends = end_of_rows(emission, run, dimension)
        chunk = f"{self.most} * {stride}"
        out += [
            f"const {c_type(self.element)}* {names['from']}[{BLOCK * self.most}];",
            f"for ({kind} {first} = {begin}; {first} < {end}; {first} += {chunk}) {{",
            f"{kind} const {last} = {end} - {first} > {chunk} ? {first} + {chunk} : {end};",
        ]
        self.tables(stride)
        out.append(f"for (int {row} = 0; {row} < {ends}; {row} += BLOCK) {{")
        some = f"MAX(0, MIN(BLOCK, {rows} - {row}))"
        if by_block:
            out += [
                f"float* const {sums.name} = {tile.name} - {row} * {self.columns};",
                f"zero_rest({tile.name}, {self.columns}, BLOCK, {some}, {names['columns']});",
            ]
        fresh = f"{first} == {begin}" if zero else "0"
        self.block(stride, some, fresh, f"({last} - {first} + {stride} - 1) / {stride}")
        emission.define(self.value, sums)
        if run is not None:
            out.append(f"if ({last} == {end}) {{")
            emit_stores(emission, run, Rows(dimension, row, f"MIN({ends}, {row} + BLOCK)"))
            out.append("}")
        out += ["}", "}"]

    def count_live(self, name: str, most: int, step: int, gate: tuple[Value, int] | None) -> None:
        """Write how many rows or columns there are, up to the last that some mask admits."""
        count, out = self.names[name], self.emission.out
        if gate is None:
            out.append(f"int const {count} = {most};")
            return
        value, dimension = gate
        out.append(f"int {count} = 0;")
        nest = Nest(self.emission)
        at = nest.open(most, step)
        index = tuple(at if d == dimension else ZERO for d in range(len(value.type.shape)))
        block = 1 if name == "rows" else LANES
        nest.emit(f"if ({nest.value(value, index).text}) {count} = {at.text} / {block} * {block};")
        nest.close()
        out += [*nest.lines, f"{count} += {block};"]

    def each_step(
        self, body: Callable[[Nest], None], stride: str, holding: Collection[Value] = ()
    ) -> None:
        """Write a loop over the steps of a chunk, the numbers of each, and what `body` makes of
        them."""
        emission, names = self.emission, self.names
        induction = f"k{next(emission.numbers)}"
        emission.out.append(
            f"for (int64_t {induction} = {names['first']}, {names['at']} = 0; "
            f"{induction} < {names['last']}; {induction} += {stride}, {names['at']}++) {{"
        )
        for block in self.loop.blocks if self.loop else []:
            kind = c_type(block.arguments[0].type)
            emission.define(block.arguments[0], f"(({kind}){induction})")
            for operation in block.operations:
                if analysis.is_lazy(operation) and not operation.result.type.shape:
                    emission.scalars.pop(operation.result, None)
                    emission.statement(operation)
        nest = Nest(emission, holding)
        body(nest)
        nest.close(nest.depth)
        emission.out += [*nest.lines, "}"]

    def point_to_rows(
        self, load: Load, length: int, stride: str, holding: Collection[Value] = ()
    ) -> None:
        """Write the table of pointers to a block's rows, of so many elements, or to zeros."""
        names = self.names
        self.emission.zeros = max(self.emission.zeros, size(self.element) * length)

        def body(nest: Nest) -> None:
            row = nest.open(EACH_ROW)
            text = self.start_of_row(nest, load, row)
            nest.emit(f"{names['from']}[{names['at']} * BLOCK + {row.text}] = {text};")

        self.each_step(body, stride, holding)

    def start_of_row(self, nest: Nest, load: Load, row: Term) -> str:
        """C text of where a row of a block is loaded from, or of zeros where it is masked."""
        index = load.index(Term(f"({self.names['row']} + {row.text})", row.depth))
        text = nest.value(load.pointer, index).text
        if load.mask is None:
            return text
        kind = Type(load.pointer.type.element)
        return f"{nest.value(load.mask, index).text} ? {text} : (const {c_type(kind)}*)zeros"
