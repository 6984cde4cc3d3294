import itertools

import pytest
import torch
import triton
import triton.language as tl

from graphcnn import cpu, triton_api
from graphcnn.cpu.product import CHAIN
from tests.tolerance import F32


@triton.jit
def product(
    a, b, c, M, N, K,
    a_m, a_k, b_k, b_n, c_m, c_n,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip  # one line per matrix reads better
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, K, BLOCK_K):
        left = a + m[:, None] * a_m + (start + k)[None, :] * a_k
        right = b + (start + k)[:, None] * b_k + n[None, :] * b_n
        if MASKED:
            live = start + k < K
            x = tl.load(left, mask=(m < M)[:, None] & live[None, :], other=0.0)
            y = tl.load(right, mask=live[:, None] & (n < N)[None, :], other=0.0)
        else:
            x, y = tl.load(left), tl.load(right)
        acc = tl.dot(x, y, acc, input_precision="ieee")
    place = c + m[:, None] * c_m + n[None, :] * c_n
    tl.store(place, acc.to(c.dtype.element_ty), mask=(m < M)[:, None] & (n < N)[None, :])


def matrix(rows, columns, dtype, transposed):
    values = torch.randn(columns, rows).t() if transposed else torch.randn(rows, columns)
    return values.to(dtype)


def check(shape, blocks, dtype, layout, masked):
    M, N, K = shape
    a, b = matrix(M, K, dtype, layout[0]), matrix(K, N, dtype, layout[1])
    c = torch.full_like(matrix(M, N, dtype, layout[2]), float("nan"))
    with triton_api.using(cpu.driver(sanitize=False)):
        product[(triton.cdiv(M, blocks[0]), triton.cdiv(N, blocks[1]))](
            a, b, c, M, N, K, *a.stride(), *b.stride(), *c.stride(), *blocks, masked
        )
    want = a.double() @ b.double()
    scale = a.double().abs() @ b.double().abs()
    unit = {torch.float32: 2**-24, torch.float16: 2**-11, torch.bfloat16: 2**-8}[dtype]
    # One rounding to the result's type, and float32 sums of K terms.
    bound = want.abs() * unit + scale * (K * 2**-24)
    assert ((c.double() - want).abs() <= bound).all()


@pytest.mark.parametrize("layout", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_layout_with_ragged_edges(layout, dtype):
    check((70, 50, 45), (32, 32, 16), dtype, layout, masked=True)


@pytest.mark.parametrize(
    "blocks", [(16, 16, 16), (16, 128, 32), (128, 16, 64), (32, 64, 128), (2, 64, 16), (64, 4, 16)]
)
@pytest.mark.parametrize("layout", [(False, False, False), (True, True, True)])
def test_tile_shapes_read_in_place(blocks, layout):
    check(blocks, blocks, torch.float32, layout, masked=False)


@pytest.mark.parametrize("blocks", [(16, 16, 64), (4, 2, 64)])
def test_a_long_product_is_two_short_chains(blocks):
    """Equal numbers: every addition of a chain rounds the same way."""
    M, N, K = *blocks[:2], 4096
    a, b, c = torch.full((M, K), 0.1), torch.full((K, N), 0.1), torch.zeros(M, N)
    with triton_api.using(cpu.driver(sanitize=False)):
        product[(1, 1)](a, b, c, M, N, K, *a.stride(), *b.stride(), *c.stride(), *blocks, False)
    want = a.double() @ b.double()
    # Of a step, or of as many as stay in registers.
    chain = max(blocks[2] + K // blocks[2], CHAIN + K // CHAIN)
    assert ((c.double() - want).abs() <= want * (chain * 2**-24)).all()


@triton.jit
def half_accumulator(a, b, c, K, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK, BLOCK), tl.float16)
    for start in range(0, K, BLOCK):
        left = tl.load(a + i[:, None] * K + (start + i)[None, :])
        right = tl.load(b + (start + i)[:, None] * BLOCK + i[None, :])
        acc += tl.dot(left, right, out_dtype=tl.float16)
    tl.store(c + i[:, None] * BLOCK + i[None, :], acc)


def test_a_half_accumulator_rounds_every_step_as_on_a_gpu():
    K = 2048
    # Eighths, so that the sum of a step is exact in float32 in any order.
    a, b = (torch.randint(8, shape).half() / 8 for shape in ((16, K), (K, 16)))
    c = torch.full((16, 16), float("nan"), dtype=torch.float16)
    with triton_api.using(cpu.driver(sanitize=False)):
        half_accumulator[(1,)](a, b, c, K, BLOCK=16)
    want = torch.zeros(16, 16).half()
    for k in range(0, K, 16):
        want = want + (a[:, k : k + 16].float() @ b[k : k + 16].float()).half()
    assert torch.equal(c, want)
    exact = a.double() @ b.double()
    assert ((c.double() - exact).abs() / exact).max() > 2**-11, "the loss must be visible"


@triton.jit
def restarts(a, b, start, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    at = i[:, None] * BLOCK + i[None, :]
    y, initial = tl.load(b + at), tl.load(start + at)
    for step in range(n):
        x = tl.load(a + step * BLOCK * BLOCK + at)
        tl.store(out + step * BLOCK * BLOCK + at, tl.dot(x, y, initial, input_precision="ieee"))


@triton.jit
def nested_restarts(a, start, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    initial = tl.load(start + i)
    for step in range(n):
        value = initial
        for inner in range(3):
            value = value * 0.5 + tl.load(a + i + inner)
        tl.store(out + step * BLOCK + i, value)


def test_a_loop_leaves_the_start_of_a_product_as_it_was():
    a, b, start = torch.randn(3, 16, 16), torch.randn(16, 16), torch.randn(16, 16)
    out = torch.full((3, 16, 16), float("nan"))
    with triton_api.using(cpu.driver(sanitize=False)):
        restarts[(1,)](a, b, start, out, 3, BLOCK=16)
    exact = a.double() @ b.double() + start
    sizes = a.double().abs() @ b.double().abs() + start.abs()
    assert ((out - exact).abs() <= (16 + 1) * F32 * sizes).all()


def test_an_inner_loop_leaves_its_start_as_it_was():
    a, start = torch.randn(40), torch.randn(32)
    out = torch.full((3, 32), float("nan"))
    with triton_api.using(cpu.driver(sanitize=False)):
        nested_restarts[(1,)](a, start, out, 3, BLOCK=32)
    value, sizes = start.double(), start.double().abs()
    for inner in range(3):
        value = value * 0.5 + a[inner : inner + 32]
        sizes = sizes * 0.5 + a[inner : inner + 32].abs()
    # Halving is exact, so each of the three steps rounds once.
    assert ((out - value).abs() <= 3 * F32 * sizes).all()
