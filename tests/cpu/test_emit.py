import itertools
import re

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from graphcnn import cpu, triton_api
from graphcnn.errors import UnsupportedTritonOp
from tests.tolerance import F32

F = torch.nn.functional


def run(kernel, grid, *args, **meta):
    with triton_api.using(cpu.driver(sanitize=False)):
        return kernel[grid](*args, **meta)


def nan(*shape, dtype=torch.float32):
    return torch.full(shape, float("nan"), dtype=dtype)


@triton.jit
def unary(x, y, n, FUNCTION: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=1.0).to(tl.float32)
    tl.store(y + i, FUNCTION(value).to(y.dtype.element_ty), mask=i < n)


@triton.jit
def exp(v):
    return tl.exp(v)


@triton.jit
def exp2(v):
    return tl.exp2(v)


@triton.jit
def silu(v):
    return v * tl.sigmoid(v)


@triton.jit
def erf(v):
    return tl.erf(v)


@triton.jit
def log(v):
    return tl.log(tl.abs(v) + 1.0)


@triton.jit
def rsqrt(v):
    return tl.rsqrt(v * v + 0.5)


@triton.jit
def clamp(v):
    return tl.clamp(v, -1.0, 1.0)


@triton.jit
def fma(v):
    return tl.fma(v, v, -v)


@triton.jit
def leaky(v):
    return tl.where(v > 0, v, v * 0.125)


@triton.jit
def tanh(v):
    return tl.extra.libdevice.tanh(v)


@triton.jit
def cospi(v):
    return tl.extra.libdevice.cospi(v)


@triton.jit
def identity(v):
    return v


