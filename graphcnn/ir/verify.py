"""The rules a graph obeys, checked before and after every pass."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter

import numpy as np

from graphcnn.errors import (
    CyclicGraph,
    GraphCNNError,
    InvalidGraph,
    InvalidName,
    NonFiniteWeights,
    shown,
)
from graphcnn.ir.fused import inline
from graphcnn.ir.graph import Fused, Graph, Node, Param, Value
from graphcnn.ir.op import Op
from graphcnn.ir.structure import check_structure
from graphcnn.ir.types import DType, TensorType

_NAME = re.compile(r"[A-Za-z_][\w.\-/]*")


def check_graph(graph: object) -> None:
    """Check that something is a graph at all.

    Raises:
        InvalidGraph: naming what it is instead.
    """
    if not isinstance(graph, Graph):
        raise InvalidGraph(
            "this is not a graph",
            where="the argument graph",
            got=type(graph).__name__,
            wanted="what gx.graph, gx.parse, gx.load or a function of gx.models returns",
            remedy="collect tensors by gx.graph(name, outputs=[...]); a compiled model holds its "
            "graph as model.source",
        )


def verify(graph: Graph) -> None:
    """Check the whole graph.

    Names are legal and unique, also inside fused bodies, every value is defined before it is read,
    the recorded types are what the ops infer, the params' data match their types and suit the ops
    that read them, and the outputs exist and fill the structure that they are returned in.

    Raises:
        InvalidGraph: or a subclass; or the error of the op whose operands do not fit.
        NonFiniteWeights: for a param that holds NaN or infinity.
    """
    check_graph(graph)
    _check_parts(graph)
    sources = [source.name for source in graph.sources]
    _check_names(graph, sources)
    for param in graph.params:
        check_data(param)
    known = set(sources)
    for node in graph.nodes:
        for name in node.inputs:
            if name not in known:
                raise _undefined(graph, node, name)
        known.update(value.name for value in node.outputs)
        check_types(graph, node)
    for name in graph.outputs:
        if name not in known:
            raise InvalidGraph(
                "an output of the graph is not defined",
                where=f"graph '{graph.name}'",
                got=name,
                wanted="an input, a param or a value that a node defines",
                remedy="return a name that the graph defines",
            )
    if not graph.outputs:
        raise InvalidGraph(
            "a graph returns at least one value",
            where=f"graph '{graph.name}'",
            remedy="name an output",
        )
    if graph.structure is not None:
        check_structure(graph.structure, graph.outputs, f"graph '{graph.name}'")
    for node in inline(graph).nodes:
        try:
            operands = (graph.param_by_name.get(name) for name in node.inputs)
            node.op.check_constants(*(param.data if param else None for param in operands))
        except GraphCNNError as error:
            raise error.at(node.place) from None


def _check_parts(graph: Graph) -> None:
    """Check that a graph, which may have been made by hand, consists of what it should."""
    check_name(graph.name, "the name of the graph")

    def every(items: object, kind: type) -> bool:
        return isinstance(items, tuple) and all(isinstance(item, kind) for item in items)

    def is_node(node: Node) -> bool:
        op = node.op.body if isinstance(node.op, Fused) else node.op
        is_op = isinstance(op, Op | Graph)
        return is_op and every(node.inputs, str) and every(node.outputs, Value)

    found = {
        "inputs, a tuple of Values": every(graph.inputs, Value),
        "params, a tuple of Params": every(graph.params, Param),
        "nodes, a tuple of Nodes": every(graph.nodes, Node) and all(map(is_node, graph.nodes)),
        "outputs, a tuple of names": every(graph.outputs, str),
    }
    if all(found.values()):
        values = (*graph.sources, *(value for node in graph.nodes for value in node.outputs))
        found["types, TensorTypes"] = every(tuple(value.type for value in values), TensorType)
    wrong = [part for part, right in found.items() if not right]
    if wrong:
        raise InvalidGraph(
            "a graph is not made of what graphs are made of",
            where=f"graph '{graph.name}'",
            got=f"something else than {'; '.join(wrong)}",
            wanted="Graph(name, inputs, params, nodes, outputs)",
            remedy="collect it by gx.graph(name, outputs=[...]), or read it by gx.parse(text)",
        )


def check_types(graph: Graph, node: Node) -> None:
    """Check that a node's recorded types are what its op, or its body, infers."""
    operands = graph.types_of(node.inputs)
    if isinstance(node.op, Fused):
        body = node.op.body
        if any(isinstance(inner.op, Fused) for inner in body.nodes):
            raise InvalidGraph(
                "fused nodes do not nest",
                where=node.place,
                got=f"a fused node in the body of '{node.name}'",
                wanted="a body of plain operators",
                remedy="outline the nodes of ir.inline(graph)",
            )
        verify(body)
        if body.structure is not None:
            raise InvalidGraph(
                "the body of a fused node returns values by name",
                where=node.place,
                got=body.structure.spelled(body.outputs),
                wanted=", ".join(body.outputs),
                remedy="build fused nodes with ir.outline",
            )
        wanted = tuple(body.type_of(name) for name in node.op.exports)
        read = tuple((s.name, s.type, body.is_param(s.name)) for s in body.sources)
        given = zip(node.inputs, operands, map(graph.is_param, node.inputs), strict=True)
        if read != tuple(given):
            raise InvalidGraph(
                "a fused node reads exactly the values its body reads",
                where=node.place,
                got=", ".join(node.inputs),
                wanted=", ".join(map(str, body.sources)),
                remedy="build fused nodes with ir.outline",
            )
        if tuple(value.name for value in node.outputs) != node.op.exports:
            raise InvalidGraph(
                "a fused node defines exactly what its body returns",
                where=node.place,
                got=", ".join(value.name for value in node.outputs),
                wanted=", ".join(node.op.exports),
                remedy="build fused nodes with ir.outline",
            )
    else:
        try:
            wanted = (node.op.infer(*operands),)
        except GraphCNNError as error:
            raise error.at(node.place) from None
        if len(node.outputs) != 1 or node.outputs[0].name != node.name:
            raise InvalidGraph(
                "a node defines one value, which bears its name",
                where=node.place,
                got=", ".join(value.name for value in node.outputs),
                wanted=node.name,
                remedy="only fused nodes define several values",
            )
    if tuple(value.type for value in node.outputs) != wanted:
        raise InvalidGraph(
            "the recorded type is not what the op infers",
            where=node.place,
            got=", ".join(map(str, node.outputs)),
            wanted=", ".join(map(str, wanted)),
            remedy="correct the type, or leave it to the front end",
        )


