"""The C of a product, its loop turned inside out so that sums stay in registers (see product.h).

Outside are chunks of the loop, so that a chunk's panels stay in cache and no chain of additions is
longer than `CHAIN`; inside are blocks of rows, and inside these the panels. An operand is read
where it lies: of float32 loads whose masks hold or fail for whole rows, each step takes a table of
pointers, to zeros for a row that is masked; where steps are short and mask no row of a block, a
table of offsets. Any other operand is computed into a tile. Rows and panels that are masked in
every step are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphcnn.cpu import analysis
from graphcnn.cpu.control import pin, pin_captured
from graphcnn.cpu.emission import Emission
from graphcnn.cpu.expressions import c_type, number
from graphcnn.cpu.nest import Nest
from graphcnn.cpu.product import (
    LANES,
    Product,
    gate_of,
    load_of,
    panel_in_place,
    rows_in_place,
)
from graphcnn.cpu.steps import SHORT, Whole, whole_of
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
        names = ("first", "last", "rows", "columns", "row", "from", "panel", "at", "offset", "all")
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
        in_place = panel_in_place(self.panel_load, product.width)
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
        panels = product.columns // product.width if in_place else 1
        panel_table = self._panels_in_place if in_place else self._panel_tile
        row_in_place = rows_in_place(self.row_load)
        row_table = self._rows_in_place if row_in_place else self._row_tile
        whole = whole_of(product, self.row_load) if row_in_place else None
        emission.out += [
            f"const float* {names['from']}[{BLOCK * product.most}];",
            f"const float* {names['panel']}[{panels * product.most}];",
            f"for ({kind} {first} = {begin}; {first} < {end}; {first} += {chunk}) {{",
            f"{kind} const {last} = {end} - {first} > {chunk} ? {first} + {chunk} : {end};",
        ]
        panel_k = panel_table(stride)
        decided = self._offsets(whole, stride) if whole else []
        emission.out.append(f"for (int {row} = 0; {row} < {names['rows']}; {row} += BLOCK) {{")
        fresh = f"{first} == {begin}" if zero else "0"
        width = product.width if in_place else product.columns
        sums_of = f"{sums.name} + {row} * {product.columns}, {product.columns}, {fresh}, "
        rest = (
            f"{names['panel']}, {width}, {product.most}, {panel_k}, "
            f"({last} - {first} + {stride} - 1) / {stride}, {product.inner}"
        )
        if whole:
            self._whole_rows(whole, decided)
            emission.out.append(
                f"if ({names['all']}) product_whole({sums_of}{names['columns']}, "
                f"{names['from']}, {names['offset']}, {self._row_step()}, {rest}); else {{"
            )
        row_k = row_table(stride)
        # The first rows find the panels of a chunk in memory, the others in cache.
        ahead = f"{row} == 0" if in_place and product.inner > SHORT else "0"
        emission.out += [
            f"product({sums_of}MIN(BLOCK, {names['rows']} - {row}), {names['columns']}, "
            f"{names['from']}, {row_k}, {rest}, {ahead});",
            *["}"] * (3 if whole else 2),
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

    def _offsets(self, whole: Whole, stride: str) -> list[str]:
        """What each step of a chunk adds to the rows; returns, for each demand, the number of all
        steps that decides it."""
        emission, names = self.emission, self.names
        decided = [f"w{next(emission.numbers)}" for _ in whole.demands]
        starts = {"OR": "0", "MIN": "INT32_MAX", "MAX": "INT32_MIN", "": "0"}
        for name, demand in zip(decided, whole.demands, strict=True):
            emission.out.append(f"int32_t {name} = {starts[demand.fold]};")

        def body(nest: Nest) -> None:
            offset = emission.scalars[whole.offset]
            nest.emit(f"{names['offset']}[{names['at']}] = {offset};")
            for name, demand in zip(decided, whole.demands, strict=True):
                if demand.number is None:
                    continue
                step = f"(int32_t){emission.scalars[demand.number]}"
                text = f"{name} | 1u << {step}" if demand.fold == "OR" else ""
                nest.emit(f"{name} = {text or f'{demand.fold}({name}, {step})'};")

        emission.out.append(f"int64_t {names['offset']}[{self.product.most}];")
        self._steps(body, stride)
        return decided

    def _whole_rows(self, whole: Whole, decided: Sequence[str]) -> None:
        """Pointers to the rows of a block, and whether no step masks one."""
        emission, names, load = self.emission, self.names, self.row_load
        assert load is not None
        emission.out.append(f"int {names['all']} = 1;")

        def at_row(nest: Nest, row: Term, value: Value, dimension: int) -> str:
            at = Term(f"({names['row']} + {row.text})", row.depth)
            rank = range(len(value.type.shape))
            return nest.value(value, tuple(at if d == dimension else ZERO for d in rank)).text

        for demand, name in zip(whole.demands, decided, strict=True):
            if demand.number is not None:
                emission.define(demand.number, name)
            nest = Nest(emission)
            row = nest.open(_BLOCK)
            text = at_row(nest, row, demand.value, demand.dimension)
            text = f"({text} & {name}) == {name}" if demand.fold == "OR" else text
            nest.emit(f"{names['all']} &= {text};")
            nest.close()
            emission.out += nest.lines
        nest = Nest(emission)
        row = nest.open(_BLOCK)
        text = at_row(nest, row, whole.pointer, load.outer)
        nest.emit(f"{names['from']}[{row.text}] = {text};")
        nest.close()
        emission.out += nest.lines

    def _row_step(self) -> int:
        """The distance of the elements of a row that is read in place."""
        load = self.row_load
        assert load is not None
        return analysis.stride(load.pointer, 1 - load.outer) or 0

    def _rows_in_place(self, stride: str) -> str:
        """Pointers to the rows of a block; returns the distance of their elements."""
        load, names, step = self.row_load, self.names, self._row_step()
        assert load is not None
        length = 4 * (1 + (self.product.inner - 1) * step)
        self.emission.zeros = max(self.emission.zeros, length)

        def body(nest: Nest) -> None:
            row = nest.open(_BLOCK)
            index = load.index(Term(f"({names['row']} + {row.text})", row.depth))
            text = nest.value(load.pointer, index).text
            if load.mask is not None:
                text = f"{nest.value(load.mask, index).text} ? {text} : (const float*)zeros"
            nest.emit(f"{names['from']}[{names['at']} * BLOCK + {row.text}] = {text};")

        self._steps(body, stride)
        return str(step)

    def _row_tile(self, stride: str) -> str:
        """The rows of a block computed into a tile; returns the distance of their elements."""
        product, names, value = self.product, self.names, self.product.rows
        outer, inner, length = 1 - product.vector, product.inner, product.most * product.inner
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

        self._steps(table, stride)
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
