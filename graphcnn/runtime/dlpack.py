"""Arrays of other libraries, such as CuPy's and JAX's, taken and given back by DLPack.

https://data-apis.org/array-api/latest/design_topics/data_interchange.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.dlpack import from_dlpack

from graphcnn.errors import InputKindError
from graphcnn.plan import Device


def imported(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    """A call's arrays, those of another library as torch tensors in the same memory.

    What that library has still to do to them comes before what the current stream is given next.

    Raises:
        InputKindError: for arrays of several kinds, and for one that its library does not hand
            over.
    """
    if not any(map(_is_foreign, arrays.values())):
        return arrays
    if len({type(array) for array in arrays.values()}) > 1:
        raise InputKindError(
            "a call mixes arrays of several kinds",
            where="the inputs",
            got=", ".join(f"{name}: {type(array).__name__}" for name, array in arrays.items()),
            remedy="pass all inputs in one kind",
        )
    return {name: _tensor(name, array) for name, array in arrays.items()}


class Kept:
    """Tensors in memory of another library, kept until the device has read them: once freed, only
    torch's own memory waits for a stream.

    Args:
        device: What reads them.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._kept: list[tuple[Any, tuple[torch.Tensor, ...]]] = []

    def keep(self, tensors: Iterable[torch.Tensor]) -> None:
        """Keep tensors until a later call finds that the device has done what it was given so far;
        one that reads the host's memory has."""
        if not self._device.reads_host:
            self._kept = [(read, each) for read, each in self._kept if not self._device.done(read)]
            self._kept.append((self._device.record(), tuple(tensors)))


def exported(results: Sequence[Any], arrays: Mapping[str, Any]) -> Sequence[Any]:
    """A call's results in the library of its arrays, in the same memory, where that library follows
    the array API standard; other libraries are given the tensors.

    Raises:
        InputKindError: when the library does not take one.
    """
    like: Any = next(iter(arrays.values()), None)
    if not _is_foreign(like) or not hasattr(like, "__array_namespace__"):
        return results
    try:
        return [like.__array_namespace__().from_dlpack(result) for result in results]
    except Exception as error:  # whatever the library raises
        raise InputKindError(
            "the library of the inputs does not take the results by DLPack",
            where="from_dlpack of its namespace",
            got=f"{type(error).__name__}: {error}",
            remedy="pass torch.from_dlpack(array) for each input, and torch tensors come back",
        ) from error


def _is_foreign(array: Any) -> bool:
    """Whether something is an array of neither NumPy nor torch that DLPack exports."""
    kind = type(array)
    if issubclass(kind, np.ndarray | torch.Tensor):
        return False
    return hasattr(kind, "__dlpack__") and hasattr(kind, "__dlpack_device__")


def _tensor(name: str, array: Any) -> torch.Tensor:
    try:
        return from_dlpack(array)
    except Exception as error:  # whatever the library raises
        raise InputKindError(
            "an array could not be taken by DLPack",
            where=f"input '{name}'",
            got=f"{type(array).__name__}; {type(error).__name__}: {error}",
            wanted="an array that torch.from_dlpack takes",
            remedy="convert it with numpy.asarray, where that is meant",
        ) from error