FUNCTIONS = {
    exp: torch.exp,
    exp2: torch.exp2,
    silu: F.silu,
    erf: torch.erf,
    log: lambda v: torch.log(v.abs() + 1),
    rsqrt: lambda v: torch.rsqrt(v * v + 0.5),
    clamp: lambda v: v.clamp(-1, 1),
    fma: lambda v: v * v - v,
    leaky: lambda v: F.leaky_relu(v, 0.125),
    tanh: torch.tanh,
    cospi: lambda v: torch.cos(torch.pi * v),
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_pointwise_functions(function):
    for n in (1, 63, 300):
        x, y = torch.randn(n) * 4, nan(n)
        run(unary, (-(-n // 128),), x, y, n, FUNCTION=function, BLOCK=128)
        want = FUNCTIONS[function](x.double())
        # At most four operations of two units in the last place each, on numbers of this size.
        assert ((y.double() - want).abs() <= 4 * 2 * 2 * F32 * (want.abs() + 1)).all()


@pytest.mark.parametrize(("function", "want"), [(exp, torch.exp), (exp2, torch.exp2)])
def test_exponentials_are_within_two_ulp(function, want):
    x = torch.linspace(-150, 130, 100_001)
    y = nan(x.numel())
    run(unary, (-(-x.numel() // 1024),), x, y, x.numel(), FUNCTION=function, BLOCK=1024)
    exact = want(x.double())
    single = exact.float()
    finite = torch.isfinite(single)
    assert torch.equal(torch.isinf(y), torch.isinf(single))
    ulp = torch.nextafter(single.abs(), torch.tensor(float("inf"))) - single.abs()
    error = (y.double() - exact).abs()[finite] / ulp.double()[finite]
    assert error.max() <= 2


@pytest.mark.parametrize("function", [exp, exp2, silu, tanh, leaky, identity])
def test_nan_and_infinity_pass_through(function):
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0])
    y = torch.ones(5)
    run(unary, (1,), x, y, 5, FUNCTION=function, BLOCK=16)
    want = {identity: lambda v: v, **FUNCTIONS}[function](x)
    np.testing.assert_array_equal(y, want)
    assert torch.equal(y[1:].nan_to_num().signbit(), want[1:].nan_to_num().signbit())


@pytest.mark.parametrize("source", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("target", [torch.float16, torch.bfloat16, torch.float32])
def test_float_conversions_round_as_torch(source, target):
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    x = bits.view(source) if source.itemsize == 2 else (bits.int() << 16 | 0x8000).view(source)
    y = nan(x.numel(), dtype=target)
    run(unary, (64,), x, y, x.numel(), FUNCTION=identity, BLOCK=1024)
    np.testing.assert_array_equal(y.float(), x.to(target).float())


def test_every_half_way_case_rounds_to_even():
    halves = torch.arange(0x7C00, dtype=torch.int16).view(torch.float16).double()
    x = ((halves[1:] + halves[:-1]) / 2).float()
    y = nan(x.numel(), dtype=torch.float16)
    run(unary, (31,), x, y, x.numel(), FUNCTION=identity, BLOCK=1024)
    assert torch.equal(y, x.half())


@triton.jit
def integers(x, y, o, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a = tl.load(x + i, mask=i < n, other=0)
    b = tl.load(y + i, mask=i < n, other=1)
    tl.store(o + i, a // b, mask=i < n)
    tl.store(o + n + i, a % b, mask=i < n)
    tl.store(o + 2 * n + i, (a << 3) ^ (b & a) | (a >> 2), mask=i < n)
    tl.store(o + 3 * n + i, tl.maximum(a, b) - tl.minimum(a, b) * a, mask=i < n)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64])
def test_integer_arithmetic(dtype):
    n = 50
    x = torch.randint(-100, 100, (n,)).to(dtype)
    y = torch.randint(1, 9, (n,)).to(dtype)
    out = torch.zeros(4 * n, dtype=dtype)
    run(integers, (1,), x, y, out, n, BLOCK=64)
    want = [
        torch.div(x, y, rounding_mode="trunc"),
        torch.fmod(x, y),
        (x << 3) ^ (y & x) | (x >> 2),
        torch.maximum(x, y) - torch.minimum(x, y) * x,
    ]
    assert torch.equal(out, torch.cat(want))


@triton.jit
def reduce_axis(
    x, y, s0, s1, s2, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, AXIS: tl.constexpr
):
    a, b, c = tl.arange(0, A), tl.arange(0, B), tl.arange(0, C)
    value = tl.load(x + a[:, None, None] * s0 + b[None, :, None] * s1 + c[None, None, :] * s2)
    if AXIS == 0:
        at = b[:, None] * C + c[None, :]
    elif AXIS == 1:
        at = a[:, None] * C + c[None, :]
    else:
        at = a[:, None] * B + b[None, :]
    tl.store(y + at, tl.sum(value, axis=AXIS))
    tl.store(y + A * B * C + at, tl.argmax(value, axis=AXIS))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_reductions_along_and_across_memory(axis, order):
    shape = (16, 4, 32)
    back = [order.index(d) for d in range(3)]
    x = torch.randn([shape[d] for d in order]).permute(back)
    y = nan(2, *shape).flatten()
    run(reduce_axis, (1,), x, y, *x.stride(), *shape, AXIS=axis)
    want = x.double().sum(axis).flatten()
    allowed = shape[axis] * F32 * x.abs().double().sum(axis).flatten()
    assert ((y[: want.numel()] - want).abs() <= allowed).all()
    positions = y[x.numel() :][: want.numel()]
    assert torch.equal(positions, x.argmax(axis).flatten().float())


@triton.jit
def softmax(x, y, n, BLOCK: tl.constexpr):
    row, i = tl.program_id(0), tl.arange(0, BLOCK)
    value = tl.load(x + row * n + i, mask=i < n, other=-float("inf"))
    e = tl.exp(value - tl.max(value, axis=0))
    tl.store(y + row * n + i, e / tl.sum(e, axis=0), mask=i < n)


@pytest.mark.parametrize("n", [1, 10, 33, 1000])
def test_softmax(n):
    x, y = torch.randn(5, n) * 10, nan(5, n)
    run(softmax, (5,), x, y, n, BLOCK=triton.next_power_of_2(n))
    want = x.double().softmax(1)
    # Rounding an exponent moves its power by as much, relatively; then the powers (two units in the
    # last place), their sum and the quotient round.
    spread = x.double().amax(1, keepdim=True) - x.double()
    allowed = want * (spread + spread.amax() + n + 9) * F32
    assert ((y - want).abs() <= allowed + 2.0**-126).all()


@triton.jit
def control(x, y, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a = tl.load(x + i)
    b = a * 2
    for step in range(n):
        a, b = b, a * 0.5 + 1  # carried values that read one another
        if step % 2 == 0:
            b += tl.load(x + i + step)
        else:
            b = tl.cumsum(b, axis=0) * 0.125
    left = n
    while left > 3:
        a += left
        left -= 2
    tl.store(y + i, a + b + left)


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_loops_branches_and_scans(n):
    x, y = torch.randn(64), nan(16)
    run(control, (1,), x, y, n, BLOCK=16)

    def computed(x):
        a = x[:16]
        b = a * 2
        for step in range(n):
            a, b = b, a * 0.5 + 1
            b = b + x[step : step + 16] if step % 2 == 0 else b.cumsum(0) * 0.125
        left = n
        while left > 3:
            a = a + left
            left -= 2
        return a + b + left

    # Every step rounds at most 18 times; the sizes add up as the values do.
    allowed = (18 * n + n + 3) * F32 * computed(x.double().abs())
    assert ((y - computed(x.double())).abs() <= allowed).all()


@triton.jit
def pair_and_reverse(x, y, N: tl.constexpr):
    i = tl.arange(0, N)
    value = tl.load(x + i)
    even, odd = tl.split(tl.reshape(value, (N // 2, 2)))
    swapped = tl.reshape(tl.join(odd, even), (N,))
    tl.store(y + i, swapped)
    tl.store(x + N - 1 - i, value)  # in place: the load must be complete before the store


def test_reshapes_and_a_store_over_its_own_load():
    x = torch.randn(32)
    y, before = nan(32), x.clone()
    run(pair_and_reverse, (1,), x, y, N=32)
    assert torch.equal(y, before.view(16, 2).flip(1).flatten())
    assert torch.equal(x, before.flip(0))


@triton.jit
def turned(x, y, R: tl.constexpr, C: tl.constexpr, AXIS: tl.constexpr):
    i = tl.arange(0, R)[:, None]
    j = tl.arange(0, C)[None, :]
    value = tl.load(x + i * C + j) * 2.0
    place = (i * 3 + j) % R if AXIS == 0 else (i + j * 5) % C
    tl.store(y + i * C + j, tl.gather(value, place, AXIS) + value)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_gather_takes_any_element_along_its_axis(axis, dtype):
    x, y = torch.randn(8, 16).to(dtype), nan(8, 16, dtype=dtype)
    run(turned, (1,), x, y, R=8, C=16, AXIS=axis)
    i, j = torch.meshgrid(torch.arange(8), torch.arange(16), indexing="ij")
    place = (i * 3 + j) % 8 if axis == 0 else (i + j * 5) % 16
    assert torch.equal(y, (x * 2).gather(axis, place) + x * 2)


@triton.jit
def tuples(inputs, outputs, n, STAGES: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    for k in tl.static_range(len(inputs)):
        value = tl.load(inputs[k] + i, mask=i < n, other=0.0)
        for s in tl.static_range(len(STAGES)):
            value = STAGES[s](value)
        tl.store(outputs[k] + i, value, mask=i < n)


def test_tuples_of_tensors_and_of_functions():
    x = [torch.randn(20), torch.randn(20)]
    y = [nan(20), nan(20)]
    run(tuples, (1,), tuple(x), tuple(y), 20, STAGES=(leaky, fma), BLOCK=32)
    for got, source in zip(y, x, strict=True):
        v = F.leaky_relu(source, 0.125)
        # The product and the difference round once each, or are one.
        exact = v.double() * v - v
        assert ((got - exact).abs() <= F32 * (v.double() ** 2 + exact.abs())).all()


@triton.jit
def stored_and_read_on(x, y, z, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a, b, c = tl.load(x + i), tl.load(y + i), tl.load(y + BLOCK + i)
    product = a * b
    total = a * c + b
    tl.store(z + i, product)
    tl.store(z + BLOCK + i, product - c)
    tl.store(z + 2 * BLOCK + i, c - product)
    tl.store(z + 3 * BLOCK + i, total)
    tl.store(z + 4 * BLOCK + i, total * b - c)


def test_what_is_stored_is_the_number_that_is_read_on():
    x, b, z = torch.randn(1024), torch.randn(1024), nan(5, 1024)
    c = x * b * (1 + torch.randn(1024) * 1e-3)  # a difference in which a rounding shows
    run(stored_and_read_on, (1,), x, torch.stack((b, c)), z, BLOCK=1024)
    product, less, more, total, last = z
    assert torch.equal(less, product - c)
    assert torch.equal(more, c - product)
    exact = total.double() * b - c
    assert ((last - exact).abs() <= F32 * ((total * b).abs() + exact.abs())).all()


@triton.jit
def products(x, y, z, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a, b, c = tl.load(x + i), tl.load(y + i), tl.load(y + BLOCK + i)
    tl.store(z + i, a * b + c)
    tl.store(z + BLOCK + i, c + a * b)
    tl.store(z + 2 * BLOCK + i, a * b - c)
    tl.store(z + 3 * BLOCK + i, c - a * b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_product_in_a_sum_is_within_both_roundings(dtype):
    a, (b, c), z = torch.randn(64).to(dtype), torch.randn(2, 64).to(dtype), nan(4, 64, dtype=dtype)
    run(products, (1,), a, torch.stack((b, c)), z, BLOCK=64)
    product = a.double() * b.double()
    want = torch.stack((product + c, c + product, product - c, c - product))
    unit = F32 if dtype is torch.float32 else 2.0**-53
    assert ((z - want).abs() <= unit * (product.abs() + 2 * want.abs())).all()


@triton.jit
def sorts(x, y, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(y + i, tl.histogram(tl.load(x + i), BLOCK))


def test_an_unsupported_operation_is_named_with_its_line():
    x = torch.zeros(16, dtype=torch.int32)
    with pytest.raises(UnsupportedTritonOp, match=r"tt\.histogram") as caught:
        run(sorts, (1,), x, x, BLOCK=16)
    assert f"test_emit.py:{sorts.fn.__code__.co_firstlineno + 3}" in str(caught.value)


@triton.jit
def fill_up_to(y, first, limit, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(y + i, 1.0, mask=first + i < limit)


@pytest.mark.parametrize(
    ("first", "limit", "stored"),
    [(0, 5, 5), (-3, 0, 3), (7, 7, 0), (9, 2, 0), (0, 64, 32), (0, 2**40, 32), (-(2**40), 0, 32)],
)
def test_a_store_ends_at_the_limit_of_its_mask(first, limit, stored):
    y = torch.zeros(32)
    run(fill_up_to, (1,), y, first, limit, BLOCK=32)
    assert y.tolist() == [1.0] * stored + [0.0] * (32 - stored)


@triton.jit
def quotients(a, b, q, r, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(a + i)
    tl.store(q + i, x // b)
    tl.store(r + i, x % b)


@pytest.mark.parametrize("b", [1, 3, -7, 2**31 - 1, -(2**31), 65536])
def test_quotients_of_integers_are_exact(b):
    edges = [0, 1, -1, 2**31 - 1, -(2**31), -(2**31) + 1, 2**24 + 1, -(2**24) - 1]
    around = [k * b + d for k in (-3, -1, 1, 2, 1000) for d in (-1, 0, 1)]
    a = torch.tensor([*edges, *(v for v in around if abs(v) < 2**31)][:16] + [17] * 16)[:16]
    a = a.to(torch.int32)
    q, r = torch.zeros(16, dtype=torch.int32), torch.zeros(16, dtype=torch.int32)
    run(quotients, (1,), a, b, q, r, BLOCK=16)
    want = [int(abs(x) // abs(b)) * (1 if (x < 0) == (b < 0) else -1) for x in a.tolist()]
    want = [w if w < 2**31 else w - 2**32 for w in want]
    assert q.tolist() == want
    assert r.tolist() == [x - w * b for x, w in zip(a.tolist(), want, strict=True)]


@triton.jit
def rows_in_a_loop(x, y, n, limit, steps, BLOCK: tl.constexpr):
    m = tl.arange(0, BLOCK)
    row = m // 3
    inside = (m < n) & (row < limit)
    for k in range(steps):
        value = tl.load(x + k * BLOCK + row, mask=inside, other=-1.0)
        tl.store(y + k * BLOCK + m, value)


@pytest.mark.parametrize(("n", "limit"), [(16, 9), (16, 4), (7, 9), (0, 0)])
def test_rows_of_indices_and_masks_are_written_by_one_plain_loop(n, limit):
    """Their loops are most of some kernels: they are not written twice, nor step by step."""
    x, y = torch.randn(5, 16), nan(5, 16)
    c = run(rows_in_a_loop, (1,), x, y, n, limit, 5, BLOCK=16).asm["c"]
    m = torch.arange(16)
    want = torch.where((m < n) & (m // 3 < limit), x[:, m // 3], -1.0)
    assert torch.equal(y, want)
    rows = re.findall(r"^(?:_Bool|int32_t) (a\d+)\[16\]", c, re.MULTILINE)
    assert len(rows) == 2
    loops = re.findall(r"(.*)\nfor \(int (i\d+) = .*\n(?:(?!for|}).*\n)*?(a\d+)\[\2\] = ", c)
    assert [(head, row) for head, _, row in loops] == [("#pragma GCC unroll 1", r) for r in rows]


@triton.jit
def windows(x, y, H, W, n, BLOCK: tl.constexpr, CH: tl.constexpr):
    """y[i, c] = the largest of the 3 x 3 elements of channel c around pixel i, of zeros outside."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = i < n
    row, col = tl.where(live, i // W % H, 0), tl.where(live, i % W, 0)
    c = tl.arange(0, CH)
    most = tl.zeros((BLOCK, CH), tl.float32)
    for tap in range(9):
        r, s = row + tap // 3 - 1, col + tap % 3 - 1
        there = live & (r >= 0) & (r < H) & (s >= 0) & (s < W)
        image = i // (W * H) * (W * H)
        place = ((image + r * W + s) * CH)[:, None] + c[None, :]
        most = tl.maximum(most, tl.load(x + place, mask=there[:, None], other=0.0))
    tl.store(y + (i * CH)[:, None] + c[None, :], most, mask=live[:, None])


def test_places_are_computed_in_loops_of_their_own():
    """Compilers make vectors of these, which they do not where masks and addresses hold a division
    or a choice."""
    x, y = torch.randn(3, 5, 7, 8), nan(3, 5, 7, 8)
    compiled = run(windows, (4,), x, y, 5, 7, 105, BLOCK=32, CH=8)
    maps = x.permute(0, 3, 1, 2)
    want = F.max_pool2d(F.pad(maps, (1, 1, 1, 1)), 3, 1).clamp(min=0).permute(0, 2, 3, 1)
    assert torch.equal(y, want)
    loops = re.findall(r"for \(int [^{]*\{\n((?:(?!for |\}).*\n)*)\}", compiled.asm["c"])
    divided = [body for body in loops if re.search(r"(DIVIDE|REMAINDER)\(\(?\w", body)]
    assert len(divided) >= 4
    assert all(body.count(";") <= 3 for body in divided)
