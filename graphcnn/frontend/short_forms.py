"""Short forms of attributes: one number for a pair, a pair for four sides.

What has none of these forms is passed on as it is, for the operator to refuse.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np


def integer(value: Any) -> Any:
    """A Python int where `value` is an integer of another kind, such as NumPy's."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return value
    try:
        return operator.index(value)
    except TypeError:
        # Arrays and tensors have __index__, and refuse it unless they hold one integer.
        return value


def number(value: Any) -> Any:
    """A Python number from one of NumPy's."""
    return value.item() if isinstance(value, np.number) else value


def integers(value: Any) -> Any:
    """A tuple of Python ints from a list or tuple of integers."""
    if isinstance(value, list | tuple):
        return tuple(integer(item) for item in value)
    return integer(value)


def pair(value: Any) -> Any:
    """(height, width) from one number or a pair."""
    value = integers(value)
    return (value, value) if isinstance(value, int) else value


def sides(value: Any) -> Any:
    """(top, left, bottom, right) from one number, a pair or four."""
    value = pair(value)
    return value * 2 if isinstance(value, tuple) and len(value) == 2 else value
