"""The PTX of one kernel, as instructions."""

import re
from dataclasses import dataclass


class PtxError(Exception):
    """What a GPU would do wrong, or may: where, and what."""


class UnknownInstruction(Exception):
    """What the interpreter does not know. Nothing is ever skipped."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """`@predicate opcode operands`, with the line of Triton code that it was made from."""

    predicate: str | None
    negated: bool
    opcode: str
    operands: tuple[str, ...]
    line: int
    source: str

    @property
    def parts(self):
        """The opcode's name, then what qualifies it."""
        return tuple(re.split(r"(?<!:)\.", self.opcode))

    def __str__(self):
        guard = f"@{'!' * self.negated}{self.predicate} " if self.predicate else ""
        text = f"{guard}{self.opcode} {', '.join(self.operands)}".strip()
        return f"line {self.line}: {text} ({self.source})"


@dataclass(frozen=True, slots=True)
class Program:
    """A kernel: its parameters by name with their bits, and where each label stands."""

    parameters: dict[str, int]
    registers: dict[str, int]  # bits by name
    instructions: tuple[Instruction, ...]
    labels: dict[str, int]


_STATEMENT = re.compile(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*(.*)", re.DOTALL)
_OPERAND = re.compile(r"(?:<[^>]*>|\[[^\]]*\]|[^,<\[])+")


def parse(text):
    """The only kernel of a module.

    Vectors `{a, b}` become `<a, b>`, and what other braces enclose is taken out of them: what is
    declared there has names of its own in Triton's code.

    Raises UnknownInstruction for what is no instruction.
    """
    head, body = text[text.index(".entry") :].split("{", 1)
    parameters = {n: int(b) for b, n in re.findall(r"\.param \.[usb](\d+)[^,\n]*?(\w+),?\n", head)}
    first = text.count("\n", 0, text.index(body)) + 1
    registers, instructions, labels = {}, [], {}
    source, pending = "", ""
    for number, raw in enumerate(body.splitlines(), first):
        code = raw.split("//")[0].strip()
        if code.startswith((".section", ".file")):
            break
        if code.startswith(".loc"):
            source = raw.split("//")[-1].strip()
            continue
        pending += " " + re.sub(r"{([^{};]*)}", r"<\1>", code)
        *statements, pending = re.split(r"[;{}]|(?<=:)(?=\s|$)", pending)
        for statement in map(str.strip, statements):
            if statement.endswith(":"):
                labels[statement[:-1]] = len(instructions)
            elif statement.startswith(".reg"):
                registers |= _declared(statement)
            elif statement and not statement.startswith("."):
                instructions.append(_instruction(statement, number, source))
    return Program(parameters, registers, tuple(instructions), labels)


def _declared(statement):
    """The registers of `.reg .b32 %r<3>` or `.reg .pred %p`."""
    kind, names = re.fullmatch(r"\.reg \.(\w+)\s+(.+)", statement).groups()
    bits = 1 if kind == "pred" else int(kind[1:])
    found = {}
    for name in re.split(r",\s*", names):
        stem, count = re.fullmatch(r"(%?\w+?)(?:<(\d+)>)?", name).groups()
        found |= {f"{stem}{i}": bits for i in range(int(count))} if count else {stem: bits}
    return found


def _instruction(statement, line, source):
    match = _STATEMENT.fullmatch(statement)
    if match is None:
        raise UnknownInstruction(f"line {line}: {statement}")
    negated, predicate, opcode, rest = match.groups()
    operands = tuple(part.strip() for part in _OPERAND.findall(rest) if part.strip())
    return Instruction(predicate, negated == "!", opcode, operands, line, source)
