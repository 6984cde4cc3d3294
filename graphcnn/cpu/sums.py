"""The C of a product, its loop turned inside out so that sums stay in registers (see product.h).

Outside are chunks of the loop, so that a chunk's panels stay in cache and no chain of additions is
longer than `CHAIN`; inside are blocks of rows, and inside these the panels. An operand is read
where it lies: of float32 loads whose masks hold or fail for whole rows, each step takes a table of
pointers, to zeros for a row that is masked. Any other operand is computed into a tile, of bfloat16
where the panels are in pairs (see pairs.h). Rows and panels that are masked in every step are left
out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard

from graphcnn.cpu import analysis
from graphcnn.cpu.control import pin, pin_captured
from graphcnn.cpu.emission import Emission
from graphcnn.cpu.expressions import c_type, number, size
from graphcnn.cpu.nest import Nest
from graphcnn.cpu.product import (
    LANES,
    Load,
    Product,
    are_runs,
    gate_of,
    is_paired,
    is_panel,
    load_of,
    panel_in_place,
    rows_in_place,
)
from graphcnn.cpu.terms import ZERO, Array, Term
from graphcnn.cpu.ttir import Type, Value

# Most rows of a block (see dot.h).
BLOCK = 8
_BLOCK = Term("BLOCK", 0)


def emit_product(emission: Emission, product: Product) -> None:
    """Write the loops of a product and define its result."""
    result = product.loop.result if product.loop else product.dot.result
    emission.define(result, _Emitter(emission, product).emit())


class _Emitter:
    """The C of one product."""

    def __init__(self, emission: Emission, product: Product) -> None:
        self.emission, self.product = emission, product
        if product.loop:
            pin_captured(emission, product.loop)
        self.row_load = load_of(emission, product.rows, 1 - product.vector)
        self.panel_load = load_of(emission, product.panel, product.vector)
        self.paired = is_paired(self.panel_load, product.dot)
        self.element = Type("bf16" if self.paired else "f32")
        names = ("first", "last", "rows", "columns", "row", "from", "panel", "at")
        self.names = {name: f"{name}{next(emission.numbers)}" for name in names}

    def emit(self) -> Array:
        """Write the loops; returns where the sums are."""
        emission, product, names = self.emission, self.product, self.names
        kind, begin, end, stride, start = "int", "0", "1", "1", product.dot.operands[2]
        if product.loop:
            *bounds, start = product.loop.operands
            begin, end, stride = (emission.scalars[value] for value in bounds)
            kind = c_type(product.loop.blocks[0].arguments[0].type)
        else:
            loads = [load for load in (self.row_load, self.panel_load) if load]
            for value in (part for load in loads for part in (load.pointer, load.mask) if part):
                pin(emission, value)
        sums = emission.array(product.dot.result.type, [1 - product.vector, product.vector])
        in_place = self.paired or panel_in_place(self.panel_load, product.width)
        self._count("rows", product.count, 1, gate_of(self.row_load, product.loop))
        lanes = LANES if in_place else 1
        self._count("columns", product.columns, lanes, gate_of(self.panel_load, product.loop))
        zero = analysis.is_zero(start)
        if zero:
            emission.out.append(
                f"zero_rest({sums.name}, {product.columns}, {product.count}, "
                f"{begin} < {end} ? {names['rows']} : 0, {names['columns']});"
            )
        else:
            emission.fill(sums, start)
        first, last, row = names["first"], names["last"], names["row"]
        chunk = f"{product.most} * {stride}"
        panel_table = self._panel_tile
        if in_place:
            panel_table = self._panels_in_place
        elif self._widens(self.panel_load) and is_panel(self.panel_load, product.width):
            panel_table = self._panels_widened
        width = product.columns if panel_table == self._panel_tile else product.width
        panels = product.columns // width
        element = c_type(self.element)
        rows_there = are_runs if self.paired else rows_in_place
        row_table = self._row_tile
        if rows_there(self.row_load):
            row_table = self._rows_in_place
        elif self._widens(self.row_load) and are_runs(self.row_load):
            row_table = self._rows_widened
        emission.out += [
            f"const {element}* {names['from']}[{BLOCK * product.most}];",
            f"const {element}* {names['panel']}[{panels * product.most}];",
            f"for ({kind} {first} = {begin}; {first} < {end}; {first} += {chunk}) {{",
            f"{kind} const {last} = {end} - {first} > {chunk} ? {first} + {chunk} : {end};",
        ]
        panel_k = panel_table(stride)
        emission.out.append(f"for (int {row} = 0; {row} < {names['rows']}; {row} += BLOCK) {{")
        row_k = row_table(stride)
        fresh = f"{first} == {begin}" if zero else "0"
        emission.out += [
            f"{'paired_' if self.paired else ''}product("
            f"{sums.name} + {row} * {product.columns}, {product.columns}, {fresh}, "
            f"MIN(BLOCK, {names['rows']} - {row}), {names['columns']}, {names['from']}, {row_k}, "
            f"{names['panel']}, {width}, {product.most}, {panel_k}, "
            f"({last} - {first} + {stride} - 1) / {stride}, {product.inner});",
            "}",
            "}",
        ]
        return sums

    def _count(self, name: str, most: int, step: int, gate: tuple[Value, int] | None) -> None:
        """How many rows or columns there are, up to the last that some mask admits."""
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

    def _steps(self, body: Callable[[Nest], None], stride: str) -> None:
        """A loop over the steps of a chunk, the numbers of each, and what `body` makes of them."""
        emission, names = self.emission, self.names
        induction = f"k{next(emission.numbers)}"
        emission.out.append(
            f"for (int64_t {induction} = {names['first']}, {names['at']} = 0; "
            f"{induction} < {names['last']}; {induction} += {stride}, {names['at']}++) {{"
        )
        blocks = self.product.loop.blocks if self.product.loop else []
        for block in blocks:
            kind = c_type(block.arguments[0].type)
            emission.define(block.arguments[0], f"(({kind}){induction})")
            for operation in block.operations:
                if analysis.is_lazy(operation) and not operation.result.type.shape:
                    emission.scalars.pop(operation.result, None)
                    emission.statement(operation)
        nest = Nest(emission)
        body(nest)
        nest.close(nest.depth)
        emission.out += [*nest.lines, "}"]

    def _rows_in_place(self, stride: str) -> str:
        """Pointers to the rows of a block; returns the distance of their elements."""
        load, names = self.row_load, self.names
        assert load is not None
        step = analysis.stride(load.pointer, 1 - load.outer) or 0
        length = size(self.element) * (1 + (self.product.inner - 1) * step)
        self.emission.zeros = max(self.emission.zeros, length)

        def body(nest: Nest) -> None:
            row = nest.open(_BLOCK)
            index = load.index(Term(f"({names['row']} + {row.text})", row.depth))
            text = nest.value(load.pointer, index).text
            if load.mask is not None:
                zeros = f"(const {c_type(self.element)}*)zeros"
                text = f"{nest.value(load.mask, index).text} ? {text} : {zeros}"
            nest.emit(f"{names['from']}[{names['at']} * BLOCK + {row.text}] = {text};")

        self._steps(body, stride)
        return str(step)

    def _widens(self, load: Load | None) -> TypeGuard[Load]:
        """What is loaded has 16 bits, of which widen.h makes floats."""
        return load is not None and not self.paired and load.pointer.type.element != "f32"

    def _rows_widened(self, stride: str) -> str:
        """The rows of a block, widened into a tile; returns the distance of their elements."""
        load, names, inner = self.row_load, self.names, self.product.inner
        assert load is not None
        kind, length = Type(load.pointer.type.element), self.product.most * inner
        tile = self.emission.declare(Type("f32", (BLOCK, length)), (length, 1))
        self.emission.zeros = max(self.emission.zeros, size(kind) * inner)

        def body(nest: Nest) -> None:
            row = nest.open(_BLOCK)
            index = load.index(Term(f"({names['row']} + {row.text})", row.depth))
            source = nest.value(load.pointer, index).text
            if load.mask is not None:
                zeros = f"(const {c_type(kind)}*)zeros"
                source = f"{nest.value(load.mask, index).text} ? {source} : {zeros}"
            place = f"{tile.name} + {row.text} * {length} + {names['at']} * {inner}"
            nest.emit(f"widen_{kind.element}({place}, {source}, {inner});")
            nest.emit(f"{names['from']}[{names['at']} * BLOCK + {row.text}] = {place};")

        self._steps(body, stride)
        return "1"

    def _panels_widened(self, stride: str) -> str:
        """The panels of a chunk, widened into a tile; returns the distance of their rows."""
        load, names, product = self.panel_load, self.names, self.product
        assert load is not None
        kind, width = load.pointer.type.element, product.width
        length = product.most * product.inner * width
        panels = product.columns // width
        tile = self.emission.declare(Type("f32", (panels, length)), (length, 1))

        def body(nest: Nest) -> None:
            for panel in range(panels):
                column = Term(str(panel * width), 0)
                place = f"{tile.name} + {panel * length} + {names['at']} * {product.inner * width}"
                nest.emit(f"{names['panel']}[{panel * product.most} + {names['at']}] = {place};")
                # A panel that is masked as a whole may lie beyond the memory.
                there = f"({column.text} < {names['columns']} ? {product.inner} : 0)"
                k = nest.open(Term(there, 0))
                source = nest.value(load.pointer, load.index(column, k)).text
                nest.emit(f"widen_{kind}({place} + {k.text} * {width}, {source}, {width});")
                nest.close()

        self._steps(body, stride)
        return str(width)

    def _row_tile(self, stride: str) -> str:
        """The rows of a block computed into a tile; returns the distance of their elements."""
        product, names, value = self.product, self.names, self.product.rows
        outer, inner, length = 1 - product.vector, product.inner, product.most * product.inner
        # Rows that lie side by side in memory stay so.
        across = analysis.contiguous(value) == outer and not self.paired
        steps = (1, BLOCK) if across else (length, 1)
        tile = self.emission.declare(Type(self.element.element, (BLOCK, length)), steps)

        def table(nest: Nest) -> None:
            order = ("k", "r") if across else ("r", "k")
            at = {axis: nest.open(inner if axis == "k" else _BLOCK) for axis in order}
            row = Term(f"({names['row']} + {at['r'].text})", at["r"].depth)
            index = (row, at["k"]) if outer == 0 else (at["k"], row)
            k = f"({names['at']} * {inner} + {at['k'].text})"
            element = nest.value(value, index).text
            if not self.paired:
                element = number(element, value.type)
            place = f"{at['r'].text} * {steps[0]} + {k} * {steps[1]}"
            nest.emit(f"{tile.name}[{place}] = {element};")
            nest.close(2)
            first = nest.open(_BLOCK).text
            place = f"{first} * {steps[0]} + {names['at']} * {inner * steps[1]}"
            nest.emit(f"{names['from']}[{names['at']} * BLOCK + {first}] = {tile.name} + {place};")

        self._steps(table, stride)
        return str(steps[1])

    def _panels_in_place(self, stride: str) -> str:
        """Pointers to the panels of a chunk; returns the distance of their rows."""
        load, names, product = self.panel_load, self.names, self.product
        assert load is not None
        step = analysis.stride(load.pointer, 1 - load.outer)
        if self.paired:
            step = 2 * product.width
        distance = f"d{next(self.emission.numbers)}" if step is None else str(step)

        def body(nest: Nest) -> None:
            for panel in range(product.columns // product.width):
                column = Term(str(panel * product.width), 0)
                text = nest.value(load.pointer, load.index(column)).text
                nest.emit(f"{names['panel']}[{panel * product.most} + {names['at']}] = {text};")
                if step is None and panel == 0:
                    second = nest.value(load.pointer, load.index(column, Term("1", 0))).text
                    nest.emit(f"{distance} = {second} - {text};")

        if step is None:
            self.emission.out.append(f"int64_t {distance} = 0;")
        self._steps(body, stride)
        return distance

    def _panel_tile(self, stride: str) -> str:
        """The panels of a chunk computed into a tile; returns the distance of its rows."""
        product, names, value = self.product, self.names, self.product.panel
        inner, columns = product.inner, product.columns
        tile = self.emission.array(Type("f32", (product.most * inner, columns)), (0, 1))

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

        self._steps(table, stride)
        return str(columns)
