"""The numbers of NumPy arrays and torch tensors that a user passes as weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphcnn.arguments import check_array
from graphcnn.errors import InputKindError, InvalidAttribute
from graphcnn.frontend.short_forms import number
from graphcnn.ir.graph import Param
from graphcnn.ir.op import Array
from graphcnn.ir.types import DType, TensorType, fitting
from graphcnn.ir.verify import check_data

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def numbers_of(value: object, dtype: DType, name: str) -> Array:
    """An array in the dtype of the input, checked to be finite after the conversion.

    Raises:
        InputKindError: for anything but a plain array of floating-point numbers.
        TooLarge: for one that does not fit into memory.
        InvalidAttribute, NonFiniteWeights: for an empty array, for NaN or infinity.
    """
    array = _array(value, name)
    if array.size == 0:
        raise InvalidAttribute(
            "a weight is empty",
            got=f"{name} of shape {array.shape}",
            wanted="at least one element",
            remedy="check how the array was made",
        )
    with fitting(f"weight '{name}'"):
        data = dtype.round(array)
    check_data(Param(name, TensorType(data.shape, dtype), data))
    return data


def as_array(value: object) -> object:
    """A Python or NumPy number as an array of rank 0; anything else as it is."""
    value = number(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    # An int beyond float64 is refused as the infinity that it would be.
    beyond = isinstance(value, int) and abs(value) >= 2**1023
    return np.array(np.inf if beyond else value, np.float64)


def _array(value: Any, name: str) -> Array:
    check_array(value, f"weight '{name}'")
    dtype = str(value.dtype).removeprefix("torch.")
    if isinstance(value, np.ndarray):
        dtype = value.dtype.name
    if dtype not in _FLOATS:
        raise InputKindError(
            "a weight is an array of floating-point numbers",
            where=f"weight '{name}'",
            got=dtype,
            wanted=", ".join(_FLOATS),
            remedy="convert it, such as with array.astype(np.float32); the integers of a quantized "
            "network have to be multiplied by their scale first",
        )
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    tensor = value.detach().resolve_neg().cpu()
    # NumPy has no bfloat16; float32 holds its values exactly.
    array: Array = (tensor.float() if dtype == "bfloat16" else tensor).numpy()
    return array