def check_data(param: Param) -> None:
    """Check that a param's data, if it has any, is what its type says, and finite.

    Raises:
        InvalidGraph: for another shape or dtype, or numbers that the dtype does not have.
        NonFiniteWeights: naming the first bad position.
    """
    data, dtype = param.data, param.type.dtype
    if data is None:
        return
    where = f"param '{param.name}'"
    got = (data.shape, data.dtype) if isinstance(data, np.ndarray) else type(data).__name__
    if got != (param.type.shape, dtype.numpy):
        raise InvalidGraph(
            "a param's data does not have the shape and dtype of its type",
            where=where,
            got=got,
            wanted=(param.type.shape, dtype.numpy),
            remedy="give the param data of the declared shape, rounded by its dtype's `round`",
        )
    if not np.isfinite(data).all():
        bad = ~np.isfinite(data)
        first = tuple(int(index) for index in np.argwhere(bad)[0])
        raise NonFiniteWeights(
            f"a weight is NaN or infinite in {dtype}",
            where=f"{where} at {list(first)}",
            got=f"{data[first]} ({int(bad.sum())} of {bad.size} elements are not finite)",
            wanted="finite numbers",
            remedy="check the checkpoint; np.nan_to_num shows where they are"
            + ", and a number beyond 65504 needs another dtype" * (dtype is DType.F16),
        )
    # bfloat16 is the upper half of the float32 that carries it.
    if dtype is DType.BF16 and (data.view(np.uint32) & 0xFFFF).any():
        raise InvalidGraph(
            "a param's data are no bfloat16 numbers",
            where=where,
            got="float32 numbers with more than 8 significant bits",
            wanted="float32 numbers that bfloat16 has",
            remedy="round them: DType.BF16.round(data)",
        )


def check_name(name: object, where: str | None = None) -> None:
    """Check that the text form could read a name back.

    Raises:
        InvalidName: when it could not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidName(
            "a name starts with a letter or _ and goes on with letters, digits or _ . - /",
            where=where,
            got=shown(name),
            remedy="rename it",
        )


def _check_names(graph: Graph, sources: list[str]) -> None:
    defined = list(sources)
    for node in graph.nodes:
        own = [value.name for value in node.outputs]
        # What stays inside a body has a name of its own in the whole graph too.
        inside = (value.name for inner in node.members for value in inner.outputs)
        defined += own + [name for name in inside if name not in own]
    seen: set[str] = set()
    for name in defined:
        check_name(name, f"graph '{graph.name}'")
    for name in defined:
        if name in seen:
            raise InvalidGraph(
                "two values have the same name",
                where=f"graph '{graph.name}'",
                got=name,
                wanted="unique names",
                remedy="pass name=... to one of them",
            )
        seen.add(name)


def _undefined(graph: Graph, node: Node, name: str) -> InvalidGraph:
    """The error for a read of an undefined value: a cycle, a wrong order, or a wrong name."""
    reads = {
        value.name: [i for i in other.inputs if graph.producer(i)]
        for other in graph.nodes
        for value in other.outputs
    }
    try:
        tuple(TopologicalSorter(reads).static_order())
    except CycleError as error:
        return CyclicGraph(
            "a value depends on itself",
            where=node.place,
            got=" -> ".join(reversed(error.args[1])),
            wanted="a graph without cycles",
            remedy="break the cycle: unroll the loop, or read an earlier value",
        )
    late = graph.producer(name) is not None
    return InvalidGraph(
        "a value is read before it is defined" if late else "a value that is read is not defined",
        where=node.place,
        got=name,
        wanted="a name defined on an earlier line",
        remedy="put the nodes in execution order" if late else "check the spelling",
    )
