"""How to name a device."""

from __future__ import annotations

import torch

from graphcnn import cpu
from graphcnn.costs.devices import gpu_like
from graphcnn.costs.traits import traits_of
from graphcnn.kernels import Precision, cpu_traits, in_precision
from graphcnn.targets.availability import unavailable
from graphcnn.targets.cuda import CudaDevice, capability_of
from graphcnn.targets.device import Device


def resolve_device(
    name: str | torch.device, cuda_graph: bool = True, precision: Precision = "tf32x3"
) -> Device:
    """The device meant by "auto", "cpu", "cuda", "cuda:1" or a torch.device.

    "auto" is CUDA where there is one; "cuda" is torch's current CUDA device.

    Args:
        name: What it is called.
        cuda_graph: Whether a CUDA device captures launches in a row in a CUDA graph.
        precision: How its kernels multiply float32.

    Raises:
        DeviceUnavailable: for CUDA on a machine without it, for an index that no device has, and
            for other names.
        DriverTooOld: for CUDA where torch needs a newer driver.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if isinstance(name, str) and name == "auto":
        name = "cuda" if count else "cpu"
    try:
        wanted = torch.device(name) if isinstance(name, str | torch.device) else None
    except RuntimeError:  # torch's, for a name that it does not know
        wanted = None
    if wanted is not None and wanted.type == "cpu" and not wanted.index:
        traits = in_precision(cpu_traits(cpu.has_bf16()), precision)
        return Device(traits, torch.device("cpu"), cpu.driver())
    if wanted is not None and wanted.type == "cuda" and count:
        index = torch.cuda.current_device() if wanted.index is None else wanted.index
        if index < count:
            memory = torch.device("cuda", index)
            sms = torch.cuda.get_device_properties(memory).multi_processor_count
            name, capability = torch.cuda.get_device_name(memory), capability_of(memory)
            gpu = gpu_like(name, capability, sms)
            return CudaDevice(in_precision(traits_of(gpu), precision), memory, None, cuda_graph)
    raise unavailable(name, count, cuda=wanted is not None and wanted.type == "cuda")
