"""The graph: a frozen, ordered value. The order of the nodes is the schedule; edges are names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from textwrap import indent
from typing import Any, ClassVar, Never

import numpy as np

from graphcnn.errors import MissingWeights, UnknownNode, Where, shown
from graphcnn.ir.op import Array, Cost, Op, OpKind
from graphcnn.ir.structure import Structure, structure_of
from graphcnn.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Value:
    """A name and its type: a graph input, or what a node defines."""

    name: str
    type: TensorType

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


@dataclass(frozen=True, slots=True)
class Param:
    """A tensor that the network holds. Equality is by name and type: two graphs with other weights
    are the same structure; `Graph.fingerprint` tells them apart.

    Attributes:
        data: Its numbers; None for a type alone. Kernels may read where they are those that nobody
            can write to, as `constants.frozen` makes them.
        constant: Whether they belong to the network's code, as the 2 of `2 * x`: no weights, so
            that `load_weights` wants none for it.
    """

    name: str
    type: TensorType
    data: Array | None = field(default=None, compare=False, repr=False)
    constant: bool = field(default=False, compare=False)

    @property
    def values(self) -> Array:
        """Its data.

        Raises:
            MissingWeights: when it has none.
        """
        if self.data is None:
            raise MissingWeights(
                "the values of a param are needed and the graph has only its type",
                where=f"param '{self}'",
                remedy="load weights: gx.load_weights(graph, state_dict), or random ones: "
                "gx.ir.with_he_weights(graph, seed)",
            )
        return self.data

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. Every op but `Fused` defines one value, which bears the node's name."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[Value, ...]
    where: Where | None = field(default=None, compare=False)

    @property
    def type(self) -> TensorType:
        """Type of the last value the node defines: the only one, except for some `Fused` nodes."""
        return self.outputs[-1].type

    @property
    def place(self) -> str:
        """The node and the user's line, for error messages."""
        at = f" ({self.where})" if self.where else ""
        return f"node '{self.name}' = {self.op.name}{at}"

    @property
    def members(self) -> tuple[Node, ...]:
        """The nodes that a fused node stands for; any other node stands for itself."""
        return self.op.body.nodes if isinstance(self.op, Fused) else (self,)

    def __str__(self) -> str:
        defined = ", ".join(map(str, self.outputs))
        if isinstance(self.op, Fused):
            return f"{defined} = fused({', '.join(self.inputs)}) {{\n{self.op.body.text}\n}}"
        attributes = (f"{name}={literal(v)}" for name, v in self.op.attributes().items())
        return f"{defined} = {self.op.name}({', '.join([*self.inputs, *attributes])})"


