"""A graph as a program of the functional front end.

The text form, `str(graph)`, is exact: it has fused groups and every node, `gx.parse` reads it
without running anything, and graphs are saved in it. A program is for going on: to change a network
that came from a file, an importer or a compile by hand, with loops, other sizes and other layers.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from inspect import Parameter, signature
from itertools import groupby

from graphcnn.errors import UnsupportedOp
from graphcnn.frontend.expr import public
from graphcnn.ir.graph import Fused, Graph, Node, Param, Value, literal
from graphcnn.ir.op import Op
from graphcnn.ir.structure import Structure
from graphcnn.ir.types import DType
from graphcnn.ir.verify import verify
from graphcnn.ops import Concat, Pooling, RandomUniform

_WIDTH = 100
# Attributes that may be one number for all dimensions, or sides.
_SHORT = ("kernel_size", "stride", "padding", "output_padding", "dilation", "output_size")
# Attributes that the parameter of the function is not called after.
_RENAMED = {("expand", "shape"): "sizes"}
# Parameters that are neither attributes nor operands.
_UNUSED = {"instance_norm": {"running_mean", "running_var", "use_input_stats"}}


def as_python(graph: Graph) -> str:
    """The source of a program that builds a graph by the functions of `gx`, as `network`.

    That is equal to the graph, fused groups apart, which comments mark, and without what no output
    depends on. Lone constants stand in it as numbers, weights and other constants as params by name
    and shape: `load_weights(network, {p.name: p.data for p in graph.params})` fills them.

    Raises:
        InvalidGraph: or another error of the graph, for what is not a valid one.
        UnsupportedOp: for an operator that has no public function.
    """
    verify(graph)
    names = _identifiers(graph)
    outputs = [names[name] for name in graph.outputs]
    returned = [f"[{', '.join(outputs)}]"]
    if graph.structure is not None:
        returned = [graph.structure.spelled(outputs, _named_tuple), "structured=True"]
    imported = ["from collections import namedtuple", ""] * ("namedtuple(" in returned[0])
    blocks = [[*imported, "import graphcnn as gx"]]
    for sources in (graph.inputs, graph.params):
        blocks.append([_call(names[source.name], *_declared(source)) for source in sources])
    for fused, nodes in groupby(graph.nodes, lambda n: n.name if isinstance(n.op, Fused) else ""):
        members = [member for node in nodes for member in node.members]
        title = [f"# One kernel: {' + '.join(m.op.name for m in members)}"] if fused else []
        blocks.append([*title, *(_line(member, names) for member in members)])
    blocks.append([_call("network", "graph", [json.dumps(graph.name), *returned])])
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _identifiers(graph: Graph) -> dict[str, str]:
    """A variable for every value, by its name."""
    values = [source.name for source in graph.sources]
    values += [value.name for node in graph.nodes for m in node.members for value in m.outputs]
    found: dict[str, str] = {}
    taken = {"gx", "namedtuple", "network"}
    for name in values:
        stem = re.sub(r"[^A-Za-z0-9_]", "_", name)
        stem += "_" * keyword.iskeyword(stem)
        variable, count = stem, 1
        while variable in taken:
            count += 1
            variable = f"{stem}_{count}"
        taken.add(variable)
        found[name] = variable
    return found


def _named_tuple(structure: Structure) -> str:
    return f"namedtuple({structure.name!r}, {structure.keys!r})"


def _declared(source: Value | Param) -> tuple[str, list[str]]:
    """The function that makes an input, a param or a constant, and its arguments."""
    function, first = "input", literal(source.type.shape)
    if isinstance(source, Param):
        function = "param"
        if source.constant and source.data is not None and not source.type.shape:
            function, first = "constant", str(source.data)
    dtype = source.type.dtype
    others = [] if dtype is DType.F32 else [json.dumps(dtype.long_name)]
    return function, [json.dumps(source.name), first, *others]


def _line(node: Node, names: dict[str, str]) -> str:
    """The call that makes a node."""
    function = public(node.op.name)
    if function is None:
        raise UnsupportedOp(
            f"no public function makes {node.op.name}",
            where=node.place,
            got=node.op.name,
            remedy="str(graph) prints any graph",
        )
    operands = [names[name] for name in node.inputs]
    if isinstance(node.op, Concat):
        operands = [f"[{', '.join(operands)}]"]
    parameters = signature(function).parameters.values()
    arguments = (*_operands(node.op, operands, parameters), *_attributes(node.op))
    return _call(names[node.name], node.op.name, [*arguments, f"name={json.dumps(node.name)}"])


def _operands(op: Op, operands: list[str], parameters: Iterable[Parameter]) -> Iterator[str]:
    """Operands by position, as long as no attribute stands before them, and then by name."""
    attributes = {_RENAMED.get((op.name, f.name), f.name) for f in fields(op)}  # type: ignore[arg-type]  # every op is a dataclass
    others = attributes | _UNUSED.get(op.name, set()) | {"name"}
    left = iter(operands)
    in_front = True
    for parameter in parameters:
        if parameter.name in others or parameter.kind is Parameter.VAR_POSITIONAL:
            in_front = False
        elif (operand := next(left, None)) is not None:
            yield operand if in_front else f"{parameter.name}={operand}"


def _attributes(op: Op) -> Iterator[str]:
    """Attributes that the function would not take by itself."""
    given = op.attributes()
    if isinstance(op, RandomUniform):
        given["bits"] = op.bits  # the function's default depends on the dtype
    for name, value in given.items():
        if name == "stride" and isinstance(op, Pooling) and value == op.kernel_size:
            continue
        same = value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
        spelled = _RENAMED.get((op.name, name), name)
        yield f"{spelled}={literal(same if name in _SHORT else value)}"


def _call(variable: str, function: str, arguments: list[str]) -> str:
    """An assignment, on as many lines as it needs."""
    line = f"{variable} = gx.{function}({', '.join(arguments)})"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"{variable} = gx.{function}(", *(f"    {a}," for a in arguments), ")"])
