"""Which stores a value ends in, row by row: they can be written where its rows are computed."""

from __future__ import annotations

from graphcnn.cpu import analysis, schedule
from graphcnn.cpu.emission import Emission
from graphcnn.cpu.ttir import Operation, Value


def tail_of(
    emission: Emission, value: Value, dimension: int, loads: list[Value]
) -> tuple[Operation, int] | None:
    """The last store of the run that a value ends in, and the dimension of its rows there.

    Everything that reads the value, directly or not, works element by element on it or moves whole
    rows, up to stores of one run, in whose rows memory runs; and nothing else is written between.

    Args:
        emission: Where it is written.
        value: What is computed by rows.
        dimension: Of its rows.
        loads: Pointers that computing it reads through; none of them leads where the run stores.
    """
    found: set[tuple[Operation, int]] = set()
    if not _reaches_stores(emission, value, dimension, found):
        return None
    stores, dimensions = {store for store, _ in found}, {d for _, d in found}
    run = next((run for run in emission.runs.values() if stores <= {*run}), None)
    if run is None or len(dimensions) != 1 or run[-1] in emission.ending:
        return None
    (row,) = dimensions
    targets = {schedule.base(store.operands[0]) for store in run}
    sources = {schedule.base(pointer) for pointer in loads}
    if schedule.order(run[0])[0] != row or None in targets | sources or targets & sources:
        return None
    assert value.owner is not None
    between = _between(emission, value.owner, run[-1])
    if between is None or any(schedule.writes(operation) for operation in between - {*run}):
        return None
    return run[-1], row


def _between(emission: Emission, first: Operation, last: Operation) -> set[Operation] | None:
    """The operations of a block from one to another, or None where they are of different ones."""
    operations = emission.home(first).operations
    if emission.home(last).operations is not operations:
        return None
    return {*operations[operations.index(first) + 1 : operations.index(last) + 1]}


def _reaches_stores(
    emission: Emission, value: Value, dimension: int, found: set[tuple[Operation, int]]
) -> bool:
    """Whether all that reads a value ends in stores; they are added to `found` with their rows."""
    for user in value.users:
        if user.name == "tt.store":
            if value in (user.operands[0], *user.operands[2:]):
                return False
            found.add((user, dimension))
            continue
        moved = _row_dimension(user, value, dimension)
        if moved is None or any(result in emission.kept for result in user.results):
            return False
        if not all(_reaches_stores(emission, r, moved, found) for r in user.results):
            return False
    return bool(value.users)


def _row_dimension(user: Operation, value: Value, dimension: int) -> int | None:
    """The dimension in which an operation leaves the rows of an operand as they are, if it does."""
    if analysis.is_elementwise(user) and user.name != "tt.load":
        return dimension
    if user.name == "tt.split":
        return dimension if dimension < len(value.type.shape) - 1 else None
    if user.name in ("tt.trans", "tt.expand_dims"):
        return analysis.target_dimension(user, dimension)
    before, after = value.type.shape, user.result.type.shape if user.results else ()
    if user.name == "tt.broadcast":
        return dimension if before[dimension] == after[dimension] else None
    if user.name == "tt.reshape":
        groups = analysis.reshape_groups(before, after)
        alone = (target for source, target in groups if source == (dimension,))
        return next((target[0] for target in alone if len(target) == 1), None)
    return None
