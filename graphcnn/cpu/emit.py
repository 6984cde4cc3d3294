"""A Triton kernel as a C translation unit: statements and control flow.

Tensors stay expressions until something needs them in memory: a second loop nest, a reduction, a
dot, a loop that carries them. Scalars become C variables at once. One call of `kernel` is one
Triton program; `launch` runs the grid over OpenMP threads.

A program's stores must not change what its pending loads read unless both go through the same
parameter (then the load is completed first): two parameters that name overlapping memory must
overlap element for element, as when an elementwise kernel runs in place.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from graphcnn.cpu import analysis, atomics, control, dot, reduction, schedule
from graphcnn.cpu.expressions import c_type, number, passed, size
from graphcnn.cpu.nest import TRUE, ZERO, Array, Nest, Term, linear, strides_of
from graphcnn.cpu.refusal import understanding, unsupported
from graphcnn.cpu.ttir import Block, Operation, Type, Value, parse

# Larger sums of tensors than this go to thread-local memory instead of the stack.
STACK_BYTES = 1 << 20
_IGNORED = {"llvm.intr.assume", "gpu.barrier", "ttg.barrier", "ttg.local_barrier", "tt.print"}


@dataclass(frozen=True, slots=True)
class Program:
    """A kernel in C: its source, and what a launch has to know."""

    name: str
    source: str
    parameters: list[str]  # element types; "ptr" for pointers
    parameter_names: list[str]
    sites: list[str] = field(default_factory=list)  # the kernel's lines that faults refer to


def emit(text: str, *, checked: bool = False) -> Program:
    """Compile Triton IR text to C.

    Args:
        text: The module, as Triton prints it after its hardware-independent passes.
        checked: Guard every memory access (see sanitize.h).

    Raises:
        UnsupportedTritonOp: The kernel uses an operation that has no C form here.
    """
    try:
        return Emitter(text, checked).program()
    finally:
        analysis.forget()


class Emitter:
    """The state of one compilation; also the `Scope` of its loop nests."""

    def __init__(self, text: str, checked: bool) -> None:
        self.function = parse(text)
        self.checked = checked
        self.arrays: dict[Value, Array] = {}
        self.scalars: dict[Value, str] = {}
        self.numbers = itertools.count(1)
        self.zeros = 64
        self.out: list[str] = []
        self.sites: list[str] = []
        self.bytes = 0
        self.flows: dict[Value, list[Value]] = {}
        self._homes = schedule.homes(self.function.body)

    def program(self) -> Program:
        """The whole translation unit."""
        function = self.function
        names = []
        for position, parameter in enumerate(function.parameters):
            word = re.sub(r"\W", "_", parameter.name[1:])
            name = f"p{position}_{word}"
            self.scalars[parameter] = name
            names.append(name)
        self._trace_flows()
        self.block(function.body)
        kinds, types = [], []
        for parameter in function.parameters:
            line = f"{parameter.name}: {parameter.type}"
            with understanding(line, f"kernel {function.name}, parameter {parameter.name[1:]}"):
                kinds.append(passed(parameter.type))
                types.append(c_type(parameter.type))
        return Program(
            name=function.name,
            source=self._source(list(zip(types, names, strict=True))),
            parameters=kinds,
            parameter_names=[parameter.name[1:] for parameter in function.parameters],
            sites=self.sites,
        )

    def _source(self, parameters: list[tuple[str, str]]) -> str:
        declared = "".join(f", {kind} {name}" for kind, name in parameters)
        passed = "".join(f", {name}" for _, name in parameters)
        body = "\n".join(self.out)
        if self.bytes > STACK_BYTES:
            body = re.sub(r"^(\w+\*? a\d+\[)", r"static __thread \1", body, flags=re.MULTILINE)
        head = '#include "sanitize.h"\n' if self.checked else ""
        enter = "program_id = id;" if self.checked else ""
        return f"""#include "runtime.h"
