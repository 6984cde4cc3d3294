"""Which dtypes the kernels compute in, and from which device on: one table, read by one check."""

from __future__ import annotations

from dataclasses import dataclass

from graphcnn.errors import UnsupportedOp
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
                remedy='build the graph with another dtype, or pass target="library"',
            )
