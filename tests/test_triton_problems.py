"""What Triton raises, and what a user is told instead."""

import subprocess

import pytest
import torch
import triton
import triton.language as tl
from triton.errors import TritonError
from triton.runtime.cache import FileCacheManager
from triton.runtime.errors import OutOfResources, PTXASError

import graphcnn as gx
from graphcnn import nvidia, triton_api, triton_problems
from graphcnn.errors import (
    DeviceUnavailable,
    DriverTooOld,
    FileProblem,
    GpuUnsupported,
    KernelFailed,
    MissingCompiler,
    OutOfMemory,
    ShapeError,
)
from tests.stand_in_gpu import StandInGpu, stand_in_target

CUDA = "Triton Error [CUDA]: "


@triton.jit
def one_kernel(x_ptr):
    tl.store(x_ptr, 1.0)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU whose driver serves CUDA 12.4."""
    monkeypatch.setattr(nvidia, "newest_cuda", lambda: (12, 4))
    one_kernel.device_caches.clear()
    return StandInGpu(80)


def prepared(gpu):
    return triton_api.prepare(one_kernel, (torch.zeros(1),), {}, gpu)


def raising(error):
    def raise_it(*_):
        raise error

    return raise_it


@pytest.mark.compile
@pytest.mark.parametrize(
    ("said", "kind", "what", "got", "remedy"),
    [
        (
            CUDA + "the provided PTX was compiled with an unsupported toolchain.",
            DriverTooOld,
            "driver does not know the machine code",
            "a driver for CUDA 12.4: Triton Error [CUDA]: the provided PTX",
            "update the driver",
        ),
        (
            CUDA + "no kernel image is available for execution on the device",
            DriverTooOld,
            "driver does not know the machine code",
            "no kernel image",
            "older CUDA",
        ),
        (
            "Failed to retrieve cuLaunchKernelEx from libcuda.so.1",
            DriverTooOld,
            "driver does not know the machine code",
            "cuLaunchKernelEx",
            "update the driver",
        ),
        (CUDA + "out of memory", OutOfMemory, "no memory left", "out of memory", "free memory"),
        (CUDA + "invalid argument", KernelFailed, "does not load", "invalid argument", "doctor"),
    ],
)
def test_what_the_driver_says_of_a_binary(gpu, monkeypatch, said, kind, what, got, remedy):
    monkeypatch.setattr(gpu.utils, "load_binary", raising(RuntimeError(said)))
    with pytest.raises(kind) as caught:
        prepared(gpu)
    error = caught.value
    assert type(error) is kind
    assert what in error.what
    assert got in error.got
    assert remedy in error.remedy
    assert error.where == "kernel 'one_kernel'"
    assert said in str(error.__cause__)
    if kind is DriverTooOld:
        assert f"CUDA {triton.knobs.nvidia.ptxas.version} or later" in error.wanted


@pytest.mark.compile
def test_a_binary_that_is_damaged_is_compiled_anew(gpu, monkeypatch):
    load, tried = gpu.utils.load_binary, []

    def once(*args):
        tried.append(1)
        if len(tried) == 1:
            raise RuntimeError(CUDA + "device kernel image is invalid")
        return load(*args)

    monkeypatch.setattr(gpu.utils, "load_binary", once)
    prepared(gpu)((1,), 0)
    assert len(tried) == 2
    one_kernel.device_caches.clear()
    always = raising(RuntimeError(CUDA + "device kernel image is invalid"))
    monkeypatch.setattr(gpu.utils, "load_binary", always)
    with pytest.raises(DriverTooOld, match="kernel image is invalid"):
        prepared(gpu)


@pytest.mark.compile
def test_a_gpu_that_is_newer_than_triton():
    with pytest.raises(GpuUnsupported, match="newer than itself") as caught:
        prepared(StandInGpu(199))
    assert f"Triton {triton.__version__}" in caught.value.got
    assert "sm_199" in caught.value.got
    assert "newer torch" in caught.value.remedy


@pytest.mark.parametrize(
    ("error", "kind", "got"),
    [
        (OutOfResources(300_000, 232_448, "shared memory"), KernelFailed, "Required: 300000"),
        (OutOfResources(256, 128, "threads"), KernelFailed, "Hardware limit: 128"),
        (PTXASError("`ptxas` failed with error code 1\nhelp"), KernelFailed, "error code 1"),
        (
            PTXASError("failed\nfatal: Value 'sm_130a' is not defined for option 'gpu-name'"),
            GpuUnsupported,
            "Value 'sm_130a'",
        ),
        (
            RuntimeError("Failed to find C compiler. Please specify via CC"),
            MissingCompiler,
            "no gcc or clang on PATH",
        ),
        (
            subprocess.CalledProcessError(1, ["/usr/bin/gcc", "main.c", "-O3", "-shared"]),
            MissingCompiler,
            "'/usr/bin/gcc' failed with status 1",
        ),
        (AssertionError("libcuda.so cannot found!\n"), DeviceUnavailable, "no libcuda.so.1"),
        (RuntimeError("Failed to open libcuda.so.1"), DeviceUnavailable, "no libcuda.so.1"),
        (FileNotFoundError(2, "none", "/sbin/ldconfig"), DeviceUnavailable, "no libcuda.so.1"),
        (
            RuntimeError("0 active drivers ([]). There should only be one."),
            DeviceUnavailable,
            "0 active drivers",
        ),
        (RuntimeError("the cache dir cannot be made"), FileProblem, "cache dir"),
        (OSError(28, "No space left on device"), FileProblem, "No space left"),
    ],
)
def test_what_else_triton_raises(error, kind, got):
    with pytest.raises(kind) as caught, triton_problems.told("one_kernel"):
        raise error
    assert type(caught.value) is kind
    assert got in str(caught.value.got)
    assert "kernel 'one_kernel'" in caught.value.where
    assert caught.value.remedy
    assert caught.value.__cause__ is error


def test_a_compiler_that_cannot_be_run(monkeypatch):
    monkeypatch.setenv("CC", "/no/such/cc")
    cannot = pytest.raises(MissingCompiler, match="CC='/no/such/cc', which cannot be run")
    with cannot as caught, triton_problems.told("one_kernel"):
        subprocess.run(["/no/such/cc"], check=True)
    assert "python3-dev" in caught.value.remedy


@pytest.mark.parametrize(
    "error",
    [
        AssertionError("ours"),
        RuntimeError("what nobody knows"),
        KeyError("k"),
        ShapeError("ours"),
        TritonError("at 3:4: a kernel of ours is no Triton"),
    ],
    ids=repr,
)
def test_other_errors_stay_as_they_are(error):
    with pytest.raises(type(error)) as caught, triton_problems.told("one_kernel"):
        raise error
    assert caught.value is error


@pytest.mark.compile
def test_errors_of_a_kernel_name_the_node(monkeypatch):
    """Those of kernels that are compiled ahead, too."""
    target, driver = stand_in_target(80)
    monkeypatch.setattr(driver, "get_current_device", raising(RuntimeError("0 active drivers")))
    monkeypatch.setattr("graphcnn.compiler.resolve", lambda *_: target)
    x = gx.relu(gx.input("x", (2, 8)), name="first")
    with pytest.raises(DeviceUnavailable, match="the one driver"):
        gx.compile(gx.graph("g", gx.softmax(x, name="second")))
    with pytest.raises(DeviceUnavailable, match="node 'first', kernel 'pointwise_kernel'"):
        gx.compile(gx.graph("g", x))


@pytest.fixture
def empty_cache(gpu, tmp_path, monkeypatch):
    """A folder with nothing in it as Triton's cache."""
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path / "cache"))
    return gpu


