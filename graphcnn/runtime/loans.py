"""Arrays of the caller's that kernels read and write where they are, for the time of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from graphcnn.ir import Graph, TensorType
from graphcnn.plan import Address
from graphcnn.runtime.boundary import torch_dtype

# What kernels may load and store at once where an address is a multiple of it.
VECTOR_BYTES = 16


class Loans:
    """Inputs and outputs of a plan that may lie in memory of the caller's.

    Those may that fill a buffer, where the launches can be told its address.

    Attributes:
        lent: Those that do, by name.
        outputs: Types of the outputs that may, by name.

    Args:
        graph: Whose inputs and outputs.
        buffers: Bytes of the buffers of the plan, by name.
        address: Where the launches find a buffer, by its name.
        memory: The device on which the launches find anything.
    """

    def __init__(
        self,
        graph: Graph,
        buffers: Mapping[str, int],
        address: Callable[[str], Address | None],
        memory: torch.device,
    ) -> None:
        self._memory = memory
        self.lent: dict[str, torch.Tensor] = {}
        self._known: dict[str, tuple[TensorType, Address]] = {}
        inputs = [value.name for value in graph.inputs]
        for name in dict.fromkeys((*inputs, *graph.outputs)):
            type = graph.type_of(name)
            if buffers.get(name) == type.nbytes and (found := address(name)) is not None:
                self._known[name] = type, found
        self.outputs = {
            name: self._known[name][0]
            for name in graph.outputs
            if name in self._known and name not in inputs
        }

    def lend(self, name: str, tensor: torch.Tensor) -> bool:
        """Let a value lie in the memory of a tensor, until `take_back`.

        Returns:
            Whether it does now: kernels may expect it elsewhere, or in another layout.
        """
        if name not in self._known:
            return False
        type, address = self._known[name]
        if tensor.dtype is not torch_dtype(type.dtype) or tensor.shape != type.shape:
            return False
        if tensor.device != self._memory or not tensor.is_contiguous():
            return False
        if tensor.data_ptr() % VECTOR_BYTES or not address.move(tensor):
            return False
        self.lent[name] = tensor
        return True

    def take_back(self) -> None:
        """Let all values lie in their buffers again."""
        for name in self.lent:
            self._known[name][1].reset()
        self.lent.clear()
