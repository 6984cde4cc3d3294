"""Triton's own launcher for CUDA on a machine without a GPU, over a stub of NVIDIA's library.

What the host does for a launch is real, up to the call of the driver. Copies are the CPU's; the
current stream and events are nobody's. For a process of its own: Triton and the dynamic loader keep
what they have found.
"""

import ctypes
import hashlib
import os
import subprocess
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget

from graphcnn import triton_api
from graphcnn.costs.devices import gpu_like
from graphcnn.costs.traits import traits_of
from graphcnn.targets.cuda import CudaDevice
from graphcnn.targets.triton import TritonTarget

SOURCE = Path(__file__).with_name("stub_libcuda.c")
CAPABILITY = 80
# Bytes of what a kernel is passed; pointers take 8.
SIZES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "fp16": 2, "bf16": 2, "fp32": 4, "fp64": 8}


class Launched(ctypes.Structure):
    """What the stub was told: how many launches, and replays of graphs; the last launch. `alive`
    are streams and graphs that were not destroyed; `failing` names the function that fails.
    """

    _fields_ = (
        ("count", ctypes.c_int),
        ("replays", ctypes.c_int),
        ("alive", ctypes.c_int),
        ("failing", ctypes.c_char_p),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_ulonglong),
        ("function", ctypes.c_ulonglong),
        ("parameters", ctypes.c_int),
        ("sizes", ctypes.c_int * 64),
        ("values", (ctypes.c_ubyte * 8) * 64),
    )

    def expect(self, compiled):
        """Keep the values of the parameters of a kernel from now on."""
        kinds = [*_flat(tuple(compiled.src.signature.values()))]
        self.parameters = len(kinds)
        for place, kind in enumerate(kinds):
            self.sizes[place] = 8 if kind.startswith("*") else SIZES[kind]

    def told(self):
        """What the driver was told, beside how often."""
        values = [bytes(v)[:n] for v, n in zip(self.values, self.sizes, strict=True)]
        name = ctypes.string_at(self.function)
        kept = values[: self.parameters]
        return (*self.grid, *self.block, self.shared, self.stream, name, *kept)


def _flat(kinds):
    for kind in kinds:
        if isinstance(kind, tuple):
            yield from _flat(kind)
        elif kind != "constexpr":
            yield kind


def _library():
    """The stub, loaded where everybody looks for NVIDIA's library."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    folder = triton_api.cache_folder() / "graphcnn" / f"stub_{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    include = Path(triton.__file__).parent / "backends" / "nvidia" / "include"
    built = folder / f"libcuda.so.1.{os.getpid()}"
    options = ["-shared", "-fPIC", "-O2", "-Wl,-soname,libcuda.so.1", f"-I{include}"]
    subprocess.run(
        [os.environ.get("CC", "cc"), *options, str(SOURCE), "-o", str(built)], check=True
    )
    os.replace(built, folder / "libcuda.so.1")
    os.environ["TRITON_LIBCUDA_PATH"] = str(folder)
    return ctypes.CDLL(str(folder / "libcuda.so.1"), mode=ctypes.RTLD_GLOBAL)


def _driver():
    """Triton's own driver, which asks torch for nothing."""
    from triton.backends.nvidia.driver import CudaDriver

    driver = CudaDriver()
    driver.get_current_device = lambda: 0
    driver.get_device_capability = lambda device=0: divmod(CAPABILITY, 10)
    driver.get_current_stream = lambda device: 0
    driver.get_current_target = lambda: GPUTarget("cuda", CAPABILITY, 32)
    return driver


class Stream:
    """As `torch.cuda.Stream`."""

    cuda_stream = 7

    def wait_event(self, event):
        pass

    def synchronize(self):
        pass


class Event:
    """As `torch.cuda.Event`."""

    def record(self, stream):
        pass


@dataclass
class Runtime:
    """What `torch.cuda` is to CUDA. Counts how often the current stream was asked for."""

    asked: int = 0
    Stream: type = Stream
    Event: type = Event

    def get_device_capability(self, memory):
        return divmod(CAPABILITY, 10)

    def current_stream(self, memory=None):
        self.asked += 1
        return Stream()

    def device(self, memory):
        return nullcontext()

    def is_current_stream_capturing(self):
        return False


@dataclass(frozen=True)
class StubDevice(CudaDevice):
    """A CUDA device whose memory is the CPU's, which torch cannot hold for a stream; no launch
    moves."""

    def address(self, *_):
        return None

    def hold(self, *memory):
        self._current()


_made = {}


def stub_target(cuda_graph=True):
    """The Triton target on such a device, and where its launches are kept."""
    if not _made:
        _made["launched"] = Launched.in_dll(_library(), "stub_launch")
        _made["driver"] = _driver()
    traits, memory = traits_of(gpu_like("a stub", CAPABILITY, 108)), torch.device("cpu")
    device = StubDevice(traits, memory, _made["driver"], cuda_graph, Runtime())
    return TritonTarget(device), _made["launched"]
