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


def store_runs(block: Block) -> list[list[Operation]]:
    """The stores of a block, in runs that one loop nest writes, at the place of the last.

    They have one shape and run through memory alike, and between them nothing is computed at once,
    nor loaded through a parameter that one of them stores to.
    """
    runs: list[list[Operation]] = []
    run: list[Operation] = []
    for operation in block.operations:
        with understanding(operation.line, operation.where):
            if operation.name == "tt.store":
                if not run or _way(operation) != _way(run[0]):
                    run = []
                    runs.append(run)
                run.append(operation)
            elif operation.name == "tt.load":
                if not all(_apart(operation, store) for store in run):
                    run = []
            elif not analysis.is_lazy(operation):
                run = []
    return runs


def _way(store: Operation) -> tuple[tuple[int, ...], int | None]:
    """The shape of what is stored, and the dimension along which memory runs."""
    shape = store.operands[1].type.shape
    return shape, inner_dimension(store)


def inner_dimension(store: Operation) -> int | None:
    """The dimension along which a store runs through memory."""
    pointer, value = store.operands[:2]
    return next((d for d in range(len(value.type.shape)) if analysis.stride(pointer, d) == 1), None)


def order(store: Operation) -> list[int]:
    """The dimensions of a store, the one along which it runs through memory last."""
    inner = inner_dimension(store)
    return sorted(range(len(store.operands[1].type.shape)), key=lambda d: d == inner)


def writes(operation: Operation) -> bool:
    """Whether an operation, or one nested in it, changes memory."""
    return any(inner.name in _WRITES for inner in operation.walk())


def _apart(load: Operation, store: Operation) -> bool:
    """Whether a load and a store go through different parameters."""
    source, target = base(load.operands[0]), base(store.operands[0])
    return source is not None and target is not None and source is not target


def materialized(block: Block) -> set[Value]:
    """The lazy values of a block that must be computed at their definition.

    These are costly values that more than one loop nest would compute again, parts of places,
    and loads that a later store could overtake.
    """
    positions = {op: i for i, outer in enumerate(block.operations) for op in outer.walk()}
    runs = {run[-1]: run for run in store_runs(block)}
    for last, run in runs.items():
        positions |= dict.fromkeys(run, positions[last])
    roots: dict[Value, set[int]] = {}
    chosen: set[Value] = set()
    written = {positions[outer] for outer in block.operations if writes(outer)}
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
                if _is_place(operation):
                    chosen.add(value)
                if operation.name == "tt.load" and _overtaken(
                    block, operation, position, reached, written, runs
                ):
                    chosen.add(value)
    return chosen


def _is_place(operation: Operation) -> bool:
    """A part of places along one dimension: a quotient by a number that only a launch knows, or a
    choice between indices.

    Compilers make vector instructions of a loop that does nothing else, but not of one in which it
    is a part of masks and addresses.
    """
    operands, result = operation.operands, operation.result
    if len(analysis.varying(result)) != 1 or result.type.pointer or "f" in result.type.element:
        return False
    if operation.name in ("arith.divsi", "arith.remsi"):
        return analysis.constant(operands[1]) is None
    return operation.name == "arith.select"


def _overtaken(
    block: Block,
    load: Operation,
    position: int,
    reached: set[int],
    written: set[int],
    runs: dict[Operation, list[Operation]],
) -> bool:
    until = max(reached, default=position)
    if any(position < write < until for write in written):
        return True
    for at in reached:
        last = block.operations[at]
        for store in runs.get(last, ()):
            if not _apart(load, store) and load.operands[0] is not store.operands[0]:
                return True
        if last.name != "tt.store" and at in written:
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
