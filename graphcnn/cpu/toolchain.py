"""The C compiler: finding it, naming its configuration, calling it."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from graphcnn import triton_api
from graphcnn.disk import keep
from graphcnn.errors import FileProblem, MissingCompiler

HERE = Path(__file__).parent
_FLAGS = shlex.split(
    "-O3 -std=gnu11 -shared -fPIC -fwrapv -fno-math-errno -fno-trapping-math "
    "-ffp-contract=off -fno-strict-aliasing -fopenmp-simd -w"
)
# In the cache's folder: the compiler of the kernels there, for machines that have none.
_LAST = "graphcnn_cpu_compiler.txt"


def compiler() -> tuple[str, ...]:
    """The command that compiles C: $CC with its options, else cc, gcc or clang.

    Raises:
        MissingCompiler: $CC names none, or none is installed.
    """
    chosen = os.environ.get("CC", "").strip()
    if chosen:
        command = _words(chosen)
        if command and (path := shutil.which(command[0])):
            return (path, *command[1:])
        raise MissingCompiler(
            "the environment variable CC names a C compiler that cannot be found",
            got=f"CC={chosen!r}",
            wanted="a program on PATH or with its path, and its options if any",
            remedy="correct CC, or unset it to use cc, gcc or clang",
        )
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name):
            return (path,)
    raise MissingCompiler(
        "the CPU device compiles its kernels with a C compiler, and none was found",
        got="no cc, gcc or clang on PATH",
        remedy="install gcc or clang, or set CC to the compiler's path",
    )


def _words(command: str) -> list[str]:
    """A command split as a shell does; [] for a quotation that does not end."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


@cache
def flags() -> tuple[str, ...]:
    """Compiler flags, those for this machine's instruction set included."""
    native = ["-march=native"]
    if platform.machine() in ("aarch64", "arm64"):
        native = ["-mcpu=native"]
    elif "avx512f" in cpu_features():
        native.append("-mprefer-vector-width=512")
    return (*_FLAGS, *native)


@cache
def cpu_features() -> str:
    """What the system says of the processor: its model, and words for its instruction sets."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    lines = text.splitlines()
    wanted = ("flags", "Features", "model name")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


def fingerprint(sources: str = "*") -> str:
    """Changes with the compiler, its flags, the processor, and files of this package.

    Kernels that are compiled already need no compiler: where there is none, it is the one that
    filled Triton's cache.

    Args:
        sources: A pattern of the files' names: "*.h" are what generated C includes.

    Raises:
        MissingCompiler: There is none and never was, or $CC names one that cannot be found.
    """
    try:
        told = identity(compiler())
    except MissingCompiler:
        if os.environ.get("CC", "").strip():
            raise
        try:
            told = (triton_api.cache_folder() / _LAST).read_text()
        except OSError:
            told = ""
        if not told:
            raise
    return _digest(told, sources)


@cache
def identity(command: tuple[str, ...]) -> str:
    """What a compiler says it is, and the options it is called with."""
    return "\n".join([_run([*command, "--version"]).stdout, *command[1:]])


def _run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a compiler, its messages in English.

    Raises:
        MissingCompiler: The system cannot start it.
    """
    environment = {**os.environ, "LC_ALL": "C", **variables}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, errors="replace"
        )
    except OSError as error:
        raise MissingCompiler(
            "the C compiler cannot be started",
            where=command[0],
            got=error,
            remedy="set CC to a working gcc or clang",
        ) from error


@cache
def _digest(identity: str, sources: str) -> str:
    digest = hashlib.sha256("\0".join([identity, *flags(), cpu_features()]).encode())
    for path in sorted(path for path in HERE.glob(sources) if path.is_file()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def shared_object(source: str, *, checked: bool = False) -> bytes:
    """Compile C to a shared object and return its bytes.

    Args:
        source: The text.
        checked: Whether it checks every access, which no optimisation makes fast: the compiler
            takes a tenth of the time without.

    Raises:
        MissingCompiler: The compiler failed, with its first messages.
        FileProblem: The folder for temporary files cannot be used.
    """
    command = compiler()
    try:
        with tempfile.TemporaryDirectory(prefix="graphcnn_") as folder:
            binary = _compile(command, source, Path(folder), checked)
    except OSError as error:
        raise temporary_folder_problem(error) from error
    _remember(identity(command))
    return binary


def _compile(command: tuple[str, ...], source: str, folder: Path, checked: bool) -> bytes:
    text, binary = folder / "kernel.c", folder / "kernel.so"
    text.write_text(source)
    options = [*flags(), *(["-O1"] if checked else []), f"-I{HERE}"]
    # Its own temporary files go the same way.
    result = _run([*command, *options, str(text), "-o", str(binary), "-lm"], TMPDIR=str(folder))
    if os.strerror(errno.ENOSPC) in result.stderr:
        raise OSError(errno.ENOSPC, result.stderr.strip()[:300])
    if result.returncode == 0 and binary.exists():
        return binary.read_bytes()
    said = result.stderr.strip()[:2000] or "no message"
    raise MissingCompiler(
        "the C compiler rejected a kernel",
        where=shlex.join([*command, *options]),
        got=f"{said} (exit status {result.returncode}"
        + (")" if result.returncode else ", and no output file)"),
        wanted="gcc 12 or newer, or clang 15 or newer",
        remedy="set CC to such a compiler",
    )


def _remember(identity: str) -> None:
    """Write down which compiler fills the cache (see `fingerprint`), whole or not at all."""
    file = triton_api.cache_folder() / _LAST
    # A folder that cannot be written is Triton's to report: it keeps the kernel there.
    with suppress(OSError):
        if not file.exists() or file.read_text() != identity:
            keep(file, identity.encode())


def temporary_folder_problem(error: OSError) -> FileProblem:
    """The error for a TMPDIR that is full, read-only, or forbids execution."""
    return FileProblem(
        "the folder for temporary files cannot be used to compile and load kernels",
        where=f"folder '{tempfile.tempdir}', TMPDIR={os.environ.get('TMPDIR')!r}",
        got=error,
        wanted="room for a few hundred kilobytes, and files that may be executed",
        remedy="make room there, or set TMPDIR to another folder",
    )
