"""The same network in another dtype."""

from __future__ import annotations

from dataclasses import replace

from graphcnn.ir.fused import inline
from graphcnn.ir.graph import Graph, Node, Param, Value
from graphcnn.ir.interpret import interpret
from graphcnn.ir.types import DType, TensorType
from graphcnn.ir.verify import check_graph


def retype(graph: Graph, dtype: object) -> Graph:
    """The graph, taken apart, with all floating-point values in a dtype, and numbers rounded to it.

    Raises:
        InvalidGraph: for what is not a graph.
        UnknownDType: for what is no dtype (see `DType.of`).
        DTypeMismatch, UnsupportedOp: where an operator does not compute in the dtype.
    """
    check_graph(graph)
    to, flat = DType.of(dtype), inline(graph)

    def of(type: TensorType) -> TensorType:
        return TensorType(type.shape, to) if type.dtype.is_float else type

    def param_of(param: Param) -> Param:
        type = of(param.type)
        data = param.data
        return replace(param, type=type, data=data if data is None else type.dtype.round(data))

    inputs = tuple(Value(value.name, of(value.type)) for value in flat.inputs)
    params = tuple(map(param_of, flat.params))
    types = {p.name: p.type for p in params} | {value.name: value.type for value in inputs}

    def apply(node: Node, operands: tuple[TensorType, ...]) -> TensorType:
        return node.op.infer(*operands)

    types |= dict(interpret(flat.nodes, types.__getitem__, apply))
    nodes = tuple(replace(n, outputs=(Value(n.name, types[n.name]),)) for n in flat.nodes)
    return flat.replace(inputs=inputs, params=params, nodes=nodes)
