"""NVIDIA's driver on this machine, without torch."""

from __future__ import annotations

import ctypes
import re
from functools import cache
from pathlib import Path

_MODULE = Path("/proc/driver/nvidia/version")


@cache
def library() -> ctypes.CDLL:
    """The driver's functions.

    Raises:
        OSError: where there is no driver.
    """
    return ctypes.CDLL("libcuda.so.1")


def newest_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the driver serves, such as (12, 8); None where there is no driver."""
    driver = _driver()
    version = ctypes.c_int()
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


def devices() -> int:
    """How many GPUs the driver shows to this process."""
    driver = _driver()
    count = ctypes.c_int()
    if driver is None or driver.cuInit(0) != 0:
        return 0
    return count.value if driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def driver_version() -> str:
    """The version of the driver, such as "580.159.04", or what it serves where the system does not
    say."""
    try:
        found = re.search(r"Module.*?(\d+\.[\d.]*\d)", _MODULE.read_text())
    except OSError:
        found = None
    return found[1] if found else f"for CUDA {dotted(newest_cuda())}"


def dotted(version: tuple[int, int] | None) -> str:
    """A version as people write it."""
    return "unknown" if version is None else ".".join(map(str, version))


def _driver() -> ctypes.CDLL | None:
    try:
        return library()
    except OSError:
        return None
