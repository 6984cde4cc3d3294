"""tf32: what tensor cores take of float32, its range with 11 significant bits.

They cut the other bits off. An operand that is rounded beforehand is exact there, and its error
half as large and of either sign.
"""

from typing import Any, Literal

import triton
import triton.language as tl

# How float32 is multiplied: as three products of tf32, which keep its precision; as one, of rounded
# operands; or as it is, outside of tensor cores.
Precision = Literal["tf32x3", "tf32", "ieee"]


@triton.jit
def round_to_tf32(value):
    """The nearest numbers of tf32 to float32 ones; of two, the one whose last bit is 0.

    Infinities stay. Every NaN becomes one whose bits survive the cut: others would be infinite.
    """
    # Chosen among floats and before all else, so that registers suffice with every Triton.
    number = tl.where(value == value, value, float("nan"))  # noqa: PLR0124 -- a NaN is not
    bits = number.to(tl.int32, bitcast=True)
    bits = (bits + 0xFFF + ((bits >> 13) & 1)) & -0x2000
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def add_product(acc, filters, pixels, PRECISION: tl.constexpr):
    """acc + filters [CH, RED] @ pixels [PIX, RED]^T, multiplied as `product_meta` says."""
    if PRECISION == "tf32 of float32":
        acc = tl.dot(filters, tl.trans(round_to_tf32(pixels)), acc, input_precision="tf32")
    else:
        acc = tl.dot(filters, tl.trans(pixels), acc, input_precision=PRECISION)
    return acc


# What `product_meta` says where products are of tf32: images are, or they are rounded first.
IN_TF32 = ("tf32", "tf32 of float32")


def product_meta(dtype: str, precision: Precision, rounded: bool = True) -> dict[str, Any]:
    """How a kernel multiplies, as an entry of its launch's `meta`.

    Args:
        dtype: Of the operands; `precision` is of float32.
        precision: How float32 is multiplied.
        rounded: Whether images are numbers of tf32 already, as weights have to be where the
            precision is "tf32"; else the kernel rounds them.
    """
    if dtype != "f32":
        return {"PRECISION": "ieee"}
    return {"PRECISION": IN_TF32[not rounded] if precision == "tf32" else precision}
