"""What a kernel's machine code is made of: its main loop, and what comes before and after."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from graphcnn.gpu_code.instructions import Instruction
from graphcnn.gpu_code.loops import loops, reached, successors

_MATRIX = re.compile(r"(\w*MMA|mma\.sync|wgmma\.mma_async|tcgen05\.mma|v_mfma)(?:\b|_)")
_SPILLED = re.compile(r"(?:STL|LDL)\b|scratch_(?:load|store)")
_STORE = re.compile(r"(?:STG|ST|RED|ATOMG|ATOM|UTMASTG|UTMAREDG)\b|(?:global|buffer)_(?:sto|ato)")
_SHUFFLE = re.compile(r"SHFL\b|ds_(?:b?permute|swizzle)|v_permlane|v_\w+_dpp\b")
_TENSOR_COPY = re.compile(r"UTMALDG\b")
_COPY = re.compile(r"LDGSTS\b|(?:global_load_lds|buffer_load)_\w+.*\blds\b")
_LOAD = re.compile(r"(?:LDG|LD)\b|(?:global|buffer)_load")
_BYTES = {"128": 16, "64": 8, "dwordx4": 16, "dwordx3": 12, "dwordx2": 8}


@dataclass(frozen=True, slots=True)
class Counts:
    """Instructions of a warp.

    The main loop is the innermost one that multiplies matrices, of several the one with the most
    such instructions. Where the assembler unrolled it altogether, it is the code from the first of
    them to the last. A kernel without them has no main loop, and all comes before.

    Attributes:
        before: Ahead of the main loop.
        step: Of a step of the main loop, a block of the reduction; 0 without one.
        after: Behind it.
        matrix: The instruction that multiplies, as "HGMMA"; "" without one.
        copies: What fills shared memory in the main loop, the narrowest: "TMA", "16", "8" or "4"
            bytes at a time, or "plain": loads to registers. "-" where nothing is loaded there.
        shuffles: Behind the main loop.
        spills_in_loops: Accesses to local memory in any loop.
        stores: Whether anything is stored at all.
    """

    before: int
    step: float
    after: int
    matrix: str
    copies: str
    shuffles: int
    spills_in_loops: int
    stores: bool


def counted(code: Sequence[Instruction], written: Sequence[Instruction]) -> Counts:
    """The counts of machine code.

    Args:
        code: The machine code.
        written: What the assembler made it of, whose loops have one step each: by its matrix
            products the steps of an unrolled loop are counted.
    """
    live = reached(0, successors(code)) if code else set()
    found = loops(code)
    named = {i: match[1] for i in live if (match := _MATRIX.match(code[i].name))}
    products = named.keys()
    loop = main_loop(found, products)
    unrolled = products and range(min(products), max(products) + 1)
    body = loop or live.intersection(unrolled)
    begin = min(body, default=len(code))
    before = {i for i in live - body if i < begin}
    after = live - body - before
    # Those who wait for a barrier go round in a loop of their own.
    waiting = set().union(*(other for other in found if other < loop))
    loaded = (code[i].text for i in sorted(loop or body | before))
    return Counts(
        len(before),
        len(body - waiting) / _steps(len(products & body), written),
        len(after),
        named[min(products)] if products else "",
        _copies(list(loaded), bool(loop)) if products else "-",
        sum(bool(_SHUFFLE.match(code[i].name)) for i in (after if products else live)),
        sum(bool(_SPILLED.match(code[i].name)) for i in set().union(*found)),
        any(_STORE.match(code[i].name) for i in live),
    )


def main_loop(found: Collection[frozenset[int]], products: Collection[int]) -> frozenset[int]:
    """Of loops, the innermost with the most of these instructions; empty where none has any."""
    holding = [loop for loop in found if not loop.isdisjoint(products)]
    innermost = [loop for loop in holding if not any(other < loop for other in holding)]
    return max(
        innermost,
        key=lambda loop: (len(loop.intersection(products)), -min(loop)),
        default=frozenset(),
    )


def _steps(products: int, written: Sequence[Instruction]) -> int:
    """The steps that so many matrix products are of."""
    inside = {i for i, instruction in enumerate(written) if _MATRIX.match(instruction.name)}
    of_step = len(main_loop(loops(written), inside) & inside)
    return max(1, products // of_step) if of_step else 1


def _copies(texts: Sequence[str], looped: bool) -> str:
    """The narrowest copies to shared memory; loads to registers, where they are not of what else
    stands in the code of an unrolled loop."""
    copies = [text for text in texts if _COPY.match(text)]
    tensor = any(_TENSOR_COPY.match(text) for text in texts)
    loads = any(_LOAD.match(text) for text in texts if text not in copies)
    if loads and (looped or not (copies or tensor)):
        return "plain"
    if copies:
        return str(min(_width(text) for text in copies))
    return "TMA" if tensor else "-"


def _width(text: str) -> int:
    """Bytes of a copy."""
    words = re.split(r"[\s._]", text.partition(" ")[0])
    return next((_BYTES[word] for word in words if word in _BYTES), 4)
