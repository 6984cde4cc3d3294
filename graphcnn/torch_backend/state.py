"""The weights of a module, as they were when a plan was made of them."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import torch

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class State:
    """A copy of weights, by their number among a call's arguments.

    A call compares all bits with it, since nothing less tells that they are the same. torch counts
    changes of a tensor, `_version`, but none that is made through `.data`, NumPy or DLPack, nor any
    of an inference tensor; and the alias that made one may be gone by the next call, so that a
    count of references does not tell either. It costs one pass over both: on a CPU memcmp, about
    10 GB/s, on CUDA also a wait for the device.
    """

    def __init__(self, args: tuple[Any, ...], numbers: Mapping[int, str]) -> None:
        self.copies = {number: args[number].detach().clone() for number in numbers}

    @property
    def is_finite(self) -> bool:
        """Whether there is neither NaN nor infinity among them, as float32."""
        floats = (copy for copy in self.copies.values() if copy.is_floating_point())
        return all(bool(copy.float().isfinite().all()) for copy in floats)

    def is_that_of(self, args: tuple[Any, ...]) -> bool:
        """Whether a call's weights are still these, bit by bit."""
        pairs = [(copy, args[n].detach()) for n, copy in self.copies.items()]
        if any(copy.is_cuda for copy, _ in pairs):
            differ = [torch.ne(_bits(copy), _bits(now)).any() for copy, now in pairs]
            return not bool(torch.stack(differ).any())
        return all(_is_same(copy, now) for copy, now in pairs)


def _is_same(copy: torch.Tensor, now: torch.Tensor) -> bool:
    """Whether two tensors in the CPU's memory have the same bits."""
    if copy.dtype is not now.dtype or copy.shape != now.shape:
        return False
    if copy.is_contiguous() and now.is_contiguous():
        return _memcmp(copy.data_ptr(), now.data_ptr(), copy.nbytes) == 0  # type: ignore[no-any-return]
    return torch.equal(_bits(copy), _bits(now))


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as whole numbers, so that NaN equals itself."""
    return tensor.view(_BITS.get(tensor.element_size(), tensor.dtype))