#include "dot.h"
{head}static const char zeros[{self.zeros}] __attribute__((aligned(64)));
static void kernel(int pid_x, int pid_y, int pid_z, int num_x, int num_y, int num_z{declared}) {{
{body}
}}
void launch(int threads, int gx, int gy, int gz{declared}) {{
  int64_t programs = (int64_t)gx * gy * gz;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1 && programs > 1)
  for (int64_t id = 0; id < programs; id++) {{
    {enter}
    kernel(id % gx, id / gx % gy, id / gx / gy, gx, gy, gz{passed});
  }}
}}
"""

    def _trace_flows(self) -> None:
        """Record into which values region terminators and initial values flow."""
        for outer in self.function.body.operations:
            for operation in outer.walk():
                with understanding(operation.line, operation.where):
                    self._trace(operation)

    def _trace(self, operation: Operation) -> None:
        if operation.name in ("scf.for", "scf.if"):
            for block in operation.blocks:
                for source, target in zip(block.yielded, operation.results, strict=True):
                    self.flows.setdefault(source, []).append(target)
        elif operation.name == "tt.dot":
            self.flows.setdefault(operation.operands[2], []).append(operation.result)

    # ---- storage

    def spent(self, value: Value, user: Operation) -> Array | None:
        """The array of an operand that its user may overwrite: nothing reads it afterwards.

        An array from outside the user's block is not spent: the next iteration starts from it.
        """
        same_block = self._homes[value] is self._homes[user]
        return self.arrays.get(value) if same_block and len(value.users) == 1 else None

    def array(self, kind: Type, order: Sequence[int]) -> Array:
        """Declare storage whose dimensions run in `order`, slowest first."""
        array = Array(f"a{next(self.numbers)}", kind, strides_of(kind.shape, order))
        self.out.append(array.declaration())
        self.bytes += array.length * size(kind)
        return array

    def order(self, value: Value) -> list[int]:
        """The dimensions worth storing, the best one for vector instructions last."""
        chosen = self.inner_dimension(value)
        varying = sorted(analysis.varying(value))
        return [d for d in varying if d != chosen] + [d for d in varying if d == chosen]

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
            return dot.plan(operation, self.flows).vector
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
            array = self.array(value.type, self.order(value))
            self.fill(array, value)
            self.arrays[value] = array
        return self.arrays[value]

    def fill(self, array: Array, value: Value) -> None:
        """Write a value's elements to an array."""
        order = sorted(
            (d for d, step in enumerate(array.strides) if step), key=lambda d: -array.strides[d]
        )

        def body(nest: Nest) -> None:
            index = nest.open_all(value.type.shape, order)
            text = nest.value(value, index).text
            if array.type != value.type:
                text = number(text, value.type)
            nest.emit(f"{nest.element(array, index).text} = {text};")

        self.nest(body, [value])

    def nest(self, body: Callable[[Nest], None], values: Sequence[Value]) -> None:
        """Append a loop nest that evaluates these values.

        It is written twice when their masks compare linear terms: once for tiles that lie wholly
        inside the tensors, without those masks, and once for the rest.
        """
        bounds = [] if self.checked else schedule.bounds(values, self.arrays)
        self.out.append("{")
        if bounds:
            test = Nest(self)
            corners = [analysis.bound(value) or () for value in bounds]
            conditions = [
                test.value(value, tuple(Term(str(at), 0) for at in corner)).text
                for value, corner in zip(bounds, corners, strict=True)
            ]
            self.out += [*test.lines, f"if ({' && '.join(conditions)}) {{"]
            self._finish(Nest(self, set(bounds)), body)
            self.out.append("} else {")
        self._finish(Nest(self), body)
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

    # ---- statements

    def block(self, block: Block) -> None:
        """Emit a block's operations, all but the terminator of a region."""
        kept = schedule.materialized(block)
        for operation in block.operations:
            with understanding(operation.line, operation.where):
                self.operation(operation)
                for result in operation.results:
                    if result in kept:
                        self.materialize(result)

    def operation(self, operation: Operation) -> None:
        """Emit one operation."""
        match operation.name:
            case "tt.return" | "scf.yield" | "scf.condition":
                return
            case "tt.get_program_id" | "tt.get_num_programs":
                kind = "pid" if operation.name == "tt.get_program_id" else "num"
                self.scalars[operation.result] = f"{kind}_{operation.text.split()[0]}"
            case "tt.store":
                self._store(operation)
            case "tt.atomic_rmw" | "tt.atomic_cas":
                atomics.emit_atomic(self, operation)
            case "tt.assert":
                self._assert(operation)
            case "tt.dot":
                dot.emit(self, operation)
            case "tt.scan":
                reduction.emit_scan(self, operation)
            case "tt.reduce" if not analysis.is_unrolled(operation):
                reduction.emit_reduce(self, operation)
            case "scf.for":
                control.emit_for(self, operation)
            case "scf.if":
                control.emit_if(self, operation)
            case "scf.while":
                control.emit_while(self, operation)
            case _ if operation.name in _IGNORED:
                return
            case _ if analysis.is_lazy(operation) or operation.name == "tt.unsplat":
                self._define(operation)
            case _:
                raise unsupported(operation)

    def _define(self, operation: Operation) -> None:
        for result in operation.results:
            if result.type.shape:
                continue
            nest = Nest(self)
            if operation.name == "tt.unsplat":
                source = operation.operands[0]
                term = nest.value(source, (ZERO,) * len(source.type.shape))
            else:
                term = nest.value(result, ())
            self.out += nest.lines
            self.scalars[result] = term.text

    def _store(self, operation: Operation) -> None:
        pointer, value, *rest = operation.operands
        shape = value.type.shape
        inner = next((d for d in range(len(shape)) if analysis.stride(pointer, d) == 1), None)
        order = [d for d in range(len(shape)) if d != inner]
        order += [] if inner is None else [inner]
        site, origin = self.site(operation.where), self.origin(operation.operands[0])

        def body(nest: Nest) -> None:
            index = nest.open_all(shape, order)
            mask = nest.value(rest[0], index) if rest else TRUE
            element = nest.value(value, index)
            condition = "" if mask == TRUE else f"if ({mask.text}) "
            if self.checked:
                exact = nest.value(pointer, index).text
                condition += f"if (may_store({exact}, sizeof(*{exact}), {origin}, {site})) "
                nest.emit(f"{condition}*{exact} = {element.text};")
            else:
                base, moving = nest.address(pointer, index)
                nest.emit(f"{condition}{base.text}[{linear(moving).text}] = {element.text};")

        self.nest(body, operation.operands)

    def _assert(self, operation: Operation) -> None:
        if not self.checked:
            return
        condition = operation.operands[0]
        message = re.search(r'"((?:[^"\\]|\\.)*)"', operation.text)
        text = message.group(1) if message else "assertion"
        site = self.site(f"{operation.where}: {text}")

        def body(nest: Nest) -> None:
            index = nest.open_all(condition.type.shape, range(len(condition.type.shape)))
            term = nest.value(condition, index)
            nest.emit(f"if (!{term.text}) assertion_failed({site});")

        self.nest(body, [condition])
