"""The sums of a product: where its rows and panels are, and the blocks (see sums and product.h)."""

from __future__ import annotations

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
from graphcnn.cpu.steps import SHORT, Whole, whole_of
from graphcnn.cpu.sums import BLOCK, EACH_ROW, Sums, loaded
from graphcnn.cpu.terms import ZERO, Term
from graphcnn.cpu.ttir import Type, Value


class Products(Sums):
    """The sums of a product."""

    def __init__(self, emission: Emission, product: Product) -> None:
        loop, dot = product.loop, product.dot
        value, start = (loop.result, loop.operands[3]) if loop else (dot.result, dot.operands[2])
        super().__init__(emission, loop, value, product.vector, start, product.most)
        self.product = product
        self.row_load = load_of(emission, product.rows, 1 - product.vector)
        self.panel_load = load_of(emission, product.panel, product.vector)
        self.paired = is_paired(self.panel_load, dot)
        self.element = Type("bf16" if self.paired else "f32")
        self.in_place = self.paired or panel_in_place(self.panel_load, product.width)
        self.widened = not self.in_place and self._widens(self.panel_load, product.width)
        # Columns of a panel, as it is read.
        self.width = product.width if self.in_place or self.widened else self.columns
        self.rows_in_place = (are_runs if self.paired else rows_in_place)(self.row_load)
        whole = self.rows_in_place and not self.paired
        self.whole = whole_of(product, self.row_load) if whole else None
        self.distance = ""  # of a panel's rows
        self.decided: list[str] = []  # for each demand, the number of all steps that decides it

    def _widens(self, load: Load | None, width: int = 0) -> TypeGuard[Load]:
        """Whether widen.h makes floats of rows, or of panels of a width, of 16 bits."""
        if load is None or self.paired or load.pointer.type.element == "f32":
            return False
        return is_panel(load, width) if width else are_runs(load)

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
        lanes, names = LANES if self.in_place else 1, self.names
        self.count_live("rows", self.count, 1, gate_of(self.row_load, self.loop))
        self.count_live("columns", self.columns, lanes, gate_of(self.panel_load, self.loop))
        count = self.columns // self.width * self.most
        self.emission.out.append(f"const {c_type(self.element)}* {names['panel']}[{count}];")

    def tables(self, stride: str) -> None:
        """Pointers to panels, and what short steps add to pointers to rows."""
        table = self._panels_in_place if self.in_place else self._panel_tile
        self.distance = (self._panels_widened if self.widened else table)(stride)
        if self.whole:
            self.decided = self._offsets(self.whole, stride)

    def block(self, stride: str, rows: str, fresh: str, count: str) -> None:
        """Pointers to rows, and the sums."""
        product, names, out = self.product, self.names, self.emission.out
        place = f"{names['sums']} + {names['row']} * {self.columns}, {self.columns}, {fresh}, "
        rest = (
            f"{names['panel']}, {self.width}, {self.most}, {self.distance}, {count}, "
            f"{product.inner}"
        )
        if self.whole:
            every = self._whole_rows(self.whole)
            out.append(
                f"if ({every}) product_whole({place}{names['columns']}, {names['from']}, "
                f"{names['offset']}, {self._row_step()}, {rest}); else {{"
            )
        row_k = self._rows(stride, count)
        if not self.paired:
            # The first rows find the panels of a chunk in memory, the others in cache.
            far = self.in_place and product.inner > SHORT
            rest += f", {names['row']} == 0" if far else ", 0"
        out.append(
            f"{'paired_' if self.paired else ''}product({place}{rows}, {names['columns']}, "
            f"{names['from']}, {row_k}, {rest});"
        )
        if self.whole:
            out.append("}")

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

        emission.out.append(f"int64_t {names['offset']}[{self.most}];")
        self.each_step(body, stride)
        return decided

    def _whole_rows(self, whole: Whole) -> str:
        """Pointers to the rows of a block; returns the name of whether no step masks one."""
        emission, names, load = self.emission, self.names, self.row_load
        assert load is not None
        every = f"all{next(emission.numbers)}"
        emission.out.append(f"int {every} = 1;")

        def at_row(nest: Nest, row: Term, value: Value, dimension: int) -> str:
            at = Term(f"({names['row']} + {row.text})", row.depth)
            rank = range(len(value.type.shape))
            return nest.value(value, tuple(at if d == dimension else ZERO for d in rank)).text

        for demand, name in zip(whole.demands, self.decided, strict=True):
            if demand.number is not None:
                emission.define(demand.number, name)
            nest = Nest(emission)
            row = nest.open(EACH_ROW)
            text = at_row(nest, row, demand.value, demand.dimension)
            text = f"({text} & {name}) == {name}" if demand.fold == "OR" else text
            nest.emit(f"{every} &= {text};")
            nest.close()
            emission.out += nest.lines
        nest = Nest(emission)
        row = nest.open(EACH_ROW)
        text = at_row(nest, row, whole.pointer, load.outer)
        nest.emit(f"{names['from']}[{row.text}] = {text};")
        nest.close()
        emission.out += nest.lines
        return every

    def _rows(self, stride: str, count: str) -> str:
        """Pointers to the rows of a block; returns the distance of their elements."""
        load = self.row_load
        if self.rows_in_place:
            assert load is not None
            step = self._row_step()
            self.point_to_rows(load, 1 + (self.product.inner - 1) * step, stride)
            return str(step)
        # Of short steps the rows are widened as a whole.
        if self.product.inner >= LANES and self._widens(load):
            return self._rows_widened(load, stride)
        return self._row_tile(stride, count)

    def _row_step(self) -> int:
        """The distance of the elements of a row that is read in place."""
        load = self.row_load
        assert load is not None
        return analysis.stride(load.pointer, 1 - load.outer) or 0

    def _rows_widened(self, load: Load, stride: str) -> str:
        """The rows of a block, widened into a tile; returns the distance of their elements."""
        names, inner = self.names, self.product.inner
        kind, length = Type(load.pointer.type.element), self.most * inner
        tile = self.emission.declare(Type("f32", (BLOCK, length)), (length, 1))
        self.emission.zeros = max(self.emission.zeros, size(kind) * inner)

        def body(nest: Nest) -> None:
            row = nest.open(EACH_ROW)
            source = self.start_of_row(nest, load, row)
            place = f"{tile.name} + {row.text} * {length} + {names['at']} * {inner}"
            nest.emit(f"widen_{kind.element}({place}, {source}, {inner});")
            nest.emit(f"{names['from']}[{names['at']} * BLOCK + {row.text}] = {place};")

        self.each_step(body, stride)
        return "1"

    def _panels_widened(self, stride: str) -> str:
        """The panels of a chunk, widened into a tile; returns the distance of their rows."""
        load, names, width, inner = self.panel_load, self.names, self.width, self.product.inner
        assert load is not None
        kind, length = load.pointer.type.element, self.most * inner * width
        panels = self.columns // width
        tile = self.emission.declare(Type("f32", (panels, length)), (length, 1))

        def body(nest: Nest) -> None:
            for panel in range(panels):
                column = Term(str(panel * width), 0)
                place = f"{tile.name} + {panel * length} + {names['at']} * {inner * width}"
                nest.emit(f"{names['panel']}[{panel * self.most} + {names['at']}] = {place};")
                # A panel that is masked as a whole may lie beyond the memory.
                there = f"({column.text} < {names['columns']} ? {inner} : 0)"
                k = nest.open(Term(there, 0))
                source = nest.value(load.pointer, load.index(column, k)).text
                nest.emit(f"widen_{kind}({place} + {k.text} * {width}, {source}, {width});")
                nest.close()

        self.each_step(body, stride)
        return str(width)

    def _row_tile(self, stride: str, count: str) -> str:
        """The rows of a block computed into a tile, over `count` steps; returns the distance of
        their elements."""
        product, names, value = self.product, self.names, self.product.rows
        outer, inner, length = 1 - product.vector, product.inner, self.most * product.inner
        # Rows that lie side by side in memory stay so.
        across = analysis.contiguous(value) == outer and not self.paired
        steps = (1, BLOCK) if across else (length, 1)
        tile = self.emission.declare(Type(self.element.element, (BLOCK, length)), steps)
        # Of 16 bits they are widened as a whole: single ones take as long as all else.
        narrow = tile
        if value.type.element in ("f16", "bf16") and not self.paired:
            narrow = self.emission.declare(Type(value.type.element, (BLOCK, length)), steps)

        def table(nest: Nest) -> None:
            order = ("k", "r") if across else ("r", "k")
            at = {axis: nest.open(inner if axis == "k" else EACH_ROW) for axis in order}
            row = Term(f"({names['row']} + {at['r'].text})", at["r"].depth)
            index = (row, at["k"]) if outer == 0 else (at["k"], row)
            k = f"({names['at']} * {inner} + {at['k'].text})"
            place = f"{at['r'].text} * {steps[0]} + {k} * {steps[1]}"
            nest.emit(f"{narrow.name}[{place}] = {nest.value(value, index).text};")
            nest.close(2)
            first = nest.open(EACH_ROW).text
            place = f"{first} * {steps[0]} + {names['at']} * {inner * steps[1]}"
            nest.emit(f"{names['from']}[{names['at']} * BLOCK + {first}] = {tile.name} + {place};")

        self.each_step(table, stride)
        if narrow is not tile:
            # A tile has room for BLOCK rows; in C, BLOCK is how many are multiplied at once.
            rows, each = ("1", BLOCK * inner) if across else ("BLOCK", inner)
            self.emission.out.append(
                f"for (int r = 0; r < {rows}; r++) widen_{value.type.element}({tile.name} + "
                f"r * {length}, {narrow.name} + r * {length}, {count} * {each});"
            )
        return str(steps[1])

    def _panels_in_place(self, stride: str) -> str:
        """Pointers to the panels of a chunk; returns the distance of their rows."""
        load, names, product = self.panel_load, self.names, self.product
        assert load is not None
        step = 2 * self.width if self.paired else analysis.stride(load.pointer, 1 - load.outer)
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
