"""The machine: what it is, and what it can do at most."""

from __future__ import annotations

import ctypes
import platform
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from bench.engines.cases import THREADS
from bench.engines.peers import ENGINES
from bench.engines.results import Machine, now
from graphcnn.cpu import toolchain
from graphcnn.doctor import processor
from graphcnn.runtime.timing import Measurement, interleave

# Larger than any cache.
COPIED_BYTES = 256 << 20
FMA_ROUNDS = 5_000_000


def machine() -> Machine:
    """This one, its peaks measured now."""
    fma, copy = peaks()
    return Machine(
        processor(),
        " ".join(f for f in _field("/proc/cpuinfo", "flags").split() if f.startswith("avx")),
        THREADS,
        1024 * int(_field("/proc/meminfo", "MemTotal").split()[0]),
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        _versions(),
        now(),
        fma,
        copy,
    )


def peaks() -> tuple[Measurement, Measurement]:
    """1e9 float32 operations, and 1e9 bytes read or written by a copy, per second."""
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        source = Path(__file__).with_name("peak.c").read_text()
        file.write(toolchain.shared_object(source))
        file.flush()
        library = ctypes.CDLL(file.name)
    library.fma_operations.restype = ctypes.c_double
    operations = THREADS * library.fma_operations(ctypes.c_long(FMA_ROUNDS))
    source, into = np.ones(COPIED_BYTES, np.int8), np.zeros(COPIED_BYTES, np.int8)
    pointers = (ctypes.c_void_p(into.ctypes.data), ctypes.c_void_p(source.ctypes.data))

    def fma() -> float:
        start = time.perf_counter()
        library.fma_all(ctypes.c_long(FMA_ROUNDS), ctypes.c_float(0.5), THREADS)
        return operations / (time.perf_counter() - start) / 1e9

    def copy() -> float:
        start = time.perf_counter()
        library.copy_all(*pointers, ctypes.c_long(COPIED_BYTES), THREADS)
        return 2 * COPIED_BYTES / (time.perf_counter() - start) / 1e9

    taken = interleave({"fma": fma, "copy": copy}, least=9)
    return Measurement.of(taken["fma"]), Measurement.of(taken["copy"])


def _field(path: str, name: str) -> str:
    lines = (line.partition(":") for line in Path(path).read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")


def _versions() -> dict[str, str]:
    found = {}
    for package in dict.fromkeys((*(engine.package for engine in ENGINES), "triton", "numpy")):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


if __name__ == "__main__":
    print(machine(), file=sys.stdout)
