"""When values are computed: which must be stored at their definition, what regions capture."""

from __future__ import annotations

from collections.abc import Container, Iterable

from graphcnn.cpu import analysis
from graphcnn.cpu.refusal import understanding
from graphcnn.cpu.ttir import Block, Operation, Value

_EXPENSIVE = {"tt.load", "arith.divf", "arith.divsi", "arith.remsi", "tt.extern_elementwise"}
_WRITES = {"tt.store", "tt.atomic_rmw", "tt.atomic_cas"}


def homes(body: Block) -> dict[Value | Operation, Block]:
    """The block that each operation, result and block argument belongs to."""
    found: dict[Value | Operation, Block] = dict.fromkeys(body.arguments, body)
    for operation in body.operations:
        found |= dict.fromkeys([operation, *operation.results], body)
        for block in operation.blocks:
            found |= homes(block)
    return found


def flows(body: Block) -> dict[Value, list[Value]]:
    """Into which values each value flows across the borders of regions, and through dots."""
    found: dict[Value, list[Value]] = {}
    for outer in body.operations:
        for operation in outer.walk():
            with understanding(operation.line, operation.where):
                if operation.name in ("scf.for", "scf.if"):
                    for block in operation.blocks:
                        for source, target in zip(block.yielded, operation.results, strict=True):
                            found.setdefault(source, []).append(target)
                elif operation.name == "tt.dot":
                    found.setdefault(operation.operands[2], []).append(operation.result)
    return found


def base(pointer: Value) -> Value | None:
    """The kernel parameter a pointer is computed from, when that is plain to see."""
    while pointer.owner is not None:
        if pointer.op not in analysis.VIEWS and pointer.op != "tt.addptr":
            return None
        pointer = pointer.owner.operands[0]
    return pointer


def materialized(block: Block) -> set[Value]:
    """The lazy values of a block that must be computed at their definition.

    These are costly values that more than one loop nest would compute again, and loads that a
    later store could overtake.
    """
    positions = {op: i for i, outer in enumerate(block.operations) for op in outer.walk()}
    roots: dict[Value, set[int]] = {}
    chosen: set[Value] = set()
    writes = [
        i
        for i, outer in enumerate(block.operations)
        if any(op.name in _WRITES for op in outer.walk())
    ]
    for position in range(len(block.operations) - 1, -1, -1):
        operation = block.operations[position]
        with understanding(operation.line, operation.where):
            for value in operation.results:
                reached: set[int] = set()
                for user in value.users:
                    at = positions[user]
                    outer = block.operations[at]
                    lazy = outer is user and analysis.is_lazy(user) and user.result.type.shape
                    through = outer.results if lazy else []
                    for result in through:
                        reached |= {at} if result in chosen else roots[result]
                    if not through:
                        reached.add(at)
                roots[value] = reached
                if not value.type.shape or not analysis.is_lazy(operation):
                    continue
                costly = operation.name in _EXPENSIVE or operation.name.startswith("math.")
                if (costly or analysis.is_unrolled(operation)) and len(reached) > 1:
                    chosen.add(value)
                if operation.name == "tt.load" and _overtaken(
                    block, operation, position, reached, writes
                ):
                    chosen.add(value)
    return chosen


def _overtaken(
    block: Block, load: Operation, position: int, reached: set[int], writes: list[int]
) -> bool:
    last = max(reached, default=position)
    if any(position < write < last for write in writes):
        return True
    for at in reached:
        store = block.operations[at]
        if store.name == "tt.store":
            source, target = load.operands[0], store.operands[0]
            apart = base(source) is not None and base(target) is not None
            if not (apart and base(source) is not base(target)) and source is not target:
                return True
        elif at in writes:
            return True
    return False


def bounds(values: Iterable[Value], stored: Container[Value]) -> list[Value]:
    """The comparisons that have a `bound` and that evaluating the values would compute."""
    found: dict[Value, None] = {}
    seen: set[Value] = set()
    pending = list(values)
    while pending:
        value = pending.pop()
        if value in seen or value in stored or not value.type.shape or value.owner is None:
            continue
        seen.add(value)
        if analysis.bound(value) is not None:
            found[value] = None
        else:
            pending += value.owner.operands
    return list(found)


def captured(operation: Operation) -> list[Value]:
    """Values defined outside an operation's regions and used inside them, in order of first use."""
    _, *nested = operation.walk()
    inside = {result for inner in nested for result in inner.results}
    blocks = [block for inner in (operation, *nested) for block in inner.blocks]
    inside.update(argument for block in blocks for argument in block.arguments)
    used = dict.fromkeys(operand for inner in nested for operand in inner.operands)
    return [value for value in used if value not in inside]
