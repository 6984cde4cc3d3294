"""What Triton raises where a machine lacks something, or a kernel does not fit it, as errors that
say what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import CalledProcessError

import triton
from triton.runtime.errors import OutOfResources, PTXASError

from graphcnn import nvidia
from graphcnn.errors import (
    DeviceUnavailable,
    DriverTooOld,
    FileProblem,
    GpuUnsupported,
    GraphCNNError,
    KernelFailed,
    MissingCompiler,
    OutOfMemory,
)

# What Triton raises when a file of its cache is short, of zeros, or no JSON, and our driver when
# a binary is not what the compiler wrote.
_DAMAGE = (OSError, ValueError, LookupError, TypeError)
_RAISED = (OSError, RuntimeError, AssertionError, CalledProcessError, OutOfResources, PTXASError)
_INVALID = "kernel image is invalid"
# Words of NVIDIA's driver for machine code that it does not know, and Triton's for a function that
# the driver does not have.
_TOO_NEW = (_INVALID, "no kernel image is available", "unsupported toolchain", "Failed to retrieve")


def is_damage(error: Exception) -> bool:
    """Whether what Triton's cache holds may be at fault."""
    return isinstance(error, _DAMAGE) or _INVALID in str(error)


@contextmanager
def told(kernel: str) -> Iterator[None]:
    """Turn what Triton raises, as it compiles and loads a kernel, into errors of ours.

    Raises:
        FileProblem: when Triton's cache fails.
        MissingCompiler: when Triton finds no C compiler for its launcher, or that fails.
        DeviceUnavailable: when Triton finds no driver.
        GpuUnsupported: when it cannot compile for the GPU.
        DriverTooOld: when the driver does not know the machine code.
        OutOfMemory: when the device has no memory left for it.
        KernelFailed: when it does not compile, or needs more than the GPU has.
    """
    try:
        yield
    except GraphCNNError:
        raise
    except _RAISED as error:
        ours = _ours(error, f"kernel '{kernel}'")
        if ours is None:
            raise
        raise ours from error


def _ours(error: Exception, where: str) -> GraphCNNError | None:
    """What an error of Triton's means, if it is known."""
    text = str(error)
    if compiler := _compiler(error, text):
        return MissingCompiler(
            "Triton builds what launches its kernels with a C compiler, and has none that works",
            where=where,
            got=compiler,
            wanted="gcc or clang, and the headers of Python",
            remedy="install them (of Debian: gcc and python3-dev), or set CC to the compiler",
        )
    if any(words in text for words in ("libcuda.so cannot found", "Failed to open", "ldconfig")):
        return DeviceUnavailable(
            "Triton does not find the library of NVIDIA's driver",
            where=where,
            got="no libcuda.so.1 where the system's linker looks",
            remedy="run ldconfig, or set TRITON_LIBCUDA_PATH to the folder that holds it",
        )
    # Triton's own check of the folder is a RuntimeError.
    if isinstance(error, OSError) or "cache dir" in text:
        return FileProblem(
            "a compiled kernel cannot be kept in Triton's cache, or read from it",
            where=f"{where}, cache '{triton.knobs.cache.dir}'",
            got=error,
            wanted="a folder that can be written, with files as Triton wrote them",
            remedy="set TRITON_CACHE_DIR to such a folder; if its files are damaged, delete it",
        )
    if "active drivers" in text:
        return DeviceUnavailable(
            "Triton does not find the one driver that it takes",
            where=where,
            got=text.partition("\n")[0],
            wanted="one GPU driver that works",
            remedy='see what nvidia-smi says, or compile with device="cpu"',
        )
    if any(words in text for words in _TOO_NEW):
        return DriverTooOld(
            "NVIDIA's driver does not know the machine code that Triton makes",
            where=where,
            got=f"a driver for CUDA {nvidia.dotted(nvidia.newest_cuda())}: {_said(text)}",
            wanted=f"one for CUDA {_ptxas()} or later, which this Triton {triton.__version__} has",
            remedy="update the driver, or install a torch for an older CUDA, with its Triton",
        )
    if "is not defined for option 'gpu-name'" in text:
        return GpuUnsupported(
            "this Triton cannot compile for a GPU that is newer than itself",
            where=where,
            got=f"Triton {triton.__version__}, CUDA {_ptxas()}: {_said(text, 'gpu-name')}",
            remedy="install a newer torch, with its Triton",
        )
    if "out of memory" in text:
        return OutOfMemory(
            "the device has no memory left for a kernel's code",
            where=where,
            got=_said(text),
            nbytes=0,
            remedy="free memory on the device",
        )
    if isinstance(error, OutOfResources | PTXASError) or "Triton Error [CUDA]" in text:
        own = isinstance(error, OutOfResources)
        return KernelFailed(
            "a kernel asks for more than this GPU has" if own else "a kernel does not load",
            where=where,
            got=_said(text),
            remedy=REPORT,
        )
    return None


REPORT = (
    "please report it with what `python -m graphcnn doctor` prints; "
    'gx.compile(..., target="library") does without these kernels'
)


def _compiler(error: Exception, text: str) -> str | None:
    """What is wrong with the C compiler, if that is at fault."""
    if "Failed to find C compiler" in text:
        return "no gcc or clang on PATH, and CC is not set"
    chosen = os.environ.get("CC")
    if isinstance(error, FileNotFoundError | PermissionError) and chosen == error.filename:
        return f"CC={chosen!r}, which cannot be run"
    if isinstance(error, CalledProcessError) and "-shared" in error.cmd:
        return f"'{error.cmd[0]}' failed with status {error.returncode}; what it said is above"
    return None


def _said(text: str, word: str = "") -> str:
    """The first line of an error that holds a word."""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line and word in line), text)


def _ptxas() -> str:
    """The CUDA of the assembler that comes with Triton."""
    tool = triton.knobs.nvidia.ptxas
    return tool.version if tool else "unknown"
