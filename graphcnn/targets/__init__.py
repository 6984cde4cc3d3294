"""The targets a graph can be compiled for, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphcnn.errors import UnknownTarget, shown
from graphcnn.plan import Target

if TYPE_CHECKING:
    import torch

NAMES = ("triton", "library", "numpy")


def resolve(name: str, device: str | torch.device = "auto") -> Target:
    """The target `name` on `device`, as `resolve_device` takes it.

    Raises:
        UnknownTarget: for a name that is not in `NAMES`.
        DeviceUnavailable: for a device that is not on this machine.
    """
    from graphcnn.targets.device import resolve_device

    if not isinstance(name, str):
        name = shown(name)
    if name == "triton":
        from graphcnn.targets.triton import TritonTarget

        return TritonTarget(resolve_device(device))
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
