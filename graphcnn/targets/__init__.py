"""The targets a graph can be compiled for, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphcnn.errors import InvalidAttribute, UnknownTarget, shown
from graphcnn.plan import Target

if TYPE_CHECKING:
    import torch

NAMES = ("triton", "library", "numpy")
# "auto": all that has a derived bound on its errors; "direct": sums of products as written.
PRECISIONS = ("auto", "direct")


def resolve(
    name: str,
    device: str | torch.device = "auto",
    precision: str = PRECISIONS[0],
    cuda_graph: bool = True,
) -> Target:
    """The target `name` on `device`, as `resolve_device` takes it and `cuda_graph`.

    `precision`, one of `PRECISIONS`, is what the kernels of the Triton target may do; the library
    and NumPy do what they do.

    Raises:
        UnknownTarget: for a name that is not in `NAMES`.
        InvalidAttribute: for a precision that is none.
        DeviceUnavailable: for a device that is not on this machine; DriverTooOld where its driver
            is at fault.
        GpuUnsupported: for a GPU for which no kernel is compiled.
    """
    from graphcnn.targets.resolve_device import resolve_device

    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise InvalidAttribute(
            "there is no such precision",
            where="the argument precision",
            got=shown(precision),
            wanted=" or ".join(f'"{word}"' for word in PRECISIONS),
            remedy="pass one of these words",
        )
    if not isinstance(name, str):
        name = shown(name)
    if name == "triton":
        from graphcnn.targets.capability import check_device
        from graphcnn.targets.policy import DIRECT, MODEL
        from graphcnn.targets.triton import TritonTarget

        on = resolve_device(device, cuda_graph)
        check_device(on)
        return TritonTarget(on, DIRECT if precision == "direct" else MODEL)
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
