"""The weights of a module, as they were when a plan was made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class State:
    """A copy of weights, by their number among a call's arguments.

    torch counts most changes of a tensor, but none that is made through `.data` or NumPy. So a call
    compares all bits: about 10 GB/s on a CPU, and one wait for the device on CUDA.
    """

    def __init__(self, args: tuple[Any, ...], numbers: Mapping[int, str]) -> None:
        self.copies = {number: args[number].detach().clone() for number in numbers}

    def is_that_of(self, args: tuple[Any, ...]) -> bool:
        """Whether a call's weights are still these, bit by bit."""
        pairs = [(_bits(copy), _bits(args[n].detach())) for n, copy in self.copies.items()]
        if any(copy.is_cuda for copy, _ in pairs):
            differ = [torch.ne(copy, now).any() for copy, now in pairs]
            return not bool(torch.stack(differ).any())
        return all(torch.equal(copy, now) for copy, now in pairs)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as whole numbers, so that NaN equals itself."""
    return tensor.view(_BITS.get(tensor.element_size(), tensor.dtype))
