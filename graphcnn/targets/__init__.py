"""The targets a graph can be compiled for, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphcnn.errors import UnknownTarget, shown
from graphcnn.plan import Target

if TYPE_CHECKING:
    import torch

    from graphcnn.kernels import Precision

NAMES = ("triton", "library", "numpy")


def resolve(
    name: str,
    device: str | torch.device = "auto",
    precision: Precision = "tf32x3",
    winograd: bool = True,
    cuda_graph: bool = True,
) -> Target:
    """The target `name` on `device`, as `resolve_device` takes it and `cuda_graph`.

    `precision` is how the kernels of the Triton target multiply float32, and
    `winograd` whether they may filter minimally; the library and NumPy do what they do.

    Raises:
        UnknownTarget: for a name that is not in `NAMES`.
        DeviceUnavailable: for a device that is not on this machine; DriverTooOld where its driver
            is at fault.
        GpuUnsupported: for a GPU for which no kernel is compiled.
    """
    from graphcnn.targets.resolve_device import resolve_device

    if not isinstance(name, str):
        name = shown(name)
    if name == "triton":
        from graphcnn.targets.capability import check_device
        from graphcnn.targets.policy import DIRECT, MODEL
        from graphcnn.targets.triton import TritonTarget

        on = resolve_device(device, cuda_graph, precision)
        check_device(on)
        return TritonTarget(on, MODEL if winograd else DIRECT)
    if name == "library":
        from graphcnn.targets.library import LibraryTarget

        return LibraryTarget(resolve_device(device))
    if name == "numpy":
        from graphcnn.targets.numpy_reference import NumpyTarget

        return NumpyTarget(resolve_device("cpu"))
    raise UnknownTarget(
        f"there is no target {shown(name)}",
        where="the argument target",
        got=shown(name),
        wanted=", ".join(NAMES),
        remedy="pass one of these names",
    )
