"""From ATen's padding to ours, of any number of dimensions and of negative sides.

Rows as in `pointwise`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphcnn.frontend import functional, spatial
from graphcnn.frontend.expr import Tensor
from graphcnn.torch_import.places import sliced
from graphcnn.torch_import.pointwise import Conversion


def _padded(x: Tensor, padding: Sequence[int], mode: str, value: float | None) -> Tensor:
    """torch names the last dimension's sides first, and a negative side crops."""
    sides = [(0, 0)] * len(x.shape)
    for number in range(len(padding) // 2):
        sides[-1 - number] = (padding[2 * number], padding[2 * number + 1])
    for axis, size in enumerate(x.shape):
        before, after = sides[axis]
        first, last = max(0, -before), size + min(0, after)
        if mode == "replicate":  # where all is cropped, copies of the first or last are left
            first, last = min(first, size - 1), max(last, 1)
        before, after = before + first, after + size - last
        sides[axis] = (max(0, before + min(0, after)), max(0, after + min(0, before)))
        x = sliced(x, axis, first, None if last == size else last, 1)
    if not any(map(any, sides)):
        return x
    return _grown(x, sides, mode, 0.0 if value is None else float(value))


def _grown(x: Tensor, sides: list[tuple[int, int]], mode: Any, value: float) -> Tensor:
    """Padding of the last two dimensions at once, and of others each as the height of maps."""
    rank = len(x.shape)
    for axis in range(rank - 2):
        if any(sides[axis]):
            begin, end = sides[axis]
            size, row = x.shape[axis], math.prod(x.shape[axis + 1 :])
            maps = functional.reshape(x, (-1 if axis else 1, 1, size, row))
            grown = spatial.pad(maps, (begin, 0, end, 0), mode, value)
            shape = (*x.shape[:axis], begin + size + end, *x.shape[axis + 1 :])
            x = functional.reshape(grown, (-1, *shape[1:]))
    inner = min(rank, 1 if rank < 4 and not any(sides[-2:][0]) else 2)
    if not any(map(any, sides[rank - inner :])):
        return x
    lead, own = x.shape[: rank - inner], x.shape[rank - inner :]
    maps = x if len(lead) == 2 else functional.reshape(x, (-1, 1, *own))
    begins, ends = zip(*sides[rank - inner :], strict=True)
    padded = spatial.pad(maps, (*begins, *ends), mode, value)
    if len(lead) == 2:
        return padded
    return functional.reshape(padded, ((-1, *lead[1:]) if lead else ()) + padded.shape[2:])


def _mode(name: str) -> Conversion:
    return lambda x, padding: _padded(x, padding, name, None)


ROWS: dict[str, Conversion] = {
    "pad.default": _padded,
    "constant_pad_nd.default": lambda x, sides, value: _padded(x, sides, "constant", value),
    **{f"reflection_pad{rank}d.default": _mode("reflect") for rank in (1, 2)},
    **{f"replication_pad{rank}d.default": _mode("replicate") for rank in (1, 2)},
}
