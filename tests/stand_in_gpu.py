"""A CUDA driver for a machine without a GPU.

Triton specialises, compiles down to machine code and checks its limits as for the GPU that the
driver names; a launch is checked against the hardware's limits, recorded, and computed by the same
kernel, compiled for the CPU.
"""

import math
from dataclasses import dataclass

import torch
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase

from graphcnn import cpu, triton_api
from graphcnn.targets.device import Device
from graphcnn.targets.triton import TritonTarget

# Shared memory that a block may ask for, by compute capability (CUDA C++ Programming Guide,
# technical specifications per compute capability).
SHARED_BYTES = {80: 163 << 10, 86: 99 << 10, 90: 227 << 10, 100: 227 << 10}
MAX_GRID = (2**31 - 1, 65_535, 65_535)
REGISTERS_PER_BLOCK = 65_536
THREADS_PER_BLOCK = 1024


@dataclass(frozen=True)
class Recorded:
    """A launch: what the compiler made of the kernel, and the grid."""

    kernel: str
    grid: tuple[int, int, int]
    registers: int
    spills: int
    shared_bytes: int
    num_warps: int


class StandInGpu(DriverBase):
    """The driver of one GPU of the given compute capability; `launches` holds what ran on it."""

    def __init__(self, capability):
        self.capability = capability
        self.launches = []
        self.utils = _Loader(capability)
        self.launcher_cls = self._launcher

    @staticmethod
    def is_active():
        return False

    def map_python_to_cpp_type(self, kind):
        return kind

    def get_current_target(self):
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self):
        return f"stand-in:sm_{self.capability}"

    def set_current_device(self, device):
        pass

    def get_current_stream(self, device):
        return 0

    def get_active_torch_device(self):
        return torch.device("cpu")

    def get_benchmarker(self):
        raise NotImplementedError("time on a stand-in means nothing")

    def _launcher(self, source, metadata):
        def launch(x, y, z, stream, function, packed, launch_metadata, enter, leave, *arguments):
            for programs, most in zip((x, y, z), MAX_GRID, strict=True):
                assert type(programs) is int
                assert 1 <= programs <= most, f"no GPU launches a grid of {(x, y, z)}"
            registers, spills = function
            self.launches.append(
                Recorded(
                    metadata.name, (x, y, z), registers, spills, metadata.shared, metadata.num_warps
                )
            )
            named = dict(zip(source.fn.arg_names, arguments, strict=True))
            triton_api.prepare(source.fn, (), named, cpu.driver())((x, y, z), stream, ())

        return launch


class _Loader:
    """What the CUDA driver answers about the device and about a binary that it loads."""

    def __init__(self, capability):
        self.capability = capability

    def get_device_properties(self, device):
        return {
            "max_shared_mem": SHARED_BYTES[self.capability],
            "max_num_regs": REGISTERS_PER_BLOCK,
            "multiprocessor_count": 1,
            "warpSize": 32,
        }

    def load_binary(self, name, cubin, shared, device):
        registers, spills = triton_api.cubin_registers(cubin)
        # Registers are handed out in units of 8 for each of a warp's 32 threads.
        threads = REGISTERS_PER_BLOCK // (math.ceil(max(registers, 1) / 8) * 8) // 32 * 32
        most = min(THREADS_PER_BLOCK, threads)
        return None, (registers, spills), registers, spills // 4, most

    def unload_module(self, module):
        pass


def stand_in_target(capability):
    """The Triton target on a CUDA device of this capability whose memory is the CPU's."""
    driver = StandInGpu(capability)
    return TritonTarget(Device("cuda", torch.device("cpu"), driver)), driver
