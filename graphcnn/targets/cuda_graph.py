"""Launches on a CUDA device: one by one on the current stream, or in a row as a CUDA graph."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

from graphcnn import forks, triton_api
from graphcnn.errors import CaptureFailed

# One capture at a time, so that each finds Python's collector as the user left it.
_capture = forks.lock()


@dataclass(slots=True)
class Queued:
    """A launch that goes to the stream that is current when it is called.

    Attributes:
        prepared: The kernel, bound to its arguments.
        grid: Programs along each axis.
        stream: What says which stream that is.
        node: Name of the node that it computes.
        moves: Whether another `prepared`, with other addresses, may take the place of this one
            between calls; a CUDA graph would not hear of it.
    """

    prepared: triton_api.Prepared
    grid: tuple[int, int, int]
    stream: Callable[[], int]
    node: str
    moves: bool = False

    def __call__(self) -> None:
        """Launch it."""
        self.on(self.stream(), triton_api.hooked())

    def on(self, stream: int, told: bool = False) -> None:
        """Launch it on a stream, by its handle, and tell Triton's hooks of it or not."""
        x, y, z = self.grid
        launch = self.prepared.tell if told else self.prepared.launch
        launch(x, y, z, stream)


# Captures what a function gives a stream, whose handle it gets, as what replays that on another.
Capture = Callable[[Callable[[int], None]], Callable[[int], None]]


class Row:
    """Launches that run one after the other on the stream that is current when it is called.

    Those that follow one another and do not move are captured in a CUDA graph when the row is made:
    capturing runs nothing, and Triton has loaded the kernels. What somebody wants to hear of, by
    Triton's hooks, is launched one by one, and so is what the caller captures in a graph of theirs.

    Args:
        launches: These.
        is_captured: Whether the caller captures the current stream.
        capture: What makes graphs; None for none.

    Raises:
        CaptureFailed: where they cannot be captured.
    """

    def __init__(
        self,
        launches: Sequence[Queued],
        is_captured: Callable[[], bool],
        capture: Capture | None,
    ) -> None:
        self._launches, self._is_captured = tuple(launches), is_captured
        self._pieces: tuple[Callable[[int], None], ...] = ()
        if capture is not None and not is_captured():
            self._pieces = (*_in_pieces(launches, capture),)

    def __call__(self) -> None:
        """Run them."""
        stream, told = self._launches[0].stream(), triton_api.hooked()
        if self._pieces and not told and not self._is_captured():
            for piece in self._pieces:
                piece(stream)
        else:
            for launch in self._launches:
                launch.on(stream, told)


def _in_pieces(launches: Sequence[Queued], capture: Capture) -> Iterator[Callable[[int], None]]:
    for moves, group in groupby(launches, lambda launch: launch.moves):
        piece = tuple(group)
        if moves or len(piece) == 1:
            yield from (launch.on for launch in piece)
        else:
            yield _captured(piece, capture)


def _captured(launches: Sequence[Queued], capture: Capture) -> Callable[[int], None]:
    """What replays a CUDA graph of launches.

    Raises:
        CaptureFailed: naming the step.
    """
    at: Queued | None = None

    def give(stream: int) -> None:
        nonlocal at
        for at in launches:
            at.on(stream)
        at = None

    try:
        with _capture, _without_collection():
            return capture(give)
    except RuntimeError as error:  # the driver's and Triton's
        place = f"the steps of nodes '{launches[0].node}' to '{launches[-1].node}'"
        raise CaptureFailed(
            "launches cannot be captured in a CUDA graph",
            where=place if at is None else f"node '{at.node}'",
            got=error.__context__ or error,  # an end that fails does so for what came before it
            remedy="compile(..., cuda_graph=False) launches kernels one by one",
            node=None if at is None else at.node,
        ) from error


@contextmanager
def _without_collection() -> Iterator[None]:
    """No garbage is collected inside: a kernel among it would be unloaded, which ends a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
