import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcnn.kernels import Pool
from graphcnn.kernels.window import TILE_PIXELS


@pytest.mark.parametrize(
    ("pool", "size", "reason"),
    [
        (Pool("max", (2, 2), stride=(3, 2)), (8, 8), "leave gaps: kernel 2x2, stride 3x2"),
        (Pool("max", (4, 4)), (3, 8), "no whole window 4x4 fits in an output of 3x8"),
        (Pool("avg", (9, 7)), (9, 7), "its window 9x7 takes 128 pixels; a tile may have 64"),
        (Pool("max", (5, 3), stride=(1, 1)), (9, 9), None),
        (Pool("max", (9, 9), stride=(1, 1)), (9, 9), "takes 256 pixels"),
        (Pool("max", (3, 3), stride=(2, 2), padding=(1, 1, 1, 1)), (1, 1), None),
        (Pool("avg", (7, 7)), (7, 7), None),
        (Pool("avg", (8, 8)), (9, 15), None),
    ],
)
def test_refusal(pool, size, reason):
    refusal = pool.refusal(*size)
    assert (refusal is None) if reason is None else (reason in refusal)


@pytest.mark.parametrize(
    ("pool", "size", "pooled"),
    [
        (Pool("max", (2, 2)), (7, 9), (3, 4)),
        (Pool("max", (3, 3), stride=(2, 2)), (55, 13), (27, 6)),
        (Pool("max", (3, 3), stride=(2, 2), padding=(1, 1, 1, 1)), (112, 7), (56, 4)),
        (Pool("avg", (2, 3), padding=(0, 0, 1, 2)), (7, 7), (4, 3)),
    ],
)
def test_size(pool, size, pooled):
    assert pool.size(*size) == pooled


@pytest.mark.parametrize(
    ("pixels", "tiles"),
    # Of 27 x 27 windows a tile of 4 x 4 blocks has 3 x 3, of 4 x 8 blocks 3 x 7, of 8 x 8 7 x 7.
    [(64, 9 * 9), (128, 9 * 4), (256, 4 * 4)],
)
def test_tiles_of_overlapping_windows(pixels, tiles):
    pool = Pool("max", (3, 3), stride=(2, 2))
    assert pool.tiling(2, 27, 27, pixels).tiles == 2 * tiles


@pytest.mark.parametrize(
    ("pool", "size", "pixels", "tiling"),
    [
        # A box of 4 x 32 pixels among those of 128 that are as few.
        (Pool("avg", (1, 1)), (56, 56), 128, (4, 32, 28)),
        (Pool("avg", (1, 1)), (112, 112), 128, (8, 16, 98)),
        (Pool("avg", (1, 1)), (7, 7), 64, (8, 8, 1)),
        (Pool("avg", (1, 1)), (1, 200), 64, (1, 64, 4)),
        # Of 28 x 28 windows, 2 x 16 blocks of 2 x 2.
        (Pool("max", (2, 2)), (28, 28), 128, (2, 16, 28)),
        (Pool("max", (8, 8)), (3, 4), 64, (1, 1, 12)),
    ],
)
def test_tiles_that_are_boxes(pool, size, pixels, tiling):
    found = pool.tiling(3, *size, pixels, boxes=True)
    assert found == (*tiling[:2], 3 * tiling[2])


SMALL = st.integers(1, 9)


@given(st.tuples(SMALL, SMALL), st.tuples(SMALL, SMALL), st.tuples(SMALL, SMALL))
def test_what_is_not_refused_has_a_tiling_that_holds_every_window(kernel, stride, size):
    pool = Pool("max", kernel, stride=stride)
    if pool.refusal(*size) is not None:
        return
    rows, cols = pool.size(*size)
    tiling = pool.tiling(3, rows, cols, TILE_PIXELS)
    blocks = TILE_PIXELS // (pool.block[0] * pool.block[1])
    if not any(pool.halo):
        assert (tiling.tiles - 1) * blocks < 3 * rows * cols <= tiling.tiles * blocks
        return
    assert tiling.rows * tiling.cols == blocks
    taken = [positions(*axis) for axis in zip((rows, cols), tiling[:2], pool.halo, strict=True)]
    assert tiling.tiles == 3 * len(taken[0]) * len(taken[1])
    for axis, tiles in enumerate(taken):
        begun = [window for tile in tiles for window in tile]
        assert begun == list(range((rows, cols)[axis]))
        for tile in tiles:
            for window in tile:
                last = window * stride[axis] + kernel[axis] - 1  # of its elements
                assert last < (tile.start + tiling[axis]) * stride[axis]


def positions(windows, blocks, halo):
    """The windows along an axis that begin in each tile of so many blocks, the last ones halo."""
    own = blocks - halo
    return [range(first, min(first + own, windows)) for first in range(0, windows, own)]
