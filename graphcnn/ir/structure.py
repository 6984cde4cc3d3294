"""How a call returns several values: containers in containers."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any

from graphcnn.errors import InvalidGraph

# How None is spelled, so that no output can be called that.
NONE_NAME = "None"
KINDS = ("value", NONE_NAME, "tuple", "list", "dict", "named")
MAX_DEPTH = 16
_BRACKETS = {"tuple": "()", "list": "[]", "dict": "{}", "named": "()"}


@dataclass(frozen=True, slots=True)
class Structure:
    """A container of what a graph returns, one of its outputs, or None.

    Attributes:
        kind: "tuple", "list", "dict" or "named", a named tuple; "value" for an output, which stand
            in the graph's order; "None".
        parts: What a container holds, in order.
        keys: The keys of a dict, strings or whole numbers, or the fields of a named tuple.
        name: Of a named tuple.
    """

    kind: str
    parts: tuple[Structure, ...] = ()
    keys: tuple[str | int, ...] = ()
    name: str = ""

    @property
    def is_container(self) -> bool:
        """Whether it is more than one output, or None."""
        return self.kind not in ("value", NONE_NAME)

    @property
    def size(self) -> int:
        """How many outputs there are in it."""
        return sum(part.size for part in self.parts) if self.parts else int(self.kind == "value")

    @property
    def depth(self) -> int:
        """How many containers there are in one another."""
        return int(self.is_container) + max((part.depth for part in self.parts), default=0)

    def filled(self, values: Sequence[Any]) -> Any:
        """The containers, with values as the outputs."""
        return self._filled(iter(values))

    def _filled(self, values: Iterator[Any]) -> Any:
        if not self.is_container:
            return next(values) if self.kind == "value" else None
        parts = [part._filled(values) for part in self.parts]
        if self.kind == "dict":
            return dict(zip(self.keys, parts, strict=True))
        if self.kind == "named":
            return named_tuple(self.name, self.keys)(*parts)
        return parts if self.kind == "list" else tuple(parts)

    def parts_of(self, value: object) -> list[Any] | None:
        """What stands for the outputs in containers like these; None for others."""
        if not self.is_container:
            return [value] if self.kind == "value" else ([] if value is None else None)
        inside: list[Any]
        if self.kind == "dict":
            if not isinstance(value, dict) or {*value} != {*self.keys}:
                return None
            inside = [value[key] for key in self.keys]
        else:
            if not isinstance(value, list if self.kind == "list" else tuple):
                return None
            inside = [*value]
        if len(inside) != len(self.parts):
            return None
        found = [part.parts_of(one) for part, one in zip(self.parts, inside, strict=True)]
        return None if None in found else [leaf for leaves in found for leaf in leaves or ()]

    def spelled(
        self, values: Sequence[str], named: Callable[[Structure], str] = lambda one: one.name
    ) -> str:
        """The containers as Python writes them.

        Args:
            values: How the outputs are spelled.
            named: How what makes a named tuple is.
        """
        return self._spelled(iter(values), named)

    def _spelled(self, values: Iterator[str], named: Callable[[Structure], str]) -> str:
        if not self.is_container:
            return next(values) if self.kind == "value" else NONE_NAME
        parts = [part._spelled(values, named) for part in self.parts]
        if self.kind == "dict":
            parts = [f"{key!r}: {part}" for key, part in zip(self.keys, parts, strict=True)]
        if self.kind == "named":
            parts = [f"{key}={part}" for key, part in zip(self.keys, parts, strict=True)]
        alone = "," if self.kind == "tuple" and len(parts) == 1 else ""
        called = named(self) if self.kind == "named" else ""
        brackets = _BRACKETS[self.kind]
        return f"{called}{brackets[0]}{', '.join(parts)}{alone}{brackets[1]}"


VALUE, NONE = Structure("value"), Structure(NONE_NAME)


def structure_of(value: object) -> tuple[Structure, list[Any]]:
    """The structure of nested containers, and what is in them.

    A dataclass counts as a named tuple, as do results of torch with several fields; other
    subclasses count as the container that they are one of.
    """
    kind, name = "tuple", ""
    keys: tuple[Any, ...] = ()
    if isinstance(value, dict):
        kind, keys, parts = "dict", tuple(value), list(value.values())
    elif isinstance(value, list):
        kind, parts = "list", value
    elif isinstance(value, tuple):
        keys, parts = _fields_of(value), list(value)
    elif is_dataclass(value) and not isinstance(value, type):
        keys = _fields_of(value)
        parts = [getattr(value, key) for key in keys]
    else:
        return (NONE, []) if value is None else (VALUE, [value])
    if keys and kind == "tuple":
        kind, name = "named", type(value).__name__
    found = [structure_of(part) for part in parts]
    leaves = [leaf for _, inside in found for leaf in inside]
    return Structure(kind, tuple(part for part, _ in found), keys, name), leaves


def _fields_of(value: Any) -> tuple[str, ...]:
    """The names of a dataclass's fields, or of a tuple's elements where they have some."""
    if is_dataclass(value):
        return tuple(field.name for field in fields(value))
    kind = type(value)
    return tuple(getattr(kind, "_fields", getattr(kind, "__match_args__", ())))


@cache
def named_tuple(name: str, keys: tuple[str | int, ...]) -> Any:
    """The class of the named tuples of a name and fields.

    Raises:
        ValueError: for what cannot be the name of a class, or of a field.
    """
    return namedtuple(name, keys)  # type: ignore[arg-type]  # fields are strings


def check_structure(structure: Structure, outputs: tuple[str, ...], where: str) -> None:
    """Check that a structure can hold these outputs, and that the text form can spell it.

    Raises:
        InvalidGraph: when it cannot.
    """
    problem = _problem(structure, outputs)
    if problem:
        raise InvalidGraph(
            "the outputs of a graph cannot be returned in this structure",
            where=where,
            got=problem,
            wanted="tuples, lists, dicts and named tuples that hold each output once, in order",
            remedy="build it by gx.graph(name, outputs, structured=True)",
        )


def _problem(structure: object, outputs: tuple[str, ...]) -> str:
    if not isinstance(structure, Structure) or not structure.is_container:
        return f"{structure!r}"
    if structure.depth > MAX_DEPTH:
        return f"containers {structure.depth} deep, of {MAX_DEPTH} allowed"
    if structure.size != len(outputs):
        return f"{structure.size} places for {len(outputs)} outputs"
    if NONE_NAME in outputs:
        return f"an output called {NONE_NAME}"
    return _malformed(structure)


def _malformed(one: Structure) -> str:
    """What is wrong with a part; "" where nothing is."""
    fits = len(one.keys) == (len(one.parts) if one.kind in ("dict", "named") else 0)
    if one.kind not in KINDS or not fits or (one.parts and not one.is_container):
        return f"{one!r}"
    if one.kind == "dict" and (
        len(set(one.keys)) != len(one.keys) or any(type(key) not in (str, int) for key in one.keys)
    ):
        return f"the keys {', '.join(map(repr, one.keys))}"
    if one.kind == "named":
        try:
            named_tuple(one.name, one.keys)
        except (TypeError, ValueError) as error:
            return f"the named tuple {one.name!r}: {error}"
    return next(filter(None, map(_malformed, one.parts)), "")
