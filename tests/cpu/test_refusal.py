"""Triton IR that the CPU backend does not know: always UnsupportedTritonOp, with the line."""

import random
import re

import pytest
import torch
import triton
import triton.language as tl

from graphcnn import cpu, triton_api
from graphcnn.cpu.emit import emit
from graphcnn.errors import UnsupportedTritonOp


@triton.jit
def everything(x, y, n, scale, STEPS: tl.constexpr, BLOCK: tl.constexpr):
    rows, columns = tl.arange(0, BLOCK), tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for step in range(n):
        at = x + (rows[:, None] + step) * BLOCK + columns[None, :]
        value = tl.load(at, mask=rows[:, None] < n, other=0.0)
        total = tl.dot(value, tl.trans(value), total)
    if scale > 0.0:
        total = tl.exp(total * scale)
    while n > 0:
        n = n // 2
    best = tl.max(total, axis=1) + tl.sum(total, axis=0) + n
    tl.store(y + rows, best.to(tl.float16).to(tl.float32), mask=rows < BLOCK - 1)


@pytest.fixture(scope="module")
def text():
    args, meta = (torch.zeros(1024), torch.zeros(16), 3, 0.5), {"STEPS": 2, "BLOCK": 16}
    prepared = triton_api.prepare(everything, args, meta, cpu.driver(sanitize=False))
    return prepared.compiled.asm["ttir"]


def refused(text, checked=False):
    """The error for a text, or None when it is compiled; any other exception is a fault."""
    try:
        emit(text, checked=checked)
    except UnsupportedTritonOp as error:
        caught = error
    else:
        return None
    assert caught.where
    assert caught.got
    assert caught.remedy
    return caught


def test_the_text_itself_is_compiled(text):
    assert refused(text) is None
    assert refused(text, checked=True) is None
    for word in ("scf.for", "scf.if", "scf.while", "tt.dot", "tt.reduce", "arith.truncf"):
        assert word in text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (r"math\.exp", "tt.novelty", "operation tt.novelty"),
        (r"tt\.dot", "tt.dot_scaled", "operation tt.dot_scaled"),
        (r"arith\.truncf (%\w+)", r"arith.truncf \1 toward_zero", "operation arith.truncf"),
        (r"arith\.truncf (%\w+)", r"tt.fp_to_fp \1, rounding = rtz", "operation tt.fp_to_fp"),
        (r"tensor<16xf16>", "tensor<16xf8E4M3FN>", "no element type f8E4M3FN"),
        (r"tensor<16xf16>", "tensor<16xi128>", "no element type i128"),
        (r"%scale: f32", "%scale: f16", "pass a number of type f16"),
        (r"axis = 1 : i32", "dim = 1 : i32", "does not understand"),
        (r"tt\.func public", "llvm.func", "ends before its function does"),
    ],
)
def test_what_is_unknown_is_named_with_its_line(text, old, new, words):
    assert re.search(old, text)
    changed = re.sub(old, new, text)
    error = refused(changed)
    assert error is not None
    assert words in error.what
    if "public" not in old:
        assert str(error.got).split()[0] in changed
        assert "test_refusal.py:" in error.where or "parameter" in error.where


def test_no_operation_is_passed_over(text):
    """An unknown operation in any place is refused, not left out."""
    lines = text.splitlines()
    effects = r"= (tt|arith|math)\.\w+|^ *tt\.store|^ *\w+ = scf\.\w+"
    places = [i for i, line in enumerate(lines) if re.search(effects, line) and "const" not in line]
    assert len(places) > 30
    for i in places:
        line = re.sub(r"\b(tt|arith|math|scf)\.(\w+)", r"\1.novel_\2", lines[i], count=1)
        error = refused("\n".join([*lines[:i], line, *lines[i + 1 :]]))
        assert error is not None, line
        assert "novel_" in str(error.got) or "does not understand" in error.what, str(error)


OPERATION = r"\b(?:tt|arith|math|scf)\.[\w.]+"
TYPE = r"tensor<[^<>]*(?:<[^<>]*>)?[^<>]*>|!tt\.ptr<\w+>|\b(?:f32|i32|i1|f16)\b"
ODD = {
    OPERATION: ("tt.unknown", "foo.bar", "", "arith.addf", "tt.load", "tt.reduce", "scf.yield"),
    TYPE: ("f8E4M3FN", "i128", "none", "f32", "i1", "tensor<4x4xi32>", "tensor<?xf32>", "i17"),
    r"-?\d+": ("0", "-1", "7", "18446744073709551616", "x", ""),
    r"%[\w.#]+": ("%nope", "%x", "%0", "%n", ""),
}


def mutated(text, generator):
    """The text with one line dropped, repeated, moved, cut or changed in a word."""
    lines = text.splitlines()
    at, other = generator.randrange(len(lines)), generator.randrange(len(lines))
    kind = generator.randrange(9)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(other, lines[at])
    elif kind == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        return text[: generator.randrange(len(text))]
    elif kind == 4:
        start = generator.randrange(len(lines[at]) + 1)
        lines[at] = lines[at][:start] + lines[at][start + generator.randrange(1, 6) :]
    else:
        pattern = list(ODD)[kind - 5]
        if found := list(re.finditer(pattern, lines[at])):
            match = generator.choice(found)
            new = generator.choice(ODD[pattern])
            lines[at] = lines[at][: match.start()] + new + lines[at][match.end() :]
    return "\n".join(lines)


def test_no_text_ends_in_a_foreign_exception(text):
    generator = random.Random(0)
    refusals = 0
    for _ in range(600):
        changed = text
        for _ in range(generator.choice((1, 1, 2, 4))):
            changed = mutated(changed, generator) or text
        refusals += refused(changed, checked=generator.random() < 0.5) is not None
    assert 200 < refusals < 600


def test_a_value_that_nobody_reads_is_any_number():
    """Triton 3.6 has it where the variable of an inner loop is carried by the outer one."""
    text = """
module {
  tt.func public @kernel(%p: !tt.ptr<i32>) {
    %nothing = ub.poison : i32
    tt.store %p, %nothing : !tt.ptr<i32>
    tt.return
  }
}
"""
    assert refused(text) is None
