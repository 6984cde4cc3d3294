"""Machine code as a list of instructions: which they are, and where each may go next.

Three languages are read: SASS, as cuobjdump prints it, which jumps to addresses; PTX, and the
assembly of AMD's GPUs, which jump to labels.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple


class Instruction(NamedTuple):
    """One instruction.

    Attributes:
        name: With its suffixes, as "LDGSTS.E.BYPASS.128".
        text: All of it but for what predicates it.
        target: Index of the instruction that it may jump to.
        goes_on: Whether the next one may follow it.
    """

    name: str
    text: str
    target: int | None = None
    goes_on: bool = True


_SASS = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+\s+)?([A-Z]\S*)\s*([^;]*);")
# What is called may never come back: ptxas calls the rest of a kernel, too.
_JUMP = re.compile(r"(?:BRA|JMP|CALL)\b")
_END = re.compile(r"(?:EXIT|RET|BRX|JMX)\b")


def of_sass(text: str) -> list[Instruction]:
    """The instructions of one kernel. A call may jump, and go on behind it."""
    lines = _SASS.findall(text)
    places = [int(place, 16) for place, *_ in lines]
    found = []
    for _, predicate, name, operands in lines:
        target = None
        # Before the address there may be a predicate: "BRA.U !UP1, 0x140".
        jump = re.search(r"^(.*?)\b0x([0-9a-f]+)\s*$", operands) if _JUMP.match(name) else None
        if jump:
            target = bisect_left(places, int(jump[2], 16))
        jumps = jump is not None and not jump[1].strip() and not name.startswith("CALL")
        always = not predicate and (jumps or bool(_END.match(name)))
        found.append(Instruction(name, f"{name} {operands}".strip(), target, not always))
    return found


_LINE = re.compile(r"^\s*(?:([\w$.]+):(?!:)|(@!?%?\w+\s+)?([a-z_][\w.:]*)(?=[\s;]|$)([^;/]*))")
_BRANCH = re.compile(r"(?:bra|s_branch|s_cbranch\w*)\b")
_STOP = re.compile(r"(?:ret|exit|trap|s_endpgm|s_setpc_b64)\b")


def of_labels(text: str) -> list[Instruction]:
    """The instructions of one kernel in PTX, or in the assembly of AMD's GPUs.

    A label that stands several times, as those of inline assembly in blocks of their own do, is the
    last one before the jump.
    """
    places: dict[str, list[int]] = {}
    lines: list[tuple[str, str, str]] = []
    for label, predicate, name, operands in _lines(text):
        if label:
            places.setdefault(label, []).append(len(lines))
        else:
            lines.append((predicate, name, operands.strip()))
    found = []
    for index, (predicate, name, operands) in enumerate(lines):
        target = None
        if _BRANCH.match(name):
            known = places.get(operands, [])
            target = max((at for at in known if at <= index), default=min(known, default=None))
        always = not predicate and (
            bool(_STOP.match(name)) or (target is not None and not name.startswith("s_cbranch"))
        )
        found.append(Instruction(name, f"{name} {operands}", target, not always))
    return found


def _lines(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Labels, and instructions with what predicates them and their operands; no directives."""
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and not (match[3] or "").startswith("."):
            yield tuple(part or "" for part in match.groups())  # type: ignore[misc]  # of four
