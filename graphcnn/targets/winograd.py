"""Convolutions by minimal filtering: their weights, how they round, and why one is taken or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from graphcnn.ir import Array, DType, Param
from graphcnn.ir.op import gamma
from graphcnn.kernels import (
    TRANSFORMS,
    Choice,
    ConvProblem,
    DeviceTraits,
    Problem,
    WinogradTile,
    directly,
    winograd_conv2d,
    work_of,
)
from graphcnn.kernels.launch import ceil_div
from graphcnn.ops import Conv2d
from graphcnn.ops.rounding import UNDERFLOW, beyond_range, sum_noise
from graphcnn.plan import Packing

# Roundings on the way through a matrix, of a factor and the sums of at most three terms by Q or R
# and two by P (see `kernels/toom_cook.py`), for rows and columns.
TRANSFORM = 2 * (1 + 2 + 1)


def filters(param: Param, tile: WinogradTile, order: str) -> Packing:
    """A filter [K, C, 3, 3] as G g G^T [K / channels, points, channels, C] of a tile's channels.

    There are zeros up to whole blocks of filters and channels. Numbers are those of the param's
    dtype, and rounded once, from float64 to float32. Of a block and a point the filters are
    contiguous in `order` "channel_major", and else the channels.
    """
    filters, channels = param.type.shape[:2]
    blocks = ceil_div(filters, tile.channels)
    padded = ceil_div(channels, tile.reduction) * tile.reduction
    shape = (blocks, tile.points, tile.channels, padded)
    by_channel = order == "channel_major"
    steps = (1, tile.channels) if by_channel else (padded, 1)
    point = tile.channels * padded
    return Packing(
        f"{param.name}@winograd{tile.outputs}@{tile.channels}@{padded}@{order}",
        (param.name,),
        shape,
        (tile.points * point, point, *steps),
        DType.F32,
        partial(_arrange, dtype=param.type.dtype, tile=tile, shape=shape, by_channel=by_channel),
    )


def _arrange(
    weight: Array, *, dtype: DType, tile: WinogradTile, shape: tuple[int, ...], by_channel: bool
) -> Array:
    blocks, points, block, padded = shape
    filters, channels = weight.shape[:2]
    along = np.array(TRANSFORMS[tile.outputs].filter)
    flat = dtype.round(weight).reshape(filters * channels, -1).astype(np.float64)
    by_point = (np.kron(along, along) @ flat.T).reshape(points, filters, channels)
    arranged = np.zeros((blocks, points, padded, block) if by_channel else shape, np.float32)
    places = arranged.transpose(0, 1, 3, 2) if by_channel else arranged
    for number, place in enumerate(places):
        part = by_point[:, number * block :][:, :block]
        place[:, : part.shape[1], :channels] = part
    return arranged


@dataclass(frozen=True)
class WinogradConv2d(Conv2d):
    """A 3 x 3 convolution that is computed by `outputs` x `outputs` outputs at a time.

    With v the transformed input of a tile, u the transformed filter and k their products, summed
    over channels, the bounds follow the computation: running errors of v, u and k are carried
    through the absolute values of the matrices (B. Barabasz, A. Anderson, K. Soodhalter and
    D. Gregg, Error analysis and improving the accuracy of Winograd convolution for deep neural
    networks, ACM Transactions on Mathematical Software 46, 2020). A product takes part in all
    outputs of its tile, and so does an input that is not finite.
    """

    spreads: ClassVar[bool] = True
    outputs: int = 4

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """gamma(n) * |A^T| (sum |u| (|B^T| |x| |B|)) |A|, for n roundings on the way to a sum."""
        x, weight, *bias = inputs
        terms = self._terms(weight)
        magnitude = self._through(x, weight, lambda u, v, size: np.abs(u) @ size)
        for vector in bias:
            magnitude += np.abs(self._along_features(vector, output))
        # Each number below the smallest normal one may be lost, in v as in k.
        output_sizes = np.abs(np.array(TRANSFORMS[self.outputs].output))
        sums = np.array([[np.abs(u).sum(1) + 1 for u in row] for row in self._filters(weight)])
        lost = np.einsum("ai,ijk,bj->abk", output_sizes, sums, output_sizes).max()
        smallest = terms * UNDERFLOW * lost
        return beyond_range(magnitude, gamma(terms, unit) * magnitude + smallest)

    def noise(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """That of the sums at each point (see `sum_noise`), whose errors are independent."""
        x, weight, *bias = inputs
        terms = self._terms(weight)

        def squared(u: Array, v: Array, size: Array) -> Array:
            squares, magnitude = u**2 @ size**2, np.abs(u) @ size
            noise: Array = sum_noise(u @ v, squares, magnitude, terms, unit) ** 2
            return noise

        noise = np.sqrt(self._through(x, weight, squared, power=2))
        magnitude = self._through(x, weight, lambda u, v, size: np.abs(u @ v))
        rounded = TRANSFORM * unit * magnitude + 2 * unit * np.abs(output)
        for vector in bias:
            rounded = rounded + unit * np.abs(self._along_features(vector, output))
        return beyond_range(magnitude, noise + rounded + terms * UNDERFLOW)

    def _terms(self, weight: Array) -> int:
        """Roundings on the way of a product into the result: of both transforms, of the filter, of
        the product and its sum over channels, and of the bias."""
        return 2 * TRANSFORM + int(weight.shape[1]) + 3

    def _through(
        self,
        x: Array,
        weight: Array,
        point: Callable[[Array, Array, Array], Array],
        power: int = 1,
    ) -> Array:
        """|A^T|^power k |A|^power for what `point` makes of u [K, C], v and |B^T| |x| |B|, both
        [N, C, tiles], at each point: k [N, K, tiles]."""
        transform = TRANSFORMS[self.outputs]
        weights = np.abs(np.array(transform.output)) ** power
        images, filters, m = x.shape[0], weight.shape[0], self.outputs
        size = self.window(weight.shape).outputs(self, x.shape[2:])
        down, right = (ceil_div(n, m) for n in size)
        total = np.zeros((images, filters, down, m, right, m))
        parts = zip(self._rows(x, down, right), self._filters(weight), strict=True)
        for i, ((rows, row_sizes), row_filters) in enumerate(parts):
            columns = np.zeros((images, filters, down, right, m))
            for j, u in enumerate(row_filters):
                v, sizes = (
                    _taken(part, table, m, right, axis=3).reshape(images, x.shape[1], -1)
                    for part, table in (
                        (rows, np.array(transform.input[j])),
                        (row_sizes, np.abs(np.array(transform.input[j]))),
                    )
                )
                made = point(u, v, sizes).reshape(images, filters, down, right, 1)
                columns += made * weights[:, j]
            total += columns[:, :, :, None] * weights[:, i][:, None, None]
        flat = total.reshape(images, filters, down * m, right * m)
        return flat[:, :, : size[0], : size[1]]

    def _filters(self, weight: Array) -> Iterator[Iterator[Array]]:
        """G g G^T [K, C] of every filter, by rows of points."""
        along = np.array(TRANSFORMS[self.outputs].filter)
        flat = weight.reshape(*weight.shape[:2], -1)
        for row in along:
            yield (flat @ np.outer(row, column).ravel() for column in along)

    def _rows(self, x: Array, down: int, right: int) -> Iterator[tuple[Array, Array]]:
        """Each row of B^T x and of |B^T| |x|, [N, C, tiles down, columns]."""
        transform, m = TRANSFORMS[self.outputs], self.outputs
        top, left = self.padding[:2]
        padded = np.zeros((*x.shape[:2], down * m + 2, right * m + 2))
        padded[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
        for row in map(np.array, transform.input):
            yield (
                _taken(padded, row, m, down, 2),
                _taken(np.abs(padded), np.abs(row), m, down, 2),
            )


def _taken(x: Array, factors: Array, step: int, count: int, axis: int) -> Array:
    """The sum over k of factors[k] times every `step`-th element of x from k on, `count` in all."""
    total: Array | float = 0.0
    for k, factor in enumerate(factors):
        if factor:
            every = [slice(None)] * x.ndim
            every[axis] = slice(k, k + step * (count - 1) + 1, step)
            total = total + factor * x[tuple(every)]
    assert isinstance(total, np.ndarray)
    return total


Told = tuple[str, tuple[str, ...], str]


def algorithm(
    problem: Problem, picked: Choice, found: Sequence[Choice], device: DeviceTraits, asked: bool
) -> Told | None:
    """The algorithm that was picked, all there were, and why; None where there was one.

    Args:
        problem: What is computed.
        picked: The choice that was made.
        found: All there were.
        device: Where it runs.
        asked: Whether the caller leaves some of them out.
    """
    filtered = [choice for choice in found if choice.launch is winograd_conv2d]
    if not isinstance(problem, ConvProblem) or not filtered:
        return None
    if device.transform is None:
        names = tuple(dict.fromkeys(map(_name, found)))
        return _name(picked), names, "nobody has measured minimal filtering on this device"
    best = min(filtered, key=lambda choice: work_of(choice, problem, device).time)
    best = picked if picked in filtered else best
    written = picked if picked not in filtered else directly(problem, found, device)
    names = tuple(dict.fromkeys(map(_name, (written, *filtered))))
    works = [(_name(choice), work_of(choice, problem, device)) for choice in (best, written)]
    (minimal, work), (direct, sums) = works
    because = (
        f"{minimal}: {work.products:,} products, {work.transformed:,} numbers transformed and "
        f"{work.nbytes:,} bytes take the time of {work.time:,.0f} products; {direct}: "
        f"{sums.products:,} products and {sums.nbytes:,} bytes that of {sums.time:,.0f}"
    )
    if picked is written and work.time < sums.time:
        because += "; sums as they are written were " + (
            "asked for" if asked else "measured to be faster, or are what another batch takes"
        )
    return _name(picked), names, because


def _name(choice: Choice) -> str:
    if not isinstance(choice.tile, WinogradTile):
        return "direct"
    m = choice.tile.outputs
    return f"F({m}x{m}, 3x3)"
