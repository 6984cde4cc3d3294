"""The parser of the text form of a graph: `parse(str(graph)) == graph`.

    graph mini {
      input image: f32[1,3,8,8]
      param conv.weight: f32[4,3,3,3]
      conv: f32[1,4,8,8] = conv2d(image, conv.weight, padding=(1, 1, 1, 1))
      relu: f32[1,4,8,8] = relu(conv)
      return relu
    }

A statement is a line. `constant` declares a param that is no weight, as the 2 of `2 * x`. A fused
node prints its body in braces. Attributes with their default value are left out; they are numbers,
strings as Python writes them, and tuples. What follows a # outside a string is a comment. A graph
that returns its outputs in containers spells these as Python does, `return (a, {'more': [b,
None]})`, and a named tuple as `return Pair(first=a, second=b)`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphcnn.errors import GraphCNNError, InvalidGraph, ParseError, UnknownDType, UnknownOp, shown
from graphcnn.ir.graph import Fused, Graph, Node, Param, Value
from graphcnn.ir.op import Op
from graphcnn.ir.structure import MAX_DEPTH, NONE, NONE_NAME, VALUE, Structure
from graphcnn.ir.types import TensorType
from graphcnn.ir.verify import verify

# One token starts at every character, and no alternative looks at one twice: time is linear in the
# text. A keyword is one only before a name, so that values may be called "input" or "return".
_TOKEN = re.compile(
    r"""
    (?P<blank> [^\S\n]+ | \#[^\n]* )
  | (?P<line> \n )
  | (?P<keyword>
      (?:graph|input|param|constant) (?=[^\S\n]+[A-Za-z_]) | return (?=[^\S\n]+[A-Za-z_(\[{])
    )
  | (?P<type> [A-Za-z]\w*\[[0-9,]*\] )
  | (?P<name> [A-Za-z_][\w.\-/]* )
  | (?P<number> [+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? )
  | (?P<string> '[^'\\\n]*(?:\\.[^'\\\n]*)*' | "[^"\\\n]*(?:\\.[^"\\\n]*)*" )
  | (?P<mark> [{}()\[\],:=] )
  | (?P<unknown> . )
    """,
    re.VERBOSE,
)
_NODE = "name: type = op(operands, attribute=value)"
_SOURCES = ("input", "param", "constant")
_LITERAL = "a number, string or tuple"
_RETURNED = "return lists names", "return NAME, NAME"
# By the opening bracket: a container, and the closing one.
_CONTAINERS = {"(": ("tuple", ")"), "[": ("list", "]"), "{": ("dict", "}")}
# Tuples in tuples; no operator has an attribute deeper than 1.
_MAX_DEPTH = 16


def parse(text: str) -> Graph:
    """Read a graph from its text form; the params have types and no data.

    The operators known are those in `Op.registry`: all of them once `graphcnn.ops` is imported,
    which `graphcnn.parse` sees to.

    Raises:
        ParseError: where the text is not a graph, with line and column.
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


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str | None
    text: str
    start: int


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "blank":
            yield _Token(match.lastgroup, match[0], match.start())
    while True:
        yield _Token("end", "", len(text))


class _Parser:
    """Recursive descent with one token ahead; fused bodies, one deep, tuples and
    what is returned are what nests.

    Tokens are made as they are needed, so the first error is also where reading stops.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.token = next(self.tokens)
        self.inside_fused = False
        self.params: set[str] = set()

    def place(self, token: _Token) -> str:
        line = self.text.count("\n", 0, token.start) + 1
        return f"line {line}, column {token.start - self.text.rfind(chr(10), 0, token.start)}"

    def fail(self, what: str, wanted: str, token: _Token | None = None) -> ParseError:
        token = token or self.token
        ends = {"end": "the end of the text", "line": "the end of the line"}
        rest = self.text[token.start : token.start + 60].partition("\n")[0].rstrip()
        return ParseError(
            "the text ends inside the graph" if token.kind == "end" else what,
            where=self.place(token),
            got=ends.get(str(token.kind), rest),
            wanted=wanted,
            remedy="str(graph) prints the form that is read here",
        )

    def take(self) -> _Token:
        token, self.token = self.token, next(self.tokens)
        return token

    def accept(self, text: str) -> bool:
        found = self.token.kind in ("keyword", "mark") and self.token.text == text
        if found:
            self.take()
        return found

    def expect(self, text: str, what: str, wanted: str) -> None:
        if not self.accept(text):
            raise self.fail(what, wanted)

    def name(self, what: str, wanted: str) -> str:
        if self.token.kind != "name":
            raise self.fail(what, wanted)
        return self.take().text

    def end_line(self, what: str, wanted: str) -> None:
        """The end of a statement, and empty lines after it."""
        if self.token.kind not in ("line", "end"):
            raise self.fail(what, wanted)
        while self.token.kind == "line":
            self.take()

    def graph(self) -> Graph:
        header = "a graph starts with its name", "graph NAME {"
        while self.token.kind == "line":
            self.take()
        self.expect("graph", *header)
        name = self.name(*header)
        self.expect("{", *header)
        self.end_line(*header)
        inputs: list[Value] = []
        params: list[Param] = []
        while kind := next(filter(self.accept, _SOURCES), ""):
            value = self.value("an input or param has a name and a type", "input x: f32[1,3,8,8]")
            self.end_line("a line holds one input or param", "the end of the line")
            if kind == "input":
                inputs.append(value)
            else:
                params.append(Param(value.name, value.type, constant=kind == "constant"))
                self.params.add(value.name)
        types = {value.name: value.type for value in inputs}
        types |= {param.name: param.type for param in params}
        body = self.body(types)
        if self.token.kind != "end":
            raise self.fail("text follows the graph", "the end of the text")
        return Graph(name, tuple(inputs), tuple(params), *body)

    def body(
        self, types: dict[str, TensorType]
    ) -> tuple[tuple[Node, ...], tuple[str, ...], Structure | None]:
        """Nodes and what is returned, up to the brace; adds what the nodes define to `types`."""
        nodes: list[Node] = []
        while not self.accept("return"):
            nodes.append(self.node(types))
            self.end_line("a line holds one node", "the end of the line")
            types.update({value.name: value.type for value in nodes[-1].outputs})
        outputs: list[str] = []
        first = self.returned(outputs)
        structure = first if first.is_container else None
        while structure is None and self.accept(","):
            outputs.append(self.name(*_RETURNED))
        self.end_line(*_RETURNED)
        self.expect("}", "a graph ends after its return", "}")
        if not self.inside_fused:
            self.end_line("text follows the graph", "the end of the text")
        return tuple(nodes), tuple(outputs), structure

    def returned(self, outputs: list[str], depth: int = 0) -> Structure:
        """A name, None, or a container of such; adds the names to `outputs`."""
        name = self.take().text if self.token.kind == "name" else ""
        brackets = ("(",) if name else _CONTAINERS
        opening = next(filter(self.accept, brackets), None)
        if opening is None and name == NONE_NAME and depth:
            return NONE
        if opening is None:
            outputs.append(name or self.name(*_RETURNED))
            return VALUE
        if depth == MAX_DEPTH:
            raise self.fail(f"containers nest at most {MAX_DEPTH} deep", _RETURNED[1])
        kind, closing = ("named", ")") if name else _CONTAINERS[opening]
        parts: list[Structure] = []
        keys: list[Any] = []
        more = True
        while more and not self.accept(closing):
            if kind in ("dict", "named"):
                keys.append(self.literal() if kind == "dict" else self.name(*_RETURNED))
                self.expect(":" if kind == "dict" else "=", *_RETURNED)
            parts.append(self.returned(outputs, depth + 1))
            more = self.accept(",")
            if not more:
                self.expect(closing, *_RETURNED)
        if kind == "tuple" and len(parts) == 1 and not more:
            return parts[0]
        return Structure(kind, tuple(parts), tuple(keys), name)

    def node(self, types: dict[str, TensorType]) -> Node:
        line = "a line is not a node", _NODE
        outputs = [self.value(*line)]
        while self.accept(","):
            outputs.append(self.value(*line))
        self.expect("=", *line)
        at, op_name = self.token, self.name(*line)
        self.expect("(", *line)
        operands, attributes = self.arguments()
        if op_name == Fused.name and not attributes:
            op: Op = self.fused(at, outputs[-1].name, operands, types)
        else:
            op = self.op(at, op_name, attributes)
        return Node(outputs[-1].name, op, operands, tuple(outputs))

    def arguments(self) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Operands and attributes, up to the closing parenthesis."""
        operands: list[str] = []
        attributes: dict[str, Any] = {}
        while not self.accept(")"):
            at, word = self.token, self.name("an argument cannot be read", _NODE)
            if not self.accept("="):
                operands.append(word)
            elif word in attributes:
                raise self.fail("an attribute is given twice", "each attribute once", at)
            else:
                attributes[word] = self.literal()
            if not self.accept(","):
                self.expect(")", "a comma or parenthesis is missing", ", or )")
                break
        return tuple(operands), attributes

    def fused(
        self, at: _Token, name: str, operands: tuple[str, ...], types: dict[str, TensorType]
    ) -> Fused:
        if self.inside_fused:
            raise self.fail("fused nodes do not nest", "a plain operator in the body", at)
        self.expect("{", "a fused node has a body", "fused(...) {")
        self.end_line("a fused node has a body", "fused(...) {")
        for operand in operands:
            if operand not in types:
                raise InvalidGraph(
                    "a value that is read is not defined",
                    where=self.place(at),
                    got=operand,
                    wanted="a name defined on an earlier line",
                    remedy="check the spelling and the order of the lines",
                )
        # The body adds its own values to this copy; what enters is read off before.
        entering = {operand: types[operand] for operand in operands}
        inputs = tuple(Value(*item) for item in entering.items() if item[0] not in self.params)
        params = tuple(Param(*item) for item in entering.items() if item[0] in self.params)
        self.inside_fused = True
        body = Graph(name, inputs, params, *self.body(entering))
        self.inside_fused = False
        return Fused(body)

    def op(self, at: _Token, name: str, attributes: dict[str, Any]) -> Op:
        if name not in Op.registry:
            raise UnknownOp(
                f"there is no operator {shown(name)}",
                where=self.place(at),
                got=shown(name),
                wanted=", ".join(sorted(Op.registry)),
                remedy="operators carry torch.nn.functional's names",
            )
        cls = Op.registry[name]
        fields = list(cls.__dataclass_fields__)  # type: ignore[attr-defined]  # ops are dataclasses
        listed = ", ".join(fields) or "no attributes"
        for key in attributes:
            if key not in fields or cls is Fused:
                raise self.fail(f"{name} has no attribute '{key}'", listed, at)
        try:
            return cls(**attributes)
        except (TypeError, ValueError) as error:
            raise self.fail(f"the attributes of {name} do not fit: {error}", listed, at) from None
        except GraphCNNError as error:
            raise error.at(self.place(at)) from None

    def literal(self, depth: int = 0) -> Any:
        at = self.token
        if self.accept("("):
            if depth == _MAX_DEPTH:
                raise self.fail(f"tuples nest at most {_MAX_DEPTH} deep", _LITERAL, at)
            return self.tuple(depth + 1)
        if at.kind not in ("number", "string") and at.text not in ("True", "False"):
            raise self.fail("an attribute's value cannot be read", _LITERAL)
        self.take()
        try:
            return ast.literal_eval(at.text)
        except (ValueError, SyntaxError):
            raise self.fail("an attribute's value cannot be read", _LITERAL, at) from None

    def tuple(self, depth: int) -> Any:
        """The rest of a tuple; like Python, one value in parentheses is that value."""
        items: list[Any] = []
        while not self.accept(")"):
            items.append(self.literal(depth))
            if not self.accept(","):
                self.expect(")", "a comma or parenthesis is missing", ", or )")
                return tuple(items) if len(items) > 1 else items[0]
        return tuple(items)

    def value(self, what: str, wanted: str) -> Value:
        name = self.name(what, wanted)
        self.expect(":", what, wanted)
        at = self.token
        if at.kind != "type":
            raise self.fail("a value has a name and a type", "x: f32[1,3,8,8]")
        self.take()
        try:
            return Value(name, TensorType.parse(at.text))
        except UnknownDType as error:
            raise error.at(self.place(at)) from None
        except (ValueError, GraphCNNError) as error:
            raise self.fail("a type cannot be read", str(error), at) from None
