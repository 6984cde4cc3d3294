"""Launches in a row as one call of C, on one team of threads (see team.c)."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch

from graphcnn.cpu import loader, store
from graphcnn.cpu.expressions import PARAMETERS
from graphcnn.errors import MissingCompiler

# Python looks for signals, such as that of Ctrl-C, between calls of C: none runs longer than this
# and a launch.
SECONDS = 0.05

# Work of a launch, and of all launches in a row, below which sharing it costs more than it saves: a
# barrier takes about a microsecond; between calls the team spins, which was seen to slow the caller
# by a third, and where another program has its processor it comes milliseconds late. A row of 1.1
# million, LeNet's, takes 0.8 of its time on two threads.
LEAST_LAUNCH = 100_000
LEAST_ROW = 1_000_000

# OpenMP's pool of threads does not survive a fork: a child that calls for a team waits for ever, in
# a kernel as in torch.
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def threads() -> int:
    """Threads of a launch, which are torch's; it starts with as many as OMP_NUM_THREADS says.

    One in a child made by fork, and one for torch, until `torch.set_num_threads` is called there;
    that is safe where the parent had run nothing on several threads.
    """
    count: int = torch.get_num_threads()
    return count


class Bound:
    """A kernel with its arguments, laid out as its C reads them.

    Attributes:
        programs: Address of what runs some programs of a grid.
        arguments: A word each.
        values: Tensors and numbers, of which the words were made.

    Args:
        library: What holds the kernel; like the memory of tensors it stays as long as this does.
        kinds: Keys of `PARAMETERS`.
        values: These.
    """

    def __init__(self, library: ctypes.CDLL, kinds: Sequence[str], values: Sequence[Any]) -> None:
        self._library, self.values = library, tuple(values)
        self.programs = ctypes.cast(library.programs, ctypes.c_void_p).value
        self.arguments = (ctypes.c_uint64 * len(kinds))()
        for place, (kind, value) in enumerate(zip(kinds, values, strict=True)):
            number = value.data_ptr() if hasattr(value, "data_ptr") else value
            word: Any = PARAMETERS[kind].from_buffer(self.arguments, 8 * place)
            word.value = number

    def __call__(self, x: int, y: int, z: int, _stream: int) -> None:
        """Run a grid on the team."""
        Launches([Member(self, (x, y, z))])()

    def run_in_order(self, grid: tuple[int, int, int]) -> None:
        """Run a grid on this thread, its programs one after the other."""
        counts = (ctypes.c_int32 * 3)(*grid)
        first, last = ctypes.c_int64(0), ctypes.c_int64(math.prod(grid))
        self._library.programs(first, last, counts, self.arguments)


class Member(NamedTuple):
    """A kernel and its grid.

    Attributes:
        work: About how many floating-point operations it is, or takes the time of.
    """

    bound: Bound
    grid: tuple[int, int, int]
    work: float = math.inf


class _Launch(ctypes.Structure):
    _fields_ = (
        ("programs", ctypes.c_void_p),
        ("arguments", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("grid", ctypes.c_int32 * 3),
        ("alone", ctypes.c_int32),
    )

    @classmethod
    def of(cls, member: Member, alone: bool) -> Self:
        """As C reads a member."""
        bound, grid, work = member
        count = math.prod(grid)
        alone = alone or count == 1 or work < LEAST_LAUNCH
        return cls(bound.programs, ctypes.addressof(bound.arguments), count, grid, alone)


class Launches:
    """Launches that run one after the other, each when the one before is done.

    Those that are too small for two threads run on the caller's.

    Attributes:
        members: Their kernels and grids.

    Args:
        members: These.
        alone: Whether all run on the caller's thread.
    """

    def __init__(self, members: Sequence[Member], *, alone: bool = False) -> None:
        self.members = tuple(members)
        launches = (_Launch.of(member, alone) for member in self.members)
        self._list = (_Launch * len(self.members))(*launches)
        self._walk = _library().walk

    def __call__(self) -> None:
        """Run all of them."""
        at, end = 0, len(self.members)
        while at < end:
            at = self._walk(self._list, at, end, threads(), SECONDS)


class Address:
    """Where the arguments of some kernels say that a tensor is, or a part of it.

    Args:
        bounds: The kernels.
        home: The tensor.
        parts: Tensors in its memory; these very objects are values of the kernels.
    """

    def __init__(
        self, bounds: Iterable[Bound], home: torch.Tensor, parts: Sequence[torch.Tensor]
    ) -> None:
        self._home: int = home.data_ptr()
        skipped = {id(part): part.data_ptr() - self._home for part in parts}
        self._words = [
            (bound.arguments, place, skipped[id(value)])
            for bound in bounds
            for place, value in enumerate(bound.values)
            if id(value) in skipped
        ]

    def move(self, tensor: torch.Tensor) -> bool:
        """From now on the kernels find it in the memory of another, of the same size and layout."""
        self._point(tensor.data_ptr())
        return True

    def reset(self) -> None:
        """The kernels find it where it is."""
        self._point(self._home)

    def _point(self, address: int) -> None:
        for arguments, place, skipped in self._words:
            arguments[place] = address + skipped


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
