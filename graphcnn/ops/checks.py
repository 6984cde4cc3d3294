"""Checks that operators share: attributes in their domain, operands of the right number and rank.

Attributes are in normal form here: pairs are (height, width), four sides are (top, left, bottom,
right). The functional front end accepts the short forms.
"""

from __future__ import annotations

import sys
from math import isfinite

import numpy as np

from graphcnn.errors import (
    DTypeMismatch,
    InvalidAttribute,
    InvalidGraph,
    RankError,
    ShapeError,
    shown,
)
from graphcnn.ir.op import Op
from graphcnn.ir.types import DType, TensorType

# Sizes beyond this are typing errors, and would overflow the 32-bit indices of a launch.
_LARGEST = 2**31 - 1
_LARGEST_FLOAT = sys.float_info.max


def is_integer(value: object, least: int) -> bool:
    """Whether `value` is an int, and of no subclass such as bool, in [least, 2^31)."""
    return type(value) is int and least <= value <= _LARGEST


def check_integer(op: Op, field: str, least: int) -> None:
    """Raise InvalidAttribute unless the attribute is an integer of at least `least`."""
    value = getattr(op, field)
    if not is_integer(value, least):
        raise _invalid(op, field, value, f"an integer of at least {least}", least)


def check_integers(op: Op, field: str, length: int, least: int) -> None:
    """Raise InvalidAttribute unless the attribute is a tuple of `length` integers >= `least`."""
    value = getattr(op, field)
    if (
        type(value) is not tuple
        or len(value) != length
        or not all(is_integer(item, least) for item in value)
    ):
        wanted = f"a tuple of {length} integers of at least {least}"
        raise _invalid(op, field, value, wanted, (least,) * length)


def check_number(
    op: Op,
    field: str,
    *,
    least: float = -_LARGEST_FLOAT,
    most: float = _LARGEST_FLOAT,
    infinite: bool = False,
) -> None:
    """Raise InvalidAttribute unless the attribute is a number in [least, most], or an infinity
    where that is allowed. It is an int or float and of no subclass: the text form prints it."""
    value = getattr(op, field)
    number = type(value) in (int, float)
    if number and (least <= value <= most or (infinite and abs(value) == float("inf"))):
        return
    above = f" of at least {least:g}" if least > -_LARGEST_FLOAT else ""
    below = f" and at most {most:g}" if most < _LARGEST_FLOAT else ""
    raise _invalid(op, field, value, f"a finite number{above}{below}", max(least, 0.0))


def check_range(op: Op, field: str, dtype: DType) -> None:
    """Raise InvalidAttribute when the attribute is finite, and infinite in `dtype`."""
    value = getattr(op, field)
    if isfinite(value) and not np.isfinite(dtype.round(value)):
        raise _invalid(op, field, value, f"a number that {dtype} can hold", 1.0)


def check_flag(op: Op, field: str) -> None:
    """Raise InvalidAttribute unless the attribute is a bool."""
    value = getattr(op, field)
    if not isinstance(value, bool):
        raise _invalid(op, field, value, "True or False", False)


def _invalid(op: Op, field: str, got: object, wanted: str, example: object) -> InvalidAttribute:
    return InvalidAttribute(
        f"{op.name}: {field} is {wanted}",
        got=f"{field}={shown(got)}",
        wanted=wanted,
        remedy=f"for example {field}={example!r}",
    )


def check_operands(
    op: Op, inputs: tuple[TensorType, ...], required: tuple[str, ...], optional: str = ""
) -> None:
    """Check the number of operands, and that they share one floating-point dtype.

    Raises:
        InvalidGraph: for a wrong number of operands.
        DTypeMismatch: for mixed or integer dtypes.
    """
    names = (*required, optional) if optional else required
    if not len(required) <= len(inputs) <= len(names):
        shown = ", ".join(required) + (f"[, {optional}]" if optional else "")
        raise InvalidGraph(
            f"{op.name} reads {shown}",
            got=f"{len(inputs)} operands: {', '.join(map(str, inputs)) or 'none'}",
            wanted=f"{op.name}({shown})",
            remedy="pass the operands in this order",
        )
    check_dtypes(op, inputs)


def check_dtypes(op: Op, inputs: tuple[TensorType, ...]) -> None:
    """Raise DTypeMismatch unless all operands have the same floating-point dtype."""
    dtypes = {type.dtype for type in inputs}
    if len(dtypes) > 1:
        raise DTypeMismatch(
            f"the operands of {op.name} have different dtypes",
            got=", ".join(map(str, inputs)),
            wanted="one dtype",
            remedy="create the inputs and weights of a graph with the same dtype",
        )
    if not all(dtype.is_float for dtype in dtypes):
        raise DTypeMismatch(
            f"{op.name} computes in floating point",
            got=", ".join(map(str, inputs)),
            wanted="f16, bf16, f32 or f64",
            remedy='declare the input with a float dtype, such as dtype="float32"',
        )


def check_rank(op: Op, role: str, type: TensorType, layout: str) -> None:
    """Raise RankError unless the operand has the dimensions of `layout`, such as "N, C, H, W"."""
    wanted, got = layout.count(",") + 1, len(type.shape)
    if got == wanted:
        return
    if role != "input":
        remedy = f"reshape the {role} to [{layout}]"
    elif got == wanted - 1:
        remedy = f"add the missing dimension: reshape to {[1, *type.shape]}, if it is the batch"
    elif got > wanted:
        remedy = "flatten or reshape the extra dimensions away"
    else:
        remedy = f"declare the input with {wanted} dimensions"
    raise RankError(
        f"the {role} of {op.name} has {wanted} dimension{'s' * (wanted > 1)}, [{layout}]",
        got=f"{got} dimension{'s' * (got != 1)}: {type}",
        wanted=f"[{layout}]",
        remedy=remedy,
    )


def check_bias(op: Op, inputs: tuple[TensorType, ...], features: int) -> None:
    """Raise ShapeError unless the third operand, if there is one, is a bias of that length."""
    if len(inputs) == 3 and inputs[2].shape != (features,):
        raise ShapeError(
            f"{op.name}: the bias has one element per output feature",
            got=str(inputs[2]),
            wanted=f"[{features}], the weight's first dimension",
            remedy=f"reshape the bias to [{features}], or leave it out",
        )


def check_dim(op: Op, dim: int, type: TensorType) -> None:
    """Raise RankError unless the operand has a dimension number `dim`."""
    rank = len(type.shape)
    if dim >= rank:
        raise RankError(
            f"{op.name}: the input has no dimension {dim}",
            got=f"{rank} dimensions: {type}",
            wanted=f"more than {dim} dimensions",
            remedy=f"use a dim below {rank}" if rank else "reshape the scalar to [1, 1] first",
        )
