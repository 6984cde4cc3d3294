"""tl.dot: register-blocked matrix products over packed tiles (the kernels are in dot.h).

One operand is the *panel*: rows of k along which the vector runs. The other gives the scalars that
are broadcast. The accumulator is stored with the panel's dimension innermost, so a convolution
whose weights are contiguous along output channels keeps its result channel-innermost.
"""

from __future__ import annotations

from graphcnn.cpu import analysis
from graphcnn.cpu.emission import Emission
from graphcnn.cpu.expressions import rounded
from graphcnn.cpu.nest import Nest
from graphcnn.cpu.terms import Array, Term
from graphcnn.cpu.ttir import Operation, Value

_OPERANDS = {"f16", "bf16", "f32"}


def emit_dot(emission: Emission, operation: Operation) -> None:
    """Accumulate in float32; `input_precision` is IEEE for every setting."""
    left, right, start = operation.operands
    if {left.type.element, right.type.element} - _OPERANDS or len(left.type.shape) != 2:
        raise operation.unsupported()
    vector = analysis.vector_dimension(operation, emission.flows)
    other = 1 - vector
    panel, scalar = (left, right) if vector == 0 else (right, left)
    inner = left.type.shape[1]
    accumulator = _accumulator(emission, operation, start, [other, vector])
    emission.out.append("{")
    text, row = _panel(emission, panel, vector)
    source, strides = _tile(emission, scalar, other)
    rows, columns = operation.result.type.shape[other], operation.result.type.shape[vector]
    emission.out.append(
        f"dot_tile({accumulator.name}, {accumulator.strides[other]}, {text}, {row}, "
        f"{source}, {strides[0]}, {strides[1]}, {rows}, {columns}, {inner});"
    )
    emission.out.append("}")
    if operation.result.type.element == "f32":
        emission.define(operation.result, accumulator)
        return
    result = emission.array(operation.result.type, [other, vector])

    def body(nest: Nest) -> None:
        index = nest.open_all(result.type.shape, [other, vector])
        total = nest.element(accumulator, index).text
        nest.emit(f"{nest.element(result, index).text} = {rounded(total, result.type)};")

    emission.nest(body, [])
    emission.define(operation.result, result)


def _accumulator(emission: Emission, operation: Operation, start: Value, order: list[int]) -> Array:
    kind = operation.result.type
    known = emission.spent(start, operation)
    dense = known is not None and [d for d in order if kind.shape[d] > 1] == sorted(
        (d for d, step in enumerate(known.strides) if step), key=lambda d: -known.strides[d]
    )
    if known is not None and dense and kind.element == "f32":
        return known
    array = emission.array(kind.of("f32"), order)
    emission.fill(array, start)
    return array


def _panel(emission: Emission, value: Value, vector: int) -> tuple[str, str]:
    """C text of the panel and of the distance between its rows."""
    known = emission.arrays.get(value)
    if known is not None and known.type.element == "f32" and known.strides[vector] == 1:
        return known.name, str(known.strides[1 - vector])
    if known is None and (found := _in_place(emission, value, vector)):
        return found
    array = emission.array(value.type.of("f32"), [1 - vector, vector])
    emission.fill(array, value)
    return array.name, str(array.strides[1 - vector])


def _in_place(emission: Emission, value: Value, vector: int) -> tuple[str, str] | None:
    """The panel where it lies in memory already: float32, dense along the vector, unmasked."""
    along = vector
    while value.op == "tt.trans" and value.owner is not None:
        along = 1 - along
        value = value.owner.operands[0]
    load = value.owner
    if load is None or load.name != "tt.load" or emission.checked or value in emission.arrays:
        return None
    if len(load.operands) > 1 or value.type.element != "f32":
        return None
    pointer = load.operands[0]
    if analysis.stride(pointer, along) != 1 or not analysis.is_affine(pointer, 1 - along):
        return None
    nest = Nest(emission)
    origin = nest.value(pointer, (Term("0", 0), Term("0", 0)))
    step = analysis.stride(pointer, 1 - along)
    row = str(step)
    if step is None:
        second = [Term("0", 0), Term("0", 0)]
        second[1 - along] = Term("1", 0)
        row = f"{nest.value(pointer, tuple(second)).text} - {origin.text}"
    emission.out += nest.lines
    return origin.text, row


def _tile(emission: Emission, value: Value, outer: int) -> tuple[str, tuple[int, int]]:
    """C text of the broadcast operand and its strides (along the result, along k)."""
    known = emission.arrays.get(value)
    if known is not None and known.type.element == "f32":
        return known.name, (known.strides[outer], known.strides[1 - outer])
    order = [1 - outer, outer] if analysis.contiguous(value) == outer else [outer, 1 - outer]
    array = emission.array(value.type.of("f32"), order)
    emission.fill(array, value)
    return array.name, (array.strides[outer], array.strides[1 - outer])