@dataclass(frozen=True)
class Graph:
    """A convolutional network, or the body of a fused group.

    Attributes:
        name: Name of the network.
        inputs: What a call passes in.
        params: What it holds: weights, biases, statistics, and constants of its code.
        nodes: Operations in execution order.
        outputs: Names of the values a call returns.
        structure: The containers that it returns them in; None for one value by itself, and several
            in a dict by name.
    """

    name: str
    inputs: tuple[Value, ...]
    params: tuple[Param, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    structure: Structure | None = None

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        parts = self.name, self.inputs, self.params, self.nodes, self.outputs, self.structure
        return hash(parts)

    @property
    def sources(self) -> tuple[Value | Param, ...]:
        """Inputs and params: the values that no node defines."""
        return (*self.inputs, *self.params)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all values: inputs, params and what nodes define."""
        return tuple(self._types)

    @cached_property
    def _producers(self) -> Mapping[str, Node]:
        return {value.name: node for node in self.nodes for value in node.outputs}

    @cached_property
    def _types(self) -> Mapping[str, TensorType]:
        return {source.name: source.type for source in self.sources} | {
            v.name: v.type for node in self.nodes for v in node.outputs
        }

    @cached_property
    def _users(self) -> Mapping[str, tuple[Node, ...]]:
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    @cached_property
    def varying(self) -> frozenset[str]:
        """Names of the values that depend on an input; the others are constant."""
        found = {value.name for value in self.inputs}
        for node in self.nodes:
            if not found.isdisjoint(node.inputs):
                found.update(value.name for value in node.outputs)
        return frozenset(found)

    @cached_property
    def param_by_name(self) -> Mapping[str, Param]:
        """Parameters by name."""
        return {param.name: param for param in self.params}

    def __getitem__(self, name: str) -> Node:
        """The node that defines the value `name`.

        Raises:
            UnknownNode: when no node does.
        """
        if not isinstance(name, str) or name not in self._producers:
            raise self._unknown(name)
        return self._producers[name]

    def _unknown(self, name: object) -> UnknownNode:
        return UnknownNode(
            f"graph '{self.name}' has no node that defines {shown(name)}",
            got=shown(name),
            wanted="one of " + ", ".join(list(self._producers)[:8]) + " ...",
            remedy="print(graph) lists every node",
        )

    def producer(self, name: str) -> Node | None:
        """The node that defines `name`; None for inputs and params."""
        return self._producers.get(name)

    def type_of(self, name: str) -> TensorType:
        """Type of an input, a param or a node's value.

        Raises:
            UnknownNode: when the graph has no such value.
        """
        if not self.defines(name):
            raise self._unknown(name)
        return self._types[name]

    def types_of(self, names: tuple[str, ...]) -> tuple[TensorType, ...]:
        """Types of several values."""
        return tuple(self._types[name] for name in names)

    def defines(self, name: str) -> bool:
        """Whether `name` is a value of this graph."""
        return isinstance(name, str) and name in self._types

    def users(self, name: str) -> tuple[Node, ...]:
        """Nodes that read `name`, in order, each once."""
        return self._users.get(name, ())

    def sole_user(self, name: str) -> Node | None:
        """The only reader of `name`, or None when there are several or it is a graph output."""
        users = self.users(name)
        return users[0] if len(users) == 1 and name not in self.outputs else None

    def is_param(self, name: str) -> bool:
        """Whether `name` is a parameter."""
        return name in self.param_by_name

    def replace(
        self,
        *,
        inputs: tuple[Value, ...] | None = None,
        params: tuple[Param, ...] | None = None,
        nodes: tuple[Node, ...] | None = None,
        outputs: tuple[str, ...] | None = None,
    ) -> Graph:
        """A new graph with some parts exchanged; params that nothing reads any more are dropped."""
        nodes = self.nodes if nodes is None else nodes
        outputs = self.outputs if outputs is None else outputs
        read = {name for node in nodes for name in node.inputs} | set(outputs)
        kept = tuple(p for p in (self.params if params is None else params) if p.name in read)
        inputs = self.inputs if inputs is None else inputs
        return Graph(self.name, inputs, kept, nodes, outputs, self.structure)

    def returned(self, values: Sequence[Any]) -> Any:
        """What a call returns, given the outputs' values in their order."""
        if self.structure is not None:
            return self.structure.filled(values)
        named = dict(zip(self.outputs, values, strict=True))
        return named if len(self.outputs) > 1 else values[0]

    def named(self, returned: Any) -> Mapping[str, Any]:
        """The outputs' values by name, given what a call returned."""
        if self.structure is not None:
            return dict(zip(self.outputs, structure_of(returned)[1], strict=True))
        return returned if len(self.outputs) > 1 else {self.outputs[0]: returned}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over structure and weights, as 16 hexadecimal digits."""
        digest = hashlib.sha256(str(self).encode())
        for param in self.params:
            if param.data is not None:
                digest.update(np.ascontiguousarray(param.data).reshape(-1).data)
        return digest.hexdigest()[:16]

    @property
    def text(self) -> str:
        """The lines of the text form that a fused node prints of its body: nodes and return."""
        returned = ", ".join(self.outputs)
        if self.structure is not None:
            returned = self.structure.spelled(self.outputs)
        return indent("\n".join([*map(str, self.nodes), f"return {returned}"]), "  ")

    def __str__(self) -> str:
        inputs = (f"  input {value}" for value in self.inputs)
        params = (f"  {'constant' if p.constant else 'param'} {p}" for p in self.params)
        return "\n".join([f"graph {self.name} {{", *inputs, *params, self.text, "}"])


@dataclass(frozen=True)
class Fused(Op):
    """One kernel's worth of nodes.

    The body's inputs and params are what the node reads, in this order, and its outputs are the
    exported values; all keep their names, so that inlining needs no renaming. The params' data
    stay with the outer graph.

    Its meaning is its body's, and so is its rounding wherever a value is stored: an exported value
    is read on inside as it was stored, rounded to its dtype and infinite where it overflowed. Only
    a value that nobody else reads stays as wide as the kernel's arithmetic.
    """

    name: ClassVar[str] = "fused"
    kind: ClassVar[OpKind] = OpKind.OPAQUE
    body: Graph

    @property
    def exports(self) -> tuple[str, ...]:
        """Values of the body that the rest of the graph reads."""
        return self.body.outputs

    def infer(self, *inputs: TensorType) -> Never:
        """A fused node has several types, those of its exports: see `ir.verify`."""
        raise NotImplementedError("Fused has no shape rule of its own; its body has")

    def reference(self, *inputs: Array) -> Never:
        """A fused node's meaning is its body's: see `ir.evaluate`."""
        raise NotImplementedError("Fused has no reference of its own; its body has")

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Never:
        """A fused node's error bound is its body's: see `ir.evaluate`."""
        raise NotImplementedError("Fused has no error bound of its own; its body has")

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """The work of the body; traffic is only what crosses the group's border."""
        total = sum((node_cost(node, self.body) for node in self.body.nodes), Cost())
        return Cost(
            total.macs,
            total.flops,
            sum(type.size for type in inputs),
            sum(self.body.type_of(name).size for name in self.exports),
        )


def node_cost(node: Node, graph: Graph) -> Cost:
    """Cost of a node in its graph."""
    return node.op.cost(graph.types_of(node.inputs), node.type)


def literal(value: object) -> str:
    """As Python writes it; but 1e999 for an infinity, whose repr is no literal."""
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    if isinstance(value, float) and math.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    # NumPy's float64 is a float with a repr of its own.
    return float.__repr__(value) if isinstance(value, float) else repr(value)
