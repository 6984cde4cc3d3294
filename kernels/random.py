"""Random numbers by Philox-4x32-10, Triton's own generator."""

import math

import triton
import triton.language as tl
from triton.language.extra import libdevice

from .finish import store_tile, tile_offset
from .launch import BATCH, Launch, Strided, View, offset_refusal, require
from .pointwise import block_place, iteration_space


@triton.jit
def fraction(word, BITS: tl.constexpr):
    """The highest BITS bits of a 32-bit word as a number in [0, 1), which float32 holds."""
    return (word >> (32 - BITS)).to(tl.float32) * (1.0 / (1 << BITS))


@triton.jit(do_not_specialize=(*BATCH, "seed", "offset"))
def random_kernel(
    y,
    index,
    N,
    sizes,
    seed,
    offset,
    NORMAL: tl.constexpr,
    BITS: tl.constexpr,
    BLOCK_ROW: tl.constexpr,
    BLOCK_COL: tl.constexpr,
):
    """Draw BLOCK_ROW x BLOCK_COL elements: element i from the block of counter offset + i.

    `index` holds the strides that make i of an element's place: its row-major order, however y
    lies in memory. Normal numbers are Box and Muller's first ones of two words; the logarithm is of
    a number in (0, 1].
    """
    place = block_place(N, sizes, BLOCK_ROW, BLOCK_COL)
    counter = tl.cast(offset, tl.int64) + tile_offset(index, place)
    first, second, _, _ = tl.randint4x(tl.cast(seed, tl.int64), counter)
    value = fraction(first, BITS)
    if NORMAL:
        radius = tl.sqrt_rn(-2.0 * libdevice.log(value + 1.0 / (1 << BITS)))
        # Of a half turn: cos itself prepares for any angle, with an array in local memory.
        value = radius * libdevice.cospi(2.0 * fraction(second, BITS))
    store_tile(y, value, place)


def _random(y: View, seed: int, offset: int, bits: int, *, normal: bool) -> Launch:
    require(offset_refusal(y))
    index = tuple(math.prod(y.shape[d + 1 :]) for d in range(len(y.shape)))
    space = iteration_space(y.shape, [y.strides, index])
    y_strides, index_strides = space.strides
    args = (
        Strided(y.buffer, y_strides),
        index_strides,
        space.sizes[0],
        space.sizes[1:],
        seed,
        offset,
    )
    # Ten rounds on eight elements of a thread take more registers than ptxas allows itself.
    meta = space.meta | {"NORMAL": normal, "BITS": bits, "num_warps": 8}
    return Launch(random_kernel, space.grid, args, meta)


def random_uniform(y: View, *, seed: int, offset: int, bits: int) -> Launch:
    """Launch y = multiples of 2^-bits in [0, 1), for up to four dimensions.

    Raises:
        Refused: for more dimensions, and for what 32-bit offsets or the grid cannot hold.
    """
    return _random(y, seed, offset, bits, normal=False)


def random_normal(y: View, *, seed: int, offset: int) -> Launch:
    """Launch y = standard normal numbers. Raises as `random_uniform` does."""
    return _random(y, seed, offset, 24, normal=True)
