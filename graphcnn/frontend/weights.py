"""Weights from NumPy arrays and torch tensors."""

from __future__ import annotations

import sys

import numpy as np

from graphcnn.errors import InputKindError, InvalidAttribute
from graphcnn.frontend.expr import Weight
from graphcnn.ir.graph import Param
from graphcnn.ir.op import Array
from graphcnn.ir.types import DType, TensorType
from graphcnn.ir.verify import check_data


def as_weight(value: object, dtype: DType, name: str) -> Weight:
    """A weight array in the dtype of the input, checked to be finite after the conversion.

    Raises:
        InputKindError: for anything but an array of numbers.
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
    data = dtype.round(array)
    type = TensorType(data.shape, dtype)
    check_data(Param(name, type, data))
    return Weight(type, None, data, value)


def _array(value: object, name: str) -> Array:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        if value.is_meta or value.layout != torch.strided:
            raise InputKindError(
                "a weight is a dense tensor that holds data",
                got=f"{name}: {'a meta tensor' if value.is_meta else value.layout}",
                wanted="np.ndarray, torch.Tensor or gx.param(...)",
                remedy="convert a sparse tensor with to_dense()",
            )
        tensor = value.detach().cpu()
        # NumPy has no bfloat16; float32 holds its values exactly.
        value = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        kind = f"array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise InputKindError(
            "a weight is a NumPy array or a torch tensor of numbers",
            got=f"{name}: {kind}",
            wanted="np.ndarray, torch.Tensor or gx.param(...)",
            remedy="np.asarray(value, np.float32) makes one",
        )
    return value
