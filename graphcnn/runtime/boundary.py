"""What a caller passes in, checked; what it gets back, in the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from graphcnn.arguments import check_array, count
from graphcnn.errors import (
    InputDeviceError,
    InputDTypeError,
    InputKindError,
    InputShapeError,
    shown,
)
from graphcnn.ir import (
    Array,
    DType,
    Graph,
    TensorType,
    batch_of,
    check_graph,
    check_names,
    fitting,
)
from graphcnn.plan import Device
from graphcnn.runtime.dlpack import imported


class Expected:
    """What the arrays of most calls are, known beforehand. Others are for `check_inputs` and
    `check_device` to judge, which find nothing wrong with these.

    Args:
        graph: What is called.
        device: Where it runs.
    """

    def __init__(self, graph: Graph, device: Device) -> None:
        self._graph, self._device, self._memory = graph, device, device.memory
        self._inputs = [
            (v.name, v.type.shape, v.type.dtype.numpy, torch_dtype(v.type.dtype))
            for v in graph.inputs
        ]

    def has(self, name: str) -> bool:
        """Whether an input bears a name."""
        return any(name == known for known, *_ in self._inputs)

    def batch(self, arrays: Mapping[str, Any]) -> int | None:
        """The batch size of a call when it differs from the graph's; otherwise None.

        Raises:
            The errors of a call, for arrays that do not fit.
        """
        if self.is_met(arrays):
            return None
        batch = check_inputs(self._graph, arrays)
        check_device(arrays, self._device)
        return batch

    def is_met(self, arrays: Mapping[str, Any]) -> bool:
        """Whether arrays are plain ones of the graph's own types and batch size, all of a kind."""
        if type(arrays) is not dict or len(arrays) != len(self._inputs):
            return False
        kinds = set()
        for name, shape, in_numpy, in_torch in self._inputs:
            array: Any = arrays.get(name)
            kind = type(array)
            kinds.add(kind)
            if kind is np.ndarray:
                plain = array.dtype == in_numpy
            else:
                plain = kind is torch.Tensor and self._is_plain(array, in_torch)
            if not plain or array.shape != shape:
                return False
        return len(kinds) <= 1

    def _is_plain(self, tensor: torch.Tensor, dtype: torch.dtype) -> bool:
        if tensor.dtype is not dtype or tensor.layout is not torch.strided or tensor.is_nested:
            return False
        try:
            return tensor.device == self._memory and tensor.data_ptr() != 0
        except RuntimeError:  # torch.func's wrappers have no memory of their own
            return False


def check_inputs(graph: Graph, arrays: Mapping[str, Any]) -> int | None:
    """Check a call's arrays against the graph's inputs, the batch size aside.

    Returns:
        The batch size of the call when it differs from the graph's; otherwise None.

    Raises:
        MissingInput, UnexpectedInput, InputKindError, InputDTypeError, InputShapeError: naming
            the input.
        BatchError: for another batch size when the graph has none.
    """
    _check_mapping(graph, arrays)
    check_names(graph, arrays)
    batches: set[int] = set()
    for value in graph.inputs:
        array = arrays[value.name]
        check_array(array, f"input '{value.name}'")
        shape, wanted = tuple(array.shape), value.type.shape
        accepted = {value.type.dtype}
        if value.type.dtype is DType.BF16 and isinstance(array, np.ndarray):
            accepted = {DType.F32}
        if spelled(array.dtype) not in {dtype.long_name for dtype in accepted}:
            raise InputDTypeError(
                "an input has another dtype than the model",
                where=f"input '{value.name}'",
                got=spelled(array.dtype),
                wanted=" or ".join(dtype.long_name for dtype in accepted),
                remedy="convert the array, or build the graph with this dtype",
            )
        if shape[1:] == wanted[1:] and shape[:1] == (0,):
            raise InputShapeError(
                "a call takes at least one sample",
                where=f"input '{value.name}'",
                got=f"{list(shape)}, an empty batch",
                wanted=f"{list(wanted)}, or another first dimension of at least 1",
                remedy="do not call the model where there is nothing to compute",
            )
        if len(shape) != len(wanted) or shape[1:] != wanted[1:] or 0 in shape:
            raise InputShapeError(
                "an input has another shape than the model",
                where=f"input '{value.name}'",
                got=list(shape),
                wanted=f"{list(wanted)}, where the first dimension may differ",
                remedy="resize or transpose the array (images are [N, C, H, W])",
            )
        batches.update(shape[:1])
    kinds = {isinstance(array, np.ndarray) for array in arrays.values()}
    if len(kinds) > 1:
        raise InputKindError(
            "a call mixes NumPy arrays and torch tensors",
            where=f"graph '{graph.name}'",
            got=", ".join(f"{name}: {type(array).__name__}" for name, array in arrays.items()),
            remedy="pass all inputs in one kind",
        )
    if all(tuple(arrays[value.name].shape) == value.type.shape for value in graph.inputs):
        return None
    batch_of(graph)
    if len(batches) > 1:
        raise InputShapeError(
            "the inputs of one call have different batch sizes",
            where=f"graph '{graph.name}'",
            got=sorted(batches),
            remedy="pass the same number of samples for every input",
        )
    return batches.pop()


