"""Minimal filtering, F(m x m, 3 x 3) for m = 2 and m = 4: its matrices and tiles.

Along one dimension, m outputs y of a filter g of three taps, from m + 2 inputs d, are

    y = A^T ((G g) * (B^T d))

with one product for each of m + 2 points: 0, pairs of +p and -p, and infinity (S. Winograd,
Arithmetic Complexity of Computations, 1980; A. Lavin and S. Gray, Fast algorithms for convolutional
neural networks, 2016). In two dimensions each matrix is applied to rows and to columns.

B^T and A^T come apart where points come in pairs: B^T = P Q and A^T = R P, where P makes a sum
and a difference of each pair's even and odd part. Every entry of Q and R is a number of few bits,
so that only sums and products are rounded.
"""

from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

Matrix = tuple[tuple[float, ...], ...]

# The pairs of points for m outputs. Of 17 sets for m = 4, with numbers of at most four bits, these
# have the smallest error: 0.45 of that of the usual 1 and 2, and 0.7 of that of 1, -1, 1/2 and -2,
# the best of B. Barabasz et al., Error analysis and improving the accuracy of Winograd convolution
# for deep neural networks, 2020.
POINTS = {
    2: (Fraction(1),),
    4: (Fraction(5, 8), Fraction(3, 2)),
}
TAPS = 3
# Elements between the channels of two tiles in a program's memory, so that they do not fall on the
# same lines of a cache.
GAP = 16


class WinogradTile(NamedTuple):
    """A program's share of a convolution (see `winograd`).

    It takes `channels` outputs of `tiles` tiles of `outputs` x `outputs` pixels at a time,
    `reduction` a step. `workers` programs share the tiles, and `parts` the output channels of each.
    """

    outputs: int
    channels: int
    tiles: int
    reduction: int
    workers: int = 1
    parts: int = 1
    num_warps: int = 4
    num_stages: int = 3

    @property
    def points(self) -> int:
        """Products of an output channel with a channel of a tile."""
        return (self.outputs + TAPS - 1) ** 2

    @property
    def programs(self) -> int:
        """How many there are."""
        return self.workers * self.parts

    def blocks(self, images: int, size: tuple[int, ...]) -> int:
        """How many blocks of tiles cover the outputs, height by width, of so many images."""
        down, right = (-(-n // self.outputs) for n in size)
        return -(-images * down * right // self.tiles)

    def scratch(self, channels: int) -> int:
        """Elements of memory that the programs work in, for so many input channels."""
        padded = -(-channels // self.reduction) * self.reduction
        return self.programs * self.points * self.tiles * (padded + GAP + self.channels)


class Tables(NamedTuple):
    """Q, P and R, as an argument of a kernel: constexprs."""

    INPUT: Any
    PAIRS: Any
    OUTPUT: Any


class Transform:
    """The matrices for m x m outputs.

    Attributes:
        outputs: m.
        size: m + 2, of a tile of the input.
        tables: Q, P, R.
        filter: G [m + 2, 3].
        input: B^T [m + 2, m + 2].
        output: A^T [m, m + 2].
    """

    def __init__(self, outputs: int) -> None:
        pairs = POINTS[outputs]
        self.outputs, self.size = outputs, outputs + TAPS - 1
        points = [Fraction(0), *(sign * p for p in pairs for sign in (1, -1))]
        every = _vanishing(pairs)
        q = [every]
        r = [[Fraction(1)] + [Fraction(0)] * (outputs - 1)]
        for p in pairs:
            rest = _vanishing([other for other in pairs if other != p])
            q += [[Fraction(0)] * 2 + rest, [Fraction(0)] + [p * c for c in rest]]
            r += [[p**i * (i % 2 == odd) for i in range(outputs)] for odd in (False, True)]
        q.append([Fraction(0), *every])
        r.append([Fraction(0)] * (outputs - 1) + [Fraction(1)])
        self.tables = Tables(
            _floats([row + [Fraction(0)] * (self.size - len(row)) for row in q]),
            _pairs(self.size),
            _floats([list(column) for column in zip(*r, strict=True)]),
        )
        self.filter = _floats(
            [[x**j / prod(x - y for y in points if y != x) for j in range(TAPS)] for x in points]
            + [[Fraction(0)] * (TAPS - 1) + [Fraction(1)]]
        )
        self.input = _product(self.tables.PAIRS, self.tables.INPUT)
        self.output = _product(self.tables.OUTPUT, self.tables.PAIRS)


def _vanishing(pairs: Any) -> list[Fraction]:
    """The polynomial with these roots and their negatives, from its constant coefficient on."""
    found = [Fraction(1)]
    for p in pairs:
        shifted = [Fraction(0)] * 2 + found
        found = [high - p * p * low for high, low in zip(shifted, [*found, 0, 0], strict=True)]
    return found


def _pairs(size: int) -> Matrix:
    """P: the first and last are alone."""
    rows = [[float(i == j) for j in range(size)] for i in range(size)]
    for at in range(1, size - 1, 2):
        rows[at][at + 1], rows[at + 1][at], rows[at + 1][at + 1] = 1.0, 1.0, -1.0
    return tuple(map(tuple, rows))


def _floats(rows: list[list[Fraction]]) -> Matrix:
    return tuple(tuple(map(float, row)) for row in rows)


def _product(a: Matrix, b: Matrix) -> Matrix:
    columns = [*zip(*b, strict=True)]
    return tuple(
        tuple(sum(x * y for x, y in zip(row, column, strict=True)) for column in columns)
        for row in a
    )


TRANSFORMS = {outputs: Transform(outputs) for outputs in POINTS}
