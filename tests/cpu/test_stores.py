import platform

import pytest
import torch
import triton
import triton.language as tl

from graphcnn import cpu, triton_api
from graphcnn.cpu.toolchain import compiler
from tests.cpu.test_product import LESS

HALF = torch.float16


@triton.jit
def narrowed(x, y, rows, columns, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, EVEN: tl.constexpr):
    """y = 3 x, of the rows that are even."""
    m, n = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N)
    mask = ((m < rows) & (m % 2 == 0))[:, None] & (n < columns)[None, :]
    if EVEN:
        mask = mask & (n % 2 == 0)[None, :]
    place = m[:, None] * columns + n[None, :]
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32) * 3.0
    tl.store(y + place, value.to(y.dtype.element_ty), mask=mask)


def check(columns, block=64, dtype=HALF, even=False):
    x = torch.randn(9, columns) * 2e4
    y = torch.full((10, columns), float("nan"), dtype=dtype)
    with triton_api.using(cpu.driver(sanitize=False)):
        made = narrowed[(1,)](x, y, 9, columns, 16, block, even)
    want = torch.full_like(y, float("nan"))
    step = 2 if even else 1
    want[:9:2, ::step] = (x[::2, ::step].float() * 3.0).to(dtype)
    assert dtype != HALF or columns < 8 or want.isinf().any()
    torch.testing.assert_close(y, want, rtol=0, atol=0, equal_nan=True)
    return made.asm["c"]


@pytest.mark.parametrize("dtype", [HALF, torch.bfloat16])
@pytest.mark.parametrize("columns", [2, 8, 15, 16, 17, 24, 31, 40, 63, 64])
def test_16_bits_are_narrowed_to_a_row_at_a_time(columns, dtype):
    assert "narrow_" in check(columns, dtype=dtype)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="options of x86")
@pytest.mark.parametrize("name", LESS)
@pytest.mark.parametrize("dtype", [HALF, torch.bfloat16])
def test_instruction_sets_without_these_instructions(name, dtype, monkeypatch):
    """Right all the same. Sizes of their own: a process keeps its kernels."""
    monkeypatch.setenv("CC", f"{compiler()[0]} {LESS[name]}")
    assert "narrow_" in check(19, 32 << [*LESS].index(name), dtype)


def test_in_place_a_row_is_read_before_it_is_written():
    x = torch.randn(9, 40).half()
    want = x.clone()
    want[::2] = (x[::2].float() * 3.0).half()
    with triton_api.using(cpu.driver(sanitize=False)):
        made = narrowed[(1,)](x, x, 9, 40, 16, 64, False)
    assert torch.equal(x, want)
    assert "narrow_f16(" in made.asm["c"]


@pytest.mark.parametrize(
    "options",
    [{"even": True}, {"dtype": torch.float32}, {"columns": 8, "block": 8}],
    ids=["columns left out", "float32", "narrow"],
)
def test_other_rows_are_stored_element_by_element(options):
    assert "narrow_" not in check(**{"columns": 40} | options)
