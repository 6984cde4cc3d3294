"""The arrays that a caller wants a call's results in: `out=`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from graphcnn.arguments import check_array
from graphcnn.errors import (
    InputKindError,
    OutputDeviceError,
    OutputDTypeError,
    OutputMemoryError,
    OutputShapeError,
    shown,
)
from graphcnn.ir import Graph, TensorType
from graphcnn.runtime.boundary import spelled, torch_dtype

# Of the search for an element that two interleaved arrays share; what takes longer is refused.
_MAX_WORK = 10_000


def destinations(
    source: Graph, graph: Graph, out: Any, inputs: Mapping[str, Any], memory: torch.device
) -> list[Any] | None:
    """The array for each output of a call, in their order; None where the caller has none.

    Args:
        source: What was compiled, whose structure and names the caller knows.
        graph: What is called, for the call's batch size.
        out: What the caller passed.
        inputs: The call's inputs, all of them NumPy arrays or all tensors.
        memory: Where tensors have to be.

    Raises:
        InputKindError: for another structure than that of what a call returns, for what is no
            plain array, and for arrays of another kind than the inputs.
        OutputShapeError, OutputDTypeError, OutputDeviceError: naming the output.
        OutputMemoryError: for memory that cannot be written element by element, or that is an
            input's, or another output's, too.
    """
    if out is None:
        return None
    arrays = _apart(source, out)
    like = next(iter((*inputs.values(), *arrays)))
    for name, own, array in zip(source.outputs, graph.outputs, arrays, strict=True):
        where = f"out, output '{name}'"
        check_array(array, where)
        _check_kind(where, array, like)
        _check_type(where, array, graph.type_of(own), memory)
        _check_memory(where, array)
    taken = [_Place.of(f"input '{name}'", array) for name, array in inputs.items()]
    # A value that is returned twice may be written to one array twice.
    once = {(name, id(a)): (name, a) for name, a in zip(source.outputs, arrays, strict=True)}
    for name, array in once.values():
        place = _Place.of(f"out, output '{name}'", array)
        _check_apart(place, taken)
        taken.append(place)
    return arrays


def _apart(source: Graph, out: Any) -> list[Any]:
    """The arrays of a structure, in the order of a graph's outputs."""
    if source.structure is not None:
        if (parts := source.structure.parts_of(out)) is not None:
            return parts
        wanted = source.structure.spelled(source.outputs)
    elif len(source.outputs) == 1:
        return [out]
    else:
        if isinstance(out, Mapping) and {*out} == {*source.outputs}:
            return [out[name] for name in source.outputs]
        wanted = f"a dict of {', '.join(dict.fromkeys(source.outputs))}"
    raise InputKindError(
        "out has the structure of what a call returns",
        where=f"graph '{source.name}'",
        got=shown(out),
        wanted=wanted,
        remedy="pass an array for each output, or what a call has returned",
    )


def _check_kind(where: str, array: Any, like: Any) -> None:
    if isinstance(array, np.ndarray) is not isinstance(like, np.ndarray):
        raise InputKindError(
            "results are written to arrays of the kind of the inputs",
            where=where,
            got=type(array).__name__,
            wanted=type(like).__name__,
            remedy="pass inputs and out in one kind; torch.from_dlpack(array) is a tensor in the "
            "memory of another library's array",
        )


def _check_type(where: str, array: Any, type: TensorType, memory: torch.device) -> None:
    if tuple(array.shape) != type.shape:
        raise OutputShapeError(
            "an array for a result has another shape than the result",
            where=where,
            got=list(array.shape),
            wanted=list(type.shape),
            remedy="pass an array of that shape; its first dimension is the batch of the inputs",
        )
    in_numpy = isinstance(array, np.ndarray)
    wanted = type.dtype.numpy if in_numpy else torch_dtype(type.dtype)
    if array.dtype != wanted:
        raise OutputDTypeError(
            "an array for a result has another dtype than the result",
            where=where,
            got=spelled(array.dtype),
            wanted=spelled(wanted),
            remedy="pass an array of that dtype; nothing is converted on the way",
        )
    if not in_numpy and array.device != memory:
        raise OutputDeviceError(
            "a tensor for a result is on another device than the model",
            where=where,
            got=array.device,
            wanted=memory,
            remedy="make it there, or copy from a tensor that is",
        )


