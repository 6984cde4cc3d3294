"""Which array of a call is which input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from graphcnn.errors import MissingInput, UnexpectedInput, shown
from graphcnn.ir.graph import Graph

T = TypeVar("T")


def by_name(graph: Graph, given: Sequence[T], named: Mapping[str, T]) -> dict[str, T]:
    """A call's arrays by name: those without one are for the first inputs, in the graph's order.

    Raises:
        UnexpectedInput: for more arrays than inputs, or two arrays for one input.
    """
    names = [value.name for value in graph.inputs]
    twice = [name for name in names[: len(given)] if name in named]
    if len(given) > len(names) or twice:
        raise UnexpectedInput(
            f"the input '{twice[0]}' is given twice" if twice else "a call has too many arrays",
            where=f"graph '{graph.name}'",
            got=f"{len(given)} without a name, and {', '.join(named) or 'none'} by name",
            wanted=", ".join(map(str, graph.inputs)),
            remedy=f"call model({', '.join(names)}), or by name: {_call(graph)}",
        )
    return {**dict(zip(names, given, strict=False)), **named}


def check_names(graph: Graph, arrays: Mapping[str, object]) -> None:
    """Check that a call's arrays are one for each input.

    Raises:
        MissingInput, UnexpectedInput: naming the input.
    """
    names = [value.name for value in graph.inputs]
    for name in arrays:
        if name not in names:
            raise UnexpectedInput(
                f"the model has no input {shown(name)}",
                where=f"graph '{graph.name}'",
                got=shown(name),
                wanted=", ".join(map(str, graph.inputs)),
                remedy="pass each input by its name",
            )
    for value in graph.inputs:
        if value.name not in arrays:
            raise MissingInput(
                f"the call leaves out the input '{value.name}'",
                where=f"graph '{graph.name}'",
                got=", ".join(arrays) or "no input",
                wanted=str(value),
                remedy=f"call {_call(graph)}",
            )


def _call(graph: Graph) -> str:
    return f"model({', '.join(f'{value.name}=...' for value in graph.inputs)})"
