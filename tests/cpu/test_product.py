import platform

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from graphcnn import cpu, triton_api
from graphcnn.cpu.steps import SHORT
from graphcnn.cpu.toolchain import compiler
from graphcnn.ops import Conv2d
from tests.tolerance import F32

BF16 = torch.bfloat16


@triton.jit
def taps(
    x, w, start, y, steps, rows, columns,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PANEL: tl.constexpr,
    LIVE: tl.constexpr, STARTED: tl.constexpr, PAIR: tl.constexpr,
):  # fmt: skip  # one line per kind of argument reads better
    """y[m, n] = start[m, n] + the sum over t and k of x[t + m, k] w[n / PANEL, t, k, n % PANEL], of
    the rows t + m that are even. PAIR neighbours along k are side by side in w."""
    m, k, n = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_K), tl.arange(0, BLOCK_N)
    admitted = ((m < rows).to(tl.int32) << 1) - (m < rows).to(tl.int32)
    panel = tl.arange(0, BLOCK_N // PANEL) * (steps * BLOCK_K * PANEL)
    column = tl.reshape(panel[:, None] + (tl.arange(0, PANEL) * PAIR)[None, :], (BLOCK_N,))
    depth = k * PANEL
    if PAIR > 1:
        pair = tl.arange(0, BLOCK_K // PAIR) * (PAIR * PANEL)
        depth = tl.reshape(pair[:, None] + tl.arange(0, PAIR)[None, :], (BLOCK_K,))
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    if STARTED:
        acc = tl.load(start + m[:, None] * BLOCK_N + n[None, :])
    for t in range(steps):
        there = ((admitted >> 0) & 1) != 0
        even = there & ((t + m) % 2 == 0)
        left = tl.load(x + ((t + m) * BLOCK_K)[:, None] + k[None, :], mask=even[:, None], other=0.0)
        place = w + t * BLOCK_K * PANEL + depth[:, None] + column[None, :]
        right = tl.load(place, mask=(n < LIVE)[None, :], other=0.0)
        acc = tl.dot(left, right, acc, input_precision="ieee")
    mask = (m < rows)[:, None] & (n < columns)[None, :]
    tl.store(y + m[:, None] * BLOCK_N + n[None, :], acc, mask=mask)


def check(steps, rows, columns, blocks, panel=32, dtype=torch.float32, started=False, pair=1):
    count, width, inner = blocks
    live = -(-columns // 16) * 16
    x = torch.randn(steps + rows, inner).to(dtype)
    w = torch.zeros(steps * inner, width)
    w[:, :columns] = torch.randn(steps * inner, columns)
    w = w.to(dtype)
    packed = w.view(-1, pair, width // panel, panel).permute(2, 0, 3, 1).contiguous()
    start = torch.randn(count, width)
    y = torch.full((count, width), float("nan"))
    with triton_api.using(cpu.driver(sanitize=False)):
        compiled = taps[(1,)](
            x, packed, start, y, steps, rows, columns, *blocks, panel, live, started, pair
        )
    even = torch.zeros(rows, steps, inner, dtype=torch.float64)
    for t in range(steps):
        for m in range(rows):
            if (t + m) % 2 == 0:
                even[m, t] = x[t + m].double()
    flat, filters = even.view(rows, -1), w[:, :columns].double()
    first = start[:rows, :columns].double() if started else 0.0
    want, sizes = flat @ filters + first, flat.abs() @ filters.abs() + abs(first)
    assert ((y[:rows, :columns] - want).abs() <= (steps * inner + 1) * F32 * sizes).all()
    assert y[rows:].isnan().all()
    assert y[:, columns:].isnan().all()
    return compiled.asm["c"]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 8, 9, 15, 32])
def test_the_last_rows_go_in_smaller_blocks(rows):
    assert "product(" in check(3, rows, 64, (32, 64, 16))


@pytest.mark.parametrize("columns", [1, 16, 17, 24, 32, 40, 48, 100, 128])
def test_the_last_columns_take_half_a_panel(columns):
    assert "product(" in check(3, 16, columns, (16, 128, 8))


@pytest.mark.parametrize("inner", [1, 2, 4, 8, 64, 512])
def test_steps_of_every_length(inner):
    assert "product(" in check(5, 9, 32, (16, 32, inner))


@pytest.mark.parametrize("steps", [1, 2, 255, 256, 257, 700])
def test_a_table_of_pointers_serves_any_number_of_steps(steps):
    assert "product(" in check(steps, 5, 32, (16, 32, 2))


def test_no_step_leaves_zeros():
    assert "product(" in check(0, 5, 32, (16, 32, 16))


def test_sums_begin_where_they_are_told():
    assert "product(" in check(40, 13, 48, (16, 64, 32), started=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("inner", [1, 16, 128])
def test_halves_are_widened_into_tiles(dtype, inner):
    assert "product(" in check(9, 13, 48, (16, 64, inner), dtype=dtype)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="options of compilers for x86")
@pytest.mark.parametrize(("without", "count"), [("-mno-avx512f", 32), ("-mno-avx", 64)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_widened_into_tiles_on_lesser_processors(dtype, without, count, monkeypatch):
    """Blocks are of four rows where vectors have eight elements."""
    monkeypatch.setenv("CC", f"{compiler()[0]} {without}")
    assert "product(" in check(9, 13, 48, (count, 64, 1), dtype=dtype)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8, 29])
@pytest.mark.parametrize("columns", [16, 32, 100])
def test_pairs(rows, columns):
    assert "paired_product(" in check(5, rows, columns, (32, 128, 16), dtype=BF16, pair=2)


@pytest.mark.parametrize("inner", [2, 4, 64, 512])
def test_pairs_in_steps_of_every_length(inner):
    text = check(6, 9, 48, (16, 64, inner), dtype=BF16, pair=2, started=True)
    assert "paired_product(" in text


@pytest.mark.parametrize("panel", [16, 32, 64])
def test_panels_of_any_width(panel):
    assert "product(" in check(3, 16, 64, (16, 64, 16), panel)


def test_what_is_masked_is_zero_times_the_weight():
    """Not left out: zero times infinity is NaN, as where the map is padded."""
    x, w = torch.ones(18, 16), torch.full((2, 16, 32), float("inf"))
    y = torch.zeros(16, 32)
    with triton_api.using(cpu.driver(sanitize=False)):
        taps[(1,)](x, w, y, y, 2, 16, 32, 16, 32, 16, 32, 32, False, 1)
    assert y.isnan().all()


@triton.jit
def sliding(
    x, w, y, size, rows, before, spread,
    TAPS: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr, BITS: tl.constexpr,
):  # fmt: skip
    """y[m, n] = the sum over taps t and k of x[m + t * spread - before, k] w[t, k, n], with zeros
    where x has no such row."""
    m, k, n = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_K), tl.arange(0, 32)
    live, first = m < rows, m - before
    inside = tl.zeros((BLOCK_M,), tl.int32)
    for t in tl.static_range(TAPS):
        there = live & (first + t * spread >= 0) & (first + t * spread < size)
        inside |= there.to(tl.int32) << t
    row = x + (first * BLOCK_K)[:, None] + k[None, :]
    acc = tl.zeros((BLOCK_M, 32), tl.float32)
    for t in range(TAPS):
        step = t * spread
        there = live & (first + step >= 0) & (first + step < size)
        valid = ((inside >> t) & 1) != 0 if BITS else there
        left = tl.load(row + step * BLOCK_K, mask=valid[:, None], other=0.0)
        right = tl.load(w + ((t * BLOCK_K + k) * 32)[:, None] + n[None, :])
        acc = tl.dot(left, right, acc, input_precision="ieee")
    tl.store(y + (m * 32)[:, None] + n[None, :], acc, mask=live[:, None])


@pytest.mark.parametrize("bits", [True, False])
@pytest.mark.parametrize("inner", [1, 2, 4, 8])
@pytest.mark.parametrize(
    ("size", "rows", "before", "spread"),
    [(40, 40, 1, 1), (64, 64, 0, 1), (30, 33, 3, 2), (20, 31, 12, 1), (3, 9, 8, 3), (64, 9, -2, 1)],
)
def test_rows_that_no_step_masks_take_offsets(size, rows, before, spread, inner, bits):
    taps, most = 5, 64
    # Rows from beyond both ends would show.
    memory = torch.full((size + 2 * most, inner), float("nan"))
    x = memory[most : most + size]
    x[:] = torch.randn(size, inner)
    w = torch.randn(taps, inner, 32)
    y = torch.full((most, 32), float("nan"))
    with triton_api.using(cpu.driver(sanitize=False)):
        compiled = sliding[(1,)](x, w, y, size, rows, before, spread, taps, most, inner, bits)
    want = torch.zeros(rows, 32, dtype=torch.float64)
    sizes = torch.zeros(rows, 32, dtype=torch.float64)
    for t in range(taps):
        for m in range(rows):
            if 0 <= m + t * spread - before < size:
                row = x[m + t * spread - before].double()
                want[m] += row @ w[t].double()
                sizes[m] += row.abs() @ w[t].double().abs()
    assert ((y[:rows] - want).abs() <= (taps * inner + 1) * F32 * sizes).all()
    assert y[rows:].isnan().all()
    assert ("product_whole(" in compiled.asm["c"]) == (inner <= SHORT)


def test_pairs_below_the_normal_range_may_count_as_zero():
    """Within the bound of convolutions, which allows for it; large weights make it show."""
    x, w = torch.zeros(16, 2, dtype=BF16), torch.zeros(2, 32, dtype=BF16)
    x[:, 0], x[:, 1], w[0], w[1] = 2.0**-130, 1.0, 2.0**100, 2.0**-40
    y = torch.full((16, 32), float("nan"))
    packed = w.t().contiguous()
    with triton_api.using(cpu.driver(sanitize=False)):
        taps[(1,)](x, packed, y, y, 1, 16, 32, 16, 32, 2, 32, 32, False, 2)
    operands = (x.double().numpy()[:, :, None, None], w.t().double().numpy()[:, :, None, None])
    op = Conv2d()
    exact = op.reference(*operands)
    bound = op.error(operands, tuple(map(np.zeros_like, operands)), exact, F32)
    got = y.double().numpy()[::2, :, None, None]
    assert (np.abs(got - exact[::2]) <= bound[::2]).all()


def test_pairs_that_are_not_finite():
    x, w = torch.ones(16, 2, dtype=BF16), torch.ones(32, 2, dtype=BF16)
    x[2, 1], x[4, 0], w[5, 1], w[6, 0], w[7, 1] = torch.nan, torch.inf, -torch.inf, torch.nan, 0.0
    x[6, 1], x[8] = 0.0, torch.tensor([1e38, -1e38])
    y = torch.zeros(16, 32)
    with triton_api.using(cpu.driver(sanitize=False)):
        taps[(1,)](x, w, y, y, 1, 16, 32, 16, 32, 2, 32, 32, False, 2)
    want = x[::2].float() @ w.float().t()
    torch.testing.assert_close(y[::2], want, equal_nan=True)


LESS = {"AVX-512": "-mno-avx512bf16", "AVX2": "-mno-avx512f", "SSE2": "-mno-avx -mno-f16c"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="options of x86")
@pytest.mark.parametrize("name", LESS)
@pytest.mark.parametrize(("dtype", "pair"), [(BF16, 2), (torch.float16, 1)])
def test_instruction_sets_without_these_instructions(name, dtype, pair, monkeypatch):
    """Right all the same. Sizes of their own: a process keeps its kernels."""
    monkeypatch.setenv("CC", f"{compiler()[0]} {LESS[name]}")
    inner = 8 << list(LESS).index(name)
    text = check(3, 11, 16, (16, 16, inner), 16, dtype=dtype, started=True, pair=pair)
    assert ("paired_product(" in text) == (pair == 2)
