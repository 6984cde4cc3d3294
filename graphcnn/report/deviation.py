"""How far computed values are from the float64 reference, against what rounding explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from graphcnn.ir import Array, DType, Node, bounded
from graphcnn.ops.rounding import TF32, UNDERFLOW
from graphcnn.plan import Arithmetic
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
        overflowed: Elements that are infinite because their values exceed the dtype's range.
        unjudged: Elements of which nothing is known: their sums may overflow on the way.
    """

    value: str
    error: float
    bound: float
    share: float
    at: tuple[int, ...]
    problem: str | None
    overflowed: int = 0
    unjudged: int = 0


def deviation(
    nodes: tuple[Node, ...],
    operands: Mapping[str, Array],
    computed: Mapping[str, Array],
    dtypes: Mapping[str, DType],
    arithmetic: Arithmetic,
) -> Deviation:
    """Compare what one kernel computed with the reference on the operands it read.

    There are two bounds, each with the rounding of the result to its dtype: the running-error bound
    of the nodes, which is a proof, and what rounding stays within in practice (`Op.noise`), which
    for long sums is much less. The smaller one counts; the words tell which was exceeded. Where the
    reference is NaN, or infinite, the computed value has to be NaN, or the same infinity.

    Args:
        nodes: What the kernel computes, in order.
        operands: float64 arrays of everything the nodes read from outside.
        computed: float64 arrays of the values the kernel stored.
        dtypes: The dtype each of them is stored in.
        arithmetic: What the kernel computes in.
    """
    growth, rounded_as = arithmetic.growth, arithmetic.rounded_as
    nodes = tuple(replace(node, op=rounded_as.get(node.name, node.op)) for node in nodes)
    exact, proofs, noises = bounded(nodes, operands, arithmetic.unit, computed)

    def bound(found: Mapping[str, Array], name: str) -> Array:
        own = growth * found[name]
        return rounded(exact[name], own, TF32, UNDERFLOW) if name in arithmetic.tf32 else own

    found = (
        _worst(name, array, exact[name], bound(proofs, name), bound(noises, name), dtypes[name])
        for name, array in computed.items()
    )
    return max(found, key=lambda worst: worst.share)


def share_of(computed: Array, exact: Array, bound: Array) -> tuple[Array, Array]:
    """|computed - exact|, and its share of the bound; both are 0 where the bound is infinite.

    NaN equals NaN and an infinity itself; otherwise, where one side is not finite, both results are
    infinite.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        same = (computed == exact) | (np.isnan(computed) & np.isnan(exact)) | np.isinf(bound)
        # In place: a new array of a hundred megabytes takes longer than what fills it.
        error = np.asarray(np.abs(computed - exact))
        error[np.isnan(error)] = np.inf
        error[same] = 0.0
        share = np.asarray(error / bound)
        share[np.isinf(error)] = np.inf
        share[same] = 0.0
    return error, share


def _worst(
    name: str, computed: Array, exact: Array, proof: Array, noise: Array, dtype: DType
) -> Deviation:
    bound = when_stored(exact, np.minimum(proof, noise), dtype)
    # What lies beyond the dtype's range is rightly stored as infinity of its sign.
    largest_number = torch.finfo(torch_dtype(dtype)).max if dtype.is_float else np.inf
    with np.errstate(invalid="ignore"):
        beyond = np.isfinite(exact) & (np.abs(exact) + bound > largest_number)
        overflowed = beyond & np.isinf(computed) & (computed * exact > 0)
    error, share = share_of(np.where(overflowed, exact, computed), exact, bound)
    largest = np.unravel_index(np.argmax(error), error.shape)
    at = np.unravel_index(np.argmax(share), share.shape)
    return Deviation(
        name,
        float(error[largest]),
        float(bound[largest]),
        float(share[at]),
        tuple(int(index) for index in at),
        _problem(error, share, exact, proof, dtype),
        int(overflowed.sum()),
        int((np.isinf(bound) & np.isfinite(exact)).sum()),
    )


def when_stored(exact: Array, bound: Array, dtype: DType) -> Array:
    """A bound that allows for rounding the result to its dtype, denormal numbers included."""
    if not dtype.is_float:
        return bound
    stored = torch.finfo(torch_dtype(dtype))
    return rounded(exact, bound, dtype.unit_roundoff, stored.smallest_normal * stored.eps)


def rounded(exact: Array, bound: Array, unit: float, smallest: float) -> Array:
    """A bound that allows for rounding to numbers of some unit roundoff and some smallest one."""
    size = np.where(np.isfinite(exact), np.abs(exact), 0.0)
    allowed: Array = bound + unit * (size + bound) + smallest
    return allowed


def _problem(error: Array, share: Array, exact: Array, proof: Array, dtype: DType) -> str | None:
    wrong = share > 1
    if not wrong.any():
        return None
    known = np.isfinite(exact)
    for where, words in (
        (np.isinf(error) & known, "are NaN or infinite where the reference is finite"),
        (np.isinf(error) & ~known, "differ where the reference is NaN or infinite"),
        (error > when_stored(exact, proof, dtype), "exceed the bound"),
        (wrong, "are further off than rounding takes them in practice"),
    ):
        if where.any():
            return f"{int(where.sum())} of {error.size} elements {words}"
    raise AssertionError("a share above 1 has a reason")
