"""The memory of a graph's constants: arrays that nobody writes to, and files that hold them.

What nobody can write to may be read by kernels where it is, so that a model holds it once.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from graphcnn.ir.op import Array

# Of a cache, and of the widest vectors.
LINE_BYTES = 64


def frozen(array: Array) -> Array:
    """A copy, in row-major order, that starts a line of memory and that nobody can write to."""
    block = np.empty(array.nbytes + LINE_BYTES, np.uint8)
    start = -block.ctypes.data % LINE_BYTES
    copy = block[start:][: array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    for each in (block, copy):
        each.setflags(write=False)
    return copy


def is_frozen(array: Array) -> bool:
    """Whether an array is such a copy, or as good: nothing else has a way to write to it."""
    chain = [*_owners(array)]
    closed = not any(isinstance(each, np.ndarray) and each.flags.writeable for each in chain)
    in_order = array.flags.c_contiguous and array.ctypes.data % LINE_BYTES == 0
    return in_order and closed and isinstance(chain[-1], np.ndarray)


def mapped(path: Path) -> mmap.mmap:
    """The bytes of a file that is not empty, read when they are looked at.

    Raises:
        OSError: when it cannot be opened.
    """
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def let_go(array: Array) -> None:
    """Take the memory of an array that lies in a mapped file back, until it is read again."""
    file = _file_of(array)
    if file is None or not array.nbytes:
        return
    begin = array.ctypes.data - np.frombuffer(file, np.uint8).ctypes.data
    first = begin // mmap.PAGESIZE * mmap.PAGESIZE
    file.madvise(mmap.MADV_DONTNEED, first, begin + array.nbytes - first)


def _file_of(array: Array) -> mmap.mmap | None:
    """The mapped file that an array lies in."""
    *_, owner = _owners(array)
    return owner if isinstance(owner, mmap.mmap) else None


def _owners(array: Array) -> Iterator[Any]:
    """An array, the array that it is a view of, and so on to what the memory belongs to."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        yield owner
        owner = owner.base
    if owner is not None:
        yield owner.obj if isinstance(owner, memoryview) else owner
