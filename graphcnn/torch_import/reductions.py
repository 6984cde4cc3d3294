"""From ATen's reductions to ours.

Rows as in `pointwise`. A lone number, which torch reduces along no dimension, is one in a row.
"""

from __future__ import annotations

import math
from typing import Any

from graphcnn.frontend import arithmetic, functional, movement
from graphcnn.frontend.expr import Tensor
from graphcnn.torch_import.pointwise import Conversion
from graphcnn.torch_import.refusal import Refused


def _dims(dim: Any) -> Any:
    """All dimensions for None and for an empty list."""
    return None if dim is None or dim == [] else dim


def _ranked(x: Tensor) -> Tensor:
    """A lone number as one in a row."""
    return x if x.shape else functional.reshape(x, (1,))


def _reduced(function: Conversion) -> Conversion:
    def convert(x: Tensor, dim: Any = None, keepdim: bool = False, *_: Any) -> Tensor:
        result: Tensor = function(_ranked(x), _dims(dim) if x.shape else None, keepdim)
        if not x.shape:
            return functional.reshape(result, ())
        return result

    return convert


def _var(x: Any, dim: Any = None, correction: Any = None, keepdim: bool = False) -> Tensor:
    by, dims = 1 if correction is None else correction, _dims(dim)
    if by == int(by) >= 0:
        return functional.var(x, dims, keepdim=keepdim, correction=int(by))
    count = math.prod(x.shape if dims is None else (x.shape[axis] for axis in dims))
    if count <= by:
        raise Refused(f"correction={by} of {count} elements", "a smaller correction")
    squares = functional.var(x, dims, keepdim=keepdim, correction=0)
    return arithmetic.mul(squares, count / (count - by))


def _extremum_and_place(function: Conversion, sign: int) -> Conversion:
    def convert(x: Tensor, dim: int, keepdim: bool) -> Any:
        places = _ranked(x if sign > 0 else functional.neg(x))
        place = functional.argmax(places, dim, keepdim and bool(x.shape))
        return _reduced(function)(x, dim, keepdim), place

    return convert


def _place(sign: int) -> Conversion:
    def convert(x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
        x = x if sign > 0 else functional.neg(x)
        if dim is None:
            if keepdim:
                raise Refused("the place among all elements, with keepdim", "a dimension")
            x, dim = functional.flatten(x, 0), 0
        return functional.argmax(x, dim, keepdim)

    return convert


def _norm(x: Tensor, order: Any, dim: Any, keepdim: bool, *_: Any) -> Tensor:
    if not x.shape:
        return _norm(_ranked(x), order, None, False)
    dims = _dims(dim)
    match 2 if order is None else order:
        case 2:
            return functional.sqrt(functional.sum(arithmetic.mul(x, x), dims, keepdim))
        case 1:
            return functional.sum(functional.abs(x), dims, keepdim)
        case math.inf:
            return functional.amax(functional.abs(x), dims, keepdim)
        case _ if order == -math.inf:
            return functional.amin(functional.abs(x), dims, keepdim)
        case 0:
            return functional.sum(arithmetic.ne(x, 0.0), dims, keepdim)
    powers = functional.sum(functional.pow(functional.abs(x), float(order)), dims, keepdim)
    return functional.pow(powers, 1.0 / order)


def _log_sum_exp(x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    rank = len(x.shape)
    x, dim = _ranked(x), dim if rank else None
    largest = functional.amax(x, _dims(dim), True)
    total = functional.log(
        functional.sum(functional.exp(arithmetic.sub(x, largest)), _dims(dim), True)
    )
    found = arithmetic.add(total, largest)
    dims = range(len(x.shape)) if _dims(dim) is None else [*dim]
    return found if keepdim and rank else movement.squeeze(found, list(dims))


ROWS: dict[str, Conversion] = {
    "mean.dim": _reduced(functional.mean),
    "mean.default": lambda x, dtype: _reduced(functional.mean)(x),
    "sum.dim_IntList": _reduced(functional.sum),
    "sum.default": lambda x, dtype: _reduced(functional.sum)(x),
    "amax.default": _reduced(functional.amax),
    "amin.default": _reduced(functional.amin),
    "max.default": _reduced(functional.amax),
    "min.default": _reduced(functional.amin),
    "max.dim": _extremum_and_place(functional.amax, 1),
    "min.dim": _extremum_and_place(functional.amin, -1),
    "argmax.default": _place(1),
    "argmin.default": _place(-1),
    "var.correction": _var,
    "var.dim": lambda x, dim, unbiased, keepdim: _var(x, dim, int(unbiased), keepdim),
    "var.default": lambda x, unbiased: _var(x, None, int(unbiased)),
    "std.correction": lambda *args: functional.sqrt(_var(*args)),
    "std.dim": lambda x, dim, unbiased, keepdim: functional.sqrt(
        _var(x, dim, int(unbiased), keepdim)
    ),
    "std.default": lambda x, unbiased: functional.sqrt(_var(x, None, int(unbiased))),
    "linalg_vector_norm.default": _norm,
    "norm.ScalarOpt_dim": _norm,
    "norm.Scalar": lambda x, order: _norm(x, order, None, False),
    "logsumexp.default": _log_sum_exp,
}
