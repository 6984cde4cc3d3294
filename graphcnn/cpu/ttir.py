"""Triton IR as a light tree of operations, parsed from the text every Triton version prints.

The text is the interface because it is the one form of the IR that carries everything (attributes,
types, source locations) and needs no compiled bindings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from graphcnn.cpu.refusal import REMEDY, understanding
from graphcnn.errors import UnsupportedTritonOp

_NAME = re.compile(r"%[\w$.\-]+(?:#\d+)?")
_OPERATION = re.compile(r'(?:(%[\w$.\-:, %]+) = )?"?([\w.]+)"?(.*)$')
_LOCATION = re.compile(r" ?loc\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)")


@dataclass(frozen=True, slots=True)
class Type:
    """A scalar or tensor type; for pointers `element` is the pointee."""

    element: str
    shape: tuple[int, ...] = ()
    pointer: bool = False

    def __str__(self) -> str:
        text = f"!tt.ptr<{self.element}>" if self.pointer else self.element
        return f"tensor<{'x'.join(map(str, self.shape))}x{text}>" if self.shape else text

    def of(self, element: str, *, pointer: bool = False) -> Type:
        """The same shape with another element type."""
        return Type(element, self.shape, pointer)


@dataclass(eq=False, slots=True)
class Value:
    """An SSA value: the result of `owner`, or a block argument when that is None."""

    name: str
    type: Type
    owner: Operation | None = None
    users: list[Operation] = field(default_factory=list)

    @property
    def op(self) -> str:
        """The name of the defining operation; "" for a block argument."""
        return self.owner.name if self.owner else ""


@dataclass(eq=False, slots=True)
class Block:
    """A straight list of operations with its arguments."""

    arguments: list[Value]
    operations: list[Operation] = field(default_factory=list)

    @property
    def terminator(self) -> Operation:
        """The last operation: a yield, a return, a condition."""
        return self.operations[-1]

    @property
    def yielded(self) -> list[Value]:
        """What the block hands on; nothing where the text leaves the terminator out."""
        ends = self.operations and self.terminator.name.endswith((".yield", ".return"))
        return self.terminator.operands if ends else []


@dataclass(eq=False, slots=True)
class Operation:
    """One operation; `text` is what follows its name, for the attributes."""

    name: str
    text: str
    where: str
    operands: list[Value] = field(default_factory=list)
    results: list[Value] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    @property
    def line(self) -> str:
        """The operation as it is written, without its results and regions."""
        return f"{self.name} {self.text}"

    @property
    def result(self) -> Value:
        """The first result."""
        return self.results[0]

    def integer(self, attribute: str) -> int:
        """The value of an integer attribute written as `attribute = 3`."""
        match = re.search(rf"\b{attribute} = (-?\d+)", self.text)
        assert match, f"{self.name} has no attribute {attribute}"
        return int(match.group(1))

    def unsupported(self) -> UnsupportedTritonOp:
        """The error for an operation the backend cannot compile."""
        return UnsupportedTritonOp(
            f"the CPU backend cannot compile the Triton operation {self.name}",
            where=self.where,
            got=self.line[:120],
            remedy=REMEDY,
        )

    def walk(self) -> Iterator[Operation]:
        """This operation and all those nested in it."""
        yield self
        for block in self.blocks:
            for operation in block.operations:
                yield from operation.walk()


@dataclass(slots=True)
class Function:
    """The kernel: its parameters and body."""

    name: str
    parameters: list[Value]
    body: Block


def parse_type(text: str) -> Type:
    """`tensor<128x32x!tt.ptr<f32>>`, `!tt.ptr<f16>`, `i32`, ... as a `Type`."""
    text = text.strip()
    shape: tuple[int, ...] = ()
    if match := re.match(r"tensor<((?:\d+x)*)(.*)>$", text):
        shape = tuple(int(size) for size in match.group(1).split("x") if size)
        text = match.group(2)
    if match := re.match(r"!tt\.ptr<(.*)>$", text):
        return Type(match.group(1).split(",")[0].strip(), shape, pointer=True)
    return Type(text, shape)


def split_list(text: str) -> list[str]:
    """Split on commas that stand outside brackets."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        if character in "<([{":
            depth += 1
        elif character in ")]}" or (character == ">" and text[position - 1] != "-"):
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts


def parse(text: str) -> Function:
    """Parse a module that holds one public function.

    Raises:
        UnsupportedTritonOp: naming the line that is not Triton IR as this package knows it.
    """
    return _Parser(text).function()


class _Locations:
    """Source positions of lines, resolved through `#loc` aliases and call sites."""

    def __init__(self, text: str) -> None:
        self.alias = dict(re.findall(r"^(#loc\d*) = loc\((.*)\)\s*$", text, re.MULTILINE))

    def of(self, line: str) -> str:
        match = re.search(r"loc\((.*)\)[\s{(]*$", line)
        files = self._files(match.group(1)) if match else []
        # A call into Triton's own library is reported at the line that calls it.
        own = [file for file in files if "/triton/language/" not in file]
        return (own or files or ["unknown location"])[0]

    def _files(self, body: str, depth: int = 0) -> list[str]:
        files = [f"{file}:{line}" for file, line in re.findall(r'"([^"]+)":(\d+)', body)]
        if depth < 16:
            for name in re.findall(r"#loc\d*", body):
                files += self._files(self.alias.get(name, ""), depth + 1)
        return files


class _Parser:
    def __init__(self, text: str) -> None:
        locations = _Locations(text)
        raw = [line for line in text.splitlines() if line.strip() and not line.startswith("#loc")]
        self.where = [locations.of(line) for line in raw]
        self.lines = [_LOCATION.sub("", line).strip() for line in raw]
        self.values: dict[str, Value] = {}
        self.position = 0

    def function(self) -> Function:
        while not (line := self._line()).startswith("tt.func public"):
            self.position += 1
        with understanding(line, self.where[self.position]):
            match = re.match(r"tt\.func public @([\w.$]+)\((.*?)\)\s*(attributes.*)?\{$", line)
            assert match, line
            parameters = [self._argument(part) for part in split_list(match.group(2))]
        self.position += 1
        return Function(match.group(1), parameters, self._block([]))

    def _line(self) -> str:
        if self.position < len(self.lines):
            return self.lines[self.position]
        raise UnsupportedTritonOp(
            "a text of Triton IR ends before its function does",
            where=self.where[-1] if self.where else "the whole text",
            got=self.lines[-1][:120] if self.lines else "no operation",
            remedy=REMEDY,
        )

    def _argument(self, text: str) -> Value:
        name, kind = text.split(": ", 1)
        return self._define(name.strip(), parse_type(re.sub(r" \{.*\}$", "", kind)), None)

    def _define(self, name: str, kind: Type, owner: Operation | None) -> Value:
        value = self.values[name] = Value(name, kind, owner)
        return value

    def _block(self, arguments: list[Value]) -> Block:
        """Parse up to the closing brace, where `position` is left."""
        block = Block(arguments)
        while not (line := self._line()).startswith("}"):
            if match := re.match(r"\^bb0\((.*)\):$", line):
                block.arguments = [self._argument(part) for part in split_list(match.group(1))]
                self.position += 1
                continue
            where = self.where[self.position]
            with understanding(line, where):
                block.operations.append(self._operation(line, where))
        return block

    def _operation(self, line: str, where: str) -> Operation:
        match = _OPERATION.match(line)
        assert match, line
        written, name, rest = match.groups()
        operation = Operation(name, rest.strip(), where)
        self.position += 1
        if name in ("scf.for", "scf.while", "scf.if"):
            types = getattr(self, "_" + name.replace(".", "_"))(operation)
        elif rest.rstrip().endswith("({"):
            self._use(operation, rest.split(")")[0])
            operation.blocks.append(self._block([]))
            operation.where = self.where[self.position]
            types = _arrow_types(self._line())
            self.position += 1
        else:
            # Of `ub.poison : i32` all is tail.
            head, _, tail = f" {operation.text}".rpartition(" : ")
            self._use(operation, head or operation.text)
            types = _result_types(operation, tail.strip())
        names: list[str] = []
        for part in written.split(", ") if written else ():
            result, _, count = part.partition(":")
            names += [f"{result}#{i}" for i in range(int(count))] if count else [result]
        if len(types) == 1:
            types = types * len(names)
        operation.results = [
            self._define(name, kind, operation)
            for name, kind in zip(names, types if names else (), strict=True)
        ]
        return operation

    def _use(self, operation: Operation, text: str) -> None:
        text = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
        for name in _NAME.findall(text):
            operation.operands.append(self.values[name])
            self.values[name].users.append(operation)

    def _scf_for(self, operation: Operation) -> list[Type]:
        match = re.match(
            r"(?:unsigned )?(%[\w$.\-]+) = (\S+) to (\S+) step (\S+)"
            r"(?: iter_args\((.*)\) -> \((.*)\))?\s*(?::\s*(\w+))?\s*\{$",
            operation.text,
        )
        assert match, operation.text
        induction, low, high, step, carried, types, kind = match.groups()
        pairs = [part.split(" = ") for part in split_list(carried or "")]
        self._use(operation, " ".join([low, high, step, *(initial for _, initial in pairs)]))
        results = [parse_type(part) for part in split_list(types or "")]
        arguments = [self._define(induction, Type(kind or "i32"), None)]
        arguments += [
            self._define(name, kind, None) for (name, _), kind in zip(pairs, results, strict=True)
        ]
        operation.blocks.append(self._block(arguments))
        self.position += 1
        return results

    def _scf_if(self, operation: Operation) -> list[Type]:
        match = re.match(r"(\S+)(?: -> \((.*)\))? \{$", operation.text)
        assert match, operation.text
        self._use(operation, match.group(1))
        operation.blocks.append(self._block([]))
        if self._line().startswith("} else {"):
            self.position += 1
            operation.blocks.append(self._block([]))
        self.position += 1
        return [parse_type(part) for part in split_list(match.group(2) or "")]

    def _scf_while(self, operation: Operation) -> list[Type]:
        match = re.match(r"(?:\((.*?)\) )?: \((.*)\) -> (.*) \{$", operation.text)
        assert match, operation.text
        pairs = [part.split(" = ") for part in split_list(match.group(1) or "")]
        self._use(operation, " ".join(initial for _, initial in pairs))
        arguments = [
            self._define(name, parse_type(kind), None)
            for (name, _), kind in zip(pairs, split_list(match.group(2)), strict=True)
        ]
        operation.blocks.append(self._block(arguments))
        self.position += 1
        operation.blocks.append(self._block([]))
        self.position += 1
        return _arrow_types("-> " + match.group(3))


def _arrow_types(text: str) -> list[Type]:
    kinds = text.rsplit("-> ", 1)[1].strip()
    if kinds.startswith("("):
        kinds = kinds[1:-1]
    return [parse_type(part) for part in split_list(kinds)]


def _result_types(operation: Operation, tail: str) -> list[Type]:
    name = operation.name
    if "->" in tail:
        return _arrow_types(tail)
    if " to " in tail:
        return [parse_type(tail.rsplit(" to ", 1)[1])]
    if not tail:
        return [Type("i1")]
    kinds = [parse_type(part) for part in split_list(tail)]
    if name in ("arith.cmpi", "arith.cmpf"):
        return [kinds[0].of("i1")]
    if name == "tt.load":
        return [kinds[0].of(kinds[0].element)]
    if name == "arith.select":
        return [kinds[-1]]
    return [kinds[0]]