def two_calls():
    return [(one_kernel, (torch.zeros(1, dtype=t),), {}) for t in (torch.float32, torch.float16)]


@pytest.mark.compile
def test_a_full_disk_is_told_and_leaves_nothing(empty_cache, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr(FileCacheManager, "put", raising(OSError(28, "No space left on device")))
        triton_api.compile_ahead(two_calls(), empty_cache)
        with pytest.raises(FileProblem, match="No space left on device") as caught:
            prepared(empty_cache)
    assert "TRITON_CACHE_DIR" in caught.value.remedy
    triton_api.compile_ahead(two_calls(), empty_cache)
    prepared(empty_cache)((1,), 0)


@pytest.mark.compile
def test_an_assembler_that_is_killed_is_told_and_leaves_nothing(empty_cache, tmp_path, monkeypatch):
    real = triton.knobs.nvidia.ptxas.path
    killed = tmp_path / "ptxas"
    killed.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {real} --version\nkill -9 $$\n')
    killed.chmod(0o755)
    with monkeypatch.context() as here:
        here.setenv("TRITON_PTXAS_PATH", str(killed))
        triton_api.compile_ahead(two_calls(), empty_cache)
        with pytest.raises(KernelFailed, match="a kernel does not load"):
            prepared(empty_cache)
    triton_api.compile_ahead(two_calls(), empty_cache)
    prepared(empty_cache)((1,), 0)
