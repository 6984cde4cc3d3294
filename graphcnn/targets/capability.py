"""Which dtypes the kernels compute in, and from which device on: one table, read by one check."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from graphcnn.errors import GpuUnsupported, UnsupportedOp
from graphcnn.ir import DType, Graph
from graphcnn.targets.device import Device


@dataclass(frozen=True, slots=True)
class Capability:
    """Where a dtype is computed.

    Attributes:
        cpu: Whether the CPU does.
        cuda: Least compute capability of a CUDA device, ten times: 80 is 8.0; None is no device.
        because: The reason, in words.
    """

    cpu: bool
    cuda: int | None
    because: str

    def least(self, device: Device) -> int | None:
        """What `Device.capability` has to be, 0 for the CPU; None where no device of the kind
        will do."""
        return self.cuda if device.capability is not None else 0 if self.cpu else None


_NO_KERNEL = "kernels compute in float32"
_INDICES = "calls of the library read and make indices"
# Of every operator: what an operator does not take, its own shape rule refuses beforehand.
CAPABILITIES: dict[DType, Capability] = {
    DType.F32: Capability(True, 80, "a product is three products of tf32, which is new in 8.0"),
    DType.F16: Capability(True, 80, "the kernels are compiled and checked for 8.0 and later"),
    DType.BF16: Capability(True, 80, "bfloat16 products are new in 8.0"),
    DType.F64: Capability(False, None, _NO_KERNEL),
    DType.I8: Capability(False, None, _INDICES),
    DType.I32: Capability(False, None, _INDICES),
    DType.I64: Capability(False, None, _INDICES),
}


def check_device(device: Device) -> None:
    """Check that kernels are compiled for a device at all.

    Raises:
        GpuUnsupported: for a GPU that is too old, or of another maker.
    """
    if device.capability is None:
        return
    least = min(row.cuda for row in CAPABILITIES.values() if row.cuda is not None)
    if torch.version.hip is None and device.capability >= least:
        return
    rows = [f"{dtype}: {row.because}" for dtype, row in CAPABILITIES.items() if row.cuda]
    raise GpuUnsupported(
        "no kernel is compiled for this GPU",
        where="the argument device",
        got=f"{device.name}, which torch runs by ROCm"
        if torch.version.hip
        else f"{device.name}, compute capability {device.capability / 10}",
        wanted=f"a GPU of NVIDIA's of compute capability {least / 10} or later: such as an A10, "
        f"A100, RTX 3060 and newer ones ({'; '.join(rows)})",
        remedy='gx.compile(..., target="library") computes on this one with torch\'s operators, '
        'gx.compile(..., device="cpu") with kernels on the CPU',
    )


def check_capability(graph: Graph, device: Device) -> None:
    """Check that a device computes every node in its dtype. Whole numbers are left to the library:
    no kernel reads or makes them.

    Raises:
        UnsupportedOp: naming the first node, and what would compute it.
    """
    for node in graph.nodes:
        for value in node.outputs:
            if not value.type.dtype.is_float:
                continue
            need = CAPABILITIES[value.type.dtype]
            least = need.least(device)
            if least is not None and (device.capability or 0) >= least:
                continue
            able = ", ".join(d for d, row in CAPABILITIES.items() if row.least(device) is not None)
            raise UnsupportedOp(
                f"no kernel for {device.name} computes in {value.type.dtype.long_name}",
                where=node.place,
                got=f"{value}: {need.because}",
                wanted=able if least is None else f"compute capability {least / 10} or later",
                remedy='build the graph with another dtype; gx.compile(..., target="library") '
                "computes in any",
            )
