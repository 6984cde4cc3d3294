"""Kernels compiled for NVIDIA GPUs that are not here, and what became of them."""

import re
from dataclasses import dataclass

from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase

from graphcnn.gpu_code import dumped, resources
from graphcnn.triton_api import named_arguments, using


@dataclass(frozen=True, slots=True)
class GpuBinary:
    """What the GPU compiler made of a kernel."""

    registers: int  # per thread
    spills: int  # bytes of stack and local memory per thread
    shared_bytes: int  # per block, dynamic
    signature: dict  # types of the arguments by name, in nested tuples as they are passed
    ptx: str
    cubin: bytes

    def sass(self):
        """The disassembled machine code."""
        return dumped(self.cubin, "-sass")

    def spills_in_loops(self):
        """How often a spilled register is accessed between the first and last line of a loop."""
        code = re.findall(r"/\*([0-9a-f]+)\*/ +(\w.*|@.*);", self.sass())
        jumps = [(int(at, 16), re.search(r"\bBRA\b.*0x([0-9a-f]+)", line)) for at, line in code]
        assert any(to for _, to in jumps), "every kernel ends in a branch to itself"
        loops = [(int(to[1], 16), at) for at, to in jumps if to and int(to[1], 16) < at]
        accesses = [int(at, 16) for at, line in code if re.search(r"\b(STL|LDL)\b", line)]
        assert bool(accesses) == bool(self.spills)
        return sum(any(first <= at <= last for first, last in loops) for at in accesses)


def compile_for_gpu_like(kernel, args, meta, capability):
    """Compile for an NVIDIA GPU as a launch with these arguments would; needs no GPU.

    Args:
        kernel: A `triton.jit` function.
        args: Runtime arguments as for `prepare`; CPU tensors stand for GPU tensors.
        meta: As for `prepare`.
        capability: 80, 90, 100, ...
    """
    with using(_OfflineDriver(capability)):
        compiled = kernel.warmup(grid=(1,), **named_arguments(kernel, args, meta))
    cubin = compiled.asm["cubin"]
    shared = int(compiled.metadata.shared)
    signature = compiled.src.signature
    return GpuBinary(*resources(cubin), shared, signature, compiled.asm["ptx"], cubin)


class _OfflineDriver(DriverBase):
    """Names a CUDA target; can compile and nothing else."""

    def __init__(self, capability):
        self.capability = capability

    @staticmethod
    def is_active():
        return False

    def map_python_to_cpp_type(self, kind):
        return kind

    def get_current_target(self):
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self):
        return f"offline:sm_{self.capability}"

    def get_current_stream(self, device):
        return 0

    def get_active_torch_device(self):
        raise NotImplementedError("there is no device, only a target")

    def get_benchmarker(self):
        raise NotImplementedError("nothing can be timed without a device")