@cache
def spelled(dtype: object) -> str:
    """The name of a dtype of NumPy or torch."""
    return str(dtype).removeprefix("torch.")


def check_device(arrays: Mapping[str, Any], device: Device) -> None:
    """Check that the tensors among a call's arrays are on the model's device.

    Raises:
        InputDeviceError: naming the input and both devices.
    """
    for name, array in arrays.items():
        if isinstance(array, torch.Tensor) and array.device != device.memory:
            raise InputDeviceError(
                "an input is on another device than the model",
                where=f"input '{name}'",
                got=array.device,
                wanted=device.memory,
                remedy="move the tensor with to(), or compile a model for its device",
            )


def _check_mapping(graph: Graph, arrays: object) -> None:
    if not isinstance(arrays, Mapping):
        raise InputKindError(
            "inputs are passed as a mapping from names to arrays",
            where=f"graph '{graph.name}'",
            got=shown(arrays),
            wanted=", ".join(map(str, graph.inputs)),
            remedy='for example {"image": array}',
        )


def given_inputs(
    graph: Graph, arrays: Mapping[str, Any] | None, named: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The inputs that a report was given, in a mapping or by name; seeded ones if there are none.

    Raises:
        InputKindError: for arrays that are not in a mapping, or that cannot be taken.
    """
    if arrays is None:
        return imported(named) or example_inputs(graph)
    _check_mapping(graph, arrays)
    return imported({**arrays, **named})


def example_inputs(graph: Graph, seed: int = 0) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """Seeded standard normal arrays for every input of a graph, as a call takes them; whole numbers
    are any that all their readers take, as likely.

    Raises:
        InvalidGraph, InvalidAttribute: for what is not a graph, or a negative seed.
        TooLarge: for inputs that do not fit into memory.
    """
    check_graph(graph)
    generator = np.random.default_rng(count(seed, "seed"))
    arrays = {}
    for value in graph.inputs:
        with fitting(value):
            arrays[value.name] = value.type.dtype.round(
                generator.standard_normal(value.type.shape)
                if value.type.dtype.is_float
                else generator.integers(0, _choices(graph, value.name), value.type.shape)
            )
    return arrays


def _choices(graph: Graph, name: str) -> int:
    """How many numbers an input of whole numbers may be, by its readers."""
    readers = graph.users(name)
    return min((n.op.choices(*graph.types_of(n.inputs)) for n in readers), default=1)


def to_tensor(array: Any) -> torch.Tensor:
    """A NumPy array or torch tensor as a tensor; shares memory where it can."""
    if isinstance(array, torch.Tensor):
        tensor = array.detach() if array.requires_grad else array
        return tensor.resolve_neg() if tensor.is_neg() else tensor
    array = np.asarray(array)  # which a scalar of NumPy's is not
    if not (array.flags.c_contiguous and array.flags.aligned):
        array = np.require(array, requirements=("C", "A"))  # torch takes no negative strides
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Lent(array)))


class _Lent:
    """An array of memory that nobody writes to, for torch, which has tensors of no such kind."""

    def __init__(self, array: Array) -> None:
        self.array = array  # stays as long as what is made of this
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def to_numpy(array: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """A torch tensor or NumPy array as a NumPy array of its own; bf16 becomes float32."""
    if not isinstance(array, torch.Tensor):
        return np.array(array)
    tensor = array.float() if array.dtype is torch.bfloat16 else array
    return np.array(tensor.numpy(force=True), order="C")


def in_place(array: Any) -> torch.Tensor | None:
    """A tensor in the very memory of an array; None where torch has none for such an array."""
    if isinstance(array, torch.Tensor):
        return array
    plain = array.flags.c_contiguous and array.flags.aligned
    return torch.from_numpy(array) if plain else None


def empty(type: TensorType, like: Any) -> Any:
    """An array of a result's type in the caller's kind, on the same device for a tensor."""
    if isinstance(like, torch.Tensor):
        return torch.empty(type.shape, dtype=torch_dtype(type.dtype), device=like.device)
    return np.empty(type.shape, type.dtype.numpy)


def write(result: Any, dtype: DType, array: Array) -> None:
    """Copy a result, as numbers of a dtype, to an array of NumPy."""
    stored = isinstance(result, torch.Tensor) and result.dtype is torch_dtype(dtype)
    if isinstance(result, torch.Tensor):
        result = result.float() if result.dtype is torch.bfloat16 else result
        result = result.numpy(force=True)
    array[...] = result if stored else dtype.round(result)


@cache
def torch_dtype(dtype: DType) -> torch.dtype:
    """torch's dtype of the same name."""
    found: torch.dtype = getattr(torch, dtype.long_name)
    return found
