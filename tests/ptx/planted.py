"""Bugs, planted in the PTX of kernels that are right: a check that misses one is no check."""

import re
from collections.abc import Callable
from typing import NamedTuple

CONV, POOLED, F32 = "conv2d f16 64x64x64", "conv2d f16 residual and pool", "conv2d f32"
LINEAR = "linear bf16"


class Bug(NamedTuple):
    """A change of the PTX of a case, and a pattern of what has to be said of it."""

    case: str
    edit: Callable[[str], str]
    told: str


def replaced(pattern, by, which=0):
    """Replace one match of a pattern, or all where `which` is None."""

    def edit(ptx):
        found = list(re.finditer(pattern, ptx))
        chosen = found if which is None else [found[which]]
        for match in reversed(chosen):
            ptx = ptx[: match.start()] + match.expand(by) + ptx[match.end() :]
        return ptx

    return edit


WAIT = r"cp\.async\.wait_group\s+(\d+)\s*;"
COPY = r"(cp\.async\.\w+\.shared\.global \[ \S+ \+ 0 \], )\[ (%rd\d+) \+ 0 \], 0x10, (%r\d+)"
STORE = r"@(%p\d+)( st\.global\.\S+) \[ (%rd\d+) \+ 0 \]"
MMA = r"(mma\.sync\S+ \{[^}]*\}, \{) (%r\d+), (%r\d+), (%r\d+), (%r\d+)( \})"
LOAD = r"(ld\.shared\.v4\.b16\s+\{[^}]*\}, \[%r\d+)\]"
BARRIER = r"bar\.sync\s+0\s*;"
WAITED = rf"({WAIT}[^;]*?){BARRIER}"
EARLIER = "between barriers|since the last barrier|before its copy|before a copy"
WRONG = "times its bound|never written|written (before|after) the output"

BUGS = {
    "no barrier before the loop's loads": Bug(CONV, replaced(WAITED, r"\1"), EARLIER),
    "no barrier before a buffer is filled anew": Bug(CONV, replaced(BARRIER, "", 1), EARLIER),
    "no barrier before the epilogue reuses buffers": Bug(CONV, replaced(BARRIER, "", 2), EARLIER),
    "no barrier between the epilogue's halves": Bug(CONV, replaced(BARRIER, "", -1), EARLIER),
    "no barrier at all, in float32": Bug(F32, replaced(BARRIER, "", None), EARLIER),
    "no wait": Bug(CONV, replaced(WAIT, "", 0), "before its copy was waited for"),
    "a wait for one group less": Bug(
        LINEAR, lambda ptx: re.sub(WAIT, later, ptx, count=1), "before its copy was waited for"
    ),
    "copies that join those of the next step": Bug(
        CONV, replaced(r"cp\.async\.commit_group;", "", 1), "before its copy was waited for"
    ),
    "no copy is committed": Bug(
        F32, replaced(r"cp\.async\.commit_group;", "", None), "before its copy was waited for"
    ),
    "two registers of an mma swapped": Bug(CONV, replaced(MMA, r"\1 \3, \2, \4, \5\6"), WRONG),
    "two registers of an mma swapped, in float32": Bug(
        F32, replaced(MMA, r"\1 \2, \4, \3, \5\6"), WRONG
    ),
    "an mma twice": Bug(CONV, replaced(r"(mma\.sync[^;]*;)", r"\1\n\1", 5), WRONG),
    "ldmatrix transposed": Bug(CONV, replaced(r"x4\.shared", "x4.trans.shared"), WRONG),
    "ldmatrix of a row beside": Bug(
        CONV, replaced(r"(ldmatrix\S+ \{[^}]*\}), \[(%r\d+)\]", r"\1, [\2+16]"), WRONG
    ),
    "a store under another predicate": Bug(POOLED, replaced(STORE, r"@!\1\2 [ \3 + 0 ]"), WRONG),
    "a store without its predicate": Bug(
        CONV, replaced(STORE, r"\2 [ \3 + 0 ]", None), "outside of all tensors"
    ),
    "a store one element further": Bug(POOLED, replaced(STORE, r"@\1\2 [ \3 + 2 ]"), WRONG),
    "all stores one element further": Bug(
        POOLED, replaced(STORE, r"@\1\2 [ \3 + 2 ]", None), f"{WRONG}|outside of all tensors"
    ),
    "a vector of shared memory from one element further": Bug(
        CONV, replaced(LOAD, r"\1+2]"), "no multiple of 8"
    ),
    "a vector of shared memory from the next one on": Bug(CONV, replaced(LOAD, r"\1+8]"), WRONG),
    "a copy of half of the bytes": Bug(
        CONV, replaced(COPY, r"\1[ \2 + 0 ], 0x8, \3"), rf"{WRONG}|cp\.async\.cg"
    ),
    "zeros in the second half of a copy": Bug(
        CONV, replaced(COPY, r"\1[ \2 + 0 ], 0x10, 8", None), f"{WRONG}|outside of all tensors"
    ),
    "no zeros outside of the image": Bug(
        CONV, replaced(COPY, r"\1[ \2 + 0 ], 0x10, 16", None), f"{WRONG}|outside of all tensors"
    ),
    "a copy from 8 bytes further": Bug(
        CONV, replaced(COPY, r"\1[ \2 + 8 ], 0x10, \3"), "no multiple of the 16 bytes"
    ),
    "a copy from 16 bytes further": Bug(
        CONV, replaced(COPY, r"\1[ \2 + 16 ], 0x10, \3"), f"{WRONG}|outside of all tensors"
    ),
    "a step less": Bug(CONV, replaced(r"(setp\.ne\.b32\s+%p\d+, %r\d+, )9;", r"\g<1>8;"), WRONG),
}


def later(match):
    return f"cp.async.wait_group {int(match[1]) + 1};"
