"""The text form of a graph, and its parser: `parse(str(graph)) == graph`.

    graph mini {
      input image: f32[1,3,8,8]
      param conv.weight: f32[4,3,3,3]
      conv: f32[1,4,8,8] = conv2d(image, conv.weight, padding=(1, 1, 1, 1))
      relu: f32[1,4,8,8] = relu(conv)
      return relu
    }

A fused node prints its body in braces. Attributes with their default value are left out.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from graphcnn.errors import GraphCNNError, InvalidGraph, ParseError, UnknownDType, UnknownOp
from graphcnn.ir.fused import Fused
from graphcnn.ir.graph import Graph, Node, Param, Value
from graphcnn.ir.op import Op
from graphcnn.ir.types import TensorType
from graphcnn.ir.verify import verify

_NAME = r"[A-Za-z_][\w.\-/]*"
_VALUE = re.compile(rf"({_NAME})\s*:\s*(\w+\[[\d,]*\])")
_HEADER = re.compile(rf"graph\s+({_NAME})\s*\{{")
_SOURCE = re.compile(rf"(input|param)\s+({_NAME}\s*:\s*\w+\[[\d,]*\])")
_NODE = re.compile(r"(.+?)\s*=\s*(\w+)\((.*?)\)(\s*\{)?")
_RETURN = re.compile(rf"return\s+({_NAME}(?:\s*,\s*{_NAME})*)")
_ATTRIBUTE = re.compile(r"([a-z_]\w*)\s*=\s*(.+)")


def format_graph(graph: Graph) -> str:
    """The text form."""
    sources = [f"  input {value}" for value in graph.inputs]
    sources += [f"  param {param}" for param in graph.params]
    body = [f"  {line}" for line in _format_body(graph)]
    return "\n".join([f"graph {graph.name} {{", *sources, *body, "}"])


def _format_body(graph: Graph) -> list[str]:
    lines: list[str] = []
    for node in graph.nodes:
        defined = ", ".join(map(str, node.outputs))
        if isinstance(node.op, Fused):
            lines.append(f"{defined} = fused({', '.join(node.inputs)}) {{")
            lines += [f"  {line}" for line in _format_body(node.op.body)]
            lines.append("}")
        else:
            attributes = [f"{name}={_literal(v)}" for name, v in node.op.attributes().items()]
            lines.append(f"{defined} = {node.op.name}({', '.join([*node.inputs, *attributes])})")
    lines.append(f"return {', '.join(graph.outputs)}")
    return lines


def _literal(value: object) -> str:
    # repr of an infinity is not a Python literal; 1e999 reads back as one.
    return repr(value).replace("inf", "1e999")


def parse(text: str) -> Graph:
    """Read a graph from its text form; the params have types and no data.

    The operators known are those in `Op.registry`: all of them once `graphcnn.ops` is imported,
    which `graphcnn.parse` sees to.

    Raises:
        ParseError: where the text is not a graph, with the line.
        UnknownOp: for an operator that graphcnn does not have.
        InvalidGraph: or a shape error, when the graph it spells breaks a rule.
    """
    if not isinstance(text, str):
        raise ParseError(
            "the text form of a graph is a string",
            where="the argument text",
            got=type(text).__name__,
            remedy="decode bytes first; gx.load reads a file",
        )
    graph = _Parser(text).graph()
    verify(graph)
    return graph


class _Parser:
    """Recursive descent over lines; a fused body is the only nesting."""

    def __init__(self, text: str) -> None:
        stripped = ((n, line.split("#")[0].strip()) for n, line in enumerate(text.split("\n"), 1))
        self.lines = [(number, line) for number, line in stripped if line]
        self.at = 0
        self.inside_fused = False
        self.params: set[str] = set()

    def fail(self, what: str, *, got: str, wanted: str) -> ParseError:
        number = self.lines[min(self.at, len(self.lines) - 1)][0] if self.lines else 1
        return ParseError(
            what,
            where=f"line {number}",
            got=got,
            wanted=wanted,
            remedy="str(graph) prints the form that is read here",
        )

    def next(self, wanted: str) -> str:
        if self.at >= len(self.lines):
            raise self.fail("the text ends inside the graph", got="end of text", wanted=wanted)
        return self.lines[self.at][1]

    def graph(self) -> Graph:
        line = self.next("graph NAME {")
        header = _HEADER.fullmatch(line)
        if not header:
            raise self.fail("a graph starts with its name", got=line, wanted="graph NAME {")
        self.at += 1
        inputs: list[Value] = []
        params: list[Param] = []
        while source := _SOURCE.fullmatch(self.next("input, param or a node")):
            value = self.value(source[2])
            if source[1] == "input":
                inputs.append(value)
            else:
                params.append(Param(value.name, value.type))
                self.params.add(value.name)
            self.at += 1
        types = {value.name: value.type for value in inputs}
        types |= {param.name: param.type for param in params}
        nodes, outputs = self.body(types)
        if self.at < len(self.lines):
            raise self.fail(
                "text follows the graph", got=self.lines[self.at][1], wanted="end of text"
            )
        return Graph(header[1], tuple(inputs), tuple(params), nodes, outputs)

    def body(self, types: dict[str, TensorType]) -> tuple[tuple[Node, ...], tuple[str, ...]]:
        """Nodes up to `return` and the closing brace; adds what they define to `types`."""
        nodes: list[Node] = []
        while not (returned := _RETURN.fullmatch(self.next("a node or return"))):
            nodes.append(self.node(types))
            types.update({value.name: value.type for value in nodes[-1].outputs})
        self.at += 1
        if (line := self.next("}")) != "}":
            raise self.fail("a graph ends after its return", got=line, wanted="}")
        self.at += 1
        return tuple(nodes), tuple(name.strip() for name in returned[1].split(","))

    def node(self, types: dict[str, TensorType]) -> Node:
        line = self.next("a node")
        form = "name: type = op(operands, attribute=value)"
        match = _NODE.fullmatch(line)
        if not match:
            raise self.fail("a line is not a node", got=line, wanted=form)
        defined, op_name, arguments, opens = match.groups()
        outputs = tuple(self.value(text) for text in _split(defined))
        operands: list[str] = []
        attributes: dict[str, Any] = {}
        for argument in _split(arguments):
            if attribute := _ATTRIBUTE.fullmatch(argument):
                attributes[attribute[1]] = self.literal(attribute[2])
            elif re.fullmatch(_NAME, argument):
                operands.append(argument)
            else:
                raise self.fail("an argument cannot be read", got=argument, wanted=form)
        name = outputs[-1].name
        if op_name == "fused":
            if not opens:
                raise self.fail("a fused node has a body", got=line, wanted="fused(...) {")
            if self.inside_fused:
                raise self.fail(
                    "fused nodes do not nest", got=line, wanted="a plain operator in the body"
                )
            op: Op = self.fused(name, tuple(operands), types)
        else:
            op = self.op(op_name, attributes)
            self.at += 1
        return Node(name, op, tuple(operands), outputs)

    def fused(self, name: str, operands: tuple[str, ...], types: dict[str, TensorType]) -> Fused:
        for operand in operands:
            if operand not in types:
                raise InvalidGraph(
                    "a value that is read is not defined",
                    where=f"line {self.lines[self.at][0]}",
                    got=operand,
                    wanted="a name defined on an earlier line",
                    remedy="check the spelling and the order of the lines",
                )
        self.at += 1
        # The body adds its own values to this copy; what enters is read off before.
        entering = {operand: types[operand] for operand in operands}
        inputs = tuple(Value(*item) for item in entering.items() if item[0] not in self.params)
        params = tuple(Param(*item) for item in entering.items() if item[0] in self.params)
        self.inside_fused = True
        nodes, outputs = self.body(entering)
        self.inside_fused = False
        return Fused(Graph(name, inputs, params, nodes, outputs))

    def op(self, name: str, attributes: dict[str, Any]) -> Op:
        if name not in Op.registry or name == Fused.name:
            raise UnknownOp(
                f"there is no operator '{name}'",
                where=f"line {self.lines[self.at][0]}",
                got=name,
                wanted=", ".join(sorted(Op.registry)),
                remedy="operators carry torch.nn.functional's names",
            )
        cls = Op.registry[name]
        fields = list(cls.__dataclass_fields__)  # type: ignore[attr-defined]  # ops are dataclasses
        unknown = [key for key in attributes if key not in fields]
        if unknown:
            raise self.fail(
                f"{name} has no attribute '{unknown[0]}'",
                got=unknown[0],
                wanted=", ".join(fields) or "no attributes",
            )
        try:
            return cls(**attributes)
        except (TypeError, ValueError) as error:
            raise self.fail(
                f"the attributes of {name} do not fit", got=str(error), wanted=", ".join(fields)
            ) from None
        except GraphCNNError as error:
            raise error.at(f"line {self.lines[self.at][0]}") from None

    def literal(self, text: str) -> Any:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
        if not isinstance(value, int | float | bool | str | tuple):
            raise self.fail(
                "an attribute's value cannot be read", got=text, wanted="a number, string or tuple"
            )
        return value

    def value(self, text: str) -> Value:
        match = _VALUE.fullmatch(text.strip())
        if not match:
            raise self.fail("a value has a name and a type", got=text, wanted="x: f32[1,3,8,8]")
        try:
            return Value(match[1], TensorType.parse(match[2]))
        except UnknownDType as error:
            raise error.at(f"line {self.lines[self.at][0]}") from None
        except (ValueError, GraphCNNError) as error:
            raise self.fail("a type cannot be read", got=text, wanted=str(error)) from None


def _split(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    tail = text[start:].strip()
    return [*parts, tail] if tail else parts
