"""Launches on a CUDA device: one by one on the current stream, or in a row as a CUDA graph."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

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


class Row:
    """Launches that run one after the other on the stream that is current when it is called.

    Those that follow one another and do not move are captured in a CUDA graph when the row is made:
    capturing runs nothing, and Triton has loaded the kernels. What somebody wants to hear of, by
    Triton's hooks, is launched one by one, and so is what the caller captures in a graph of theirs.

    Args:
        launches: These.
        cuda: `torch.cuda`.
        captured: Whether there may be graphs.

    Raises:
        CaptureFailed: where they cannot be captured.
    """

    def __init__(self, launches: Sequence[Queued], cuda: Any, *, captured: bool) -> None:
        self._launches, self._cuda = tuple(launches), cuda
        self._pieces: list[Callable[[int], None]] | None = None
        if captured and not cuda.is_current_stream_capturing():
            self._pieces = [*self._in_pieces()]

    def _in_pieces(self) -> Iterator[Callable[[int], None]]:
        for moves, group in groupby(self._launches, lambda launch: launch.moves):
            launches = tuple(group)
            if moves or len(launches) == 1:
                yield from (launch.on for launch in launches)
            else:
                yield _captured(launches, self._cuda)

    def __call__(self) -> None:
        """Run them."""
        stream, told, pieces = self._launches[0].stream(), triton_api.hooked(), self._pieces
        if pieces and not told and not self._cuda.is_current_stream_capturing():
            for piece in pieces:
                piece(stream)
        else:
            for launch in self._launches:
                launch.on(stream, told)


def _captured(launches: Sequence[Queued], cuda: Any) -> Callable[[int], None]:
    """What replays a CUDA graph of launches on the current stream, whose handle it is given.

    They are captured on a stream beside it, which is torch's current one only where the capture
    begins and ends: what a signal handler does in the middle is not captured. Other threads may
    meanwhile do what they like.

    Raises:
        CaptureFailed: naming the step.
    """
    graph, side = cuda.CUDAGraph(), cuda.Stream()
    place = f"the steps of nodes '{launches[0].node}' to '{launches[-1].node}'"
    at: Queued | None = None
    try:
        with _capture, _without_collection():
            with cuda.stream(side):
                graph.capture_begin(capture_error_mode="thread_local")
            try:
                for at in launches:
                    at.on(side.cuda_stream)
                at = None
            finally:
                with cuda.stream(side):
                    graph.capture_end()
    except RuntimeError as error:  # torch's and Triton's
        raise CaptureFailed(
            "launches cannot be captured in a CUDA graph",
            where=place if at is None else f"node '{at.node}'",
            got=error.__context__ or error,  # an end that fails does so for what came before it
            remedy="compile(..., cuda_graph=False) launches kernels one by one",
            node=None if at is None else at.node,
        ) from error
    return lambda _: graph.replay()


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
