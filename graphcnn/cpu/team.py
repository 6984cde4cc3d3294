"""Launches in a row as one call of C, on one team of threads (see team.c)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import torch

from graphcnn.cpu import loader, store
from graphcnn.cpu.expressions import PARAMETERS
from graphcnn.errors import MissingCompiler

# Python looks for signals, such as that of Ctrl-C, between calls of C: none runs longer than this
# and a launch.
SECONDS = 0.05

# OpenMP's pool of threads does not survive a fork: a child that calls for a team waits for ever, in
# a kernel as in torch.
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def threads() -> int:
    """Threads of a launch: torch's setting, and no more than OMP_NUM_THREADS.

    One in a child made by fork, and one for torch, until `torch.set_num_threads` is called there;
    that is safe where the parent had run nothing on several threads.
    """
    limit = os.environ.get("OMP_NUM_THREADS", "")
    count: int = torch.get_num_threads()
    return min(count, int(limit)) if limit.isdigit() and int(limit) > 0 else count


class Bound:
    """A kernel with its arguments, laid out as its C reads them.

    Attributes:
        programs: Address of what runs some programs of a grid.
        arguments: A word each.

    Args:
        library: What holds the kernel; like the memory of tensors it stays as long as this does.
        kinds: Keys of `PARAMETERS`.
        values: Tensors and numbers.
    """

    def __init__(self, library: ctypes.CDLL, kinds: Sequence[str], values: Sequence[Any]) -> None:
        self._library, self._values = library, tuple(values)
        self.programs = ctypes.cast(library.programs, ctypes.c_void_p).value
        self.arguments = (ctypes.c_uint64 * len(kinds))()
        for place, (kind, value) in enumerate(zip(kinds, values, strict=True)):
            number = value.data_ptr() if hasattr(value, "data_ptr") else value
            word: Any = PARAMETERS[kind].from_buffer(self.arguments, 8 * place)
            word.value = number

    def __call__(self, x: int, y: int, z: int, _stream: int) -> None:
        """Run a grid on the team."""
        Launches([(self, (x, y, z))])()

    def run_in_order(self, grid: tuple[int, int, int]) -> None:
        """Run a grid on this thread, its programs one after the other."""
        counts = (ctypes.c_int32 * 3)(*grid)
        first, last = ctypes.c_int64(0), ctypes.c_int64(prod(grid))
        self._library.programs(first, last, counts, self.arguments)


class _Launch(ctypes.Structure):
    _fields_ = (
        ("programs", ctypes.c_void_p),
        ("arguments", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("grid", ctypes.c_int32 * 3),
    )


class Launches:
    """Launches that run one after the other, each when the one before is done.

    Attributes:
        members: Kernels and grids.
    """

    def __init__(self, members: Sequence[tuple[Bound, tuple[int, int, int]]]) -> None:
        self.members = tuple(members)
        self._list = (_Launch * len(self.members))(
            *(
                _Launch(bound.programs, ctypes.addressof(bound.arguments), prod(grid), grid)
                for bound, grid in self.members
            )
        )
        self._walk = _library().walk

    def __call__(self) -> None:
        """Run all of them."""
        at, end = 0, len(self.members)
        while at < end:
            at = self._walk(self._list, at, end, threads(), SECONDS)


@cache
def _library() -> Any:
    """`team.c`, compiled; it stays, as the threads that may be inside of it do."""
    _share_openmp()
    library = loader.load(store.built((Path(__file__).parent / "team.c").read_text()))
    library.walk.argtypes = (
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int,
        ctypes.c_double,
    )
    library.walk.restype = ctypes.c_int64
    return library


def _share_openmp() -> None:
    """Let what is loaded from now on find the OpenMP runtime that torch runs on."""
    if hasattr(ctypes.CDLL(None), "GOMP_parallel"):
        return
    try:
        ctypes.CDLL("libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise MissingCompiler(
            "the CPU device runs kernels on the threads of OpenMP, and finds no runtime of it",
            got=error,
            remedy="install libgomp (Debian: libgomp1), or a torch that brings it",
        ) from error
