"""Why a device is not available, and how much memory the machine has left."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import torch

from graphcnn import nvidia
from graphcnn.errors import DeviceUnavailable, DriverTooOld, counted, shown

MEMORY = Path("/proc/meminfo")
_WHERE = "the argument device"
_CPU = 'compile(..., device="cpu") runs the same kernels natively on the CPU'
_TORCH = "https://pytorch.org/get-started/locally"


def unavailable(name: object, count: int, *, cuda: bool) -> DeviceUnavailable:
    """The error for a device that a caller named.

    Args:
        name: What he named.
        count: CUDA devices that torch finds.
        cuda: Whether he meant one.
    """
    there = ", ".join(('"auto"', '"cpu"', *(f'"cuda:{index}"' for index in range(count))))
    wanted = f"{there}, or the same as a torch.device"
    if cuda and not count:
        return _without_cuda(name, wanted)
    return DeviceUnavailable(
        "this device is not available",
        where=_WHERE,
        got=shown(name),
        wanted=wanted,
        remedy=_CPU,
    )


def _without_cuda(name: object, wanted: str) -> DeviceUnavailable:
    """Why torch finds no CUDA device at all."""
    built, served = torch.version.cuda, nvidia.newest_cuda()
    found, kind = nvidia.devices(), DeviceUnavailable
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if built is None:
        because = f"torch {torch.__version__} is built without CUDA"
        if found:
            because += f", and the driver finds {counted(found, 'GPU')}"
        remedy = f"install a torch that is built for CUDA ({_TORCH})"
    elif served is None:
        because = "there is no driver of NVIDIA's: libcuda.so.1 is not found"
        remedy = "install the driver; a container is started with --gpus all"
    elif served < _version(built):
        because = (
            f"torch {torch.__version__} is built for CUDA {built}, and the driver serves CUDA "
            f"{nvidia.dotted(served)} at most"
        )
        remedy = f"update the driver, or install a torch for an older CUDA ({_TORCH})"
        kind = DriverTooOld
    elif hidden is not None:
        because = f"CUDA_VISIBLE_DEVICES={hidden!r} leaves no device"
        remedy = "unset it, or name devices that there are"
    else:
        because = f"the driver finds {counted(found, 'GPU')}, and torch none: {_words_of_torch()}"
        remedy = "see what nvidia-smi says"
    return kind(
        "this device is not available",
        where=_WHERE,
        got=f"{shown(name)}; {because}",
        wanted=wanted,
        remedy=f"{remedy}, or {_CPU}",
    )


def _version(text: str) -> tuple[int, int]:
    """The major version of a CUDA: drivers serve all minor ones of theirs."""
    return int(text.partition(".")[0]), 0


def _words_of_torch() -> str:
    """What torch says of CUDA, in a line."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]  # torch's stub
    except (RuntimeError, AssertionError) as error:
        return str(error).partition("\n")[0]
    return "it does not say why"


def available_memory() -> int | None:
    """Bytes of the machine that a process can still take; None where the system does not say."""
    with suppress(OSError):
        for line in MEMORY.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return None
