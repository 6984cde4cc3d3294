"""The Triton driver: loads shared objects and launches them on CPU tensors."""

from __future__ import annotations

import ctypes
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase

from graphcnn import triton_api
from graphcnn.cpu import loader, sanitize
from graphcnn.cpu.backend import NAME
from graphcnn.cpu.team import Bound


class Launcher:
    """Calls a kernel's C entry with the runtime arguments among those Triton passes."""

    def __init__(self, source: Any, metadata: Any) -> None:
        self.signature = tuple(source.signature.values())
        self.metadata = metadata
        self.checked = metadata.arch == "sanitize"

    def __call__(
        self,
        grid_x: int,
        grid_y: int,
        grid_z: int,
        stream: object,
        loaded: ctypes.CDLL,
        packed: object,
        launch_metadata: object,
        enter: Callable[[object], None] | None,
        leave: Callable[[object], None] | None,
        *arguments: object,
    ) -> None:
        """Run the grid; returns when it is done."""
        if enter is not None:
            enter(launch_metadata)
        self.bind(loaded, arguments)(grid_x, grid_y, grid_z, 0)
        if leave is not None:
            leave(launch_metadata)

    def bind(
        self, loaded: ctypes.CDLL, arguments: Sequence[object]
    ) -> Callable[[int, int, int, int], None]:
        """What runs a grid on a stream with these arguments, which are taken apart once."""
        live = list(_flatten(self.signature, arguments))
        if self.checked:
            return lambda x, y, z, _: sanitize.launch(loaded, self.metadata, (x, y, z), live)
        return Bound(loaded, self.metadata.parameters, live)


def _flatten(signature: Sequence[object], arguments: Sequence[object]) -> Iterator[Any]:
    for kind, argument in zip(signature, arguments, strict=True):
        if isinstance(kind, tuple):
            assert isinstance(argument, tuple)
            yield from _flatten(kind, argument)
        elif isinstance(kind, str) and kind.startswith("tensordesc"):
            yield from triton_api.decomposed(argument)
        elif kind != "constexpr":
            yield argument


class _Utilities:
    """The part of a driver that loads binaries, with the signatures that Triton calls."""

    def get_device_properties(self, device: object) -> dict[str, int]:
        """Limits no CPU kernel reaches."""
        return {
            "max_shared_mem": 1 << 30,
            "max_num_regs": 1 << 16,
            "multiprocessor_count": os.cpu_count() or 1,
            "warpSize": 1,
        }

    def load_binary(
        self, name: str, binary: bytes, shared: int, device: object
    ) -> tuple[None, ctypes.CDLL, int, int, int]:
        """The module is None, so that Triton never asks another driver to unload it."""
        return None, loader.load(binary), 0, 0, 1 << 20

    def unload_module(self, module: object) -> None:
        """A library is unloaded when nothing holds it any more."""


class CpuDriver(DriverBase):  # type: ignore[misc]  # triton has no type stubs
    """Never active by itself: `triton_api.using(driver)` makes it so for a launch."""

    def __init__(self, sanitize: bool = False) -> None:
        self.sanitize = sanitize
        self.utils = _Utilities()
        self.launcher_cls = Launcher
        self.key = f"{NAME}:{'sanitize' if sanitize else 'native'}"

    @staticmethod
    def is_active() -> bool:
        """False: Triton must not choose this driver when it looks for a device."""
        return False

    def map_python_to_cpp_type(self, kind: str) -> str:
        """Part of Triton's interface; launches go through ctypes instead."""
        return kind

    def get_current_target(self) -> GPUTarget:
        """What the backend compiles for."""
        return GPUTarget(NAME, "sanitize" if self.sanitize else "native", 1)

    def get_current_device(self) -> str:
        """A key of our own, so that a kernel's caches for CUDA devices stay apart."""
        return self.key

    def set_current_device(self, device: object) -> None:
        """There is one device."""

    def get_current_stream(self, device: object) -> int:
        """Launches are synchronous."""
        return 0

    def get_active_torch_device(self) -> torch.device:
        """Where the autotuner allocates."""
        return torch.device("cpu")

    def get_device_interface(self) -> Any:
        """The torch module of the device."""
        return torch.cpu

    def get_benchmarker(self) -> Callable[..., list[float]]:
        """Time a call in milliseconds: the median of five runs, for every quantile asked."""

        def benchmark(call: Callable[[], object], quantiles: Sequence[float] = (), **_: Any) -> Any:
            call()
            times = []
            for _repeat in range(5):
                start = time.perf_counter()
                call()
                times.append((time.perf_counter() - start) * 1e3)
            middle = statistics.median(times)
            return [middle] * len(quantiles) if quantiles else middle

        return benchmark
