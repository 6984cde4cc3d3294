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
from graphcnn.by_descriptor import ByDescriptor, by_descriptor
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
from graphcnn.tap_order import TapOrder, tap_order
from graphcnn.targets.cuda_graph import Queued
from graphcnn.targets.resolve_device import resolve_device
from graphcnn.version import __version__

DTYPES = ("float32", "float16", "bfloat16")
# Triton counts spills in words.
BYTES = 4
# A driver hands out registers, and bytes of a stack, in these units.
REGISTER_UNIT, STACK_UNIT = 8, 16
KEPT = "kernels kept in"
NO_GPU = (
    "There is no CUDA device: the kernels ran natively on the CPU. What only a GPU can show, its "
    "registers, spills and times, and whether L1 serves neighbouring taps, was not checked."
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
        note: What is not as it was compiled, without being a fault, or None.
    """

    kernel: str
    dtype: str
    launches: int
    share: float
    registers: int | None
    spilled_bytes: int | None
    problem: str | None
    note: str | None


@dataclass(frozen=True)
class Diagnosis(Result):
    """What was found.

    Attributes:
        device: Where kernels ran.
        facts: What the machine is: what is asked, and the answer.
        ok: Whether nothing is wrong.
        kernels: Every kernel in every dtype.
        times: VGG-11 on 8 images of 64x64: torch, unfused and fused by turns.
        taps: What the order of a convolution's taps costs; None off GPUs.
        boxes: What reading by tensor descriptors costs; None where there are none.
        unchecked: What could not be checked here.
    """

    device: str
    facts: tuple[tuple[str, str], ...]
    ok: bool
    kernels: tuple[KernelCheck, ...]
    times: Comparison
    taps: TapOrder | None
    boxes: ByDescriptor | None
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
        noted = [f"NOTE {row.kernel} {row.dtype}: {row.note}" for row in self.kernels if row.note]
        verdicts = wrong or [f"PASS: all {len(rows)} stay within their bounds"]
        return (
            Table(f"doctor: {self.device}", ("what", "found"), self.facts, words=2),
            Table(
                "every kernel, against the float64 reference",
                columns,
                rows,
                words=3,
                notes=(*self.unchecked, *noted, *verdicts),
            ),
            *self.times.tables(),
            *(self.taps.tables() if self.taps else ()),
            *(self.boxes.tables() if self.boxes else ()),
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
    on = resolve_device(device)
    specimens = {dtype: compile(specimen(dtype), device=on.memory) for dtype in DTYPES}
    checks = tuple(row for dtype, model in specimens.items() for row in kernels(model, dtype))
    gpu = on.memory.type == "cuda"
    graph = models.vgg11(8, "float16" if gpu else "float32", size=64)
    times = compare(
        {
            "torch": compile(graph, device=on.memory, target="library"),
            "unfused": compile(graph, device=on.memory, fuse=False),
            "fused": compile(graph, device=on.memory),
        },
        seconds=3,
    )
    taps = tap_order(on) if gpu else None
    boxes = by_descriptor(on) if on.traits.box else None
    problems = [row.problem for row in (*checks, taps, boxes) if row is not None]
    ok = times.ok and not any(problems)
    unchecked = () if gpu else (NO_GPU,)
    return Diagnosis(on.name, tuple(facts(on)), ok, checks, times, taps, boxes, unchecked)


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
        notes = [told for told in map(_difference, given) if told]
        yield KernelCheck(
            kernel.removesuffix("_kernel"),
            dtype,
            len(launches),
            max(row.worst.share for row in rows),
            max((code.n_regs for code in given), default=None),
            max((BYTES * code.n_spills for code in given), default=None),
            problems[0] if problems else None,
            notes[0] if notes else None,
        )


def _difference(compiled: Any) -> str | None:
    """What the driver runs, where that is more than rounding away from what was compiled.

    `cuFuncGetAttribute` tells NUM_REGS and LOCAL_SIZE_BYTES of the function it loaded; the machine
    code has them as REG, and STACK and LOCAL. They agree where the driver loads that code as it is,
    but may be rounded up, and are others under a debugger or a profiler that adds code of its own,
    or where the driver compiled the PTX itself: none of it makes a result wrong.
    """
    told = Resources(compiled.n_regs, BYTES * compiled.n_spills)
    wanted = resources(compiled.asm["cubin"])
    if _units(told) == _units(wanted):
        return None
    return f"the driver runs it with {told}, compiled were {wanted}; no fault by itself"


def _units(found: Resources) -> tuple[int, int]:
    """As a driver hands them out."""
    return -(-found.registers // REGISTER_UNIT), -(-found.spilled_bytes // STACK_UNIT)


def facts(device: Device) -> Iterator[tuple[str, str]]:
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
        yield "driver", nvidia_smi("driver_version")
    folder = triton_api.cache_folder()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield KEPT, f"{folder}, {binary_size(size)}"


def processor() -> str:
    """The processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def nvidia_smi(query: str, device: Device | None = None) -> str:
    """What NVIDIA's own tool answers to a query, of one device or of the first."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown: there is no nvidia-smi"
    command = [tool, f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    if device is not None:
        command += [f"--id=GPU-{torch.cuda.get_device_properties(device.memory).uuid}"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (told.stdout + told.stderr).splitlines()
    return next((line.strip() for line in lines if line.strip()), "unknown")
