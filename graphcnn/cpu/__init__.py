"""Triton kernels compiled natively for the CPU.

A `@triton.jit` function becomes Triton IR (by the stock wheel), then C, then a shared object that
runs the grid on the CPU's threads:

    with triton_api.using(cpu.driver()):
        kernel[grid](*cpu_tensors, **meta)

Importing this package leaves Triton's own device alone, and Triton never finds this one by itself.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from graphcnn import settings

if TYPE_CHECKING:
    from graphcnn.cpu.triton_driver import CpuDriver


def driver(sanitize: bool | None = None) -> CpuDriver:
    """The CPU's Triton driver.

    Args:
        sanitize: Check every memory access of every program (slow, one thread); None reads
            `GRAPHCNN_SANITIZE`.
    """
    return _driver(settings.sanitize() if sanitize is None else sanitize)


def has_bf16() -> bool:
    """Whether the processor has instructions that multiply bfloat16 (see pairs.h)."""
    from graphcnn.cpu import toolchain

    return "avx512_bf16" in toolchain.cpu_features().split()


@cache
def _driver(sanitize: bool) -> CpuDriver:
    from graphcnn import triton_api
    from graphcnn.cpu.backend import NAME, CpuBackend
    from graphcnn.cpu.triton_driver import CpuDriver

    triton_api.register_backend(NAME, CpuBackend, CpuDriver)
    return CpuDriver(sanitize)
