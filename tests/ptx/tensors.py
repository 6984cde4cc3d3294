"""Global memory: the tensors that a launch is given, and nothing around them."""

import ctypes
from typing import NamedTuple

import numpy as np

from graphcnn.kernels.launch import MASKED_REACH
from tests.ptx.program import PtxError

FAR, ALIGNED = 40, 16  # bits of the distance between tensors, and bytes


class Span(NamedTuple):
    """A tensor: its addresses in the program, its bytes, and how far masked copies may miss it."""

    start: int
    end: int
    memory: np.ndarray
    masked_reach: int


class Tensors:
    """The bytes of tensors from the first to the last element, and no byte beside them.

    A GPU translates the address of a copy even where it copies nothing, so that it has to be
    mapped: beside the first tensor for as far as the launch says, beside others, which are the
    model's own, for as far as its memory is guarded.

    Raises PtxError for an access that does not lie in one tensor, or is not aligned to its size.
    """

    def __init__(self, tensors, masked_reach):
        self.spans, bases = [], {}
        for number, tensor in enumerate(tensors):
            storage = tensor.untyped_storage().data_ptr()
            # Far from all others, so that no access reaches a wrong tensor; as aligned as Triton
            # asks, and beyond that as GPUs allocate: counts do not depend on where it lies here.
            base = bases.setdefault(storage, ((len(bases) + 1) << FAR) + storage % ALIGNED)
            steps = zip(tensor.shape, tensor.stride(), strict=True)
            size = (1 + sum((d - 1) * s for d, s in steps)) * tensor.element_size()
            memory = (ctypes.c_uint8 * size).from_address(tensor.data_ptr())
            start = base + tensor.data_ptr() - storage
            reach = MASKED_REACH if number else masked_reach
            self.spans.append(Span(start, start + size, np.frombuffer(memory, np.uint8), reach))

    @property
    def pointers(self):
        """Where each tensor starts, as the program is told."""
        return [span.start for span in self.spans]

    def read(self, addresses, size):
        """The bytes at addresses: [lanes, size]."""
        values = np.empty((addresses.size, size), np.uint8)
        for lanes, memory, places in self._found(addresses, size):
            values[lanes] = memory[places]
        return values

    def write(self, addresses, values):
        for lanes, memory, places in self._found(addresses, values.shape[1]):
            memory[places] = values[lanes]

    def check_masked(self, addresses):
        """The addresses of copies of nothing."""
        mapped = np.zeros(addresses.size, bool)
        for start, end, _, reach in self.spans:
            mapped |= (addresses >= start - reach) & (addresses < end + reach)
        if not mapped.all():
            beside = self._beside(addresses[~mapped])
            raise PtxError(f"masked copies read memory that may not be mapped: {beside}")

    def _found(self, addresses, size):
        """For every tensor among the addresses: the lanes, its memory, and places [lanes, size]."""
        if (addresses % size).any():
            raise PtxError(f"a global address that is no multiple of the {size} bytes accessed")
        left = np.ones(addresses.size, bool)
        for start, end, memory, _ in self.spans:
            inside = left & (addresses >= start) & (addresses + size <= end)
            if inside.any():
                left &= ~inside
                yield inside, memory, (addresses[inside] - start)[:, None] + np.arange(size)
        if left.any():
            raise PtxError(f"{size} bytes outside of all tensors: {self._beside(addresses[left])}")

    def _beside(self, addresses):
        """Where the first of the addresses is, of the tensor nearest to it."""

        def distance(span):
            return max(span[0] - addresses[0], addresses[0] - span[1])

        start, end, _, reach = min(self.spans, key=distance)
        return (
            f"{addresses.size} lanes, the first at byte {addresses[0] - start} "
            f"of a tensor of {end - start}, beside which {reach} may be masked"
        )
