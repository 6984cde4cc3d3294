"""Reductions and scans whose combiner is any scalar region.

Triton leaves the order of a reduction open. Along the dimension in which memory runs, `LANES`
partial results are kept side by side, so that the loop becomes vector instructions; across it,
whole rows are combined.
"""

from __future__ import annotations

from graphcnn.cpu.emission import Emission
from graphcnn.cpu.expressions import c_type
from graphcnn.cpu.nest import Nest
from graphcnn.cpu.terms import Array, Index, Term
from graphcnn.cpu.ttir import Operation

LANES = 32
# Rows combined per pass over the partial results.
ROWS = 4


def emit_reduce(emission: Emission, operation: Operation) -> None:
    """`tt.reduce`: the results become arrays, or scalars when nothing is left to index."""
    axis = operation.integer("axis")
    shape = operation.operands[0].type.shape
    rest = [d for d in range(len(shape)) if d != axis and shape[d] > 1]
    found = (emission.inner_dimension(operand) for operand in operation.operands)
    inner = next((d for d in found if d is not None), axis)
    order = [d - (d > axis) for d in sorted(rest, key=lambda d: d == inner)]
    outputs = [emission.array(result.type, order) for result in operation.results]

    def body(nest: Nest) -> None:
        if inner in rest:
            _across(operation, nest, outputs, axis, rest, inner)
        else:
            _along(operation, nest, outputs, axis, rest)

    emission.nest(body, operation.operands)
    emission.define_all(operation.results, outputs)


def _source(operation: Operation, nest: Nest, index: Index, axis: int, at: Term) -> list[Term]:
    position = (*index[:axis], at, *index[axis + 1 :])
    return [nest.value(operand, position) for operand in operation.operands]


def _results(nest: Nest, outputs: list[Array], index: Index, axis: int) -> list[str]:
    reduced = (*index[:axis], *index[axis + 1 :])
    return [nest.element(output, reduced).text for output in outputs]


def _store(nest: Nest, targets: list[str], values: list[Term]) -> None:
    for target, value in zip(targets, values, strict=True):
        nest.emit(f"{target} = {value.text};")


def _read(nest: Nest, operation: Operation, texts: list[str]) -> list[Term]:
    kinds = [c_type(operand.type) for operand in operation.operands]
    return [nest.bind(k, t, nest.depth) for k, t in zip(kinds, texts, strict=True)]


def _across(
    operation: Operation, nest: Nest, outputs: list[Array], axis: int, rest: list[int], inner: int
) -> None:
    shape = operation.operands[0].type.shape
    outer = nest.open_all(shape, [d for d in rest if d != inner])
    block = operation.blocks[0]
    rows = min(ROWS, shape[axis])

    def combine(start: Term, first: int, known: list[Term], index: Index) -> list[Term]:
        for row in range(first, rows):
            at = Term(f"({start.text} + {row})" if row else start.text, start.depth)
            more = _source(operation, nest, index, axis, at)
            known = nest.inline(block, [*known, *more])
        return known

    index = (*outer[:inner], nest.open(shape[inner]), *outer[inner + 1 :])
    start = Term("0", 0)
    known = combine(start, 1, _source(operation, nest, index, axis, start), index)
    _store(nest, _results(nest, outputs, index, axis), known)
    nest.close()
    if shape[axis] > rows:
        start = nest.open(shape[axis], rows, rows)
        index = (*outer[:inner], nest.open(shape[inner]), *outer[inner + 1 :])
        targets = _results(nest, outputs, index, axis)
        _store(nest, targets, combine(start, 0, _read(nest, operation, targets), index))
        nest.close(2)


def _along(
    operation: Operation, nest: Nest, outputs: list[Array], axis: int, rest: list[int]
) -> None:
    shape = operation.operands[0].type.shape
    index = nest.open_all(shape, rest)
    block = operation.blocks[0]
    lanes = min(LANES, shape[axis])
    partial = []
    for operand in operation.operands:
        name = f"l{next(nest.scope.numbers)}"
        nest.emit(f"{c_type(operand.type)} {name}[{lanes}] __attribute__((aligned(64)));")
        partial.append(name)

    def at(lane: Term) -> list[str]:
        return [f"{name}[{lane.text}]" for name in partial]

    lane = nest.open(lanes)
    _store(nest, at(lane), _source(operation, nest, index, axis, lane))
    nest.close()
    if shape[axis] > lanes:
        start = nest.open(shape[axis], lanes, lanes)
        lane = nest.open(lanes)
        position = Term(f"({start.text} + {lane.text})", lane.depth)
        more = _source(operation, nest, index, axis, position)
        _store(nest, at(lane), nest.inline(block, [*_read(nest, operation, at(lane)), *more]))
        nest.close(2)
    half = lanes // 2
    while half:
        lane = nest.open(half)
        upper = Term(f"({lane.text} + {half})", lane.depth)
        pair = _read(nest, operation, at(lane)) + _read(nest, operation, at(upper))
        _store(nest, at(lane), nest.inline(block, pair))
        nest.close()
        half //= 2
    for target, name in zip(_results(nest, outputs, index, axis), partial, strict=True):
        nest.emit(f"{target} = {name}[0];")


def emit_scan(emission: Emission, operation: Operation) -> None:
    """`tt.scan`: sequential along its axis."""
    axis = operation.integer("axis")
    shape = operation.operands[0].type.shape
    reverse = "reverse = true" in operation.text
    outputs = [emission.array(result.type, range(len(shape))) for result in operation.results]

    def body(nest: Nest) -> None:
        index = nest.open_all(shape, [d for d in range(len(shape)) if d != axis])

        def place(position: str, depth: int) -> tuple[Term, Index]:
            at = Term(f"({shape[axis] - 1} - {position})" if reverse else position, depth)
            return at, (*index[:axis], at, *index[axis + 1 :])

        def texts(at: Index) -> list[str]:
            return [nest.element(output, at).text for output in outputs]

        first, where = place("0", 0)
        _store(nest, texts(where), _source(operation, nest, index, axis, first))
        if shape[axis] > 1:
            step = nest.open(shape[axis], 1, 1)
            at, where = place(step.text, step.depth)
            _, before = place(f"({step.text} - 1)", step.depth)
            known = _read(nest, operation, texts(before))
            more = _source(operation, nest, index, axis, at)
            _store(nest, texts(where), nest.inline(operation.blocks[0], [*known, *more]))
            nest.close()

    emission.nest(body, operation.operands)
    emission.define_all(operation.results, outputs)
