"""A CUDA driver for a machine without a GPU.

Triton specialises, compiles down to machine code and checks its limits as for the GPU that the
driver names; a launch is checked against the hardware's limits, recorded, and computed by the same
kernel, compiled for the CPU.

Stream 0 works at once. Other streams only queue their launches and copies, which run as late as
waits allow, and by turns: one that should have waited for another and did not computes wrong
numbers. A launch on the wrong current device, or on memory that was not held for its stream, fails.
A stream that is captured queues nothing: its work is kept, and queued by every replay. Current
devices and streams are each thread's own.
"""

import math
import threading
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import torch
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase
from triton.tools.tensor_descriptor import TensorDescriptor

from graphcnn import cpu, triton_api
from graphcnn.costs.devices import gpu_like
from graphcnn.costs.traits import traits_of
from graphcnn.gpu_code import ARCHITECTURES, resources
from graphcnn.targets.availability import available_memory
from graphcnn.targets.cuda import CudaDevice
from graphcnn.targets.cuda_memory import Places
from graphcnn.targets.triton import TritonTarget

SMS = 108
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

    thread = threading.local()  # the current device, by index, and the current streams, by driver

    def __init__(self, capability, index=0):
        self.capability, self.index = capability, index
        self.launches = []
        self.asked, self.first_mapped = [], 0
        self.streams = defaultdict(_Stream)
        self.captures = {}
        self.numbers = count(1000)
        self.held = defaultdict(set)
        self.lock = threading.RLock()
        self.utils = _Loader(self)
        self.launcher_cls = self._launcher

    @property
    def current(self):
        """Index of this thread's current device."""
        return getattr(self.thread, "device", 0)

    @property
    def stream(self):
        """This thread's current stream of this device."""
        return getattr(self.thread, "streams", {}).get(self, 0)

    @contextmanager
    def on_stream(self, stream):
        """Make a stream the current one inside the block."""
        before = getattr(self.thread, "streams", {})
        self.thread.streams = {**before, self: stream}
        try:
            yield
        finally:
            self.thread.streams = before

    def give(self, stream, work, reads=frozenset()):
        """Queue work, or an event to wait for, on a stream.

        Args:
            stream: Which.
            work: The work.
            reads: Memory of others that it uses, which has to be held for the stream.
        """
        with self.lock:
            if stream in self.captures:
                assert not isinstance(work, tuple), "what is captured waits for what is not"
                # What the caller holds for a capture is theirs to keep for its replays.
                self.captures[stream].append((work, reads - self.held[stream]))
                return
            unknown = reads - self.held[stream] if stream else None
            assert not unknown, "memory that is not held for the stream may be given away"
            queue = self.streams[stream]
            queue.given.append(work)
            if stream == 0:
                queue.run(len(queue.given))

    def synchronize(self):
        """Run all that is queued, one piece of each stream after the other, the latest first."""
        with self.lock:
            assert not self.captures, "no device is waited for while a stream is captured"
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
        def launch(x, y, z, stream, function, packed, told, enter, leave, *arguments):
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
            if enter is not None:
                enter(told)
            named = dict(zip(source.fn.arg_names, arguments, strict=True))
            prepared = triton_api.prepare(source.fn, (), named, cpu.driver())
            reads = frozenset(map(_block, _tensors(arguments)))
            self.give(stream, lambda: prepared((x, y, z), 0), reads)
            if leave is not None:
                leave(told)

        return launch


def _block(tensor):
    return tensor.untyped_storage().data_ptr()


def _tensors(arguments):
    for argument in arguments:
        if isinstance(argument, tuple):
            yield from _tensors(argument)
        elif isinstance(argument, torch.Tensor):
            yield argument
        elif isinstance(argument, TensorDescriptor):
            yield argument.base


class _Loader:
    """What the CUDA driver answers about the device and about a binary that it loads."""

    def __init__(self, gpu):
        self.gpu = gpu

    def get_device_properties(self, device):
        return {
            "max_shared_mem": ARCHITECTURES[f"sm_{self.gpu.capability}"].shared_bytes,
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


class StandInRuntime:
    """What `torch.cuda` is to the streams and events of CUDA, to those of the driver."""

    def __init__(self, driver):
        self.driver = driver
        self.Stream = lambda: Stream(driver, next(driver.numbers))
        self.Event = Event

    def get_device_name(self, memory):
        return "stand-in"

    def get_device_capability(self, memory):
        return divmod(self.driver.capability, 10)

    @contextmanager
    def device(self, memory):
        before, StandInGpu.thread.device = self.driver.current, self.driver.index
        try:
            yield
        finally:
            StandInGpu.thread.device = before

    def current_stream(self, memory=None):
        return Stream(self.driver, self.driver.stream)

    def is_current_stream_capturing(self):
        return self.driver.stream in self.driver.captures

    def synchronize(self, memory):
        self.driver.synchronize()


@dataclass(frozen=True)
class Stream:
    """As `torch.cuda.Stream`."""

    driver: StandInGpu
    cuda_stream: int

    def wait_event(self, event):
        self.driver.give(self.cuda_stream, event.place)

    def synchronize(self):
        assert self.cuda_stream not in self.driver.captures
        with self.driver.lock:
            queue = self.driver.streams[self.cuda_stream]
            queue.run(len(queue.given))


class Event:
    """As `torch.cuda.Event`."""

    def __init__(self, enable_timing=False):
        pass

    def record(self, stream):
        assert stream.cuda_stream not in stream.driver.captures, "it would belong to the capture"
        queue = stream.driver.streams[stream.cuda_stream]
        self.place = (queue, len(queue.given))

    def synchronize(self):
        queue, position = self.place
        queue.run(position)

    def query(self):
        queue, position = self.place
        return queue.done >= position

    def elapsed_time(self, other):
        return 1.0


class Captured:
    """Work that a stream is given inside a `with`, to be given to others."""

    def __init__(self, driver, stream):
        assert stream != 0, "the default stream cannot be captured"
        self.driver, self.stream = driver, stream

    def __enter__(self):
        assert self.driver.current == self.driver.index
        self.driver.captures[self.stream] = []

    def __exit__(self, *_):
        self.work = self.driver.captures.pop(self.stream)

    def replay_on(self, stream):
        assert self.driver.current == self.driver.index, "replayed on another device"
        for work, reads in self.work:
            self.driver.give(stream, work, reads)


@dataclass(frozen=True)
class StandInDevice(CudaDevice):
    """A CUDA device whose memory is the CPU's: copies are queued here, not by torch."""

    identity = None  # kernels that are new to it are judged where a test says so

    def free_bytes(self):
        return available_memory()

    def capture(self, give):
        graph = Captured(self.driver, next(self.driver.numbers))
        with graph:
            give(graph.stream)
        return graph.replay_on

    def address(self, launches, home, parts, reach):
        return Places(launches, home, parts, self.driver.is_mapped, reach)

    def pinned(self, shape, dtype):
        return torch.empty(shape, dtype=dtype)

    def copy(self, source, into):
        self.driver.give(self.driver.stream, lambda: into.copy_(source))

    def hold(self, *memory):
        self.driver.held[self.driver.stream].update(map(_block, memory))


def stand_in_target(capability, index=0, cuda_graph=True):
    """The Triton target on a CUDA device of this capability whose memory is the CPU's."""
    driver = StandInGpu(capability, index)
    memory, runtime = torch.device("cpu"), StandInRuntime(driver)
    traits = traits_of(gpu_like("a stand-in", capability, SMS))
    return TritonTarget(StandInDevice(traits, memory, driver, cuda_graph, runtime)), driver
