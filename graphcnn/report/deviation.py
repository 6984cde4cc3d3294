"""How far computed values are from the float64 reference, against what rounding explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from graphcnn.ir import Array, DType, Node, bounded
from graphcnn.runtime.boundary import torch_dtype


@dataclass(frozen=True, slots=True)
class Deviation:
    """The worst of some computed values.

    Attributes:
        value: The name whose elements are worst.
        error: Largest |computed - reference|.
        bound: How large it may be, at that element.
        share: Largest ratio of error to bound over all elements; at most 1 when all is well.
        at: Position of that ratio.
        problem: What is wrong, in words, or None.
    """

    value: str
    error: float
    bound: float
    share: float
    at: tuple[int, ...]
    problem: str | None


def deviation(
    nodes: tuple[Node, ...],
    operands: Mapping[str, Array],
    computed: Mapping[str, Array],
    dtypes: Mapping[str, DType],
    unit: float,
) -> Deviation:
    """Compare what one kernel computed with the reference on the operands it read.

    The bound is the running-error bound of the nodes, plus the rounding of the result to its
    dtype. Elements whose reference is not finite are not judged.

    Args:
        nodes: What the kernel computes, in order.
        operands: float64 arrays of everything the nodes read from outside.
        computed: float64 arrays of the values the kernel stored.
        dtypes: The dtype each of them is stored in.
        unit: Unit roundoff of the kernel's arithmetic.
    """
    exact, bounds = bounded(nodes, operands, unit, computed)
    found = (
        _worst(name, array, exact[name], bounds[name], dtypes[name])
        for name, array in computed.items()
    )
    return max(found, key=lambda worst: worst.share)


def _worst(name: str, computed: Array, exact: Array, bound: Array, dtype: DType) -> Deviation:
    stored = torch.finfo(torch_dtype(dtype))
    smallest = stored.smallest_normal * stored.eps
    bound = bound + dtype.unit_roundoff * (np.abs(exact) + bound) + smallest
    with np.errstate(invalid="ignore"):
        error = np.abs(computed - exact)
        # What lies beyond the dtype's range is rightly stored as infinity of its sign.
        overflow = np.isinf(computed) & (np.abs(exact) + bound > stored.max)
        excused = overflow & (computed * exact > 0) | ~np.isfinite(exact)
        error = np.where(excused, 0.0, error)
        share = np.where(np.isnan(error), np.inf, error / bound)
    largest = np.unravel_index(np.argmax(error), error.shape)  # the first NaN, if there is one
    at = np.unravel_index(np.argmax(share), share.shape)
    return Deviation(
        name,
        float(error[largest]),
        float(bound[largest]),
        float(share[at]),
        tuple(int(index) for index in at),
        _problem(error, share),
    )


def _problem(error: Array, share: Array) -> str | None:
    wrong = int((share > 1).sum())
    if not wrong:
        return None
    lost = int((~np.isfinite(error)).sum())
    if lost:
        return f"{lost} of {error.size} elements are NaN or infinite where the reference is finite"
    return f"{wrong} of {error.size} elements exceed the bound"
