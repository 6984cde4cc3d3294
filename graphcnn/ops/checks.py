"""Checks that operators share: attributes in their domain, operands of the right number and rank.

Attributes are in normal form here: a number per spatial dimension, such as (height, width), and
one per side of a padding, such as (top, left, bottom, right). The functional front end accepts the
short forms.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from math import isfinite

import numpy as np

from graphcnn.errors import (
    DTypeMismatch,
    InvalidAttribute,
    InvalidGraph,
    RankError,
    ShapeError,
    counted,
    shown,
)
from graphcnn.ir.op import Op
from graphcnn.ir.types import DType, TensorType

# Sizes beyond this are typing errors, and would overflow the 32-bit indices of a launch.
_LARGEST = 2**31 - 1
_LARGEST_FLOAT = sys.float_info.max


class Numbers(StrEnum):
    """What an operand may hold."""

    FLOAT = "floating point"
    INTEGER = "whole numbers"


FLOAT, INTEGER = Numbers


def is_integer(value: object, least: int, most: int = _LARGEST) -> bool:
    """Whether `value` is an int, and of no subclass such as bool, in [least, most]."""
    return type(value) is int and least <= value <= most


def check_integer(op: Op, field: str, least: int, most: int = _LARGEST) -> None:
    """Raise InvalidAttribute unless the attribute is an integer in [least, most]."""
    value = getattr(op, field)
    if not is_integer(value, least, most):
        below = f" and at most {most}" if most != _LARGEST else ""
        raise _invalid(op, field, value, f"an integer of at least {least}{below}", least)


def check_integers(op: Op, field: str, length: int, least: int) -> None:
    """Raise InvalidAttribute unless the attribute is a tuple of `length` integers >= `least`."""
    value = getattr(op, field)
    if (
        type(value) is not tuple
        or len(value) != length
        or not all(is_integer(item, least) for item in value)
    ):
        wanted = f"a tuple of {counted(length, 'integer')} of at least {least}"
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


def check_choice(op: Op, field: str, choices: tuple[str, ...]) -> None:
    """Raise InvalidAttribute unless the attribute is one of some words."""
    value = getattr(op, field)
    if type(value) is not str or value not in choices:
        raise _invalid(op, field, value, " or ".join(map(repr, choices)), choices[0])


def _invalid(op: Op, field: str, got: object, wanted: str, example: object) -> InvalidAttribute:
    return InvalidAttribute(
        f"{op.name}: {field} is {wanted}",
        got=f"{field}={shown(got)}",
        wanted=wanted,
        remedy=f"for example {field}={example!r}",
    )


def check_operands(
    op: Op, inputs: tuple[TensorType, ...], required: int | None = None, /, **roles: Numbers
) -> None:
    """Check the number of operands and what they hold.

    Args:
        op: The op.
        inputs: Its operands.
        required: How many there have to be at least; all by default.
        roles: What each operand holds, in order. Those in floating point share one dtype.

    Raises:
        InvalidGraph: for a wrong number of operands.
        DTypeMismatch: for operands that hold something else, or mixed floating-point dtypes.
    """
    names = list(roles)
    least = len(names) if required is None else required
    if not least <= len(inputs) <= len(names):
        shown = ", ".join(names[:least]) + "".join(f"[, {name}]" for name in names[least:])
        raise InvalidGraph(
            f"{op.name} reads {shown}",
            got=f"{counted(len(inputs), 'operand')}: {', '.join(map(str, inputs)) or 'none'}",
            wanted=f"{op.name}({shown})",
            remedy="pass the operands in this order",
        )
    for (role, numbers), type in zip(roles.items(), inputs, strict=False):
        if type.dtype.is_float is not (numbers is FLOAT):
            raise DTypeMismatch(
                f"{op.name} reads its {role} in {numbers}",
                got=f"{role} {type}",
                wanted=", ".join(d for d in DType if d.is_float is (numbers is FLOAT)),
                remedy=f'declare it with dtype="{"float32" if numbers is FLOAT else "int64"}"',
            )
    if len({type.dtype for type in inputs if type.dtype.is_float}) > 1:
        raise DTypeMismatch(
            f"the operands of {op.name} have different dtypes",
            got=", ".join(map(str, inputs)),
            wanted="one dtype",
            remedy="create the inputs and weights of a graph with the same dtype",
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
    sibling = f"{op.name[:-2]}{got - 2}d"
    if role == "input" and op.name.endswith(f"{wanted - 2}d") and sibling in Op.registry:
        remedy += f"; {sibling} reads {counted(got, 'dimension')}"
    raise RankError(
        f"the {role} of {op.name} has {counted(wanted, 'dimension')}, [{layout}]",
        got=f"{counted(got, 'dimension')}: {type}",
        wanted=f"[{layout}]",
        remedy=remedy,
    )


def check_bias(
    op: Op,
    inputs: tuple[TensorType, ...],
    features: int,
    source: str = "the weight's first dimension",
) -> None:
    """Raise ShapeError unless the third operand, if there is one, is a bias of that length."""
    if len(inputs) == 3 and inputs[2].shape != (features,):
        raise ShapeError(
            f"{op.name}: the bias has one element per output feature",
            got=str(inputs[2]),
            wanted=f"[{features}], {source}",
            remedy=f"reshape the bias to [{features}], or leave it out",
        )


def check_dim(op: Op, dim: int, type: TensorType) -> None:
    """Raise RankError unless the operand has a dimension number `dim`."""
    rank = len(type.shape)
    if dim >= rank:
        raise RankError(
            f"{op.name}: the input has no dimension {dim}",
            got=f"{counted(rank, 'dimension')}: {type}",
            wanted=f"more than {counted(dim, 'dimension')}",
            remedy=f"use a dim below {rank}" if rank else "reshape the scalar to [1, 1] first",
        )
