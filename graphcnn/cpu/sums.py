"""The C of sums, their loop turned inside out so that they stay in registers (see product.h).

Outside are chunks of the loop, so that a chunk's panels stay in cache and no chain of additions is
longer than `CHAIN`; inside are blocks of rows, and inside these the panels. An operand is read
where it lies: of float32 loads whose masks hold or fail for whole rows, each step takes a table of
pointers, to zeros for a row that is masked. Any other operand is computed into a tile. Rows and
panels that are masked in every step are left out.

Where sums end in stores, row by row (see `tail_of`), each block of rows is stored at once, from L1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from functools import partial

from graphcnn.cpu import analysis
from graphcnn.cpu.control import pin, pin_captured
from graphcnn.cpu.emission import Emission
from graphcnn.cpu.expressions import c_type, number
from graphcnn.cpu.nest import Nest
from graphcnn.cpu.product import (
    LANES,
    Load,
    Product,
    gate_of,
    load_of,
    panel_in_place,
    rows_in_place,
    steps_of,
)
from graphcnn.cpu.stores import Rows, emit_stores, end_of_rows
from graphcnn.cpu.tail import tail_of
from graphcnn.cpu.terms import ZERO, Array, Term
from graphcnn.cpu.ttir import Operation, Type, Value

# Most rows of a block (see dot.h).
BLOCK = 8
_BLOCK = Term("BLOCK", 0)


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
        words = ("first", "last", "rows", "columns", "row", "from", "panel", "at", "sums")
        self.names = {word: f"{word}{next(emission.numbers)}" for word in words}
        self.steps = steps_of(loop)

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
            f"const float* {names['from']}[{BLOCK * self.most}];",
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
        """Write the table of pointers to a block's rows, of so many floats, or to zeros."""
        names = self.names
        self.emission.zeros = max(self.emission.zeros, 4 * length)

        def body(nest: Nest) -> None:
            row = nest.open(_BLOCK)
            index = load.index(Term(f"({names['row']} + {row.text})", row.depth))
            text = nest.value(load.pointer, index).text
            if load.mask is not None:
                text = f"{nest.value(load.mask, index).text} ? {text} : (const float*)zeros"
            nest.emit(f"{names['from']}[{names['at']} * BLOCK + {row.text}] = {text};")

        self.each_step(body, stride, holding)


