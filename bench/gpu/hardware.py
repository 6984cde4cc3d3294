"""The device under test, and what stands in for it in a dry run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch

from bench.gpu.results import Clocks
from graphcnn.doctor import KEPT, facts, nvidia_smi
from graphcnn.plan import Device
from graphcnn.targets.resolve_device import resolve_device

# Larger than the L2 cache of any device.
FLUSHED_BYTES = 256 << 20
# `interleave`'s, so that quartiles mean something, and about how long contenders take turns.
ROUNDS, SECONDS = 9, 1.5


class Cuda:
    """A CUDA device.

    Attributes:
        name: Of the product.
        dry: Whether it is not there, and networks are tiny.
        rounds: Least turns of each contender.
        seconds: About how long they take turns.
        compiled: How `torch.compile` is asked for its best, whose CUDA graphs would be one more
            than that of `captured`.
        lacks: What cannot be measured on it.
    """

    dry: ClassVar[bool] = False
    rounds: ClassVar[int] = ROUNDS
    seconds: ClassVar[float] = SECONDS
    compiled: ClassVar[dict[str, str]] = {"mode": "max-autotune-no-cudagraphs"}
    lacks: ClassVar[tuple[str, ...]] = ()

    @cached_property
    def device(self) -> Device:
        """Where contenders run.

        Raises:
            DeviceUnavailable: without a CUDA device.
        """
        return resolve_device("cuda")

    @property
    def name(self) -> str:
        """The product's."""
        return torch.cuda.get_device_name(self.device.memory)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What the machine is."""
        return told(self.device)

    def captured(self, run: Callable[[], Any]) -> Callable[[], Any]:
        """What replays a CUDA graph of a run."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay

    def flush(self) -> None:
        """Put other data in its L2 cache."""
        self._other.zero_()

    @cached_property
    def _other(self) -> torch.Tensor:
        return torch.empty(FLUSHED_BYTES, dtype=torch.int8, device=self.device.memory)

    def clocks(self) -> Clocks | None:
        """What it runs at, as NVIDIA's tool says."""
        answer = nvidia_smi("clocks.sm,clocks.mem,temperature.gpu", self.device)
        with suppress(ValueError):
            sm, memory, celsius = map(int, answer.split(","))
            return Clocks(sm, memory, celsius)
        return None

    def free(self) -> None:
        """Give back what torch keeps of memory that nobody uses."""
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class DryRun:
    """The CPU, on which everything but CUDA graphs and events runs; its times mean nothing."""

    dry: ClassVar[bool] = True
    rounds: ClassVar[int] = 2
    seconds: ClassVar[float] = 0.0
    compiled: ClassVar[dict[str, str]] = {"backend": "aot_eager"}
    name: ClassVar[str] = "dry run"
    lacks: ClassVar[tuple[str, ...]] = (
        "any time of a GPU, by CUDA events, with a flushed cache: a CPU stood in",
        "CUDA graphs: kernels were run one by one",
        "clocks",
        "torch.compile with max-autotune: it was given the backend aot_eager",
        "networks of their own size, at batch 1, 8, 32 and 128: tiny ones stood in",
    )
    device: Device

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What the machine is."""
        return told(self.device)

    def captured(self, run: Callable[[], Any]) -> Callable[[], Any]:
        """The run: there are no graphs."""
        return run

    def flush(self) -> None:
        """Nothing: no time here counts."""

    def clocks(self) -> Clocks | None:
        """Nobody says."""
        return None

    def free(self) -> None:
        """Nothing is kept."""


Hardware = Cuda | DryRun


def told(device: Device) -> tuple[tuple[str, str], ...]:
    """What `doctor` knows of a machine, but for where it keeps files."""
    return tuple((what, found) for what, found in facts(device) if what != KEPT)
