"""The C compiler: finding it, naming its configuration, calling it."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from graphcnn.errors import MissingCompiler

HERE = Path(__file__).parent
_FLAGS = [
    "-O3",
    "-std=gnu11",
    "-shared",
    "-fPIC",
    "-fopenmp",
    "-fwrapv",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fno-strict-aliasing",
    "-w",
]


@cache
def compiler() -> str:
    """The C compiler's path: $CC, else cc, gcc or clang.

    Raises:
        MissingCompiler: None of them is installed.
    """
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)):
            return path
    raise MissingCompiler(
        "the CPU device compiles its kernels with a C compiler, and none was found",
        got=f"CC={os.environ.get('CC')!r}; no cc, gcc or clang on PATH",
        remedy="install gcc or clang, or set CC to the compiler's path",
    )


@cache
def flags() -> tuple[str, ...]:
    """Compiler flags, those for this machine's instruction set included."""
    native = ["-march=native"]
    if platform.machine() in ("aarch64", "arm64"):
        native = ["-mcpu=native"]
    elif "avx512f" in _cpu_features():
        native.append("-mprefer-vector-width=512")
    return (*_FLAGS, *native)


@cache
def _cpu_features() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    lines = text.splitlines()
    wanted = ("flags", "Features", "model name")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


@cache
def fingerprint() -> str:
    """Changes with the compiler, its flags, the processor, and the source of this package."""
    version = subprocess.run(
        [compiler(), "--version"], capture_output=True, text=True, check=False
    ).stdout
    digest = hashlib.sha256("\0".join([version, *flags(), _cpu_features()]).encode())
    for path in sorted([*HERE.glob("*.py"), *HERE.glob("*.h")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def shared_object(source: str) -> bytes:
    """Compile C to a shared object and return its bytes.

    Raises:
        MissingCompiler: The compiler failed, with its first messages.
    """
    with tempfile.TemporaryDirectory(prefix="graphcnn_") as folder:
        text, binary = Path(folder, "kernel.c"), Path(folder, "kernel.so")
        text.write_text(source)
        command = [compiler(), *flags(), f"-I{HERE}", str(text), "-o", str(binary), "-lm"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise MissingCompiler(
                "the C compiler rejected a kernel",
                where=" ".join(command[:-4]),
                got=result.stderr[:2000],
                wanted="gcc 12 or newer, or clang 15 or newer, with OpenMP",
                remedy="set CC to such a compiler",
            )
        return binary.read_bytes()
