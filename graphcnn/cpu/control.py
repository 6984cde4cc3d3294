"""Loops and branches: what they carry gets storage, what they capture is computed first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from graphcnn.cpu import analysis, dot, schedule
from graphcnn.cpu.expressions import c_type, is_float, size
from graphcnn.cpu.nest import Array
from graphcnn.cpu.ttir import Operation, Value

if TYPE_CHECKING:
    from graphcnn.cpu.emit import Emitter


def _pin_captured(emitter: Emitter, operation: Operation) -> None:
    for value in schedule.captured(operation):
        pin(emitter, value)


def pin(emitter: Emitter, value: Value) -> None:
    """Before a loop: compute what the loop would compute again, in its smallest form.

    A tensor that only combines smaller broadcast tensors stays an expression of those.
    """
    operation = value.owner
    if value in emitter.arrays or not value.type.shape or operation is None:
        return
    if operation.name in ("arith.constant", "tt.make_range"):
        return
    tensors = [operand for operand in operation.operands if operand.type.shape]
    dimensions = analysis.varying(value)
    smaller = all(analysis.varying(operand) < dimensions for operand in tensors)
    cheap = operation.name in analysis.CHEAP and not is_float(value.type)
    if operation.name in analysis.VIEWS or (
        len(dimensions) > 1 and operation.name != "tt.load" and (cheap or smaller)
    ):
        for operand in tensors:
            pin(emitter, operand)
    elif not analysis.is_recomputed(value):
        emitter.materialize(value)


def _carry(emitter: Emitter, user: Operation, value: Value, initial: Value | None) -> Array | str:
    """Storage for a loop-carried or conditional value, holding the initial value."""
    if value.type.shape:
        spent = emitter.spent(initial, user) if initial is not None else None
        if spent is not None and all(
            step or extent == 1
            for step, extent in zip(spent.strides, value.type.shape, strict=True)
        ):
            return spent
        array = emitter.array(value.type, _carried_order(emitter, value, initial))
        if initial is not None:
            emitter.fill(array, initial)
        return array
    name = f"s{next(emitter.numbers)}"
    start = f" = {emitter.scalars[initial]}" if initial is not None else ""
    emitter.out.append(f"{c_type(value.type)} {name}{start};")
    return name


def _carried_order(emitter: Emitter, value: Value, initial: Value | None) -> list[int]:
    inner = _carried_inner(emitter, value, set())
    if inner is None and initial is not None:
        inner = emitter.inner_dimension(initial)
    dimensions = [d for d, extent in enumerate(value.type.shape) if extent > 1]
    return [d for d in dimensions if d != inner] + [d for d in dimensions if d == inner]


def _carried_inner(emitter: Emitter, value: Value, seen: set[Value]) -> int | None:
    """The layout that the operation updating a carried value wants."""
    if value in seen:
        return None
    seen.add(value)
    for user in value.users:
        if user.name == "tt.dot" and user.operands[2] is value:
            return dot.plan(user, emitter.flows).vector
        if user.name == "scf.for":
            at = user.operands[3:].index(value) if value in user.operands[3:] else None
            if at is not None:
                inner = _carried_inner(emitter, user.blocks[0].arguments[at + 1], seen)
                if inner is not None:
                    return inner
    for user in value.users:
        if analysis.is_elementwise(user) and user.results[0].type.shape == value.type.shape:
            inner = emitter.inner_dimension(user.result)
            if inner is not None:
                return inner
    return None


def _bind(emitter: Emitter, value: Value, storage: Array | str) -> None:
    if isinstance(storage, Array):
        emitter.arrays[value] = storage
    else:
        emitter.scalars[value] = storage


def _assign(emitter: Emitter, targets: list[Array | str], values: list[Value]) -> None:
    """Write values to storage that the values themselves may read."""
    pending: list[Callable[[], None]] = []
    busy = {t.name for t in targets if isinstance(t, Array)}
    for target, value in zip(targets, values, strict=True):
        if isinstance(target, str):
            text = emitter.scalars[value]
            if text != target:
                held = f"s{next(emitter.numbers)}"
                emitter.out.append(f"{c_type(value.type)} const {held} = {text};")
                pending.append(lambda t=target, h=held: emitter.out.append(f"{t} = {h};"))  # type: ignore[misc]  # defaults bind early
            continue
        if emitter.arrays.get(value) == target:
            continue
        own = _reads(emitter, value, set())
        others = [v for v in values if v is not value]
        shared = any(target.name in _reads(emitter, v, set()) for v in others)
        if not (own & busy - {target.name}) and not shared and _aligned(emitter, value, target):
            emitter.fill(target, value)
            continue
        held_array = Array(f"a{next(emitter.numbers)}", target.type, target.strides)
        emitter.out.append(held_array.declaration())
        emitter.bytes += held_array.length * size(target.type)
        emitter.fill(held_array, value)
        copy = f"memcpy({target.name}, {held_array.name}, sizeof({held_array.name}));"
        pending.append(lambda c=copy: emitter.out.append(c))  # type: ignore[misc]  # as above
    for action in pending:
        action()


def _reads(emitter: Emitter, value: Value, seen: set[Value]) -> set[str]:
    """The names of the arrays that evaluating a value reads."""
    if value in seen or not value.type.shape:
        return set()
    seen.add(value)
    if value in emitter.arrays:
        return {emitter.arrays[value].name}
    if value.owner is None:
        return set()
    return set().union(*(_reads(emitter, operand, seen) for operand in value.owner.operands))


def _aligned(emitter: Emitter, value: Value, target: Array) -> bool:
    """Evaluating element i of the value reads the target at i only."""
    if value in emitter.arrays or value.owner is None:
        return True
    if target.name not in _reads(emitter, value, set()):
        return True
    if not analysis.is_elementwise(value.owner):
        return False
    return all(_aligned(emitter, v, target) for v in value.owner.operands if v.type.shape)


def emit_for(emitter: Emitter, operation: Operation) -> None:
    """`scf.for`: carried tensors are updated in place where that is safe."""
    block = operation.blocks[0]
    low, high, step, *initial = operation.operands
    _pin_captured(emitter, operation)
    storage = [
        _carry(emitter, operation, argument, value)
        for argument, value in zip(block.arguments[1:], initial, strict=True)
    ]
    for argument, place in zip(block.arguments[1:], storage, strict=True):
        _bind(emitter, argument, place)
    induction = f"k{next(emitter.numbers)}"
    emitter.scalars[block.arguments[0]] = induction
    kind = c_type(block.arguments[0].type)
    bounds = [emitter.scalars[v] for v in (low, high, step)]
    emitter.out.append(
        f"for ({kind} {induction} = {bounds[0]}; {induction} < {bounds[1]};"
        f" {induction} += {bounds[2]}) {{"
    )
    emitter.block(block)
    _assign(emitter, storage, block.yielded)
    emitter.out.append("}")
    for result, place in zip(operation.results, storage, strict=True):
        _bind(emitter, result, place)


def emit_if(emitter: Emitter, operation: Operation) -> None:
    """`scf.if`, with or without results."""
    _pin_captured(emitter, operation)
    storage = [_carry(emitter, operation, result, None) for result in operation.results]
    for position, block in enumerate(operation.blocks):
        condition = emitter.scalars[operation.operands[0]]
        emitter.out.append(f"if ({condition}) {{" if position == 0 else "else {")
        emitter.block(block)
        _assign(emitter, storage, block.yielded)
        emitter.out.append("}")
    for result, place in zip(operation.results, storage, strict=True):
        _bind(emitter, result, place)


def emit_while(emitter: Emitter, operation: Operation) -> None:
    """`scf.while`: test in the middle of an endless loop."""
    before, after = operation.blocks
    _pin_captured(emitter, operation)
    storage = [
        _carry(emitter, operation, argument, value)
        for argument, value in zip(before.arguments, operation.operands, strict=True)
    ]
    for argument, place in zip(before.arguments, storage, strict=True):
        _bind(emitter, argument, place)
    results = [_carry(emitter, operation, result, None) for result in operation.results]
    emitter.out.append("while (1) {")
    emitter.block(before)
    condition, *forwarded = before.terminator.operands
    _assign(emitter, results, forwarded)
    emitter.out.append(f"if (!{emitter.scalars[condition]}) break;")
    for argument, place in zip(after.arguments, results, strict=True):
        _bind(emitter, argument, place)
    emitter.block(after)
    _assign(emitter, storage, after.terminator.operands)
    emitter.out.append("}")
    for result, place in zip(operation.results, results, strict=True):
        _bind(emitter, result, place)
