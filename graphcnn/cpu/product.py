"""Products whose sums can stay in registers: a loop around one `tl.dot`, or a dot on its own.

One operand is the *panel*, along whose rows the vectors run, the other gives the *rows* of scalars
that are broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphcnn.cpu import analysis
from graphcnn.cpu.alignment import is_uniform, stride_of_blocks, stride_within
from graphcnn.cpu.emission import Emission
from graphcnn.cpu.terms import ZERO, Index, Term
from graphcnn.cpu.ttir import Operation, Value

# Products that are added up in one chain, and steps whose pointers a table holds.
CHAIN = 512
STEPS = 256
# Columns of a panel: neighbours in memory, and the columns that share a mask.
WIDTH = 32
LANES = 16
_ELEMENTS = {"f16", "bf16", "f32"}


@dataclass(frozen=True)
class Product:
    """A product, and the loop that does nothing but add it up.

    Attributes:
        loop: The loop; None where there is one step, which compilers unroll.
        dot: The product.
        vector: The dimension of its result along which vectors run.
    """

    loop: Operation | None
    dot: Operation
    vector: int

    @property
    def panel(self) -> Value:
        """The operand whose rows are vectors."""
        return self.dot.operands[self.vector]

    @property
    def rows(self) -> Value:
        """The operand whose elements are broadcast."""
        return self.dot.operands[1 - self.vector]

    @property
    def count(self) -> int:
        """Rows of the result."""
        return self.dot.result.type.shape[1 - self.vector]

    @property
    def columns(self) -> int:
        """Columns of the result: along the vectors."""
        return self.dot.result.type.shape[self.vector]

    @property
    def inner(self) -> int:
        """Products that a step adds to each sum."""
        return self.dot.operands[0].type.shape[1]

    @property
    def width(self) -> int:
        """Columns of a panel."""
        return min(WIDTH, self.columns)

    @property
    def most(self) -> int:
        """Steps of a chunk."""
        return max(1, min(STEPS, CHAIN // self.inner))


def steps_of(loop: Operation | None) -> int:
    """How many steps a loop has, one where there is none; 0 where that is not known."""
    if loop is None:
        return 1
    low, high, step = (analysis.constant(bound) for bound in loop.operands[:3])
    return 0 if low is None or high is None or not step else max(0, -(-(high - low) // step))


def product_of(emission: Emission, loop: Operation) -> Product | None:
    """The product that a loop adds up in float32, if that is all it does."""
    block = loop.blocks[0]
    dots = [inner for inner in block.operations if inner.name == "tt.dot"]
    if emission.checked or len(loop.results) != 1 or len(dots) != 1:
        return None
    (dot,) = dots
    carried = block.arguments[1]
    alone = len(carried.users) == 1 and len(dot.result.users) == 1
    if dot.operands[2] is not carried or block.yielded != [dot.result] or not alone:
        return None
    others = (inner for inner in block.operations[:-1] if inner is not dot)
    if not all(analysis.is_lazy(inner) for inner in others) or not _is_supported(dot):
        return None
    return Product(loop, dot, _vector(dot, emission))


def single_product_of(emission: Emission, dot: Operation) -> Product | None:
    """A product on its own that begins at zero, of operands that are loaded for it alone."""
    left, right, start = dot.operands
    if emission.checked or not _is_supported(dot) or not analysis.is_zero(start):
        return None
    product = Product(None, dot, _vector(dot, emission))
    loads = [load_of(emission, dot.operands[d], d) for d in (0, 1)]
    rows = loads[1 - product.vector]
    alone = all(len(operand.users) == 1 for operand in (left, right))
    return product if alone and all(loads) and (rows_in_place(rows) or are_runs(rows)) else None


def _is_supported(dot: Operation) -> bool:
    left, right, _ = dot.operands
    shape = dot.result.type.shape
    if {left.type.element, right.type.element} - _ELEMENTS or len(shape) != 2:
        return False
    return dot.result.type.element == "f32" and all(size % LANES == 0 for size in shape)


def _vector(dot: Operation, emission: Emission) -> int:
    """The dimension whose operand is a panel in memory, else the one that the dot would take."""
    shape = dot.result.type.shape
    loads = [load_of(emission, dot.operands[d], d) for d in (0, 1)]
    panels = [
        d
        for d, load in enumerate(loads)
        if load and (is_panel(load, min(WIDTH, shape[d])) or is_paired(load, dot))
    ]
    return panels[0] if len(panels) == 1 else analysis.vector_dimension(dot, emission.flows)


@dataclass(frozen=True)
class Load:
    """A load that gives an operand.

    Attributes:
        pointer: Of its elements.
        mask: Whether they exist; None where all do. What does not exist is zero.
        outer: The dimension of rows or columns; the other one is that of the reduction.
    """

    pointer: Value
    mask: Value | None
    outer: int

    def index(self, at: Term, k: Term = ZERO) -> Index:
        """The index of an element, given those along both dimensions."""
        return (at, k) if self.outer == 0 else (k, at)

    @property
    def is_whole(self) -> bool:
        """Its mask holds or fails for whole rows or columns."""
        return self.mask is None or analysis.varying(self.mask) <= {self.outer}


def load_of(emission: Emission, value: Value, outer: int) -> Load | None:
    """The load of an operand with this dimension of rows or columns, if it is not done yet."""
    while value.op == "tt.trans" and value.owner is not None:
        outer = 1 - outer
        value = value.owner.operands[0]
    load = value.owner
    if load is None or load.name != "tt.load" or value in emission.arrays:
        return None
    pointer, *masked = load.operands
    mask = masked[0] if masked else None
    absent = len(masked) < 2 or analysis.is_zero(masked[1])
    return Load(pointer, mask, outer) if absent else None


def rows_in_place(load: Load | None) -> bool:
    """The scalars can be read where they lie, through a pointer for each row."""
    if load is None or load.pointer.type.element != "f32" or not load.is_whole:
        return False
    step = analysis.stride(load.pointer, 1 - load.outer)
    return step is not None and step >= 0


def panel_in_place(load: Load | None, width: int) -> bool:
    """The vectors can be read where they lie, through a pointer for each panel of this width."""
    return load is not None and load.pointer.type.element == "f32" and is_panel(load, width)


def is_panel(load: Load, width: int) -> bool:
    """The elements of a vector lie side by side, in panels of this width."""
    if not load.is_whole:
        return False
    if stride_within(load.pointer, load.outer, width) != 1:
        return False
    uniform = load.mask is None or is_uniform(load.mask, load.outer, LANES)
    return uniform and analysis.is_affine(load.pointer, 1 - load.outer)


def is_paired(panel: Load | None, dot: Operation) -> bool:
    """The vectors can be read where they lie, as pairs along the reduction.

    Both operands are bfloat16, and a panel of theirs is [reduction / 2][width][2] in memory.
    """
    if panel is None or any(operand.type.element != "bf16" for operand in dot.operands[:2]):
        return False
    outer, along, pointer = panel.outer, 1 - panel.outer, panel.pointer
    width, inner = min(WIDTH, pointer.type.shape[outer]), pointer.type.shape[along]
    uniform = panel.mask is None or is_uniform(panel.mask, outer, LANES)
    steps = (stride_within(pointer, outer, width), stride_within(pointer, along, 2))
    # One pair has no distance to the next.
    apart = inner == 2 or stride_of_blocks(pointer, along, 2) == 2 * width
    return panel.is_whole and uniform and inner % 2 == 0 and steps == (2, 1) and apart


def are_runs(rows: Load | None) -> bool:
    """The elements of a row lie side by side, so that they can be read as pairs or widened."""
    return rows is not None and rows.is_whole and analysis.stride(rows.pointer, 1 - rows.outer) == 1


def gate_of(load: Load | None, loop: Operation | None) -> tuple[Value, int] | None:
    """A value from outside the loop that is not zero where any step's mask holds, and its dimension
    of rows or columns."""
    if load is None or load.mask is None:
        return None
    blocks = loop.blocks if loop else []
    inside = {inner for block in blocks for inner in block.operations}

    def found(value: Value, dimension: int) -> tuple[Value, int] | None:
        operation = value.owner
        if operation is None or not value.type.shape:
            return None
        if operation not in inside:
            return (value, dimension) if analysis.varying(value) <= {dimension} else None
        operands = operation.operands
        match operation.name:
            case "tt.expand_dims" | "tt.broadcast":
                source = analysis.source_dimension(operation, dimension)
                return None if source is None else found(operands[0], source)
            case "arith.andi":
                gates = (found(operand, dimension) for operand in operands)
                return next((gate for gate in gates if gate), None)
            case "arith.shrsi" | "arith.shrui":
                return found(operands[0], dimension)
            case "arith.cmpi" if operation.text.startswith("ne,") and analysis.is_zero(operands[1]):
                return found(operands[0], dimension)
        return None

    return found(load.mask, load.outer)
