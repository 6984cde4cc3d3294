"""Which stores a value ends in, row by row: they can be written where its rows are computed."""

from __future__ import annotations

from typing import NamedTuple

from graphcnn.cpu import analysis, schedule
from graphcnn.cpu.emission import Emission
from graphcnn.cpu.ttir import Operation, Value


class Tail(NamedTuple):
    """What a value of rows and columns ends in.

    Attributes:
        run: The stores.
        rows: The dimension of its rows there.
        columns: That of its columns; None where they are moved.
    """

    run: list[Operation]
    rows: int
    columns: int | None


def tail_of(emission: Emission, value: Value, rows: int, loads: list[Value]) -> Tail | None:
    """What a value of two dimensions ends in, if that can be done by its rows.

    Everything that reads the value, directly or not, works element by element on it or moves whole
    rows, up to stores of one run, in whose rows memory runs; and nothing else is written between.

    Args:
        emission: Where it is written.
        value: What is computed by rows.
        rows: Their dimension.
        loads: Pointers that computing it reads through; none of them leads where the run stores.
    """
    stores = _reached(emission, value, rows)
    run = next((run for run in emission.runs.values() if stores and {*stores} <= {*run}), None)
    if not stores or run is None or len({*stores.values()}) > 1 or run[-1] in emission.ending:
        return None
    row = stores[run[-1]] if run[-1] in stores else next(iter(stores.values()))
    targets = {schedule.base(store.operands[0]) for store in run}
    sources = {schedule.base(pointer) for pointer in loads}
    if schedule.order(run[0])[0] != row or None in targets | sources or targets & sources:
        return None
    assert value.owner is not None
    between = _between(emission, value.owner, run[-1])
    if between is None or any(schedule.writes(operation) for operation in between - {*run}):
        return None
    columns = {*(_reached(emission, value, 1 - rows) or {}).values()}
    return Tail(run, row, columns.pop() if len(columns) == 1 else None)


def _between(emission: Emission, first: Operation, last: Operation) -> set[Operation] | None:
    """The operations of a block from one to another, or None where they are of different ones."""
    operations = emission.home(first).operations
    if emission.home(last).operations is not operations:
        return None
    return {*operations[operations.index(first) + 1 : operations.index(last) + 1]}


def _reached(emission: Emission, value: Value, dimension: int) -> dict[Operation, int] | None:
    """The stores that a value ends in, each with what became of a dimension there; None where it
    ends elsewhere too."""
    found: dict[Operation, int] = {}
    for user in value.users:
        if user.name == "tt.store":
            if value in (user.operands[0], *user.operands[2:]):
                return None
            found[user] = dimension
            continue
        moved = _moved(user, value, dimension)
        if moved is None or any(result in emission.kept for result in user.results):
            return None
        for result in user.results:
            further = _reached(emission, result, moved)
            if further is None:
                return None
            found |= further
    return found or None


def _moved(user: Operation, value: Value, dimension: int) -> int | None:
    """Where an operation takes a dimension of an operand, if it leaves it as it is."""
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
