"""Why there is no CUDA device, and which GPUs are too old."""

from types import SimpleNamespace

import pytest
import torch

import graphcnn as gx
from graphcnn import nvidia
from graphcnn.errors import DeviceUnavailable, DriverTooOld, GpuUnsupported
from graphcnn.targets import availability, resolve
from graphcnn.targets.availability import available_memory
from graphcnn.targets.resolve_device import resolve_device


@pytest.fixture
def machine(monkeypatch):
    """A machine whose torch finds no device."""

    def make(built, served, found=0, visible=None):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.version, "cuda", built)
        monkeypatch.setattr(nvidia, "newest_cuda", lambda: served)
        monkeypatch.setattr(nvidia, "devices", lambda: found)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return make


@pytest.mark.parametrize(
    ("about", "got", "remedy"),
    [
        ((None, None), "is built without CUDA", "install a torch that is built for CUDA"),
        ((None, (12, 8), 2), "without CUDA, and the driver finds 2 GPUs", "built for CUDA"),
        (("12.8", None), "libcuda.so.1 is not found", "--gpus all"),
        (("12.8", (12, 4), 0, ""), "CUDA_VISIBLE_DEVICES='' leaves no device", "unset it"),
        (("12.8", (12, 4), 1), "the driver finds 1 GPU, and torch none", "nvidia-smi"),
    ],
)
def test_why_there_is_no_cuda(machine, about, got, remedy):
    machine(*about)
    with pytest.raises(DeviceUnavailable) as caught:
        gx.compile(gx.graph("g", gx.relu(gx.input("x", (2, 3)))), device="cuda")
    error = caught.value
    assert type(error) is DeviceUnavailable
    assert error.where == "the argument device"
    assert error.got.startswith("'cuda'; ")
    assert got in error.got
    assert remedy in error.remedy
    assert 'compile(..., device="cpu")' in error.remedy


def test_a_driver_that_is_older_than_torch(machine):
    machine("12.8", (11, 4), 1)
    with pytest.raises(DriverTooOld, match=r"for CUDA 12\.8, and the driver serves CUDA 11\.4"):
        resolve_device("cuda:0")
    assert resolve_device("auto").memory == torch.device("cpu")


@pytest.fixture
def gpu(monkeypatch):
    """A machine with one GPU, by its name and compute capability."""

    def make(name, capability):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda memory: name)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda memory: capability)
        told = SimpleNamespace(multi_processor_count=40)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda memory: told)

    return make


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_that_is_too_old(gpu, device):
    gpu("Tesla T4", (7, 5))
    with pytest.raises(GpuUnsupported) as caught:
        resolve("triton", device)
    error = caught.value
    assert error.got == "cuda:0 (Tesla T4), compute capability 7.5"
    assert "compute capability 8.0 or later" in error.wanted
    assert "bf16: bfloat16 products are new in 8.0" in error.wanted
    assert 'target="library"' in error.remedy
    assert 'device="cpu"' in error.remedy
    assert resolve("library", device).on.capability == 75
    gpu("A100", (8, 0))
    assert resolve("triton", device).on.capability == 80


def test_a_gpu_of_another_maker(gpu, monkeypatch):
    gpu("AMD Instinct MI300X", (9, 4))
    monkeypatch.setattr(torch.version, "hip", "6.4")
    with pytest.raises(GpuUnsupported, match=r"MI300X.*by ROCm"):
        resolve("triton", "cuda")


def test_the_memory_of_the_machine(monkeypatch, tmp_path):
    there = available_memory()
    assert there is None or 1 << 20 < there < 1 << 50
    file = tmp_path / "meminfo"
    monkeypatch.setattr(availability, "MEMORY", file)
    assert available_memory() is None
    file.write_text("MemTotal:  9 kB\nMemAvailable:   3 kB\n")
    assert available_memory() == resolve_device("cpu").free_bytes() == 3072


def test_the_memory_of_a_gpu(gpu, monkeypatch):
    """What torch keeps for later counts as free."""
    gpu("A100", (8, 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda memory: (1000, 80_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda memory: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda memory: 200)
    monkeypatch.setattr(nvidia, "driver_version", lambda: "580.1")
    device = resolve_device("cuda")
    assert device.free_bytes() == 1300
    assert device.identity == "A100, driver 580.1"
