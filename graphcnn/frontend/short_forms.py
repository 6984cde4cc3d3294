"""Short forms of attributes: one number for all spatial dimensions, one per dimension for both of
its sides; NumPy's numbers.

What has none of these forms is passed on as it is, for the operator to refuse.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def integer(value: Any) -> Any:
    """A Python int where `value` is an integer of another kind, such as NumPy's."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return int(value) if whole else value


def number(value: Any) -> Any:
    """A Python float or int where `value` is a real number of a kind that float64 holds."""
    narrow = isinstance(value, float | np.float32 | np.float16)
    return float(value) if narrow else integer(value)


def integers(value: Any) -> Any:
    """A tuple of Python ints from a list or tuple of integers."""
    if isinstance(value, list | tuple):
        return tuple(integer(item) for item in value)
    return integer(value)


def per_axis(value: Any, rank: int) -> Any:
    """A number per spatial dimension, such as (height, width), from one for all or a tuple."""
    value = integers(value)
    return (value,) * rank if isinstance(value, int) else value


def per_side(value: Any, rank: int) -> Any:
    """A number per side, such as (top, left, bottom, right), from one for all, one for each
    spatial dimension, or all of them."""
    value = per_axis(value, rank)
    return value * 2 if isinstance(value, tuple) and len(value) == rank else value
