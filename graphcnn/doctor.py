"""Is this machine fit for graphcnn? What it is, every kernel once, and what fusion buys on it."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton

from graphcnn import models, triton_api
from graphcnn.compiler import compile
from graphcnn.cpu import toolchain
from graphcnn.errors import counted
from graphcnn.gpu_code import Resources, resources
from graphcnn.models.specimen import specimen
from graphcnn.plan import Call, Device
from graphcnn.report import Comparison, compare, verify
from graphcnn.report.result import Result
from graphcnn.report.tables import Table, binary_size
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets.cuda_graph import Queued
from graphcnn.version import __version__

DTYPES = ("float32", "float16", "bfloat16")
# Triton counts spills in words.
BYTES = 4
NO_GPU = (
    "There is no CUDA device: the kernels ran natively on the CPU. What only a GPU can show, its "
    "registers, spills and times, was not checked."
)


@dataclass(frozen=True, slots=True)
class KernelCheck:
    """A kernel in one dtype.

    Attributes:
        kernel: Its name.
        dtype: What it stores.
        launches: How often the specimen launches it.
        share: The largest share of the bound on rounding that an error of it used.
        registers: The most that a thread of it takes, as the driver says; None off GPUs.
        spilled_bytes: The most that a thread of it spills; None off GPUs.
        problem: What is wrong, or None.
    """

    kernel: str
    dtype: str
    launches: int
    share: float
    registers: int | None
    spilled_bytes: int | None
    problem: str | None


@dataclass(frozen=True)
class Diagnosis(Result):
    """What was found.

    Attributes:
        device: Where kernels ran.
        facts: What the machine is: what is asked, and the answer.
        ok: Whether nothing is wrong.
        kernels: Every kernel in every dtype.
        times: VGG-11 on 8 images of 64x64: torch, unfused and fused by turns.
        unchecked: What could not be checked here.
    """

    device: str
    facts: tuple[tuple[str, str], ...]
    ok: bool
    kernels: tuple[KernelCheck, ...]
    times: Comparison
    unchecked: tuple[str, ...]

    def tables(self) -> tuple[Table, ...]:
        """The machine, its kernels, the times, and the verdict."""
        rows = tuple(
            (
                row.kernel,
                row.dtype,
                "FAIL" if row.problem else "pass",
                str(row.launches),
                f"{100 * row.share:.2g} %",
                *(("-" if n is None else str(n)) for n in (row.registers, row.spilled_bytes)),
            )
            for row in self.kernels
        )
        columns = ("kernel", "dtype", "verdict", "launches", "bound used", "registers", "spilled")
        failed = [f"FAIL {row.kernel} {row.dtype}: {row.problem}" for row in self.kernels]
        wrong = [line for line, row in zip(failed, self.kernels, strict=True) if row.problem]
        verdicts = wrong or [f"PASS: all {len(rows)} stay within their bounds"]
        return (
            Table(f"doctor: {self.device}", ("what", "found"), self.facts, words=2),
            Table(
                "every kernel, against the float64 reference",
                columns,
                rows,
                words=3,
                notes=(*self.unchecked, *verdicts),
            ),
            *self.times.tables(),
        )


def doctor(device: str | torch.device = "auto") -> Diagnosis:
    """Check a machine: under a minute on a GPU, a few where a CPU compiles all kernels anew.

    Args:
        device: As of `compile`.

    Raises:
        DeviceUnavailable: for a device that is not there.
        MissingCompiler: on the CPU, without a C compiler.
        FileProblem: when compiled kernels cannot be kept.
    """
    specimens = {dtype: compile(specimen(dtype), device=device) for dtype in DTYPES}
    on = specimens["float32"].target.on
    checks = tuple(row for dtype, model in specimens.items() for row in kernels(model, dtype))
    gpu = on.memory.type == "cuda"
    graph = models.vgg11(8, "float16" if gpu else "float32", size=64)
    times = compare(
        {
            "torch": compile(graph, device=device, target="library"),
            "unfused": compile(graph, device=device, fuse=False),
            "fused": compile(graph, device=device),
        },
        seconds=3,
    )
    ok = times.ok and not any(row.problem for row in checks)
    return Diagnosis(on.name, tuple(_facts(on)), ok, checks, times, () if gpu else (NO_GPU,))


def kernels(model: CompiledModel, dtype: str) -> Iterator[KernelCheck]:
    """The kernels of a model that stores a dtype, in the order of their names."""
    checks = {row.name: row for row in verify(model).rows}
    found: dict[str, list[tuple[str, Queued | None]]] = {}
    with model.turn() as executor:
        for step, run in executor.steps():
            if not isinstance(step.work, Call):
                launch = run if isinstance(run, Queued) else None
                found.setdefault(step.work.kernel.__name__, []).append((step.node, launch))
    for kernel, launches in sorted(found.items()):
        rows = [checks[node] for node, _ in launches]
        given = [launch.prepared.compiled for _, launch in launches if launch is not None]
        problems = [row.problem for row in rows if row.problem]
        problems += [told for told in map(_disagreement, given) if told]
        yield KernelCheck(
            kernel.removesuffix("_kernel"),
            dtype,
            len(launches),
            max(row.worst.share for row in rows),
            max((code.n_regs for code in given), default=None),
            max((BYTES * code.n_spills for code in given), default=None),
            problems[0] if problems else None,
        )


def _disagreement(compiled: Any) -> str | None:
    """What the driver runs against what was compiled: other registers are other machine code."""
    told = Resources(compiled.n_regs, BYTES * compiled.n_spills)
    wanted = resources(compiled.asm["cubin"])
    return None if told == wanted else f"the driver runs it with {told}, compiled were {wanted}"


def _facts(device: Device) -> Iterator[tuple[str, str]]:
    """What there is to run on."""
    yield "graphcnn", __version__
    yield "Python", f"{platform.python_version()}, {platform.platform()}"
    yield "torch", torch.__version__
    yield "triton", triton.__version__
    yield "numpy", np.__version__
    if device.memory.type == "cpu":
        yield "processor", f"{processor()}, {counted(torch.get_num_threads(), 'thread')}"
        yield "C compiler", toolchain.identity(toolchain.compiler()).splitlines()[0]
    else:
        properties = torch.cuda.get_device_properties(device.memory)
        yield "GPU", f"{properties.name}, {binary_size(properties.total_memory)}"
        yield "compute capability", f"{properties.major}.{properties.minor}"
        yield "multiprocessors", str(properties.multi_processor_count)
        yield "driver", driver_version()
    folder = triton_api.cache_folder()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield "kernels kept in", f"{folder}, {binary_size(size)}"


def processor() -> str:
    """The processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def driver_version() -> str:
    """NVIDIA's driver, as its own tool says."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown: there is no nvidia-smi"
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (told.stdout + told.stderr).splitlines()
    return next((line.strip() for line in lines if line.strip()), "unknown")
