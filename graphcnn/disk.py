"""Regular files: read and written under a lock, and written whole.

A file is written under another name, forced to the disk and then renamed: a kill or a power failure
at any moment leaves the old file or the new one. What a killed writer leaves beside it is removed
by the next one.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from graphcnn.errors import FileProblem, GraphCNNError, shown

READ, WRITTEN = "a graph cannot be read", "a file cannot be written"
WEIGHTS = "weights cannot be read"
# What is wanted of a file, and the remedy.
_ADVICE = {
    READ: (
        "the text form of a graph, and its weights beside it",
        "write it with gx.save(graph, path)",
    ),
    WRITTEN: (None, "choose a folder that exists and that you may write to"),
    WEIGHTS: (
        "a .safetensors file, or a .safetensors.index.json beside such files",
        "check the path, and that the file is whole",
    ),
}
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# What the names that `put` writes to first end in.
TEMPORARY = r"\.[0-9a-f]{32}\.tmp"
_thread = threading.local()


def plain_path(path: object) -> Path:
    """A path that has a name and that the file system can spell."""
    try:
        named = Path(os.fsdecode(path))  # type: ignore[arg-type]  # whatever a caller passed
        os.fsencode(named)
    except (TypeError, UnicodeError):
        raise no_path(path) from None
    if isinstance(path, bytes) or not named.name or "\0" in str(named):
        raise no_path(path)
    return named


def no_path(path: object) -> FileProblem:
    """The error for what cannot be the path of a graph or report."""
    return FileProblem(
        "this path cannot name a graph or report",
        where="the argument path",
        got=shown(path),
        wanted="the path of a file; .safetensors is for the weights, beside the text",
        remedy='choose a name such as "net.gcn"',
    )


def regular(path: Path, what: str) -> Path:
    """Where a path leads through symbolic links: to a regular file, or to nothing yet."""
    file = Path(os.path.realpath(path))
    with told(path, what), suppress(FileNotFoundError):
        kind = stat.S_IFMT(file.stat().st_mode)
        if kind != stat.S_IFREG:
            raise FileProblem(
                what,
                where=str(path),
                got=_KINDS.get(kind, "something else"),
                wanted="a regular file, or a name that is free",
                remedy="choose another name",
            )
    return file


def put(file: Path, content: bytes, like: Path) -> None:
    """Put a file in place, with the mode of `like` if that exists."""
    temporary = file.with_name(f".{file.name}.{uuid4().hex}.tmp")
    mode = stat.S_IMODE(like.stat().st_mode) if like.exists() else None
    try:
        # A new file is as the umask says; one that keeps its mode is private until it has it.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(temporary, flags, 0o666 if mode is None else 0o600), "wb") as out:
            out.write(content)
            out.flush()
            if mode is not None:
                os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        temporary.replace(file)
        with suppress(OSError):  # some file systems cannot force a folder to the disk
            folder = os.open(file.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def keep(file: Path, content: bytes) -> None:
    """Put a file of a cache in place, and its folder before it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    put(file, content, file)


def remove(folder: Path, pattern: str, kept: Path | None = None) -> None:
    """Remove the files whose whole names match, but for one; those that stay do no harm."""
    with suppress(OSError):
        for file in folder.iterdir():
            if re.fullmatch(pattern, file.name) and file != kept:
                file.unlink()


@contextmanager
def locked(folder: Path, how: int) -> Iterator[None]:
    """Keep other writers, or with LOCK_EX readers too, out of a folder; a kill frees it."""
    if getattr(_thread, "inside", False):
        # A signal handler or finalizer, which would wait for the code that it interrupts. What
        # stands on the disk is whole, so reading needs no lock.
        if how == fcntl.LOCK_EX:
            raise FileProblem(
                WRITTEN,
                where=str(folder),
                got="a save or load that this thread is in the middle of",
                remedy="save when it has returned; not from a signal handler or finalizer",
            )
        yield
        return
    descriptor = None
    _thread.inside = True
    try:
        with suppress(OSError):  # no lock is to be had: a folder that is not there, some networks
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, how)
        yield
    finally:
        _thread.inside = False
        if descriptor is not None:
            with suppress(OSError):  # a process forked meanwhile would go on holding it
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


@contextmanager
def told(path: Path, what: str, *others: type[Exception]) -> Iterator[None]:
    """Turn errors of the file system, and others, into one that names the file."""
    kinds: tuple[type[Exception], ...] = (OSError, UnicodeError, *others)
    try:
        yield
    except kinds as error:
        wanted, remedy = _ADVICE[what]
        raise FileProblem(
            what,
            where=str(path),
            got=getattr(error, "strerror", None) or str(error),
            wanted=wanted,
            remedy=remedy,
        ) from None


@contextmanager
def in_file(path: Path) -> Iterator[None]:
    """Put the file before the place in errors of the graph."""
    try:
        yield
    except GraphCNNError as error:
        error.where = str(path) if error.where is None else f"{path}, {error.where}"
        raise