def _check_memory(where: str, array: Any) -> None:
    """Check that each element of an array can be written, and is no other element too."""
    if isinstance(array, np.ndarray):
        fault = None if array.flags.writeable else ("a read-only array", "pass a copy of it")
        strides, unit = array.strides, array.itemsize
    else:
        fault = _fault_of_tensor(array)
        strides, unit = array.stride(), 1
    steps = [(step, d) for step, d in zip(strides, array.shape, strict=True) if d > 1]
    if any(step < 0 for step, _ in steps):
        fault = f"strides of {strides} bytes", "pass an array that is not reversed"
    elif _overlap(steps, unit):
        fault = f"strides of {strides}", "pass an array whose elements lie apart, not expanded"
    if fault is not None:
        got, remedy = fault
        raise OutputMemoryError(
            "a result cannot be written to the memory of this array",
            where=where,
            got=got,
            wanted="memory of its own for each element, that may be written",
            remedy=remedy,
        )


def _fault_of_tensor(tensor: torch.Tensor) -> tuple[str, str] | None:
    if tensor.requires_grad:
        return "a tensor that requires a gradient", "pass tensor.detach()"
    return ("a view of negated memory", "pass a plain tensor") if tensor.is_neg() else None


def _overlap(steps: Sequence[tuple[int, int]], unit: int) -> bool:
    """Whether elements may lie across each other: a stride is not beyond those below it.

    Args:
        steps: Strides, none of them negative, with the sizes of their dimensions.
        unit: What an element takes.
    """
    end = unit
    for step, size in sorted(steps):
        if step < end:
            return True
        end += (size - 1) * step
    return False


@dataclass(frozen=True)
class _Place:
    """The addresses of an array's elements."""

    what: str
    array: Any
    first: int
    end: int

    @classmethod
    def of(cls, what: str, array: Any) -> _Place:
        if isinstance(array, np.ndarray):
            first, steps, itemsize = array.ctypes.data, array.strides, array.itemsize
        else:
            first, itemsize = array.data_ptr(), array.element_size()
            steps = tuple(step * itemsize for step in array.stride())
        spans = [(d - 1) * step for d, step in zip(array.shape, steps, strict=True)]
        down = sum(span for span in spans if span < 0)
        up = sum(span for span in spans if span > 0)
        return cls(what, array, first + down, first + up + itemsize)

    def shares(self, other: _Place) -> bool:
        """Whether both have a byte in common, as far as can be found out in short time."""
        if self.end <= other.first or other.end <= self.first:
            return False
        share: Callable[..., bool] = np.shares_memory  # NumPy's stubs know two of its limits
        try:
            return share(self._addresses(), other._addresses(), max_work=_MAX_WORK)
        except np.exceptions.TooHardError:
            return True

    def _addresses(self) -> Any:
        """An array of NumPy's at these addresses, which it compares and never reads."""
        return self.array if isinstance(self.array, np.ndarray) else np.asarray(_Elsewhere(self))


class _Elsewhere:
    """A tensor's memory, wherever it is, as NumPy describes its own."""

    def __init__(self, place: _Place) -> None:
        tensor, size = place.array, place.array.element_size()
        self.__array_interface__ = {
            "version": 3,
            "typestr": f"|V{size}",
            "shape": tuple(tensor.shape),
            "strides": tuple(step * size for step in tensor.stride()),
            "data": (tensor.data_ptr(), True),
        }


def _check_apart(place: _Place, others: Sequence[_Place]) -> None:
    for other in others:
        if place.shares(other):
            raise OutputMemoryError(
                "a result would be written over another array of the same call",
                where=place.what,
                got=f"memory of {other.what}",
                wanted="memory of its own",
                remedy="pass another array for it",
            )
