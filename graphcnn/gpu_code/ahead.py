"""Kernels compiled for a GPU that need not be here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase

from graphcnn.errors import GraphCNNError, KernelFailed
from graphcnn.gpu_code.architectures import Architecture
from graphcnn.gpu_code.counts import Counts, counted
from graphcnn.gpu_code.instructions import of_labels, of_sass
from graphcnn.gpu_code.resources import dumped, resources
from graphcnn.triton_api import Call, compile_ahead, named_arguments, processors, using
from graphcnn.triton_problems import REPORT, told


class OfflineDriver(DriverBase):  # type: ignore[misc]  # Triton has no types
    """A driver that names an architecture; it can compile for it, and nothing else."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    @staticmethod
    def is_active() -> bool:
        """False: nothing else is to compile by it."""
        return False

    def map_python_to_cpp_type(self, ty: str) -> str:
        """A type as it is: no launcher is made."""
        return ty

    def get_current_target(self) -> GPUTarget:
        """What Triton compiles for."""
        return GPUTarget(*self.architecture.target)

    def get_current_device(self) -> str:
        """What Triton keeps compiled kernels by."""
        return f"offline:{self.architecture.name}"

    def get_current_stream(self, device: object) -> int:
        """The default one."""
        return 0

    def get_active_torch_device(self) -> Any:
        """None there is."""
        raise NotImplementedError("there is no device, only a target")

    def get_benchmarker(self) -> Any:
        """None there is."""
        raise NotImplementedError("nothing can be timed without a device")


@dataclass(frozen=True, eq=False)
class GpuCode:
    """What the compilers made of a kernel.

    Attributes:
        kernel: Its name.
        architecture: What for.
        warps: Of a block.
        registers: Of a thread.
        spilled_bytes: Of a thread's registers; arrays of its own are not counted.
        shared_bytes: Of a block.
        tensor_columns: Of tensor memory, of a block.
        signature: Types of the arguments by name, in nested tuples as they are passed.
        ttir: Triton's own form.
        assembly: PTX, or the assembly of AMD's GPUs.
        binary: Machine code.
    """

    kernel: str
    architecture: Architecture
    warps: int
    registers: int
    spilled_bytes: int
    shared_bytes: int
    tensor_columns: int
    signature: Mapping[str, Any]
    ttir: str
    assembly: str
    binary: bytes

    @cached_property
    def machine_code(self) -> str:
        """As text."""
        if self.architecture.target[0] == "hip":
            return self.assembly
        return dumped(self.binary, "-sass")

    @cached_property
    def counts(self) -> Counts:
        """The instructions of a warp."""
        written = of_labels(self.assembly)
        own = self.architecture.target[0] == "cuda"
        return counted(of_sass(self.machine_code) if own else written, written)

    @property
    def spills_in_loops(self) -> int:
        """Accesses to spilled registers in any loop."""
        return self.counts.spills_in_loops if self.spilled_bytes else 0

    @property
    def held(self) -> int:
        """Blocks that a multiprocessor holds at a time; 0 where one does not fit."""
        needs = (self.registers, self.shared_bytes, self.warps, self.tensor_columns)
        return self.architecture.held(*needs)


def compile_for(call: Call, architecture: Architecture) -> GpuCode:
    """Compile a kernel as a launch with these arguments would; tensors of any device will do.

    Raises:
        KernelFailed: where it does not compile.
        GpuUnsupported: where this Triton does not know the architecture.
        FileProblem: when Triton's cache fails.
    """
    kernel, args, meta = call
    try:
        with using(OfflineDriver(architecture)), told(kernel.__name__):
            compiled = kernel.warmup(grid=(1,), **named_arguments(kernel, args, meta))
    except GraphCNNError:
        raise
    except Exception as error:  # Triton's passes raise what they like
        raise KernelFailed(
            "a kernel does not compile",
            where=f"kernel '{kernel.__name__}' for {architecture.name}",
            got=next(filter(None, str(error).splitlines()), type(error).__name__),
            remedy=REPORT,
        ) from error
    return _read(compiled, kernel.__name__, architecture)


def compile_all(calls: Sequence[Call], architecture: Architecture) -> list[GpuCode | KernelFailed]:
    """What becomes of kernels that are compiled, and read, side by side; equal code is one object.

    Raises:
        GpuUnsupported, FileProblem: as of `compile_for`.
    """
    compile_ahead(calls, OfflineDriver(architecture))
    equal: dict[tuple[str, bytes], GpuCode] = {}

    def compiled(call: Call) -> GpuCode | KernelFailed:
        try:
            code = compile_for(call, architecture)
        except KernelFailed as error:
            return error
        return equal.setdefault((code.kernel, code.binary), code)

    found = [compiled(call) for call in calls]
    # To take machine code apart, in a process of NVIDIA's tool, takes as long as to compile it.
    with ThreadPoolExecutor(processors() + 1) as pool:
        list(pool.map(lambda code: code.counts, equal.values()))
    return found


def _read(compiled: Any, kernel: str, architecture: Architecture) -> GpuCode:
    kept, metadata = compiled.asm, compiled.metadata
    amd = architecture.target[0] == "hip"
    assembly, binary = kept["amdgcn" if amd else "ptx"], kept["hsaco" if amd else "cubin"]
    if amd:
        registers, spilled = _told(assembly, "vgpr_count"), 4 * _told(assembly, "vgpr_spill_count")
        warps = int(metadata.num_warps)
    else:
        registers, stack = resources(binary)
        # ptxas keeps spilled registers and the kernel's own arrays in one frame, of a multiple of
        # 8 bytes.
        arrays = re.findall(r"__local_depot\d+\[(\d+)\]", assembly)
        spilled = max(0, stack - 8 * ceil(sum(map(int, arrays)) / 8))
        threads = re.search(r"\.(?:req|max)ntid (\d+)", assembly)
        warps = int(threads[1]) // 32 if threads else int(metadata.num_warps)
    columns = int(getattr(metadata, "tmem_size", None) or 0)
    needs = (warps, registers, spilled, int(metadata.shared), columns)
    texts = (kept["ttir"], assembly, binary)
    return GpuCode(kernel, architecture, *needs, compiled.src.signature, *texts)


def _told(assembly: str, name: str) -> int:
    """What AMD's assembler says of a kernel."""
    found = re.search(rf"\.{name}:\s+(\d+)", assembly)
    assert found, name
    return int(found[1])
