"""From ATen's resampling to ours: interpolation, and pools to a given size.

Rows as in `pointwise`. Volumes are resized as maps, twice: first their planes, then their depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from graphcnn.frontend import arithmetic, functional, resampling
from graphcnn.frontend.expr import Tensor, Weight
from graphcnn.torch_import.pointwise import Conversion
from graphcnn.torch_import.windows import PLACES, axes, samples

Sizes = Sequence[Any]


def _volumes(x: Tensor, resize: Callable[[Tensor, slice], Tensor]) -> Tensor:
    """A function of maps, along the dimensions that it is told, on [N, C, D, H, W]."""
    _, c, d, h, w = x.shape
    planes = resize(functional.reshape(x, (-1, c * d, h, w)), slice(1, 3))
    h, w = planes.shape[2:]
    lines = resize(functional.reshape(planes, (-1, c, d, h * w)), slice(0, 1))
    return functional.reshape(lines, (-1, c, lines.shape[2], h, w))


def _interpolated(x: Tensor, size: Any, factors: Any, mode: str, align: Any) -> Tensor:
    """One of a size and factors, a number for each of one to three dimensions."""
    if len(x.shape) < 5:
        return resampling.interpolate(x, size, factors, mode, align)

    def resized(maps: Tensor, along: slice) -> Tensor:
        if size is not None:
            new = (*size[along], maps.shape[3])[:2]
            return resampling.interpolate(maps, new, None, mode, align)
        return resampling.interpolate(maps, None, (*factors[along], 1.0)[:2], mode, align)

    return _volumes(x, resized)


def _upsample(mode: str, aligned: bool) -> Conversion:
    def convert(x: Any, size: Any, *args: Any) -> Tensor:
        align, factors = args if aligned else (None, *args)
        if size is not None:
            return _interpolated(x, tuple(map(int, size)), None, mode, align)
        return _interpolated(x, None, tuple(map(float, factors)), mode, align)

    return convert


def _upsample_to(mode: str, aligned: bool) -> Conversion:
    """The form that names a size, and factors besides, which are the ratio that counts."""

    def convert(x: Any, size: Any, *args: Any) -> Tensor:
        align, factors = (args[0], args[1:]) if aligned else (None, args)
        sizes = tuple(map(int, size))
        if any(factor is not None for factor in factors):
            scaled = tuple(map(float, factors))
            found = resampling.interpolate(x, None, scaled, mode, align)
            if found.shape[2:] == sizes:
                return found
        return resampling.interpolate(x, sizes, mode=mode, align_corners=align)

    return convert


def _by_matrices(resize: Any) -> Conversion:
    """A sum of elements with weights along each dimension: a matrix of them from either side.

    The weights are torch's own: what it makes of rows with a single one.
    """

    def convert(x: Any, size: Any, align: bool, factors: Any) -> Tensor:
        matrices = []
        for axis, length in enumerate(x.shape[2:]):
            new = None if size is None else [length, int(size[axis])]
            factor = None if factors is None else [1.0, factors[axis]]
            matrix = resize(torch.eye(length)[None, None], new, align, factor)[0, 0]
            matrix = matrix.T if axis == 0 else matrix
            matrices.append(Weight.of(matrix, x.dtype, "a resampling", constant=True))
        rows, columns = matrices
        return arithmetic.matmul(arithmetic.matmul(rows, x), columns)

    return convert


def _adaptive(name: str, rank: int, indices: bool) -> Conversion:
    function = getattr(resampling, f"{name}{rank}d")

    def convert(x: Any, size: Any) -> Any:
        found = samples(x, rank, function, axes(size, rank))
        return (found, PLACES) if indices else found

    return convert


def _means_of_boxes(x: Tensor, size: Any) -> Tensor:
    """An adaptive_avg_pool3d: means of a box are those of its planes' means."""
    sizes = axes(size, 3)

    def means(maps: Tensor, along: slice) -> Tensor:
        height, width = (*sizes[along], maps.shape[3])[:2]
        return resampling.adaptive_avg_pool2d(maps, (height, width))

    return samples(x, 3, lambda volumes: _volumes(volumes, means))


_NEAREST = {"upsample_nearest": "nearest", "_upsample_nearest_exact": "nearest-exact"}
_LINEAR = {
    "upsample_linear1d": "linear",
    "upsample_bilinear2d": "bilinear",
    "upsample_trilinear3d": "bilinear",
}
_WEIGHED = ("upsample_bicubic2d", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa")

ROWS: dict[str, Conversion] = {
    **{
        f"{name}{rank}d.vec": _upsample(mode, False)
        for name, mode in _NEAREST.items()
        for rank in (1, 2, 3)
    },
    **{
        f"{name}{rank}d.default": _upsample_to(mode, False)
        for name, mode in _NEAREST.items()
        for rank in (1, 2)
    },
    **{f"{name}.vec": _upsample(mode, True) for name, mode in _LINEAR.items()},
    "upsample_linear1d.default": _upsample_to("linear", True),
    "upsample_bilinear2d.default": _upsample_to("bilinear", True),
    **{f"{name}.vec": _by_matrices(getattr(torch.ops.aten, name).vec) for name in _WEIGHED},
    **{f"adaptive_avg_pool{r}d.default": _adaptive("adaptive_avg_pool", r, False) for r in (1, 2)},
    **{f"adaptive_max_pool{r}d.default": _adaptive("adaptive_max_pool", r, True) for r in (1, 2)},
    "adaptive_avg_pool3d.default": _means_of_boxes,
}
