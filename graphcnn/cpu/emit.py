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

from graphcnn.cpu import analysis, dot, reduction
from graphcnn.cpu.expressions import c_type, is_float, number, rounded, size, unsupported
from graphcnn.cpu.nest import TRUE, ZERO, Array, Nest, Term, linear, strides_of
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
        types = [c_type(parameter.type) for parameter in function.parameters]
        return Program(
            name=function.name,
            source=self._source(list(zip(types, names, strict=True))),
            parameters=[
                "ptr" if parameter.type.pointer else parameter.type.element
                for parameter in function.parameters
            ],
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
                if operation.name == "scf.for":
                    block = operation.blocks[0]
                    for source, target in zip(block.yielded, operation.results, strict=True):
                        self.flows.setdefault(source, []).append(target)
                elif operation.name == "scf.if":
                    for block in operation.blocks:
                        for source, target in zip(block.yielded, operation.results, strict=True):
                            self.flows.setdefault(source, []).append(target)
                elif operation.name == "tt.dot":
                    self.flows.setdefault(operation.operands[2], []).append(operation.result)

    # ---- storage

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
        bounds = [] if self.checked else analysis.bounds(values, self.arrays)
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
        source = analysis.base(pointer)
        return parameters.index(source) if source in parameters else -1

    # ---- statements

    def block(self, block: Block) -> None:
        """Emit a block's operations, all but the terminator of a region."""
        kept = analysis.materialized(block)
        for operation in block.operations:
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
                self._atomic(operation)
            case "tt.assert":
                self._assert(operation)
            case "tt.dot":
                dot.emit(self, operation)
            case "tt.scan":
                reduction.emit_scan(self, operation)
            case "tt.reduce" if not analysis.is_unrolled(operation):
                reduction.emit_reduce(self, operation)
            case "scf.for":
                self._for(operation)
            case "scf.if":
                self._if(operation)
            case "scf.while":
                self._while(operation)
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

    def _atomic(self, operation: Operation) -> None:
        kind = operation.result.type
        name = c_type(kind)
        array = self.array(kind, range(len(kind.shape)))
        site, origin = self.site(operation.where), self.origin(operation.operands[0])

        def body(nest: Nest) -> None:
            index = nest.open_all(kind.shape, range(len(kind.shape)))
            terms = [nest.value(operand, index).text for operand in operation.operands]
            masked = operation.name == "tt.atomic_rmw" and len(terms) > 2
            condition = f"if ({terms[2]}) " if masked else ""
            if self.checked:
                condition += f"if (may_update({terms[0]}, sizeof(*{terms[0]}), {origin}, {site})) "
            update = self._update(operation, name, terms[0], terms)
            nest.emit(f"{condition}{nest.element(array, index).text} = {update};")

        self.nest(body, operation.operands)
        if kind.shape:
            self.arrays[operation.result] = array
        else:
            self.scalars[operation.result] = f"{array.name}[0]"

    def _update(self, operation: Operation, name: str, address: str, terms: list[str]) -> str:
        kind = operation.result.type
        bits = f"uint{8 * size(kind)}_t"
        if operation.name == "tt.atomic_cas":
            combined = f"(old_ == {terms[1]} ? {terms[2]} : old_)"
            return f"ATOMIC_UPDATE({name}, {bits}, {address}, {combined})"
        word = operation.text.split(",")[0].strip()
        combine = {
            "fadd": "old + x",
            "add": "old + x",
            "max": "MAX(old, x)",
            "min": "MIN(old, x)",
            "umax": "MAX(old, x)",
            "umin": "MIN(old, x)",
            "and": "old & x",
            "or": "old | x",
            "xor": "old ^ x",
            "exch": "x",
        }.get(word)
        if combine is None:
            raise unsupported(operation)
        old, value = number("old_", kind), number(terms[1], kind)
        if word in ("umax", "umin"):
            old, value = f"(u{name})old_", f"(u{name}){value}"
        text = re.sub(r"\bx\b", value, re.sub(r"\bold\b", old, combine))
        return f"ATOMIC_UPDATE({name}, {bits}, {address}, {rounded(text, kind)})"

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

    # ---- control flow

    def _pin_captured(self, operation: Operation) -> None:
        for value in analysis.captured(operation):
            self.pin(value)

    def pin(self, value: Value) -> None:
        """Before a loop: compute what the loop would compute again, in its smallest form.

        A tensor that only combines smaller broadcast tensors stays an expression of those.
        """
        operation = value.owner
        if value in self.arrays or not value.type.shape or operation is None:
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
                self.pin(operand)
        elif not analysis.is_recomputed(value):
            self.materialize(value)

    def _carry(self, value: Value, initial: Value | None) -> Array | str:
        """Storage for a loop-carried or conditional value, holding the initial value."""
        if value.type.shape:
            if (
                initial is not None
                and initial in self.arrays
                and len(initial.users) == 1
                and len({*self.arrays[initial].strides} - {0})
                == len([s for s in value.type.shape if s > 1])
            ):
                return self.arrays[initial]
            array = self.array(value.type, self._carried_order(value, initial))
            if initial is not None:
                self.fill(array, initial)
            return array
        name = f"s{next(self.numbers)}"
        start = f" = {self.scalars[initial]}" if initial is not None else ""
        self.out.append(f"{c_type(value.type)} {name}{start};")
        return name

    def _carried_order(self, value: Value, initial: Value | None) -> list[int]:
        inner = self._carried_inner(value, set())
        if inner is None and initial is not None:
            inner = self.inner_dimension(initial)
        dimensions = [d for d, extent in enumerate(value.type.shape) if extent > 1]
        return [d for d in dimensions if d != inner] + [d for d in dimensions if d == inner]

    def _carried_inner(self, value: Value, seen: set[Value]) -> int | None:
        """The layout that the operation updating a carried value wants."""
        if value in seen:
            return None
        seen.add(value)
        for user in value.users:
            if user.name == "tt.dot" and user.operands[2] is value:
                return dot.plan(user, self.flows).vector
            if user.name == "scf.for":
                at = user.operands[3:].index(value) if value in user.operands[3:] else None
                if at is not None:
                    inner = self._carried_inner(user.blocks[0].arguments[at + 1], seen)
                    if inner is not None:
                        return inner
        for user in value.users:
            if analysis.is_elementwise(user) and user.results[0].type.shape == value.type.shape:
                inner = self.inner_dimension(user.result)
                if inner is not None:
                    return inner
        return None

    def _bind(self, value: Value, storage: Array | str) -> None:
        if isinstance(storage, Array):
            self.arrays[value] = storage
        else:
            self.scalars[value] = storage

    def _assign(self, targets: list[Array | str], values: list[Value]) -> None:
        """Write values to storage that the values themselves may read."""
        pending: list[Callable[[], None]] = []
        busy = {t.name for t in targets if isinstance(t, Array)}
        for target, value in zip(targets, values, strict=True):
            if isinstance(target, str):
                text = self.scalars[value]
                if text != target:
                    held = f"s{next(self.numbers)}"
                    self.out.append(f"{c_type(value.type)} const {held} = {text};")
                    pending.append(lambda t=target, h=held: self.out.append(f"{t} = {h};"))  # type: ignore[misc]  # defaults bind early
                continue
            if self.arrays.get(value) == target:
                continue
            own = self._reads(value, set())
            others = [v for v in values if v is not value]
            shared = any(target.name in self._reads(v, set()) for v in others)
            if not (own & busy - {target.name}) and not shared and self._aligned(value, target):
                self.fill(target, value)
                continue
            held_array = Array(f"a{next(self.numbers)}", target.type, target.strides)
            self.out.append(held_array.declaration())
            self.bytes += held_array.length * size(target.type)
            self.fill(held_array, value)
            copy = f"memcpy({target.name}, {held_array.name}, sizeof({held_array.name}));"
            pending.append(lambda c=copy: self.out.append(c))  # type: ignore[misc]  # as above
        for action in pending:
            action()

    def _reads(self, value: Value, seen: set[Value]) -> set[str]:
        """The names of the arrays that evaluating a value reads."""
        if value in seen or not value.type.shape:
            return set()
        seen.add(value)
        if value in self.arrays:
            return {self.arrays[value].name}
        if value.owner is None:
            return set()
        return set().union(*(self._reads(operand, seen) for operand in value.owner.operands))

    def _aligned(self, value: Value, target: Array) -> bool:
        """Evaluating element i of the value reads the target at i only."""
        if value in self.arrays or value.owner is None:
            return True
        if target.name not in self._reads(value, set()):
            return True
        if not analysis.is_elementwise(value.owner):
            return False
        return all(self._aligned(v, target) for v in value.owner.operands if v.type.shape)

    def _for(self, operation: Operation) -> None:
        block = operation.blocks[0]
        low, high, step, *initial = operation.operands
        self._pin_captured(operation)
        storage = [
            self._carry(argument, value)
            for argument, value in zip(block.arguments[1:], initial, strict=True)
        ]
        for argument, place in zip(block.arguments[1:], storage, strict=True):
            self._bind(argument, place)
        induction = f"k{next(self.numbers)}"
        self.scalars[block.arguments[0]] = induction
        kind = c_type(block.arguments[0].type)
        bounds = [self.scalars[v] for v in (low, high, step)]
        self.out.append(
            f"for ({kind} {induction} = {bounds[0]}; {induction} < {bounds[1]};"
            f" {induction} += {bounds[2]}) {{"
        )
        self.block(block)
        self._assign(storage, block.yielded)
        self.out.append("}")
        for result, place in zip(operation.results, storage, strict=True):
            self._bind(result, place)

    def _if(self, operation: Operation) -> None:
        self._pin_captured(operation)
        storage = [self._carry(result, None) for result in operation.results]
        for position, block in enumerate(operation.blocks):
            condition = self.scalars[operation.operands[0]]
            self.out.append(f"if ({condition}) {{" if position == 0 else "else {")
            self.block(block)
            self._assign(storage, block.yielded)
            self.out.append("}")
        for result, place in zip(operation.results, storage, strict=True):
            self._bind(result, place)

    def _while(self, operation: Operation) -> None:
        before, after = operation.blocks
        self._pin_captured(operation)
        storage = [
            self._carry(argument, value)
            for argument, value in zip(before.arguments, operation.operands, strict=True)
        ]
        for argument, place in zip(before.arguments, storage, strict=True):
            self._bind(argument, place)
        results = [self._carry(result, None) for result in operation.results]
        self.out.append("while (1) {")
        self.block(before)
        condition, *forwarded = before.terminator.operands
        self._assign(results, forwarded)
        self.out.append(f"if (!{self.scalars[condition]}) break;")
        for argument, place in zip(after.arguments, results, strict=True):
            self._bind(argument, place)
        self.block(after)
        self._assign(storage, after.terminator.operands)
        self.out.append("}")
        for result, place in zip(operation.results, results, strict=True):
            self._bind(result, place)
