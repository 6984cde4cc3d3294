"""Weights from NumPy arrays and torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphcnn.arguments import check_array
from graphcnn.errors import InputKindError, InvalidAttribute
from graphcnn.frontend.expr import Weight
from graphcnn.frontend.short_forms import number
from graphcnn.ir.graph import Param
from graphcnn.ir.op import Array
from graphcnn.ir.types import DType, TensorType, fitting
from graphcnn.ir.verify import check_data

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def as_weight(value: object, dtype: DType, name: str) -> Weight:
    """A weight array in the dtype of the input, checked to be finite after the conversion.

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
    type = TensorType(data.shape, dtype)
    check_data(Param(name, type, data))
    return Weight(type, None, data, value)


def as_operand(value: object, dtype: DType, name: str) -> Weight:
    """A number or an array beside a tensor of `dtype`; a number is as wide as its arithmetic.

    Raises:
        InputKindError, InvalidAttribute, NonFiniteWeights, TooLarge: as for a weight.
    """
    value = number(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        # An int beyond float64 is refused as the infinity that it would be.
        beyond = isinstance(value, int) and abs(value) >= 2**1023
        value = np.array(np.inf if beyond else value, np.float64)
    wide = getattr(value, "ndim", 0) == 0
    return as_weight(value, dtype.arithmetic if wide else dtype, name)


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
