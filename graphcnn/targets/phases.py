"""A transposed convolution as plain ones: outputs that are one stride apart see the same taps.

Source: W. Shi et al., Is the deconvolution layer the same as a convolutional layer?, 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import gcd

from graphcnn.ir import Array, Param
from graphcnn.kernels import View
from graphcnn.ops import ConvTranspose
from graphcnn.ops.window import Window
from graphcnn.plan import Buffer, Packing
from graphcnn.targets.pack import filters


@dataclass(frozen=True, slots=True)
class Phase:
    """Along one dimension, every `stride`-th output from `start` on, `count` in all.

    Output start + stride * j is the sum over t of filter tap taps[t] times input
    j + t * dilation - padding.
    """

    start: int
    stride: int
    count: int
    taps: tuple[int, ...]
    dilation: int
    padding: int


def phases(
    op: ConvTranspose, kernel: tuple[int, ...], sizes: tuple[int, ...]
) -> Iterator[tuple[Phase, ...]]:
    """The phases of an output of these sizes: one per dimension, in every combination."""
    axes = zip(sizes, kernel, op.stride, op.padding, op.dilation, strict=True)
    return product(*(_along(*axis) for axis in axes))


def _along(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[Phase]:
    found = []
    for start in range(min(stride, size)):
        count = -(-(size - start) // stride)
        # Tap r adds input i to output i * stride + r * dilation - padding.
        reach = {r: start + padding - r * dilation for r in reversed(range(kernel))}
        taps = tuple(r for r in reach if reach[r] % stride == 0)
        # Where no tap reaches, one that stays in front of the input.
        first = reach[taps[0]] // stride if taps else -count
        spread = dilation // gcd(stride, dilation)
        found.append(Phase(start, stride, count, taps or (0,), spread, -first))
    return found


def window_of(phase: tuple[Phase, ...]) -> Window:
    """The window of the convolution that computes a phase."""
    return Window(
        tuple(len(p.taps) for p in phase),
        (1,) * len(phase),
        tuple(p.padding for p in phase),
        (0,) * len(phase),
        tuple(p.dilation for p in phase),
    )


def part_of(view: View, phase: tuple[Phase, ...]) -> View:
    """The elements of a value [N, K, sizes] that belong to a phase."""
    skipped = sum(p.start * step for p, step in zip(phase, view.strides[2:], strict=True))
    strides = (p.stride * step for p, step in zip(phase, view.strides[2:], strict=True))
    return View(
        Buffer(view.buffer.name, view.buffer.offset + skipped),
        (*view.shape[:2], *(p.count for p in phase)),
        (*view.strides[:2], *strides),
        view.dtype,
    )


def filters_of(phase: tuple[Phase, ...], param: Param, groups: int, order: str) -> Packing:
    """Its taps of a filter [C, K/groups, taps], packed as a plain convolution's."""
    channels, depth = param.type.shape[:2]
    taps = tuple(p.taps for p in phase)
    shape = (groups * depth, channels // groups, *map(len, taps))
    packing = filters(Param(param.name, param.type.with_shape(shape)), order)

    def arrange(weight: Array) -> Array:
        for axis, chosen in enumerate(taps, 2):
            weight = weight.take(chosen, axis)
        grouped = weight.reshape(groups, shape[1], depth, *shape[2:]).swapaxes(1, 2)
        return packing.arrange(grouped.reshape(shape))

    return replace(packing, name=f"{packing.name}@{groups}@{taps}", arrange=arrange)
