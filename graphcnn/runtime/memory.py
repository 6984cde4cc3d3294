"""Blocks of memory that kernels read and write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import torch

from graphcnn import settings
from graphcnn.errors import OutOfMemory
from graphcnn.plan.memory import ALIGNMENT

# Masked lanes of an asynchronous copy still translate their address: every block of memory keeps
# this distance from unmapped pages. The kernels promise not to reach further (MASKED_REACH).
GUARD_BYTES = 4 << 20
# How torch's allocators say it; only that of CUDA has a class for it.
_WORDS = ("allocate memory", "not enough memory", "out of memory")


@torch.inference_mode(False)  # torch lets nobody write to a tensor made inside, once outside
def allocate(sizes: Sequence[int], memory: torch.device) -> list[torch.Tensor]:
    """Aligned runs of bytes in one block with guard bands on both sides.

    Under the sanitizer each is an allocation of exactly its size, whose borders it can see.

    Raises:
        OutOfMemory: when there is not as much.
    """
    with taking(block_bytes(sizes), memory):
        if settings.sanitize():
            return [torch.empty(nbytes, dtype=torch.int8, device=memory) for nbytes in sizes]
        block = torch.empty(block_bytes(sizes), dtype=torch.int8, device=memory)
    shift = -block.data_ptr() % ALIGNMENT
    return [block[shift + s :][:n] for s, n in zip(_starts(sizes), sizes, strict=False)]


def block_bytes(sizes: Sequence[int]) -> int:
    """What `allocate` takes."""
    return _starts(sizes)[-1] + GUARD_BYTES + ALIGNMENT


def _starts(sizes: Sequence[int]) -> list[int]:
    """Where each run begins, and the last one ends."""
    return list(accumulate((-(-n // ALIGNMENT) * ALIGNMENT for n in sizes), initial=GUARD_BYTES))


@contextmanager
def taking(nbytes: int, memory: torch.device) -> Iterator[None]:
    """Tell in our words that there is no more memory.

    Raises:
        OutOfMemory: in place of what torch and NumPy raise.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error).partition("\n")[0]
        if not isinstance(error, MemoryError) and not any(words in said for words in _WORDS):
            raise
        raise OutOfMemory(
            "the memory of the device does not suffice",
            where=str(memory),
            got=f"{nbytes:,} bytes are wanted: {said}",
            remedy="free memory, or take a smaller batch",
            nbytes=nbytes,
        ) from error
