"""CUDA graphs, by NVIDIA's driver.

`torch.cuda.CUDAGraph` is for graphs in which torch allocates and draws random numbers: while one is
captured, random numbers of other threads fail, and so do all after a capture that failed.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable
from typing import Any

from graphcnn.nvidia import library

# Of cuda.h: the stream does not wait for the default one, which so may be used meanwhile; and what
# cannot be captured is forbidden to this thread alone.
CU_STREAM_NON_BLOCKING = 1
CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


class CudaGraph:
    """What a function gives a stream, captured there and then; calling it replays that on another.

    It is captured on a stream of its own, on the current device, which nobody else knows.

    Args:
        give: Is called with the stream's handle.

    Raises:
        RuntimeError: the driver's, or what `give` raises.
    """

    def __init__(self, give: Callable[[int], None]) -> None:
        stream, graph, self._executable = (ctypes.c_void_p() for _ in range(3))
        _call("cuStreamCreate", ctypes.byref(stream), CU_STREAM_NON_BLOCKING)
        try:
            _call("cuStreamBeginCapture_v2", stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            try:
                assert stream.value is not None
                give(stream.value)
            finally:
                _call("cuStreamEndCapture", stream, ctypes.byref(graph))
            flags = ctypes.c_ulonglong(0)
            _call("cuGraphInstantiateWithFlags", ctypes.byref(self._executable), graph, flags)
        finally:
            if graph:
                _call("cuGraphDestroy", graph)
            _call("cuStreamDestroy_v2", stream)
        weakref.finalize(self, _destroy, self._executable, os.getpid()).atexit = False
        self._launch = library().cuGraphLaunch

    def __call__(self, stream: int) -> None:
        """Replay it on a stream, by its handle."""
        if status := self._launch(self._executable, ctypes.c_void_p(stream)):
            raise RuntimeError(f"cuGraphLaunch: {_meaning(status)}")


def _destroy(executable: ctypes.c_void_p, process: int) -> None:
    if os.getpid() == process:  # a fork inherits the handle, and not what it stands for
        library().cuGraphExecDestroy(executable)


def _call(name: str, *arguments: Any) -> None:
    if status := getattr(library(), name)(*arguments):
        raise RuntimeError(f"{name}: {_meaning(status)}")


def _meaning(status: int) -> str:
    """What the driver says of an error."""
    text = ctypes.c_char_p()
    library().cuGetErrorString(status, ctypes.byref(text))
    return f"CUDA error {status}, {(text.value or b'unknown').decode()}"
