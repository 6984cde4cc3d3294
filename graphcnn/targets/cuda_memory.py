"""Memory that kernels on a CUDA device are told of between calls."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from graphcnn.nvidia import library
from graphcnn.targets.cuda_graph import Queued

# The least that the driver maps at once: where both ends of so much are mapped, all of it is.
PAGE_BYTES = 64 << 10
# Of `CUpointer_attribute` in cuda.h: whether an address is mapped to an allocation.
MAPPED = 13


class Places:
    """Where queued launches find a buffer.

    Kernels are specialised for addresses that are multiples of 16 bytes, and for strides: the
    memory that takes the buffer's place has to be alike. All places of a launch are reset together.

    Args:
        launches: All that may read or write the buffer.
        home: The tensor that begins where the buffer does.
        parts: What handles of the buffer resolved to; these very objects are arguments.
        is_mapped: Whether there is memory at an address.
        reach: Bytes past either end of the buffer that masked lanes may address.
    """

    def __init__(
        self,
        launches: Sequence[Queued],
        home: torch.Tensor,
        parts: Sequence[torch.Tensor],
        is_mapped: Callable[[int], bool],
        reach: int,
    ) -> None:
        first = home.data_ptr()
        skipped = {id(p): (p.data_ptr() - first) // p.element_size() for p in parts}
        self._is_mapped, self._reach = is_mapped, reach
        self._readers = [
            (launch, launch.prepared, places)
            for launch in launches
            if (places := [*_found(launch.prepared.values, skipped)])
        ]
        for launch, _, _ in self._readers:
            launch.moves = True

    def move(self, tensor: torch.Tensor) -> bool:
        """From now on the launches find it in the memory of a tensor, if there is memory around."""
        if self._reach:
            first, last = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes - 1
            ends = first - self._reach, last + self._reach
            if self._reach > PAGE_BYTES or not all(map(self._is_mapped, ends)):
                return False
        flat = tensor.view(-1)
        for launch, _, places in self._readers:
            values = launch.prepared.values
            for path, skipped in places:
                values = _replaced(values, path, flat[skipped:])
            launch.prepared = launch.prepared.rebound(values)
        return True

    def reset(self) -> None:
        """They find it where they were prepared to."""
        for launch, prepared, _ in self._readers:
            launch.prepared = prepared


def _found(
    values: tuple[Any, ...], skipped: dict[int, int], path: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Where some objects stand in nested tuples, by themselves or as the base of a tensor
    descriptor, each with its number."""
    for index, value in enumerate(values):
        if isinstance(value, tuple):
            yield from _found(value, skipped, (*path, index))
        elif id(memory := getattr(value, "base", value)) in skipped:
            yield (*path, index), skipped[id(memory)]


def _replaced(values: tuple[Any, ...], path: tuple[int, ...], value: Any) -> tuple[Any, ...]:
    """Nested tuples with another value at a place."""
    index, *rest = path
    if rest:
        inside = _replaced(values[index], tuple(rest), value)
    else:
        inside = replace(values[index], base=value) if hasattr(values[index], "base") else value
    parts = (*values[:index], inside, *values[index + 1 :])
    return type(values)(*parts) if hasattr(values, "_fields") else parts


def is_mapped(address: int) -> bool:
    """Whether the CUDA driver knows of memory at an address; False where nobody can say."""
    answer = ctypes.c_uint64(0)
    try:
        ask = library().cuPointerGetAttribute
    except (OSError, AttributeError):
        return False
    status = ask(ctypes.byref(answer), ctypes.c_int(MAPPED), ctypes.c_uint64(address))
    return status == 0 and answer.value != 0
