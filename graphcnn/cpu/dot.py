"""tl.dot: register-blocked matrix products over packed tiles (the kernels are in dot.h).

One operand is the *panel*: rows of k along which the vector runs. The other gives the scalars that
are broadcast. The accumulator is stored with the panel's dimension innermost, so a convolution
whose weights are contiguous along output channels keeps its result channel-innermost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphcnn.cpu import analysis
from graphcnn.cpu.expressions import rounded
from graphcnn.cpu.nest import Array, Nest, Term
from graphcnn.cpu.refusal import unsupported
from graphcnn.cpu.ttir import Operation, Value

if TYPE_CHECKING:
    from graphcnn.cpu.emit import Emitter

_OPERANDS = {"f16", "bf16", "f32"}


@dataclass(frozen=True, slots=True)
class Plan:
    """Which operand is the panel: dimension `vector` of the result comes from it."""

    vector: int


def plan(operation: Operation, flows: dict[Value, list[Value]]) -> Plan:
    """Vectorise along the dimension contiguous in memory: of an operand, else of the store."""
    left, right = operation.operands[:2]
    rows, columns = analysis.contiguous(left) == 0, analysis.contiguous(right) == 1
    if rows != columns:
        return Plan(0 if rows else 1)
    return Plan(0 if analysis.wanted_dimension(operation.result, flows) == 0 else 1)


def emit(emitter: Emitter, operation: Operation) -> None:
    """Accumulate in float32; `input_precision` is IEEE for every setting."""
    left, right, start = operation.operands
    if {left.type.element, right.type.element} - _OPERANDS or len(left.type.shape) != 2:
        raise unsupported(operation)
    vector = plan(operation, emitter.flows).vector
    other = 1 - vector
    panel, scalar = (left, right) if vector == 0 else (right, left)
    inner = left.type.shape[1]
    accumulator = _accumulator(emitter, operation, start, [other, vector])
    emitter.out.append("{")
    text, row = _panel(emitter, panel, vector)
    source, strides = _tile(emitter, scalar, other)
    rows, columns = operation.result.type.shape[other], operation.result.type.shape[vector]
    emitter.out.append(
        f"dot_tile({accumulator.name}, {accumulator.strides[other]}, {text}, {row}, "
        f"{source}, {strides[0]}, {strides[1]}, {rows}, {columns}, {inner});"
    )
    emitter.out.append("}")
    if operation.result.type.element == "f32":
        emitter.arrays[operation.result] = accumulator
        return
    result = emitter.array(operation.result.type, [other, vector])

    def body(nest: Nest) -> None:
        index = nest.open_all(result.type.shape, [other, vector])
        total = nest.element(accumulator, index).text
        nest.emit(f"{nest.element(result, index).text} = {rounded(total, result.type)};")

    emitter.nest(body, [])
    emitter.arrays[operation.result] = result


def _accumulator(emitter: Emitter, operation: Operation, start: Value, order: list[int]) -> Array:
    kind = operation.result.type
    known = emitter.spent(start, operation)
    dense = known is not None and [d for d in order if kind.shape[d] > 1] == sorted(
        (d for d, step in enumerate(known.strides) if step), key=lambda d: -known.strides[d]
    )
    if known is not None and dense and kind.element == "f32":
        return known
    array = emitter.array(kind.of("f32"), order)
    emitter.fill(array, start)
    return array


def _load_of(value: Value) -> tuple[Operation, bool] | None:
    """The load behind a value and whether it is seen transposed."""
    transposed = False
    while value.op == "tt.trans" and value.owner is not None:
        transposed = not transposed
        value = value.owner.operands[0]
    if value.op == "tt.load" and value.owner is not None:
        return value.owner, transposed
    return None


def _panel(emitter: Emitter, value: Value, vector: int) -> tuple[str, str]:
    """C text of the panel and of the distance between its rows."""
    known = emitter.arrays.get(value)
    if known is not None and known.type.element == "f32" and known.strides[vector] == 1:
        return known.name, str(known.strides[1 - vector])
    if known is None and (found := _in_place(emitter, value, vector)):
        return found
    array = emitter.array(value.type.of("f32"), [1 - vector, vector])
    emitter.fill(array, value)
    return array.name, str(array.strides[1 - vector])


def _in_place(emitter: Emitter, value: Value, vector: int) -> tuple[str, str] | None:
    found = _load_of(value)
    if found is None or emitter.checked:
        return None
    load, transposed = found
    if load.result in emitter.arrays or len(load.operands) > 1 or load.result.type.element != "f32":
        return None
    pointer = load.operands[0]
    along = 1 - vector if transposed else vector
    if analysis.stride(pointer, along) != 1 or not analysis.is_affine(pointer, 1 - along):
        return None
    nest = Nest(emitter)
    origin = nest.value(pointer, (Term("0", 0), Term("0", 0)))
    step = analysis.stride(pointer, 1 - along)
    row = str(step)
    if step is None:
        second = [Term("0", 0), Term("0", 0)]
        second[1 - along] = Term("1", 0)
        row = f"{nest.value(pointer, tuple(second)).text} - {origin.text}"
    emitter.out += nest.lines
    return origin.text, row


def _tile(emitter: Emitter, value: Value, outer: int) -> tuple[str, tuple[int, int]]:
    """C text of the broadcast operand and its strides (along the result, along k)."""
    known = emitter.arrays.get(value)
    if known is not None and known.type.element == "f32":
        return known.name, (known.strides[outer], known.strides[1 - outer])
    order = [1 - outer, outer] if analysis.contiguous(value) == outer else [outer, 1 - outer]
    array = emitter.array(value.type.of("f32"), order)
    emitter.fill(array, value)
    return array.name, (array.strides[outer], array.strides[1 - outer])
