"""What a caller passes, checked at one door per kind: flags, counts, times, sequences, arrays.

The attributes of operators have doors of their own, in `ops.checks`; paths in `disk`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from graphcnn.errors import InputKindError, InvalidAttribute, shown

if TYPE_CHECKING:
    from graphcnn.kernels import Precision

T = TypeVar("T")
# Seconds; 30 years.
_LONGEST = 1e9
# How float32 is multiplied, the default first; `kernels/tf32.py` says what each is.
PRECISIONS: tuple[Precision, ...] = ("tf32x3", "tf32", "ieee")


def flag(value: object, argument: str) -> bool:
    """True or False.

    Raises:
        InvalidAttribute: for anything else, also for what Python would take as one of them.
    """
    if not isinstance(value, bool):
        raise _invalid(value, argument, "True or False", f"{argument}=True")
    return value


def precision(value: object) -> Precision:
    """How float32 is multiplied, one of `PRECISIONS`.

    Raises:
        InvalidAttribute: for anything else.
    """
    asked = [word for word in PRECISIONS if isinstance(value, str) and value == word]
    if not asked:
        raise InvalidAttribute(
            "there is no such precision",
            where="the argument precision",
            got=shown(value),
            wanted=", ".join(f'"{word}"' for word in PRECISIONS),
            remedy="pass one of these words; float16 and bfloat16 are types of a graph's tensors",
        )
    return asked[0]


def count(value: object, argument: str, least: int = 0) -> int:
    """An integer of at least `least`.

    Raises:
        InvalidAttribute: for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise _invalid(value, argument, f"an integer of at least {least}", f"{argument}={least}")
    return int(value)


def batch_sizes(value: object) -> tuple[int, ...]:
    """A list or tuple of batch sizes.

    Raises:
        InputKindError, InvalidAttribute: for anything else.
    """
    sizes = sequence(value, "batches", int, "batch sizes, such as batches=(1, 8, 32)")
    return tuple(count(size, "batches", 1) for size in sizes)


def seconds(value: object, argument: str = "seconds") -> float:
    """A time.

    Raises:
        InvalidAttribute: for what is not a number of at least 0, or unreasonably large.
    """
    number = value if isinstance(value, int | float | np.integer | np.floating) else -1
    if isinstance(value, bool) or not 0 <= number <= _LONGEST:
        input_of_that_name = (
            '; an input of that name is passed as profile(model, {"seconds": array})'
        )
        hint = input_of_that_name if argument == "seconds" else ""
        wanted = f"a number from 0 to {_LONGEST:g}"
        raise _invalid(value, argument, wanted, f"{argument}=5.0{hint}")
    return float(number)


def sequence(value: object, argument: str, kind: type[T], wanted: str) -> tuple[T, ...]:
    """A list or tuple of instances of a class.

    Args:
        value: What was passed.
        argument: Its name.
        kind: The class.
        wanted: What makes an instance, in words.

    Raises:
        InputKindError: for anything else, such as a generator, which could be read only once.
    """
    items = value if isinstance(value, list | tuple) else ()
    if items is not value or not all(isinstance(item, kind) for item in items):
        raise InputKindError(
            f"{argument} is a list or tuple of {kind.__name__} values",
            where=f"the argument {argument}",
            got=shown(value),
            wanted=wanted,
            remedy=f"pass {argument}=[first, second, ...]",
        )
    return tuple(items)


def check_array(value: Any, what: str) -> None:
    """Check that something is an array whose numbers are all there is to it.

    That is a NumPy array or a torch tensor, a parameter too; not one with a mask, a scale or a
    ragged shape besides, and not one without data. torch is not imported for it.

    Args:
        value: What was passed.
        what: Which weight or input it is, for the message.

    Raises:
        InputKindError: for anything else, naming what it is.
    """
    torch = sys.modules.get("torch")
    if isinstance(value, np.ndarray):
        fault = _fault_of_array(value)
    elif torch is not None and isinstance(value, torch.Tensor):
        fault = _fault_of_tensor(value, torch)
    else:
        fault = type(value).__name__, "convert it with numpy.asarray, where that is meant"
    if fault is not None:
        got, remedy = fault
        raise InputKindError(
            "weights, inputs and results are NumPy arrays or dense torch tensors with memory",
            where=what,
            got=got,
            wanted="np.ndarray or torch.Tensor",
            remedy=remedy,
        )


def _fault_of_array(value: np.ndarray[Any, np.dtype[Any]]) -> tuple[str, str] | None:
    """What an array is besides its numbers, and what to do about it."""
    if isinstance(value, np.ma.MaskedArray):
        return "a masked array", "fill in what is masked: array.filled(0.0)"
    if type(value) not in (np.ndarray, np.memmap):
        return f"{type(value).__name__}, a subclass", "np.asarray(array) is the array alone"
    return None


def _fault_of_tensor(value: Any, torch: Any) -> tuple[str, str] | None:
    """What a tensor is besides its numbers, or lacks of them, and what to do about it."""
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        return f"{type(value).__name__}, a subclass", "pass a plain torch.Tensor"
    if value.is_nested:
        return "a nested tensor", "convert it with to_padded_tensor(0.0), or call sample by sample"
    if value.is_quantized:
        return f"a quantized tensor, {value.dtype}", "convert it with dequantize()"
    if value.is_meta:
        return "a meta tensor", "load its data first"
    if value.layout != torch.strided:
        return str(value.layout), "convert it with to_dense()"
    try:
        empty = value.numel() > 0 and value.data_ptr() == 0
    except RuntimeError:
        return "a tensor without memory of its own", "pass a plain tensor, outside of transforms"
    return ("a tensor whose memory was freed", "load its data first") if empty else None


def _invalid(value: object, argument: str, wanted: str, example: str) -> InvalidAttribute:
    return InvalidAttribute(
        f"{argument} is {wanted}",
        where=f"the argument {argument}",
        got=shown(value),
        wanted=wanted,
        remedy=f"for example {example}",
    )
