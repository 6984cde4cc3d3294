"""A CUDA driver for a machine without a GPU.

Triton specialises, compiles down to machine code and checks its limits as for the GPU that the
driver names; a launch is checked against the hardware's limits, recorded, and computed by the same
kernel, compiled for the CPU.

Stream 0 works at once. Other streams only queue their launches and copies, which run as late as
waits allow, and by turns: one that should have waited for another and did not computes wrong
numbers. A launch on the wrong current device, or on memory that was not held for its stream, fails.
"""

import math
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase

from graphcnn import cpu, triton_api
from graphcnn.gpu_code import resources
from graphcnn.kernels import cuda_traits
from graphcnn.targets.cuda_memory import Places
from graphcnn.targets.device import Device
from graphcnn.targets.triton import TritonTarget

# Shared memory that a block may ask for, by compute capability (CUDA C++ Programming Guide,
# technical specifications per compute capability).
SHARED_BYTES = {
    80: 163 << 10,
    86: 99 << 10,
    89: 99 << 10,
    90: 227 << 10,
    100: 227 << 10,
    120: 99 << 10,
}
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


@dataclass
class _Stream:
    """What a stream was given, in order: work, or events to wait for; `done` of it has run."""

    given: list = field(default_factory=list)
    done: int = 0

    def run(self, until):
        """Run up to a position, and before it what it waits for."""
        while self.done < until:
            self.done += 1
            work, self.given[self.done - 1] = self.given[self.done - 1], None
            if isinstance(work, tuple):
                stream, position = work
                stream.run(position)
            else:
                work()


class StandInGpu(DriverBase):
    """The driver of one GPU of the given compute capability; `launches` holds what ran on it."""

    current = 0  # the process's current device, by index

    def __init__(self, capability, index=0):
        self.capability, self.index = capability, index
        self.launches = []
        self.asked, self.first_mapped = [], 0
        self.stream = 0
        self.streams = defaultdict(_Stream)
        self.held = defaultdict(set)
        self.utils = _Loader(self)
        self.launcher_cls = self._launcher

    @contextmanager
    def on_stream(self, stream):
        """Make a stream the current one inside the block."""
        before, self.stream = self.stream, stream
        yield
        self.stream = before

    def give(self, stream, work):
        """Queue work, or an event to wait for, on a stream."""
        queue = self.streams[stream]
        queue.given.append(work)
        if stream == 0:
            queue.run(len(queue.given))

    def synchronize(self):
        """Run all that is queued, one piece of each stream after the other, the latest first."""
        while waiting := [s for s in self.streams.values() if s.done < len(s.given)]:
            for queue in reversed(waiting):
                queue.run(min(queue.done + 1, len(queue.given)))

    def is_mapped(self, address):
        """Whether there is memory at an address, as the driver of CUDA would say."""
        self.asked.append(address)
        return address >= self.first_mapped

    @staticmethod
    def is_active():
        return False

    def map_python_to_cpp_type(self, kind):
        return kind

    def get_current_target(self):
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self):
        return f"stand-in:sm_{self.capability}:{self.current}"

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
            assert self.current == self.index, "launched on another device than the current one"
            if stream != 0:
                unknown = {_block(t) for t in _tensors(arguments)} - self.held[stream]
                assert not unknown, "memory that is not held for the stream may be given away"
            named = dict(zip(source.fn.arg_names, arguments, strict=True))
            prepared = triton_api.prepare(source.fn, (), named, cpu.driver())
            self.give(stream, lambda: prepared((x, y, z), 0))

        return launch


def _block(tensor):
    return tensor.untyped_storage().data_ptr()


def _tensors(arguments):
    for argument in arguments:
        if isinstance(argument, tuple):
            yield from _tensors(argument)
        elif isinstance(argument, torch.Tensor):
            yield argument


class _Loader:
    """What the CUDA driver answers about the device and about a binary that it loads."""

    def __init__(self, gpu):
        self.gpu = gpu

    def get_device_properties(self, device):
        return {
            "max_shared_mem": SHARED_BYTES[self.gpu.capability],
            "max_num_regs": REGISTERS_PER_BLOCK,
            "multiprocessor_count": 1,
            "warpSize": 32,
        }

    def load_binary(self, name, cubin, shared, device):
        assert self.gpu.current == self.gpu.index, "loaded on another device than the current one"
        registers, spills = resources(cubin)
        # Registers are handed out in units of 8 for each of a warp's 32 threads.
        threads = REGISTERS_PER_BLOCK // (math.ceil(max(registers, 1) / 8) * 8) // 32 * 32
        most = min(THREADS_PER_BLOCK, threads)
        return None, (registers, spills), registers, spills // 4, most

    def unload_module(self, module):
        pass


class StandInDevice(Device):
    """What `CudaDevice` is to torch's streams, to those of the driver."""

    @property
    def capability(self):
        return self.driver.capability

    def shadow(self, nbytes, buffers):
        return None

    @contextmanager
    def guard(self):
        before, StandInGpu.current = StandInGpu.current, self.driver.index
        try:
            yield
        finally:
            StandInGpu.current = before

    @property
    def reads_host(self):
        return False

    def address(self, launches, home, parts, reach):
        return Places(launches, home, parts, self.driver.is_mapped, reach)

    def stream(self):
        return self.driver.stream

    def copy(self, source, into):
        self.driver.give(self.driver.stream, lambda: into.copy_(source))

    def record(self):
        queue = self.driver.streams[self.driver.stream]
        return queue, len(queue.given)

    def wait(self, event):
        self.driver.give(self.driver.stream, event)

    def reach(self, event):
        queue, position = event
        queue.run(position)

    def done(self, event):
        queue, position = event
        return queue.done >= position

    def hold(self, memory):
        self.driver.held[self.driver.stream].add(_block(memory))

    def finish(self):
        self.reach(self.record())

    def synchronize(self):
        self.driver.synchronize()


def stand_in_target(capability, index=0):
    """The Triton target on a CUDA device of this capability whose memory is the CPU's."""
    driver = StandInGpu(capability, index)
    return TritonTarget(StandInDevice(cuda_traits(capability), torch.device("cpu"), driver)), driver
