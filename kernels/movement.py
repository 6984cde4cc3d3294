"""What computes nothing: copies between layouts, padding, rolling."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import triton
import triton.language as tl

from .launch import (
    BATCH,
    MAX_OFFSET,
    Launch,
    Refused,
    Strided,
    View,
    constants,
    offset_refusal,
    require,
)
from .pointwise import iteration_space

DIMENSIONS = 6


class Axis(NamedTuple):
    """Where the elements along one dimension come from.

    Attributes:
        MODE: "same" for the same index; "constant" and "reflect" and "replicate" for a map with
            `shift` elements in front; "circular" for one that starts at element `shift`.
        shift: In elements, 0 or more.
        length: Elements of the source.
    """

    MODE: Any
    shift: int
    length: int


@triton.jit
def source_index(index, axis):
    """The elements of the source that `index` elements of the result come from."""
    if axis.MODE == "circular":
        index = (index + axis.shift) % axis.length
    elif axis.MODE != "same":
        index = index - axis.shift
    if axis.MODE == "replicate":
        index = tl.minimum(tl.maximum(index, 0), axis.length - 1)
    elif axis.MODE == "reflect":
        index = tl.abs(index)
        index = tl.minimum(index, 2 * (axis.length - 1) - index)
    return index


@triton.jit(do_not_specialize=BATCH)
def move_kernel(
    x, y, N, sizes, axes, VALUE: tl.constexpr, BLOCK_ROW: tl.constexpr, BLOCK_COL: tl.constexpr
):
    """Fill BLOCK_ROW x BLOCK_COL elements of y from elements of x, or with VALUE outside of it,
    which is None where there is no outside.

    Columns run along the output's fastest dimension, rows over the N images and the other sizes.
    """
    LAST: tl.constexpr = len(sizes) - 1
    column_blocks = tl.cdiv(sizes[LAST], BLOCK_COL)
    row = tl.program_id(0) // column_blocks * BLOCK_ROW + tl.arange(0, BLOCK_ROW)
    column = tl.program_id(0) % column_blocks * BLOCK_COL + tl.arange(0, BLOCK_COL)
    rows = N
    for d in tl.static_range(LAST):
        rows *= sizes[d]
    row_live = row < rows
    column_live = column < sizes[LAST]
    row_inside = row_live
    column_inside = column_live
    source = source_index(column, axes[LAST + 1])
    if axes[LAST + 1].MODE == "constant":
        column_inside = column_inside & (source >= 0) & (source < axes[LAST + 1].length)
    x_column = source * x.strides[LAST + 1]
    y_column = column * y.strides[LAST + 1]
    rest = row
    x_row = tl.zeros((BLOCK_ROW,), dtype=tl.int32)
    y_row = tl.zeros((BLOCK_ROW,), dtype=tl.int32)
    for d in tl.static_range(LAST, -1, -1):
        # Number 0 of axes and strides is the batch's, whose size is N.
        if d > 0:
            index = rest % sizes[d - 1]
            rest = rest // sizes[d - 1]
        else:
            index = rest
        source = source_index(index, axes[d])
        if axes[d].MODE == "constant":
            row_inside = row_inside & (source >= 0) & (source < axes[d].length)
        x_row += source * x.strides[d]
        y_row += index * y.strides[d]
    x_ptr = x.ptr + x_row[:, None] + x_column[None, :]
    mask = row_inside[:, None] & column_inside[None, :]
    value = tl.load(x_ptr, mask=mask) if VALUE is None else tl.load(x_ptr, mask=mask, other=VALUE)
    y_ptr = y.ptr + y_row[:, None] + y_column[None, :]
    tl.store(y_ptr, value.to(y_ptr.dtype.element_ty), mask=row_live[:, None] & column_live[None, :])


def _move(x: View, y: View, axes: Mapping[int, Axis], value: float | None = None) -> Launch:
    """Launch y = the elements of x that come by some axes; along the other dimensions, the same."""
    require(offset_refusal(x, y))
    for dim, axis in axes.items():
        if max(y.shape[dim] + axis.shift, 2 * axis.length) > MAX_OFFSET:
            raise Refused(f"kernels count to {MAX_OFFSET}, and dimension {dim} is of {axis.length}")
    strides = [y.strides, x.strides]
    space = iteration_space(y.shape, strides, most=DIMENSIONS, apart=axes)
    y_strides, x_strides = space.strides
    same = Axis("same", 0, 1)
    mapped = tuple(axes.get(dim, same) for dim in space.dims)
    args = (
        Strided(x.buffer, x_strides),
        Strided(y.buffer, y_strides),
        space.sizes[0],
        space.sizes[1:],
        tuple(axis._replace(MODE=constants(axis.MODE)) for axis in mapped),
    )
    return Launch(move_kernel, space.grid, args, space.meta | {"VALUE": value})


def copy(x: View, y: View) -> Launch:
    """Launch y = x, converting layout and dtype, over up to six dimensions; x broadcasts to y.

    A concatenation copies into windows of y.

    Raises:
        ValueError: for shapes that do not broadcast.
        Refused: for more dimensions, and for what 32-bit offsets or the grid cannot hold.
    """
    return _move(x.expand(y.shape), y, {})


def pad(
    x: View, y: View, *, begins: Sequence[int], mode: str = "constant", value: float = 0.0
) -> Launch:
    """Launch y = x with `begins` elements before it in each dimension, and what is left behind it.

    Modes are those of PyTorch's `pad`; `value` is for "constant".

    Raises:
        ValueError: for shapes that disagree, or elements that the mode cannot tell.
        Refused: as `copy` does.
    """
    reach = {"reflect": -1, "circular": 0}
    axes = {}
    for d, (size, before, padded) in enumerate(zip(x.shape, begins, y.shape, strict=True)):
        behind = padded - size - before
        most = size + reach[mode] if mode in reach else padded
        if min(before, behind) < 0 or max(before, behind) > most:
            raise ValueError(f"{mode} padding of {x.shape} by {begins} cannot fill {y.shape}")
        if padded != size:
            shift = -before % size if mode == "circular" else before
            axes[d] = Axis(mode, shift, size)
    return _move(x, y, axes, value if mode == "constant" else None)


def roll(x: View, y: View, *, shifts: Mapping[int, int]) -> Launch:
    """Launch y = x, moved along some dimensions; what leaves at one end enters at the other.

    Raises:
        ValueError: for shapes that disagree.
        Refused: as `copy` does.
    """
    if x.shape != y.shape:
        raise ValueError(f"{x.shape}, rolled, cannot fill {y.shape}")
    turned = {d: -shift % x.shape[d] for d, shift in shifts.items()}
    return _move(x, y, {d: Axis("circular", n, x.shape[d]) for d, n in turned.items() if n})
