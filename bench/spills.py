"""Registers of every launch of VGG-16 and ResNet-18, compiled for GPUs that are not here.

    python -m bench.spills [--architectures N ...] [--json FILE]

Both networks are fused, in float16 and float32, at batch 1, 8 and 32. Prints for each architecture
how many kernels there are and how many spill registers, the most bytes that one spills, the most
registers and shared memory that one takes, and how many want more of it than a block may have.
Exits with status 1 when a kernel spills or does not fit.
"""

import argparse
import json
import sys
from pathlib import Path

import triton

from graphcnn.models.vgg import vgg16
from tests.networks import resnet18
from tests.stand_in_gpu import SHARED_BYTES
from tests.targets.launches import Compiled, compiled_launches

BATCHES = (1, 8, 32)
NETWORKS = {
    "vgg16": lambda dtype: vgg16(1, dtype),
    "resnet18": lambda dtype: resnet18(224, 64, dtype),
}
COLUMNS = "{:<7} {:<8} {:<9} {:>8} {:>7} {:>6} {:>6} {:>9} {:>4} {:>7}"
HEAD = ("GPU", "network", "dtype", "launches", "kernels", "spill", "bytes", "registers", "KiB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--architectures", type=int, nargs="+", default=list(SHARED_BYTES), choices=SHARED_BYTES
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="where to write the figures")
    options = parser.parse_args()
    kept, rows = True, []
    print(COLUMNS.format(*HEAD, "too big"))
    for name, make in NETWORKS.items():
        for dtype in ("float16", "float32"):
            graph = make(dtype)
            for capability in options.architectures:
                found = list(compiled_launches(graph, BATCHES, capability))
                rows += [figures(name, dtype, capability, launch) for launch in found]
                spill, big, line = summary(found, capability)
                print(COLUMNS.format(f"sm_{capability}", name, dtype, *line), flush=True)
                kept &= not spill and not big
    if options.json:
        report = {"triton": triton.__version__, "batches": BATCHES, "launches": rows}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if kept else 1


def summary(found: list[Compiled], capability: int) -> tuple[int, int, tuple[int, ...]]:
    """How many kernels spill and how many do not fit, and the figures of a line."""
    kernels = {launch.binary for launch in found}
    spill = sum(kernel.spills > 0 for kernel in kernels)
    big = sum(kernel.shared_bytes > SHARED_BYTES[capability] for kernel in kernels)
    line = (
        len(found),
        len(kernels),
        spill,
        max(kernel.spills for kernel in kernels),
        max(kernel.registers for kernel in kernels),
        max(kernel.shared_bytes for kernel in kernels) >> 10,
        big,
    )
    return spill, big, line


def figures(name: str, dtype: str, capability: int, launch: Compiled) -> dict[str, object]:
    """A launch as a row of the report."""
    return {
        "capability": capability,
        "network": name,
        "dtype": dtype,
        "batch": launch.batch,
        "node": launch.node,
        "kernel": launch.kernel,
        "registers": launch.binary.registers,
        "spills": launch.binary.spills,
        "shared_bytes": launch.binary.shared_bytes,
    }


if __name__ == "__main__":
    sys.exit(main())
