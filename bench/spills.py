"""Registers of every launch of VGG-16 and ResNet-18, compiled for GPUs that are not here.

    python -m bench.spills [--architectures N ...] [--json FILE]

Both networks are fused, in float16 and float32, at batch 1, 8 and 32. Prints for each architecture
how many kernels there are and how many spill registers, the most bytes that one spills, how many
spill inside a loop, the most registers and shared memory that one takes, and how many want more of
it than a block may have. Exits with status 1 when a kernel spills inside a loop or does not fit.
"""

import argparse
import json
import sys
from pathlib import Path

import triton

from graphcnn.models.resnet import resnet18
from graphcnn.models.vgg import vgg16
from tests.stand_in_gpu import SHARED_BYTES
from tests.targets.launches import Compiled, compiled_launches

BATCHES = (1, 8, 32)
NETWORKS = {
    "vgg16": lambda dtype: vgg16(1, dtype),
    "resnet18": lambda dtype: resnet18(1, dtype),
}
HEAD = ("GPU", "network", "dtype", "launches", "kernels", "spill", "bytes", "loops", "regs", "KiB")
LINE = "{:<7} {:<8} {:<9} {:>8} {:>7} {:>5} {:>5} {:>5} {:>4} {:>4} {:>7}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--architectures", type=int, nargs="+", default=list(SHARED_BYTES), choices=SHARED_BYTES
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="where to write the figures")
    options = parser.parse_args()
    rows, spilling = [], []
    print(LINE.format(*HEAD, "too big"))
    for name, make in NETWORKS.items():
        for dtype in ("float16", "float32"):
            graph = make(dtype)
            for capability in options.architectures:
                where = {"capability": capability, "network": name, "dtype": dtype}
                found = list(compiled_launches(graph, BATCHES, capability))
                rows.append(where | summary(found, capability))
                spilling += [where | spill(launch) for launch in found if launch.binary.spills]
                print(LINE.format(f"sm_{capability}", *list(rows[-1].values())[1:]), flush=True)
    if options.json:
        report = {"triton": triton.__version__, "batches": BATCHES, "rows": rows}
        options.json.write_text(json.dumps(report | {"spilling": spilling}, indent=1) + "\n")
    return int(any(row["spill_in_loops"] or row["too_big"] for row in rows))


def summary(found: list[Compiled], capability: int) -> dict[str, int]:
    """The figures of a line; equal kernels count once."""
    kernels = {launch.binary for launch in found}
    spilling = [kernel for kernel in kernels if kernel.spills]
    return {
        "launches": len(found),
        "kernels": len(kernels),
        "spill": len(spilling),
        "most_bytes": max(kernel.spills for kernel in kernels),
        "spill_in_loops": sum(bool(kernel.spills_in_loops()) for kernel in spilling),
        "most_registers": max(kernel.registers for kernel in kernels),
        "most_shared_kib": max(kernel.shared_bytes for kernel in kernels) >> 10,
        "too_big": sum(kernel.shared_bytes > SHARED_BYTES[capability] for kernel in kernels),
    }


def spill(launch: Compiled) -> dict[str, object]:
    """A launch that spills, for the report."""
    binary = launch.binary
    figures = {"batch": launch.batch, "node": launch.node, "kernel": launch.kernel}
    return figures | {"bytes": binary.spills, "registers": binary.registers}


if __name__ == "__main__":
    sys.exit(main())
