"""The C of one kernel while it is written: its state, storage and loop nests.

Tensors stay expressions until something needs them in memory: a second loop nest, a reduction, a
dot, a loop that carries them. Scalars become C variables at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence

from graphcnn.cpu import analysis, schedule
from graphcnn.cpu.expressions import c_type, is_float, number, size
from graphcnn.cpu.nest import Nest
from graphcnn.cpu.refusal import understanding
from graphcnn.cpu.terms import Array, Term, strides_of
from graphcnn.cpu.ttir import Block, Function, Operation, Type, Value

# Indices and masks of no more elements than this are written by one plain loop.
SHORT = 64


class Emission:
    """The state of one compilation; also the `Scope` of its loop nests.

    Args:
        function: The kernel.
        checked: Guard every memory access (see sanitize.h).
        statement: Writes one operation; `block` calls it.
    """

    def __init__(
        self, function: Function, checked: bool, statement: Callable[[Emission, Operation], None]
    ) -> None:
        self.function = function
        self.checked = checked
        self._statement = statement
        self.arrays: dict[Value, Array] = {}
        self.scalars: dict[Value, str] = {}
        self.numbers = itertools.count(1)
        self.zeros = 64
        self.out: list[str] = []
        self.functions: dict[str, None] = {}  # lines that define what the kernel calls
        self.sites: list[str] = []
        self.bytes = 0
        self.runs: dict[Operation, list[Operation]] = {}
        self.kept: set[Value] = set()  # lazy values that are computed at their definition
        # By the last store of a run: what writes the run with all that leads to it.
        self.ending: dict[Operation, Callable[[], None]] = {}
        self.flows = schedule.flows(function.body)
        self._homes = schedule.homes(function.body)

    def block(self, block: Block) -> None:
        """Write a block's operations, all but the terminator of a region."""
        self.kept |= schedule.materialized(block)
        self.runs |= {run[-1]: run for run in schedule.store_runs(block)}
        for operation in block.operations:
            with understanding(operation.line, operation.where):
                self.statement(operation)
                for result in operation.results:
                    if result in self.kept:
                        self.materialize(result)

    def statement(self, operation: Operation) -> None:
        """Write one operation."""
        self._statement(self, operation)

    def home(self, operation: Operation) -> Block:
        """The block that holds an operation."""
        return self._homes[operation]

    def define(self, value: Value, storage: Array | str) -> None:
        """Let what follows find a value in an array, or a number in a C variable."""
        if isinstance(storage, str):
            self.scalars[value] = storage
        elif value.type.shape:
            self.arrays[value] = storage
        else:
            self.scalars[value] = f"{storage.name}[0]"

    def define_all(self, values: Sequence[Value], storage: Sequence[Array | str]) -> None:
        """Let what follows find each value in its own."""
        for value, place in zip(values, storage, strict=True):
            self.define(value, place)

    def spent(self, value: Value, user: Operation) -> Array | None:
        """The array of an operand that its user may overwrite: nothing reads it afterwards.

        An array from outside the user's block is not spent: the next iteration starts from it.
        """
        same_block = self._homes[value] is self._homes[user]
        return self.arrays.get(value) if same_block and len(value.users) == 1 else None

    def array(self, kind: Type, order: Sequence[int]) -> Array:
        """Declare storage whose dimensions run in `order`, slowest first."""
        return self.declare(kind, strides_of(kind.shape, order))

    def declare(self, kind: Type, strides: tuple[int, ...]) -> Array:
        """Declare storage with these strides."""
        array = Array(f"a{next(self.numbers)}", kind, strides)
        aligned = "__attribute__((aligned(64)))"
        self.out.append(f"{c_type(kind)} {array.name}[{array.length}] {aligned};")
        self.bytes += array.length * size(kind)
        return array

    def inner_dimension(self, value: Value) -> int | None:
        """The dimension along which to vectorise loops over a value."""
        return self._inner(value, set())

    def _inner(self, value: Value, seen: set[Value]) -> int | None:
        if value in seen:
            return None
        seen.add(value)
        if value in self.arrays:
            steps = self.arrays[value].strides
            return next((d for d, step in enumerate(steps) if step == 1), None)
        operation = value.owner
        if operation is None:
            return None
        if operation.name == "tt.dot":
            return analysis.vector_dimension(operation, self.flows)
        if operation.name == "tt.gather":
            return self._inner(operation.operands[0], seen)
        if operation.name in analysis.VIEWS:
            source = self._inner(operation.operands[0], seen)
            return None if source is None else analysis.target_dimension(operation, source)
        if analysis.is_unrolled(operation):
            source, axis = self._inner(operation.operands[0], seen), operation.integer("axis")
            return None if source in (None, axis) else source - (source > axis)
        if operation.name != "tt.load" and analysis.is_elementwise(operation):
            found = (self._inner(operand, seen) for operand in operation.operands)
            return next((d for d in found if d is not None), None)
        return analysis.contiguous(value)

    def materialize(self, value: Value) -> Array:
        """Compute a tensor into memory, once, here."""
        if value not in self.arrays:
            inner = self.inner_dimension(value)
            order = sorted(sorted(analysis.varying(value)), key=lambda d: d == inner)
            array = self.array(value.type, order)
            self.fill(array, value)
            self.arrays[value] = array
        return self.arrays[value]

    def fill(self, array: Array, value: Value) -> None:
        """Write a value's elements to an array."""
        order = sorted(
            (d for d, step in enumerate(array.strides) if step), key=lambda d: -array.strides[d]
        )
        # It takes no time when it runs, and some kernels have a hundred: they shall compile soon.
        short = array.length <= SHORT and not is_float(value.type)

        def body(nest: Nest) -> None:
            index = nest.open_all(value.type.shape, order)
            if short:
                nest.rolled()
            text = nest.value(value, index).text
            if array.type != value.type:
                text = number(text, value.type)
            nest.emit(f"{nest.element(array, index).text} = {text};")

        self.nest(body, [] if short else [value])

    def nest(
        self,
        body: Callable[[Nest], None],
        values: Sequence[Value],
        holding: Collection[Value] = (),
    ) -> None:
        """Append a loop nest that evaluates these values.

        It is written twice when their masks compare linear terms: once for tiles that lie wholly
        inside the tensors, without those masks, and once for the rest. The comparisons in `holding`
        are true wherever the nest goes.
        """
        bounds = [] if self.checked else schedule.bounds(values, self.arrays)
        bounds = [value for value in bounds if value not in holding]
        self.out.append("{")
        if bounds:
            test = Nest(self)
            corners = [analysis.bound(value) or () for value in bounds]
            conditions = [
                test.value(value, tuple(Term(str(at), 0) for at in corner)).text
                for value, corner in zip(bounds, corners, strict=True)
            ]
            self.out += [*test.lines, f"if ({' && '.join(conditions)}) {{"]
            self._finish(Nest(self, {*bounds, *holding}), body)
            self.out.append("} else {")
        self._finish(Nest(self, set(holding)), body)
        self.out += ["}"] * (2 if bounds else 1)

    def _finish(self, nest: Nest, body: Callable[[Nest], None]) -> None:
        body(nest)
        nest.close(nest.depth)
        self.out += nest.lines

    def site(self, where: str) -> int:
        """The number under which a checked access reports its line."""
        if where not in self.sites:
            self.sites.append(where)
        return self.sites.index(where)

    def origin(self, pointer: Value) -> int:
        """The position of the parameter that a pointer comes from, or -1."""
        parameters = self.function.parameters
        source = schedule.base(pointer)
        return parameters.index(source) if source in parameters else -1
