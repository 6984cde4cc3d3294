import re

import pytest
import torch
import triton
import triton.language as tl

from graphcnn import cpu, triton_api
from tests.tolerance import F32


@triton.jit
def product(
    x, w, bias, other, y, z, rows, columns, STEPS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, ENDING: tl.constexpr,
):  # fmt: skip  # one line per kind of argument reads better
    """y = a tail of x [rows, STEPS * BLOCK_K] @ w [STEPS * BLOCK_K, BLOCK_N] + bias."""
    m, k, n = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_K), tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
    for t in range(STEPS):
        place = (m * (STEPS * BLOCK_K) + t * BLOCK_K)[:, None] + k[None, :]
        left = tl.load(x + place, mask=(m < rows)[:, None], other=0.0)
        right = tl.load(w + ((t * BLOCK_K + k) * BLOCK_N)[None, :] + n[:, None])
        acc = tl.dot(right, tl.trans(left), acc, input_precision="ieee")
    mask = (m < rows)[:, None] & (n < columns)[None, :]
    offset = m[:, None] * columns + n[None, :]
    value = tl.trans(acc) + tl.load(bias + n, mask=n < columns, other=0.0)[None, :]
    if ENDING == "residual":
        value += tl.load(other + offset, mask=mask, other=0.0)
        tl.store(y + offset, tl.where(value < 0.0, 0.0, value), mask=mask)
    elif ENDING == "exports":
        tl.store(z + offset, value, mask=mask)
        tl.store(y + offset, tl.where(value < 0.0, 0.0, value), mask=mask)
    elif ENDING == "all rows":
        # What lies beyond is stored as well, of sums that are zero.
        value = tl.where(value < 0.0, 0.0, value)
        tl.store(y + offset, value, mask=(m < rows + 3)[:, None] & (n < columns)[None, :])
    elif ENDING == "sum":
        total = tl.sum(tl.where(mask, value, 0.0), axis=0)
        tl.store(y + offset, tl.where(value < total[None, :], value, total[None, :]), mask=mask)
    elif ENDING == "in place":
        tl.store(x + offset, value, mask=mask)
    else:
        tl.store(z + offset, value, mask=mask)
        copy = tl.load(z + offset, mask=mask, other=0.0)
        tl.store(y + offset, copy * 2.0, mask=mask)


ROWS, COLUMNS = 21, 40


def check(ending, steps=3, blocks=(32, 64, 16)):
    inner = steps * blocks[2]
    x = torch.randn(ROWS, inner)
    w, bias = torch.zeros(inner, blocks[1]), torch.randn(COLUMNS)
    w[:, :COLUMNS] = torch.randn(inner, COLUMNS)
    other = torch.randn(ROWS, COLUMNS)
    y, z = torch.full((2, ROWS + 4, COLUMNS), float("nan"))
    given = x.clone()
    with triton_api.using(cpu.driver(sanitize=False)):
        made = product[(1,)](x, w, bias, other, y, z, ROWS, COLUMNS, steps, *blocks, ending)
    exact = given.double() @ w[:, :COLUMNS].double() + bias.double()
    size = given.double().abs() @ w[:, :COLUMNS].double().abs() + bias.double().abs()
    bound = (inner + 3) * F32 * (size + 4 * other.double().abs())
    if ending == "residual":
        want = (exact + other.double()).clamp(min=0)
    elif ending == "all rows":
        want = exact.clamp(min=0)
        assert torch.equal(y[ROWS : ROWS + 3], bias.clamp(min=0).expand(3, COLUMNS))
    elif ending == "exports":
        want = exact.clamp(min=0)
        assert ((z[:ROWS] - exact).abs() <= bound).all()
    elif ending == "sum":
        want = torch.minimum(exact, exact.sum(0))
        bound = bound + bound.sum(0)
    elif ending == "in place":
        y, want = x.reshape(-1)[: ROWS * COLUMNS].view(ROWS, COLUMNS), exact
    else:
        want, bound = exact * 2, bound * 2
    assert ((y[:ROWS] - want).abs() <= bound).all()
    return made.asm["c"]


def by_block(source):
    """Whether what a product ends in is stored inside of its loop over blocks of rows."""
    return "float* const sums" in source


@pytest.mark.parametrize("ending", ["residual", "exports", "all rows", "read again"])
def test_stores_row_by_row_follow_each_block(ending):
    assert by_block(check(ending))


def test_sums_in_several_chunks_are_stored_by_the_last():
    source = check("residual", steps=70)
    assert not by_block(source)
    assert re.search(r"if \(last\d+ == \(70\)\)", source)


@pytest.mark.parametrize("ending", ["sum", "in place"])
def test_other_ends_wait_for_all_rows(ending):
    assert not by_block(check(ending))
