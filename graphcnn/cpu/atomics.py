"""Atomic operations on one element each; the value before the update is the result."""

from __future__ import annotations

import re

from graphcnn.cpu.emission import Emission
from graphcnn.cpu.expressions import c_type, number, rounded, size
from graphcnn.cpu.nest import Nest
from graphcnn.cpu.ttir import Operation

# What replaces the old value, given it and the operand.
_COMBINED = {
    **dict.fromkeys(("add", "fadd"), "old + x"),
    **dict.fromkeys(("max", "umax"), "MAX(old, x)"),
    **dict.fromkeys(("min", "umin"), "MIN(old, x)"),
    "and": "old & x",
    "or": "old | x",
    "xor": "old ^ x",
    "exch": "x",
}


def emit_atomic(emission: Emission, operation: Operation) -> None:
    """`tt.atomic_rmw` and `tt.atomic_cas`, with their masks."""
    kind = operation.result.type
    name = c_type(kind)
    array = emission.array(kind, range(len(kind.shape)))
    site, origin = emission.site(operation.where), emission.origin(operation.operands[0])

    def body(nest: Nest) -> None:
        index = nest.open_all(kind.shape, range(len(kind.shape)))
        terms = [nest.value(operand, index).text for operand in operation.operands]
        masked = operation.name == "tt.atomic_rmw" and len(terms) > 2
        condition = f"if ({terms[2]}) " if masked else ""
        if emission.checked:
            condition += f"if (may_update({terms[0]}, sizeof(*{terms[0]}), {origin}, {site})) "
        update = _update(operation, name, terms[0], terms)
        nest.emit(f"{condition}{nest.element(array, index).text} = {update};")

    emission.nest(body, operation.operands)
    emission.define(operation.result, array)


def _update(operation: Operation, name: str, address: str, terms: list[str]) -> str:
    kind = operation.result.type
    bits = f"uint{8 * size(kind)}_t"
    if operation.name == "tt.atomic_cas":
        combined = f"(old_ == {terms[1]} ? {terms[2]} : old_)"
        return f"ATOMIC_UPDATE({name}, {bits}, {address}, {combined})"
    word = operation.text.split(",")[0].strip()
    if word not in _COMBINED:
        raise operation.unsupported()
    old, value = number("old_", kind), number(terms[1], kind)
    if word in ("umax", "umin"):
        old, value = f"(u{name})old_", f"(u{name}){value}"
    text = re.sub(r"\bx\b", value, re.sub(r"\bold\b", old, _COMBINED[word]))
    return f"ATOMIC_UPDATE({name}, {bits}, {address}, {rounded(text, kind)})"
