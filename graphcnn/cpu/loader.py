"""Shared objects in memory: checked before they are loaded, one load per content, then unloaded."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import tempfile
import weakref
from _ctypes import dlclose

from graphcnn.cpu import toolchain

_DIGEST_BYTES = hashlib.sha256().digest_size
_loaded: weakref.WeakValueDictionary[bytes, ctypes.CDLL] = weakref.WeakValueDictionary()
_numbers = itertools.count(1)


def seal(binary: bytes) -> bytes:
    """A shared object with its digest behind it, which `load` checks; loaders ignore the rest."""
    return binary + hashlib.sha256(binary).digest()


def is_whole(sealed: bytes) -> bool:
    """Whether bytes are what `seal` made."""
    return hashlib.sha256(sealed[:-_DIGEST_BYTES]).digest() == sealed[-_DIGEST_BYTES:]


def load(sealed: bytes) -> ctypes.CDLL:
    """The library with this content, loaded once and unloaded when its last user lets it go.

    Raises:
        ValueError: The bytes are not what `seal` made; mapping a file that was cut short would
            end the process at the first touch of a missing page.
        FileProblem: No folder allows a shared object to be loaded from it.
    """
    binary, digest = sealed[:-_DIGEST_BYTES], sealed[-_DIGEST_BYTES:]
    if not is_whole(sealed):
        raise ValueError("a compiled kernel is damaged: its bytes do not have their digest")
    library = _loaded.get(digest)
    if library is None:
        library = _loaded[digest] = _open(binary)
        # Nothing to free when the process ends; the team's threads may still be inside.
        weakref.finalize(library, dlclose, library._handle).atexit = False
    return library


def _open(binary: bytes) -> ctypes.CDLL:
    try:
        return _open_in_memory(binary)
    except (AttributeError, OSError):  # not Linux, or it forbids memory that is executed
        pass
    try:
        with tempfile.NamedTemporaryFile(prefix="graphcnn_", suffix=".so") as file:
            file.write(binary)
            file.flush()
            return ctypes.CDLL(file.name)
    except OSError as error:
        raise toolchain.temporary_folder_problem(error) from error


def _open_in_memory(binary: bytes) -> ctypes.CDLL:
    """Load from a nameless file in memory: no folder is asked for room or for execution."""
    descriptor = os.memfd_create("graphcnn")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(binary)
        # The loader takes a path that it has seen for the library that it loaded from there, and
        # descriptors are used again: the dots and slashes spell a number that is new each time.
        spelled = f"{next(_numbers):b}".replace("0", "./").replace("1", ".//")
        return ctypes.CDLL(f"/proc/self/fd/{spelled}{descriptor}")
    finally:
        os.close(descriptor)
