"""Loops and branches: what they carry gets storage, what they capture is computed first."""

from __future__ import annotations

from graphcnn.cpu import analysis, schedule
from graphcnn.cpu.emission import Emission
from graphcnn.cpu.expressions import c_type, is_float
from graphcnn.cpu.terms import Array
from graphcnn.cpu.ttir import Operation, Value


def pin_captured(emission: Emission, operation: Operation) -> None:
    """Before a loop or branch: compute what it would compute again from outside."""
    for value in schedule.captured(operation):
        pin(emission, value)


def pin(emission: Emission, value: Value) -> None:
    """Before a loop: compute what the loop would compute again, in its smallest form.

    A tensor that only combines smaller broadcast tensors stays an expression of those.
    """
    operation = value.owner
    if value in emission.arrays or not value.type.shape or operation is None:
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
            pin(emission, operand)
    elif not analysis.is_recomputed(value):
        emission.materialize(value)


def _carry(emission: Emission, user: Operation, value: Value, initial: Value | None) -> Array | str:
    """Storage for a loop-carried or conditional value, holding the initial value."""
    if value.type.shape:
        spent = emission.spent(initial, user) if initial is not None else None
        if spent is not None and all(
            step or extent == 1
            for step, extent in zip(spent.strides, value.type.shape, strict=True)
        ):
            return spent
        array = emission.array(value.type, _carried_order(emission, value, initial))
        if initial is not None:
            emission.fill(array, initial)
        return array
    name = f"s{next(emission.numbers)}"
    start = f" = {emission.scalars[initial]}" if initial is not None else ""
    emission.out.append(f"{c_type(value.type)} {name}{start};")
    return name


def _carried_order(emission: Emission, value: Value, initial: Value | None) -> list[int]:
    inner = _carried_inner(emission, value, set())
    if inner is None and initial is not None:
        inner = emission.inner_dimension(initial)
    dimensions = [d for d, extent in enumerate(value.type.shape) if extent > 1]
    return sorted(dimensions, key=lambda d: d == inner)


def _carried_inner(emission: Emission, value: Value, seen: set[Value]) -> int | None:
    """The layout that the operation updating a carried value wants."""
    if value in seen:
        return None
    seen.add(value)
    for user in value.users:
        if user.name == "tt.dot" and user.operands[2] is value:
            return analysis.vector_dimension(user, emission.flows)
        if user.name == "scf.for":
            at = user.operands[3:].index(value) if value in user.operands[3:] else None
            if at is not None:
                inner = _carried_inner(emission, user.blocks[0].arguments[at + 1], seen)
                if inner is not None:
                    return inner
    for user in value.users:
        if analysis.is_elementwise(user) and user.results[0].type.shape == value.type.shape:
            inner = emission.inner_dimension(user.result)
            if inner is not None:
                return inner
    return None


def _assign(emission: Emission, targets: list[Array | str], values: list[Value]) -> None:
    """Write values to storage that the values themselves may read."""
    pending = []
    busy = {t.name for t in targets if isinstance(t, Array)}
    for target, value in zip(targets, values, strict=True):
        if isinstance(target, str):
            text = emission.scalars[value]
            if text != target:
                held = f"s{next(emission.numbers)}"
                emission.out.append(f"{c_type(value.type)} const {held} = {text};")
                pending.append(f"{target} = {held};")
            continue
        if emission.arrays.get(value) == target:
            continue
        own = _reads(emission, value, set())
        others = [v for v in values if v is not value]
        shared = any(target.name in _reads(emission, v, set()) for v in others)
        if not (own & busy - {target.name}) and not shared and _aligned(emission, value, target):
            emission.fill(target, value)
            continue
        copy = emission.declare(target.type, target.strides)
        emission.fill(copy, value)
        pending.append(f"memcpy({target.name}, {copy.name}, sizeof({copy.name}));")
    emission.out += pending


def _reads(emission: Emission, value: Value, seen: set[Value]) -> set[str]:
    """The names of the arrays that evaluating a value reads."""
    if value in seen or not value.type.shape:
        return set()
    seen.add(value)
    if value in emission.arrays:
        return {emission.arrays[value].name}
    if value.owner is None:
        return set()
    return set().union(*(_reads(emission, operand, seen) for operand in value.owner.operands))


def _aligned(emission: Emission, value: Value, target: Array) -> bool:
    """Evaluating element i of the value reads the target at i only."""
    if value in emission.arrays or value.owner is None:
        return True
    if target.name not in _reads(emission, value, set()):
        return True
    if not analysis.is_elementwise(value.owner):
        return False
    return all(_aligned(emission, v, target) for v in value.owner.operands if v.type.shape)


def emit_for(emission: Emission, operation: Operation) -> None:
    """`scf.for`: carried tensors are updated in place where that is safe."""
    block = operation.blocks[0]
    low, high, step, *initial = operation.operands
    pin_captured(emission, operation)
    storage = [
        _carry(emission, operation, argument, value)
        for argument, value in zip(block.arguments[1:], initial, strict=True)
    ]
    emission.define_all(block.arguments[1:], storage)
    induction = f"k{next(emission.numbers)}"
    emission.scalars[block.arguments[0]] = induction
    kind = c_type(block.arguments[0].type)
    bounds = [emission.scalars[v] for v in (low, high, step)]
    emission.out.append(
        f"for ({kind} {induction} = {bounds[0]}; {induction} < {bounds[1]};"
        f" {induction} += {bounds[2]}) {{"
    )
    emission.block(block)
    _assign(emission, storage, block.yielded)
    emission.out.append("}")
    emission.define_all(operation.results, storage)


def emit_if(emission: Emission, operation: Operation) -> None:
    """`scf.if`, with or without results."""
    pin_captured(emission, operation)
    storage = [_carry(emission, operation, result, None) for result in operation.results]
    for position, block in enumerate(operation.blocks):
        condition = emission.scalars[operation.operands[0]]
        emission.out.append(f"if ({condition}) {{" if position == 0 else "else {")
        emission.block(block)
        _assign(emission, storage, block.yielded)
        emission.out.append("}")
    emission.define_all(operation.results, storage)


def emit_while(emission: Emission, operation: Operation) -> None:
    """`scf.while`: test in the middle of an endless loop."""
    before, after = operation.blocks
    pin_captured(emission, operation)
    storage = [
        _carry(emission, operation, argument, value)
        for argument, value in zip(before.arguments, operation.operands, strict=True)
    ]
    emission.define_all(before.arguments, storage)
    results = [_carry(emission, operation, result, None) for result in operation.results]
    emission.out.append("while (1) {")
    emission.block(before)
    condition, *forwarded = before.terminator.operands
    _assign(emission, results, forwarded)
    emission.out.append(f"if (!{emission.scalars[condition]}) break;")
    emission.define_all(after.arguments, results)
    emission.block(after)
    _assign(emission, storage, after.terminator.operands)
    emission.out.append("}")
    emission.define_all(operation.results, results)
