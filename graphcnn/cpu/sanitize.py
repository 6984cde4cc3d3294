"""Launches under the sanitizer: which memory a kernel may touch, and what a fault says."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from graphcnn import forks
from graphcnn.cpu.team import Bound
from graphcnn.errors import SanitizerFault

_KINDS = {
    1: ("load outside the tensor", "mask the load, or fix its address"),
    2: ("store outside the tensor", "mask the store, or fix its address"),
    3: ("race: two programs write the same byte", "give each program its own part, or use atomics"),
    4: ("race: one program reads what another writes", "split the kernel in two launches"),
    5: ("load of memory that nothing wrote", "write it first, or mask the load"),
    6: ("device assertion failed", "see the assertion's text"),
    7: ("load of memory that another buffer overwrote", "plan each its own bytes while both live"),
}
_one_at_a_time = forks.lock()


class Shadow:
    """Which buffer's data each byte of an arena holds, while every buffer has its own memory.

    A kernel's store to a buffer takes those bytes of the arena from all others; a load of bytes
    that the buffer does not hold is a fault, and so is a race over bytes that two buffers share.
    Stores by other means (torch operations) are not seen: `fill` tells of them.

    Args:
        nbytes: Size of the arena.
        buffers: By name, the tensor that stands for each, and its first byte in the arena.
    """

    def __init__(self, nbytes: int, buffers: Mapping[str, tuple[torch.Tensor, int]]) -> None:
        self.holders = np.zeros(nbytes, np.uint32)
        self.names = ["nothing", *buffers]
        self._places: dict[str, _Place] = {}
        for number, (name, (tensor, start)) in enumerate(buffers.items(), 1):
            storage = tensor.untyped_storage()
            stop = start + storage.nbytes()
            if stop > nbytes:
                raise SanitizerFault(
                    "a buffer lies outside the arena",
                    where=f"buffer '{name}'",
                    got=f"bytes {start} to {stop}",
                    wanted=f"an end at {nbytes} at most",
                    remedy="plan a larger arena",
                )
            stored = np.zeros(storage.nbytes(), np.uint8)
            place = _Place(self, number, start, self.holders[start:stop], stored)
            self._places[name] = _places[storage.data_ptr()] = place
            weakref.finalize(tensor, _places.pop, storage.data_ptr(), None)

    def begin(self) -> None:
        """From now on no buffer holds data."""
        self.holders.fill(0)
        for place in self._places.values():
            place.stored.fill(0)

    def fill(self, tensor: torch.Tensor) -> None:
        """A tensor inside one of the buffers has been written by other means than kernels."""
        place = _place_of(tensor)
        _bytes(place.holder, tensor)[...] = place.number
        _bytes(place.stored, tensor)[...] = 1

    def check(self, name: str, tensor: torch.Tensor) -> None:
        """Check that a tensor inside one of the buffers holds what kernels stored there.

        Raises:
            SanitizerFault: naming it, and what overwrote it.
        """
        place = _place_of(tensor)
        holders = _bytes(place.holder, tensor)[..., 0]
        missing = holders != place.number
        if not missing.any():
            return
        at = tuple(np.argwhere(missing)[0].tolist())
        what, remedy = f"'{name}' holds elements that no kernel stored", "store every element"
        if _bytes(place.stored, tensor)[..., 0][at]:
            other = self.names[int(holders[at])]
            what = f"'{name}' was overwritten: it shares memory with '{other}' while both live"
            remedy = _KINDS[7][1]
        raise SanitizerFault(
            what,
            where=f"value '{name}'",
            got=f"{int(missing.sum())} of {tensor.numel()} elements, the first at {list(at)}",
            remedy=remedy,
        )


class _Place(NamedTuple):
    """A tensor's part of a shadow."""

    shadow: Shadow
    number: int
    start: int  # in the arena
    holder: Any  # per byte, the number of the tensor whose data it holds
    stored: Any  # per byte, whether it ever held this tensor's


_places: dict[int, _Place] = {}  # by the address of a tensor's storage


def _place_of(tensor: torch.Tensor) -> _Place:
    return _places[tensor.untyped_storage().data_ptr()]


def _bytes(of_storage: Any, tensor: torch.Tensor) -> Any:
    """What stands for the bytes of each element of a tensor, from one per byte of its storage."""
    size = tensor.element_size()
    first, step = tensor.storage_offset() * size, of_storage.itemsize
    strides = (*(size * step * stride for stride in tensor.stride()), step)
    return np.lib.stride_tricks.as_strided(of_storage[first:], (*tensor.shape, size), strides)


class _Region(ctypes.Structure):
    _fields_ = (
        *((end, ctypes.c_void_p) for end in ("low", "high")),
        *((shadow, ctypes.c_void_p) for shadow in ("writer", "reader", "holder", "stored")),
        ("number", ctypes.c_uint32),
    )


class _Fault(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("kind", "site", "region", "first", "second")),
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
    shadows: dict[int, tuple[Any, Any]] = {}
    for region, argument in zip(regions, arguments, strict=True):
        if hasattr(argument, "untyped_storage"):
            storage = argument.untyped_storage()
            low, size = storage.data_ptr(), storage.nbytes()
            place = _places.get(low)
            arena, start, total = low, 0, size
            if place is not None:
                arena, start, total = id(place.shadow), place.start, len(place.shadow.holders)
                region.holder, region.stored = place.holder.ctypes.data, place.stored.ctypes.data
                region.number = place.number
            if arena not in shadows:
                shadows[arena] = np.zeros(total, np.uint32), np.zeros(total, np.uint32)
            region.low, region.high = low, low + size
            region.writer, region.reader = (a[start:].ctypes.data for a in shadows[arena])
    bound = Bound(library, metadata.parameters, arguments)
    library.sanitize_end.restype = _Fault
    with _one_at_a_time:
        library.sanitize_begin(regions, len(regions))
        bound.run_in_order(grid)
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
    if fault.kind == 7:
        held = _place_of(arguments[fault.region])
        names = held.shadow.names
        place += f"and is buffer '{names[held.number]}', overwritten by '{names[fault.first]}', "
    return SanitizerFault(
        f"{what} in kernel {metadata.name}",
        where=metadata.sites[fault.site],
        got=f"{place}in {' and '.join(programs)}",
        remedy=remedy,
    )


def _program(number: int, grid: tuple[int, int, int]) -> str:
    x, y, _ = grid
    return f"program ({number % x}, {number // x % y}, {number // x // y})"
