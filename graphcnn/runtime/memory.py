"""Blocks of memory that kernels read and write."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch

from graphcnn import settings
from graphcnn.plan.memory import ALIGNMENT

# Masked lanes of an asynchronous copy still translate their address: every block of memory keeps
# this distance from unmapped pages. The kernels promise not to reach further (MASKED_REACH).
GUARD_BYTES = 4 << 20


@torch.inference_mode(False)  # torch lets nobody write to a tensor made inside, once outside
def allocate(sizes: Sequence[int], memory: torch.device) -> list[torch.Tensor]:
    """Aligned runs of bytes in one block with guard bands on both sides.

    Under the sanitizer each is an allocation of exactly its size, whose borders it can see.
    """
    if settings.sanitize():
        return [torch.empty(nbytes, dtype=torch.int8, device=memory) for nbytes in sizes]
    starts = list(accumulate((-(-n // ALIGNMENT) * ALIGNMENT for n in sizes), initial=GUARD_BYTES))
    total = starts[-1] + GUARD_BYTES + ALIGNMENT
    block = torch.empty(total, dtype=torch.int8, device=memory)
    shift = -block.data_ptr() % ALIGNMENT
    return [block[shift + s :][:n] for s, n in zip(starts, sizes, strict=False)]
