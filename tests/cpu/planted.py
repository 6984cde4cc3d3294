"""Kernels with one planted memory bug each, and clean ones for the sanitizer to tell apart."""

import triton
import triton.language as tl


@triton.jit
def clean(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.maximum(tl.load(x + i, mask=i < n, other=0.0), 0.0), mask=i < n)


@triton.jit
def unmasked_load(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i), mask=i < n)


@triton.jit
def unmasked_store(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n, other=0.0))


@triton.jit
def missing_halo(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i - 1, mask=i < n), mask=i < n)


@triton.jit
def overlapping_programs(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * (BLOCK // 2) + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n), mask=i < n)


@triton.jit
def sum_without_atomics(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.sum(tl.load(x + i, mask=i < n, other=0.0), axis=0)
    tl.store(y, tl.load(y) + total)


@triton.jit
def sum_with_atomics(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(y, tl.sum(tl.load(x + i, mask=i < n, other=0.0), axis=0))


@triton.jit
def offset_overflow(x, y, n, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    offset = program * 1_000_000_000  # from program 3 on past 2^31
    inside = (offset >= 0) & (offset < n)
    tl.store(y + program * BLOCK, tl.load(x + offset, mask=inside, other=0.0), mask=program < 1)


@triton.jit
def failing_assertion(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.device_assert(i < n, "index within the tensor")
    tl.store(y + i, tl.load(x + i, mask=i < n), mask=i < n)


@triton.jit
def gather_beyond(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.0)
    moved = tl.gather(value, tl.arange(0, BLOCK) + 1, 0)  # the last one is not there
    tl.store(y + i, moved, mask=i < n)
