"""A Triton kernel as a C translation unit: statements and control flow.

Each operation that does something has a row in `_STATEMENTS`; the others are expressions. One call
of `kernel` is one Triton program; `programs` runs some of a grid, which `team.c` deals to threads.

A program's stores must not change what its pending loads read unless both go through the same
parameter (then the load is completed first): two parameters that name overlapping memory must
overlap element for element, as when an elementwise kernel runs in place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from graphcnn.cpu import analysis
from graphcnn.cpu.atomics import emit_atomic
from graphcnn.cpu.control import emit_for, emit_if, emit_while
from graphcnn.cpu.dot import emit_dot
from graphcnn.cpu.emission import Emission
from graphcnn.cpu.expressions import c_type, passed
from graphcnn.cpu.nest import Nest
from graphcnn.cpu.product import product_of, single_product_of
from graphcnn.cpu.product_sums import Products
from graphcnn.cpu.reduction import emit_reduce, emit_scan
from graphcnn.cpu.refusal import understanding
from graphcnn.cpu.stores import emit_stores
from graphcnn.cpu.sums import emit_sums
from graphcnn.cpu.taps import TapSums, taps_of
from graphcnn.cpu.terms import ZERO
from graphcnn.cpu.ttir import Operation, parse

# Larger sums of tensors than this go to thread-local memory instead of the stack.
STACK_BYTES = 1 << 20


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
        return _program(Emission(parse(text), checked, _statement))
    finally:
        analysis.forget()


def _program(emission: Emission) -> Program:
    """The whole translation unit."""
    function = emission.function
    names = []
    for position, parameter in enumerate(function.parameters):
        word = re.sub(r"\W", "_", parameter.name[1:])
        name = f"p{position}_{word}"
        emission.define(parameter, name)
        names.append(name)
    emission.block(function.body)
    kinds, types = [], []
    for parameter in function.parameters:
        line = f"{parameter.name}: {parameter.type}"
        with understanding(line, f"kernel {function.name}, parameter {parameter.name[1:]}"):
            kinds.append(passed(parameter.type))
            types.append(c_type(parameter.type))
    return Program(
        name=function.name,
        source=_source(emission, list(zip(types, names, strict=True))),
        parameters=kinds,
        parameter_names=[parameter.name[1:] for parameter in function.parameters],
        sites=emission.sites,
    )


def _source(emission: Emission, parameters: list[tuple[str, str]]) -> str:
    declared = "".join(f", {kind} {name}" for kind, name in parameters)
    passed = "".join(
        f", *({kind} const*)(arguments + {place})" for place, (kind, _) in enumerate(parameters)
    )
    body = "\n".join(emission.out)
    if emission.bytes > STACK_BYTES:
        body = re.sub(r"^(\w+\*? a\d+\[)", r"static __thread \1", body, flags=re.MULTILINE)
    head = '#include "sanitize.h"\n' if emission.checked else ""
    head += "".join(f"{line}\n" for line in emission.functions)
    enter = "program_id = id;" if emission.checked else ""
    return f"""#include "runtime.h"
#include "dot.h"
#include "product.h"
#include "taps.h"
#include "widen.h"
#include "pairs.h"
{head}static const char zeros[{emission.zeros}] __attribute__((aligned(64)));
static void kernel(int pid_x, int pid_y, int pid_z, int num_x, int num_y, int num_z{declared}) {{
{body}
}}
void programs(int64_t first, int64_t last, const int32_t* grid, const uint64_t* arguments) {{
  int gx = grid[0], gy = grid[1], gz = grid[2];
  for (int64_t id = first; id < last; id++) {{
    {enter}
    kernel(id % gx, id / gx % gy, id / gx / gy, gx, gy, gz{passed});
  }}
}}
"""


def _statement(emission: Emission, operation: Operation) -> None:
    """Write one operation."""
    if analysis.is_lazy(operation):
        _scalar(emission, operation)
    elif operation.name in _STATEMENTS:
        _STATEMENTS[operation.name](emission, operation)
    else:
        raise operation.unsupported()


def _scalar(emission: Emission, operation: Operation) -> None:
    for result in operation.results:
        if result.type.shape:
            continue
        nest = Nest(emission)
        if operation.name == "tt.unsplat":
            source = operation.operands[0]
            term = nest.value(source, (ZERO,) * len(source.type.shape))
        else:
            term = nest.value(result, ())
        emission.out += nest.lines
        emission.define(result, term.text)


def _position(emission: Emission, operation: Operation) -> None:
    kind = "pid" if operation.name == "tt.get_program_id" else "num"
    emission.define(operation.result, f"{kind}_{operation.text.split()[0]}")


def _store(emission: Emission, operation: Operation) -> None:
    """Write a run of stores, when it is its last one's turn."""
    if operation in emission.ending:
        emission.ending.pop(operation)()
    elif run := emission.runs.get(operation):
        emit_stores(emission, run)


def _for(emission: Emission, operation: Operation) -> None:
    if taps := taps_of(emission, operation):
        emit_sums(emission, TapSums(emission, taps))
    elif product := product_of(emission, operation):
        emit_sums(emission, Products(emission, product))
    else:
        emit_for(emission, operation)


def _dot(emission: Emission, operation: Operation) -> None:
    if product := single_product_of(emission, operation):
        emit_sums(emission, Products(emission, product))
    else:
        emit_dot(emission, operation)


def _gather(emission: Emission, operation: Operation) -> None:
    """Its elements may be any of the source, which therefore has to be in memory."""
    emission.materialize(operation.operands[0])


def _assert(emission: Emission, operation: Operation) -> None:
    if not emission.checked:
        return
    condition = operation.operands[0]
    message = re.search(r'"((?:[^"\\]|\\.)*)"', operation.text)
    text = message.group(1) if message else "assertion"
    site = emission.site(f"{operation.where}: {text}")

    def body(nest: Nest) -> None:
        index = nest.open_all(condition.type.shape, range(len(condition.type.shape)))
        term = nest.value(condition, index)
        nest.emit(f"if (!{term.text}) assertion_failed({site});")

    emission.nest(body, [condition])


def _nothing(emission: Emission, operation: Operation) -> None:
    """A terminator, whose operands the region's owner reads, or a hint."""


_STATEMENTS: dict[str, Callable[[Emission, Operation], None]] = {
    "tt.get_program_id": _position,
    "tt.get_num_programs": _position,
    "tt.unsplat": _scalar,
    "tt.store": _store,
    "tt.atomic_rmw": emit_atomic,
    "tt.atomic_cas": emit_atomic,
    "tt.assert": _assert,
    "tt.dot": _dot,
    "tt.gather": _gather,
    "tt.scan": emit_scan,
    "tt.reduce": emit_reduce,
    "scf.for": _for,
    "scf.if": emit_if,
    "scf.while": emit_while,
    **dict.fromkeys(("tt.return", "scf.yield", "scf.condition"), _nothing),
    **dict.fromkeys(("gpu.barrier", "ttg.barrier", "ttg.local_barrier"), _nothing),
    **dict.fromkeys(("llvm.intr.assume", "tt.print"), _nothing),
}