class Products(Sums):
    """The sums of a product."""

    def __init__(self, emission: Emission, product: Product) -> None:
        loop, dot = product.loop, product.dot
        value, start = (loop.result, loop.operands[3]) if loop else (dot.result, dot.operands[2])
        super().__init__(emission, loop, value, product.vector, start, product.most)
        self.product = product
        self.row_load = load_of(emission, product.rows, 1 - product.vector)
        self.panel_load = load_of(emission, product.panel, product.vector)
        self.in_place = panel_in_place(self.panel_load, product.width)
        self.distance = ""  # of a panel's rows

    def sources(self) -> list[Value]:
        """The pointers of both operands and of all else that the loop loads."""
        own = [load.pointer for load in (self.row_load, self.panel_load) if load]
        return [*own, *loaded(self.loop)]

    def pin(self) -> None:
        """What the loop captures, or what both operands are loaded through."""
        if self.loop:
            pin_captured(self.emission, self.loop)
            return
        loads = [load for load in (self.row_load, self.panel_load) if load]
        for value in (part for load in loads for part in (load.pointer, load.mask) if part):
            pin(self.emission, value)

    def limit(self) -> None:
        """By the gates of both operands."""
        lanes = LANES if self.in_place else 1
        self.count_live("rows", self.count, 1, gate_of(self.row_load, self.loop))
        self.count_live("columns", self.columns, lanes, gate_of(self.panel_load, self.loop))
        panels = self.columns // self.product.width if self.in_place else 1
        self.emission.out.append(f"const float* {self.names['panel']}[{panels * self.most}];")

    def tables(self, stride: str) -> None:
        """Pointers to panels."""
        self.distance = (self._panels_in_place if self.in_place else self._panel_tile)(stride)

    def block(self, stride: str, rows: str, fresh: str, count: str) -> None:
        """Pointers to rows, and the sums."""
        product, names = self.product, self.names
        row_k = (self._rows_in_place if rows_in_place(self.row_load) else self._row_tile)(stride)
        width = product.width if self.in_place else self.columns
        self.emission.out.append(
            f"product({names['sums']} + {names['row']} * {self.columns}, {self.columns}, {fresh}, "
            f"{rows}, {names['columns']}, {names['from']}, {row_k}, {names['panel']}, {width}, "
            f"{self.most}, {self.distance}, {count}, {product.inner});"
        )

    def _rows_in_place(self, stride: str) -> str:
        """Pointers to the rows of a block; returns the distance of their elements."""
        load = self.row_load
        assert load is not None
        step = analysis.stride(load.pointer, 1 - load.outer) or 0
        self.point_to_rows(load, 1 + (self.product.inner - 1) * step, stride)
        return str(step)

    def _row_tile(self, stride: str) -> str:
        """The rows of a block computed into a tile; returns the distance of their elements."""
        product, names, value = self.product, self.names, self.product.rows
        outer, inner, length = 1 - product.vector, product.inner, self.most * product.inner
        # Rows that lie side by side in memory stay so.
        across = analysis.contiguous(value) == outer
        steps = (1, BLOCK) if across else (length, 1)
        tile = self.emission.declare(Type("f32", (BLOCK, length)), steps)

        def table(nest: Nest) -> None:
            order = ("k", "r") if across else ("r", "k")
            at = {axis: nest.open(inner if axis == "k" else _BLOCK) for axis in order}
            row = Term(f"({names['row']} + {at['r'].text})", at["r"].depth)
            index = (row, at["k"]) if outer == 0 else (at["k"], row)
            k = f"({names['at']} * {inner} + {at['k'].text})"
            element = number(nest.value(value, index).text, value.type)
            place = f"{at['r'].text} * {steps[0]} + {k} * {steps[1]}"
            nest.emit(f"{tile.name}[{place}] = {element};")
            nest.close(2)
            first = nest.open(_BLOCK).text
            place = f"{first} * {steps[0]} + {names['at']} * {inner * steps[1]}"
            nest.emit(f"{names['from']}[{names['at']} * BLOCK + {first}] = {tile.name} + {place};")

        self.each_step(table, stride)
        return str(steps[1])

    def _panels_in_place(self, stride: str) -> str:
        """Pointers to the panels of a chunk; returns the distance of their rows."""
        load, names, product = self.panel_load, self.names, self.product
        assert load is not None
        step = analysis.stride(load.pointer, 1 - load.outer)
        distance = f"d{next(self.emission.numbers)}" if step is None else str(step)

        def body(nest: Nest) -> None:
            for panel in range(product.columns // product.width):
                column = Term(str(panel * product.width), 0)
                text = nest.value(load.pointer, load.index(column)).text
                nest.emit(f"{names['panel']}[{panel * self.most} + {names['at']}] = {text};")
                if step is None and panel == 0:
                    second = nest.value(load.pointer, load.index(column, Term("1", 0))).text
                    nest.emit(f"{distance} = {second} - {text};")

        if step is None:
            self.emission.out.append(f"int64_t {distance} = 0;")
        self.each_step(body, stride)
        return distance

    def _panel_tile(self, stride: str) -> str:
        """The panels of a chunk computed into a tile; returns the distance of its rows."""
        product, names, value = self.product, self.names, self.product.panel
        inner, columns = product.inner, product.columns
        tile = self.emission.array(Type("f32", (self.most * inner, columns)), (0, 1))

        def table(nest: Nest) -> None:
            across = analysis.contiguous(value) != product.vector
            order = ("v", "k") if across else ("k", "v")
            at = {axis: nest.open(inner if axis == "k" else columns) for axis in order}
            index = (at["v"], at["k"]) if product.vector == 0 else (at["k"], at["v"])
            place = f"({names['at']} * {inner} + {at['k'].text}) * {columns} + {at['v'].text}"
            element = number(nest.value(value, index).text, value.type)
            nest.emit(f"{tile.name}[{place}] = {element};")
            nest.close(2)
            start = f"{tile.name} + {names['at']} * {inner * columns}"
            nest.emit(f"{names['panel']}[{names['at']}] = {start};")

        self.each_step(table, stride)
        return str(columns)
