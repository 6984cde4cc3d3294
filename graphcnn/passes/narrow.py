"""Compute no more of a value than slices read of it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from graphcnn.ir import CompileLog, Graph, Node, Refusal, TensorType, Value, inline
from graphcnn.ir.op import Op
from graphcnn.ops import Conv, Pad, Pooling
from graphcnn.passes.base import Pass
from graphcnn.passes.positions import (
    Positions,
    hull,
    moving,
    part_of,
    slice_of,
    slices_maps,
    whole_of,
)
from graphcnn.passes.rewrite import new_name


@dataclass(frozen=True)
class Narrow(Pass):
    """slice(f(x)) -> f(slice(x)): what is read of a value, at even distances, is all that its node
    computes, and so on towards the inputs, through convolutions, pools, pads and functions of each
    element. A convolution that is read at some steps reads its operand at its taps of these steps:
    what is left is strided where it was dilated, and padded where its windows still reach beyond.

    A value that is read in full elsewhere stays; where only functions of each element would be
    left behind it, these stay as well, to run in its kernel.

    Given:
        graph g {
          input x: f32[1,4,64]
          param v: f32[4,4,3]
          param w: f32[4,4,3]
          first: f32[1,4,64] = conv1d(x, v, padding=(8, 0), dilation=(4,))
          relu: f32[1,4,64] = relu(first)
          second: f32[1,4,64] = conv1d(relu, w, padding=(16, 0), dilation=(8,))
          last: f32[1,4,1] = slice(second, dim=2, start=-1)
          return last
        }
    Result:
        graph g {
          input x: f32[1,4,64]
          param v: f32[4,4,3]
          param w: f32[4,4,3]
          x.part: f32[1,4,7] = slice(x, dim=2, start=39, step=4)
          first.part: f32[1,4,3] = conv1d(x.part, v, stride=(2,))
          relu.part: f32[1,4,3] = relu(first.part)
          last: f32[1,4,1] = conv1d(relu.part, w)
          return last
        }
    """

    name: ClassVar[str] = "narrow"

    def run(self, graph: Graph, log: CompileLog) -> Graph:
        """The graph with the nodes before slices narrowed."""
        log.names.update(inline(graph).names)
        kept: set[str] = set()
        while True:
            wanted = _wanted(graph, kept)
            idle = {n.name for n in graph.nodes if _saves_nothing(n, wanted, graph)} - kept
            if not idle:
                break
            kept |= idle
        for node in graph.nodes:
            if refusal := _refusal(node, wanted, graph):
                log.refuse(refusal)
        if all(wanted[node.name] == whole_of(node.type) for node in graph.nodes):
            return graph
        return _Narrowing(graph, log, wanted).result()


def _wanted(graph: Graph, kept: Container[str]) -> dict[str, Positions]:
    """What is read of every value where nodes compute no more than that, but for those kept."""
    wanted: dict[str, Positions] = {}

    def want(name: str, positions: Positions) -> None:
        before = wanted.get(name, positions)
        wanted[name] = tuple(map(hull, before, positions))

    for name in graph.outputs:
        want(name, whole_of(graph.type_of(name)))
    for node in reversed(graph.nodes):
        whole = whole_of(node.type)
        own = whole if node.name in kept else wanted.get(node.name, whole)
        part = part_of(node, own, graph)
        wanted[node.name] = whole if part is None else own
        for name in node.inputs:
            type = graph.type_of(name)
            moves = part is not None and name in moving(node, graph)
            want(name, part.read_of(type) if part and moves else whole_of(type))
    return wanted


def _saves_nothing(node: Node, wanted: Mapping[str, Positions], graph: Graph) -> bool:
    """Whether a function of each element, or a slice, would be narrowed alone."""
    if isinstance(node.op, Conv | Pooling | Pad) or wanted[node.name] == whole_of(node.type):
        return False
    return all(wanted[name] == whole_of(graph.type_of(name)) for name in moving(node, graph))


def _refusal(node: Node, wanted: Mapping[str, Positions], graph: Graph) -> Refusal | None:
    """Why what a slice reads is computed in full, or None."""
    value = node.inputs[0] if slices_maps(node) else ""
    maker, part = graph.producer(value), part_of(node, wanted[node.name], graph)
    if maker is None or part is None or wanted[value] != whole_of(maker.type):
        return None
    if part.read == wanted[value]:
        return None
    others = tuple(user.name for user in graph.users(value) if user.name != node.name)
    if value in graph.outputs:
        because = f"'{value}' is an output of the graph"
    elif others:
        because = f"'{value}' is also read by {', '.join(others)}, in all as a whole"
    elif part_of(maker, part.read, graph) is None:
        because = f"{maker.op.name} '{value}' computes all of its value or nothing"
    else:
        because = f"what '{value}' is a function of is computed in full"
    return Refusal(Narrow.name, node.name, because, others or (value,))


@dataclass
class _Narrowing:
    """The narrowed graph as it grows.

    Attributes:
        held: Of a value of the given graph, the value that holds all that is read of it, and the
            positions that this one has.
        nodes: The nodes so far.
    """

    graph: Graph
    log: CompileLog
    wanted: Mapping[str, Positions]
    titles: dict[str, str] = field(default_factory=dict)
    held: dict[str, tuple[str, Positions]] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def result(self) -> Graph:
        """The graph with every node narrowed to what is wanted of it."""
        for node in reversed(self.graph.nodes):
            self.titles[node.name] = self._title(node)
        for source in self.graph.sources:
            self._hold(source.name, source.name, whole_of(source.type))
            self.types[source.name] = source.type
        for node in self.graph.nodes:
            self._narrow(node)
        outputs = tuple(self.held[name][0] for name in self.graph.outputs)
        return self.graph.replace(nodes=tuple(self.nodes), outputs=outputs)

    def _title(self, node: Node) -> str:
        """The name of what is wanted of a node's value: that of a slice that takes all of it."""
        wanted = self.wanted[node.name]
        if wanted == whole_of(node.type):
            return node.name
        for user in filter(slices_maps, self.graph.users(node.name)):
            part = part_of(user, self.wanted[user.name], self.graph)
            if part is not None and part.read == wanted:
                return self.titles[user.name]
        return self._new_name(node.name)

    def _new_name(self, name: str) -> str:
        name = new_name(f"{name}.part", self.log.names)
        self.log.names.add(name)
        return name

    def _hold(self, name: str, holder: str, positions: Positions) -> None:
        self.held[name] = holder, positions
        if holder != name:
            self.log.absorbed[name] = holder

    def _narrow(self, node: Node) -> None:
        wanted, operands = self.wanted[node.name], moving(node, self.graph)
        part = part_of(node, wanted, self.graph)
        if part is None or (slices_maps(node) and self.held[node.inputs[0]][0] == node.inputs[0]):
            held = tuple(self.held[name][0] for name in node.inputs)
            self._append(replace(node, inputs=held))
            for value in node.outputs:
                self._hold(value.name, value.name, whole_of(value.type))
            return
        title = self.titles[node.name]
        if slices_maps(node) or (isinstance(part.op, Pad) and not any(part.op.padding)):
            self._hold(node.name, self._read(node.inputs[0], part.read, node, title), wanted)
            return
        inputs = tuple(
            self._read(name, part.read_of(self.graph.type_of(name)), node)
            if name in operands
            else self.held[name][0]
            for name in node.inputs
        )
        self._append(self._node(title, part.op, inputs, node))
        self._hold(node.name, title, wanted)
        kept = " x ".join(
            f"{len(w)} of {n}" for w, n in zip(wanted, node.type.shape[2:], strict=True)
        )
        self.log.did(Narrow.name, node.name, f"computes {kept} positions, as '{title}'")

    def _read(self, name: str, wanted: Positions, reader: Node, title: str = "") -> str:
        """A value that holds these positions of `name`: its part, or a slice of it."""
        holder, positions = self.held[name]
        cuts = [axis for axis, (a, b) in enumerate(zip(wanted, positions, strict=True)) if a != b]
        for axis in cuts:
            op = slice_of(axis + 2, wanted[axis], positions[axis])
            made = title if title and axis == cuts[-1] else self._new_name(name)
            self._append(self._node(made, op, (holder,), reader))
            holder = made
        return holder

    def _node(self, name: str, op: Op, inputs: tuple[str, ...], like: Node) -> Node:
        type = op.infer(*(self.types[read] for read in inputs))
        return Node(name, op, inputs, (Value(name, type),), like.where)

    def _append(self, node: Node) -> None:
        self.types.update({value.name: value.type for value in node.outputs})
        self.nodes.append(node)
