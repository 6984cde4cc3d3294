"""What the machine code of a kernel must be: Triton and ptxas say nothing where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from graphcnn.gpu_code.ahead import GpuCode
from graphcnn.gpu_code.architectures import TENSOR_COLUMNS

# Of wgmma and tcgen05, which four warps run together.
LEAST_ROWS, LEAST_WARPS = 64, 4
_PRODUCT = re.compile(
    r"tt\.dot [^:]*?(?:inputPrecision = (\w+) )?: "
    r"tensor<(\d+)x(\d+)x(\w+)> \* tensor<\d+x(\d+)x\w+>"
)


class Product(NamedTuple):
    """A product of matrices, rows x columns, whose reduction is `depth`, that a kernel asks for."""

    rows: int
    columns: int
    depth: int
    on_tensor_cores: bool


def products(code: GpuCode) -> list[Product]:
    """Those that a kernel asks for; float32 goes to tensor cores where some other precision is
    named."""
    return [
        Product(
            int(rows), int(columns), int(depth), dtype != "f32" or precision not in ("", "ieee")
        )
        for precision, rows, depth, dtype, columns in _PRODUCT.findall(code.ttir)
    ]


def problems(code: GpuCode) -> tuple[str, ...]:
    """What is wrong with a kernel's machine code, in words; nothing where all is well."""
    return tuple(_problems(code))


def _problems(code: GpuCode) -> Iterator[str]:
    limits, counts = code.architecture, code.counts
    if not counts.stores:
        yield f"nothing is stored: the compiler left a trap of {counts.before} instructions"
    if code.spills_in_loops:
        yield (
            f"{code.spilled_bytes} bytes of registers are spilled, "
            f"with {code.spills_in_loops} accesses in a loop"
        )
    if code.shared_bytes > limits.shared_bytes:
        yield (
            f"{code.shared_bytes} bytes of shared memory; "
            f"a block of {limits.name} may have {limits.shared_bytes}"
        )
    elif code.tensor_columns > TENSOR_COLUMNS:
        yield f"{code.tensor_columns} columns of tensor memory; there are {TENSOR_COLUMNS}"
    elif not code.held:
        yield f"a multiprocessor holds no block of {code.warps} warps of {code.registers} registers"
    asked = [product for product in products(code) if product.on_tensor_cores]
    if not asked or not limits.matrix:
        return
    shape = " x ".join(map(str, asked[0][:3]))
    large = code.warps >= LEAST_WARPS and all(product.rows >= LEAST_ROWS for product in asked)
    if not counts.matrix:
        yield f"no instruction for matrices computes its product of {shape}"
    elif large and counts.matrix != limits.matrix:
        yield f"{counts.matrix} computes its product of {shape}, where there is {limits.matrix}"
