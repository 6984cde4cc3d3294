"""Launches under the sanitizer: which memory a kernel may touch, and what a fault says."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from graphcnn import forks
from graphcnn.errors import SanitizerFault

_KINDS = {
    1: ("load outside the tensor", "mask the load, or fix its address"),
    2: ("store outside the tensor", "mask the store, or fix its address"),
    3: ("race: two programs write the same byte", "give each program its own part, or use atomics"),
    4: ("race: one program reads what another writes", "split the kernel in two launches"),
    5: ("load of memory that nothing wrote", "write it first, or mask the load"),
    6: ("device assertion failed", "see the assertion's text"),
}
_flags: dict[int, np.ndarray[Any, np.dtype[np.uint8]]] = {}
_one_at_a_time = forks.lock()


def unwritten(tensor: torch.Tensor) -> torch.Tensor:
    """Declare that the storage of a tensor holds nothing yet; returns the tensor.

    Under the sanitizer a kernel that loads a byte of it before a kernel has stored one is a fault,
    and `never_written` tells what is missing. Writes by other means (torch operations) are not
    seen. Forgotten when the tensor object dies.
    """
    storage = tensor.untyped_storage()
    _flags[storage.data_ptr()] = np.ones(storage.nbytes(), np.uint8)
    weakref.finalize(tensor, _flags.pop, storage.data_ptr(), None)
    return tensor


def never_written(tensor: torch.Tensor) -> torch.Tensor:
    """Which elements of a tensor declared `unwritten` no sanitized kernel has stored: a bool mask.

    Raises:
        KeyError: The tensor's storage was not declared.
    """
    flags = torch.from_numpy(_flags[tensor.untyped_storage().data_ptr()])
    elements = flags.view(-1, tensor.element_size())[:, 0].contiguous()
    return elements.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()) != 0


class _Region(ctypes.Structure):
    _fields_ = (
        ("low", ctypes.c_void_p),
        ("high", ctypes.c_void_p),
        ("writer", ctypes.c_void_p),
        ("reader", ctypes.c_void_p),
        ("unwritten", ctypes.c_void_p),
    )


class _Fault(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int32),
        ("site", ctypes.c_int32),
        ("region", ctypes.c_int32),
        ("first", ctypes.c_int32),
        ("second", ctypes.c_int32),
        ("offset", ctypes.c_int64),
    )


def launch(
    library: ctypes.CDLL, metadata: Any, grid: tuple[int, int, int], arguments: Sequence[Any]
) -> None:
    """Run the grid's programs one after another, checking every access.

    Raises:
        SanitizerFault: The first fault. No memory was harmed: faulting accesses are left out.
    """
    regions = (_Region * len(arguments))()
    shadows: dict[int, tuple[Any, ...]] = {}
    for region, argument in zip(regions, arguments, strict=True):
        if hasattr(argument, "untyped_storage"):
            storage = argument.untyped_storage()
            low, size = storage.data_ptr(), storage.nbytes()
            if low not in shadows:
                zeros = (np.zeros(size, np.uint32), np.zeros(size, np.uint32))
                shadows[low] = (*zeros, _flags.get(low))
            region.low, region.high = low, low + size
            region.writer, region.reader, region.unwritten = (
                None if array is None else array.ctypes.data for array in shadows[low]
            )
    values = [v.data_ptr() if hasattr(v, "data_ptr") else v for v in arguments]
    library.sanitize_end.restype = _Fault
    with _one_at_a_time:
        library.sanitize_begin(regions, len(regions))
        library.launch(1, *grid, *values)
        fault = library.sanitize_end()
    if fault.kind:
        raise _error(fault, metadata, grid, arguments)


def _error(
    fault: _Fault, metadata: Any, grid: tuple[int, int, int], arguments: Sequence[Any]
) -> SanitizerFault:
    what, remedy = _KINDS[fault.kind]
    programs = [_program(fault.second, grid)]
    if fault.kind in (3, 4):
        programs.insert(0, "several programs" if fault.first < 0 else _program(fault.first, grid))
    place = ""
    if fault.region >= 0:
        size = arguments[fault.region].untyped_storage().nbytes()
        name = metadata.parameter_names[fault.region]
        place = f"byte {fault.offset} of argument `{name}`, which has {size} bytes, "
    return SanitizerFault(
        f"{what} in kernel {metadata.name}",
        where=metadata.sites[fault.site],
        got=f"{place}in {' and '.join(programs)}",
        remedy=remedy,
    )


def _program(number: int, grid: tuple[int, int, int]) -> str:
    x, y, _ = grid
    return f"program ({number % x}, {number // x % y}, {number // x // y})"
