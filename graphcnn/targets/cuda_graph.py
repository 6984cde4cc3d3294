"""Launches on a CUDA device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graphcnn import triton_api


@dataclass(slots=True)
class Queued:
    """A launch that goes to the stream that is current when it is called.

    Attributes:
        prepared: The kernel, bound to its arguments.
        grid: Programs along each axis.
        stream: What says which stream that is.
        moves: Whether another `prepared`, with other addresses, may take the place of this one
            between calls.
    """

    prepared: triton_api.Prepared
    grid: tuple[int, int, int]
    stream: Callable[[], int]
    moves: bool = False

    def __call__(self) -> None:
        """Launch it."""
        self.prepared(self.grid, self.stream())
