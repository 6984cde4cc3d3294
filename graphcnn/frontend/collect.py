"""From symbolic tensors to a graph: what the outputs depend on, in order and with names."""

from __future__ import annotations

import itertools
from typing import Any

from graphcnn.arguments import flag, sequence
from graphcnn.errors import InvalidGraph
from graphcnn.frontend.expr import Call, Input, Tensor, Weight, on_the_users_line
from graphcnn.ir.graph import Graph, Node, Param, Value
from graphcnn.ir.structure import structure_of
from graphcnn.ir.types import DType
from graphcnn.ir.verify import check_name, verify


@on_the_users_line
def graph(name: str, outputs: Any, *, structured: bool = False) -> Graph:
    """Collect the graph that computes `outputs`.

    Nodes stand in the order in which they were written; what no output depends on is left out. A
    value is called by its `name=`, or by its operator: `conv2d`, `conv2d_1`, `conv2d_2`, ...; the
    parameters of node `conv2d` are `conv2d.weight` and `conv2d.bias`. One array object that is
    used twice is one parameter.

    Args:
        name: Name of the network.
        outputs: What a call returns: one tensor, or a sequence of several, which it returns in a
            dict by name.
        structured: Whether a call returns `outputs` as they stand: a tuple, list, dict or named
            tuple of tensors, of None and of other such containers. Subclasses of these come back
            as what they are one of, and a dataclass as a named tuple.

    Returns:
        A verified graph. Its parameters share memory with the arrays passed in, where no
        conversion was needed.

    Raises:
        InvalidName, InvalidGraph: for a bad name or two equal ones, or no outputs; for keys that
            are neither strings nor whole numbers.
        InputKindError: for an output that is not a symbolic tensor.
    """
    check_name(name)
    structure, leaves = structure_of(outputs) if flag(structured, "structured") else (None, [])
    returned = (outputs,) if isinstance(outputs, Tensor) else leaves if structure else outputs
    returned = sequence(returned, "outputs", Tensor, "what the functions of graphcnn return")
    tensors = _reachable(returned)
    names = _names(tensors)
    inputs = tuple(Value(names[t], t.type) for t in tensors if isinstance(t, Input))
    nodes = tuple(
        Node(
            names[call],
            call.op,
            tuple(names[operand] for operand in call.operands),
            (Value(names[call], call.type),),
            call.line,
        )
        for call in tensors
        if isinstance(call, Call)
    )
    weights = {names[t]: t for t in tensors if isinstance(t, Weight)}
    params = tuple(Param(name, w.type, w.data, w.constant) for name, w in weights.items())
    kept = structure if structure and structure.is_container else None
    result = Graph(name, inputs, params, nodes, tuple(names[t] for t in returned), kept)
    verify(result)
    return result


def _reachable(outputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Everything the outputs depend on, in order of creation."""
    found: set[Tensor] = set()
    waiting = list(outputs)
    while waiting:
        tensor = waiting.pop()
        if tensor not in found:
            found.add(tensor)
            if isinstance(tensor, Call):
                waiting.extend(tensor.operands)
    return sorted(found, key=lambda tensor: tensor.order)


def _names(tensors: list[Tensor]) -> dict[Tensor, str]:
    """A unique name for every tensor; equal ones for the uses of one weight."""
    names: dict[Tensor, str] = {}
    chosen: dict[str, Tensor] = {}
    for tensor in tensors:
        if tensor.name is None:
            continue
        if tensor.name in chosen:
            raise InvalidGraph(
                "two values have the same name",
                where=f"{tensor.line}, and {chosen[tensor.name].line}",
                got=tensor.name,
                wanted="unique names",
                remedy="pass another name=... to one of them",
            )
        chosen[tensor.name] = tensor
        names[tensor] = tensor.name
    taken = set(chosen)
    tied: dict[tuple[int, DType], str] = {}
    for call in (tensor for tensor in tensors if isinstance(tensor, Call)):
        if call not in names:
            names[call] = _fresh(call.op.name, taken)
        for operand, role in zip(call.operands, call.roles, strict=False):
            if isinstance(operand, Weight) and operand not in names:
                if operand.key not in tied:
                    tied[operand.key] = _fresh(f"{names[call]}.{role}", taken)
                names[operand] = tied[operand.key]
    for tensor in tensors:
        if isinstance(tensor, Weight) and tensor not in names:
            names[tensor] = _fresh("param", taken)
    return names


def _fresh(stem: str, taken: set[str]) -> str:
    candidates = itertools.chain((stem,), (f"{stem}_{number}" for number in itertools.count(1)))
    name = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(name)
    return name
