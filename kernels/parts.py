"""The parts of a reduction: which steps each has, and where it leaves its sums."""

from collections.abc import Sequence

import triton
import triton.language as tl

from .launch import View, offset_refusal, require


@triton.jit
def share(part, SIZE: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr):
    """Where a part of a reduction begins and ends, which takes steps of BLOCK."""
    STEPS: tl.constexpr = (SIZE + BLOCK - 1) // BLOCK
    begin = part * STEPS // PARTS * BLOCK
    return begin, tl.minimum((part + 1) * STEPS // PARTS * BLOCK, SIZE)


def partial_sums(scratch: View, parts: int, shape: tuple[int, ...]) -> View:
    """Memory for the parts of maps [N, K, H, W], as maps [parts * N, K, H, W] with channels last.

    Raises ValueError where it does not suffice.
    """
    images, channels, height, width = shape
    size = parts * images * channels * height * width
    if scratch.dtype != "f32" or scratch.strides != (1,) or scratch.size < size:
        raise ValueError(f"scratch {scratch.shape} of {scratch.dtype}, wanted {size} of f32")
    strides = (height * width * channels, 1, width * channels, channels)
    return View(scratch.buffer, (parts * images, channels, height, width), strides, "f32")


def first_part(outputs: Sequence[View], images: int, parts: int) -> View:
    """The first of the parts that a kernel writes.

    Raises:
        ValueError: for memory of another kind.
        Refused: for more than 32-bit offsets can address.
    """
    sums = outputs[0]
    whole = sums.permuted(0, 2, 3, 1).rows() is not None
    if len(outputs) > 1 or sums.shape[0] != parts * images or sums.dtype != "f32" or not whole:
        raise ValueError(f"{sums.shape} of {sums.dtype} takes no {parts} parts of {images} images")
    require(offset_refusal(sums))
    return View(sums.buffer, (images, *sums.shape[1:]), sums.strides, sums.dtype)
