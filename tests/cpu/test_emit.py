import itertools

import pytest
import torch
import triton
import triton.language as tl

from graphcnn import cpu, triton_api
from graphcnn.errors import UnsupportedTritonOp

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
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_pointwise_functions(function):
    for n in (1, 63, 300):
        x, y = torch.randn(n) * 4, nan(n)
        run(unary, (-(-n // 128),), x, y, n, FUNCTION=function, BLOCK=128)
        want = FUNCTIONS[function](x.double())
        torch.testing.assert_close(y.double(), want, rtol=1e-6, atol=1e-6)


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
    torch.testing.assert_close(y, want, equal_nan=True, rtol=0, atol=0)
    assert torch.equal(y[1:].nan_to_num().signbit(), want[1:].nan_to_num().signbit())


@pytest.mark.parametrize("source", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("target", [torch.float16, torch.bfloat16, torch.float32])
def test_float_conversions_round_as_torch(source, target):
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    x = bits.view(source) if source.itemsize == 2 else (bits.int() << 16 | 0x8000).view(source)
    y = nan(x.numel(), dtype=target)
    run(unary, (64,), x, y, x.numel(), FUNCTION=identity, BLOCK=1024)
    torch.testing.assert_close(y, x.to(target), rtol=0, atol=0, equal_nan=True)


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
    want = x.sum(axis).flatten()
    torch.testing.assert_close(y[: want.numel()], want, rtol=1e-5, atol=1e-5)
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
    torch.testing.assert_close(y, x.softmax(1), rtol=1e-5, atol=1e-7)


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
    a = x[:16].double()
    b = a * 2
    for step in range(n):
        a, b = b, a * 0.5 + 1
        b = b + x[step : step + 16] if step % 2 == 0 else b.cumsum(0) * 0.125
    left = n
    while left > 3:
        a = a + left
        left -= 2
    torch.testing.assert_close(y.double(), a + b + left, rtol=1e-5, atol=1e-5)


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
        torch.testing.assert_close(got, v * v - v)


@triton.jit
def sorts(x, y, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(y + i, tl.histogram(tl.load(x + i), BLOCK))


def test_an_unsupported_operation_is_named_with_its_line():
    x = torch.zeros(16, dtype=torch.int32)
    with pytest.raises(UnsupportedTritonOp, match=r"tt\.histogram") as caught:
        run(sorts, (1,), x, x, BLOCK=16)
    assert f"test_emit.py:{sorts.fn.__code__.co_firstlineno + 3}" in str(caught.value)
