"""What the CUDA device makes of torch's answers, on a machine without one."""

from types import SimpleNamespace

import pytest
import torch

from graphcnn.kernels import cuda_traits
from graphcnn.targets.cuda import CudaDevice
from graphcnn.targets.cuda_memory import Places


@pytest.fixture
def device():
    cuda = SimpleNamespace(
        get_device_name=lambda memory: "a GPU",
        mem_get_info=lambda memory: (1000, 5000),
        memory_reserved=lambda memory: 700,
        memory_allocated=lambda memory: 300,
    )
    return CudaDevice(cuda_traits(80), torch.device("cuda", 1), None, cuda=cuda)


def test_what_torch_keeps_and_does_not_use_is_free(device):
    assert device.free_bytes() == 1000 + 700 - 300


def test_copies_convert(device):
    source, into = torch.arange(4.0), torch.full((4,), -1.0).half()
    device.copy(source, into)
    assert into.tolist() == [0, 1, 2, 3]


def test_what_masked_lanes_reach_has_to_be_mapped(device):
    """Memory of the host is none that the driver of a GPU has mapped for kernels."""
    home = torch.zeros(8)
    for reach, moves in ((0, True), (16, False)):
        address = device.address([], home, [home], reach)
        assert isinstance(address, Places)
        assert address.move(torch.ones(8)) is moves


def test_the_sanitizer_is_for_the_cpu(device, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    assert device.shadow(64, {}) is None


def test_its_name_has_that_of_the_product(device):
    assert device.name == "cuda:1 (a GPU)"
