import platform

import pytest
import torch
import triton
import triton.language as tl

from graphcnn import cpu, triton_api
from graphcnn.cpu.toolchain import compiler
from tests.cpu.test_product import LESS
from tests.tolerance import F32


@triton.jit
def depthwise(
    x, w, y, rows, columns, TAPS: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BEFORE: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip  # one line per kind of argument reads better
    """y[m, n] = max(sum over t of x[m + t, n] w[t, n], 0), of the rows m + t that are even."""
    m, n = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for t in range(TAPS):
        there = (m < rows) & ((m + t) % 2 == 0)
        mask = there[:, None] & (n < columns)[None, :]
        pixels = tl.load(x + ((m + t) * columns)[:, None] + (n * STEP)[None, :], mask, 0.0)
        weight = tl.load(w + t * columns + n, mask=n < columns, other=0.0)
        if BEFORE:
            acc += weight[None, :].to(tl.float32) * pixels.to(tl.float32)
        else:
            acc += pixels.to(tl.float32) * weight[None, :].to(tl.float32)
    mask = (m < rows)[:, None] & (n < columns)[None, :]
    tl.store(y + m[:, None] * columns + n[None, :], tl.where(acc < 0.0, 0.0, acc), mask=mask)


def check(taps, rows, columns, blocks, dtype=torch.float32, before=False, step=1):
    x = torch.randn(rows + taps + 1, columns).to(dtype)
    w = torch.randn(taps, columns).to(dtype)
    y = torch.full((rows + 1, columns), float("nan"))
    with triton_api.using(cpu.driver(sanitize=False)):
        made = depthwise[(1,)](x, w, y, rows, columns, taps, *blocks, before, step)
    column = torch.arange(columns) * step
    total, size = torch.zeros(2, rows, columns, dtype=torch.float64)
    for m in range(rows):
        for t in range(taps):
            if (t + m) % 2 == 0:
                product = x.reshape(-1)[(m + t) * columns + column].double() * w[t].double()
                total[m] += product
                size[m] += product.abs()
    assert ((y[:rows] - total.clamp(min=0)).abs() <= (taps + 1) * F32 * size).all()
    assert y[rows:].isnan().all()
    return made.asm["c"]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 8, 9, 15, 32])
def test_the_last_rows_go_in_smaller_blocks(rows):
    assert "sum_taps(" in check(9, rows, 32, (32, 32))


@pytest.mark.parametrize("columns", [2, 3, 8, 15, 16, 17, 24, 40, 48, 100, 128])
def test_any_number_of_columns(columns):
    assert "sum_taps(" in check(9, 13, columns, (16, 128))


@pytest.mark.parametrize("taps", [2, 9, 49, 256])
def test_any_number_of_taps_that_a_table_holds(taps):
    assert "sum_taps(" in check(taps, 5, 16, (16, 16))


def test_factors_in_either_order():
    assert "sum_taps(" in check(9, 5, 20, (8, 32), before=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("columns", [2, 15, 16, 24, 100])
def test_of_16_bits_they_are_widened_as_they_are_loaded(columns, before, dtype):
    text = check(9, 13, columns, (16, 128), dtype, before)
    assert f"sum_taps_{'half' if dtype == torch.float16 else 'bf16'}(" in text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_number_of_16_bits_is_widened_exactly(dtype):
    numbers = torch.arange(1 << 16).to(torch.uint16).view(dtype)
    numbers = numbers[numbers > 0]  # what is not positive would come out as zero
    rows = numbers[: numbers.numel() // 32 * 32].reshape(-1, 32)
    for at in range(0, len(rows), 32):
        x, w, y = rows[at : at + 32], torch.ones(1, 32, dtype=dtype), torch.full((32, 32), -1.0)
        with triton_api.using(cpu.driver(sanitize=False)):
            depthwise[(1,)](x, w, y, len(x), 32, 1, 32, 32, False, 1)
        even = torch.arange(len(x)) % 2 == 0
        assert torch.equal(y[: len(x)][even], x[even].float())


@pytest.mark.skipif(platform.machine() != "x86_64", reason="options of x86")
@pytest.mark.parametrize("name", LESS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_instruction_sets_without_these_instructions(name, dtype, monkeypatch):
    """Right all the same. Sizes of their own: a process keeps its kernels."""
    monkeypatch.setenv("CC", f"{compiler()[0]} {LESS[name]}")
    assert "sum_taps_" in check(5 + [*LESS].index(name), 11, 21, (16, 32), dtype)


@pytest.mark.parametrize("options", [{"taps": 257}, {"step": 2}], ids=["long", "apart"])
def test_other_sums_are_left_alone(options):
    assert "sum_taps(" not in check(
        **{"taps": 9, "rows": 5, "columns": 16, "blocks": (8, 16)} | options
    )


def test_what_is_masked_is_zero_times_the_weight():
    """Not left out: zero times infinity is NaN, as where the map is padded."""
    x, w = torch.ones(20, 16), torch.full((2, 16), float("inf"))
    y = torch.zeros(16, 16)
    with triton_api.using(cpu.driver(sanitize=False)):
        depthwise[(1,)](x, w, y, 16, 16, 2, 16, 16, False, 1)
    assert y.isnan().all()
