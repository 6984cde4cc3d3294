"""Thirteen networks of torchvision through `from_torch`, on the CPU, float32, one image of 224x224.

    python -m bench.torchvision_networks [--networks N ...] [--size N] [--json FILE]

For each: nodes, kernels of ours, calls of the library with their share of the multiply-accumulates
and of the bytes, how far the outputs are from torch's, and whether `verify` passes. Exits with
status 1 when a model is wrong, further from torch than 1e-4 of the range, or leaves 2 % of the
multiply-accumulates or of the bytes to the library.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import graphcnn as gx
from graphcnn.analysis import node_traffic
from graphcnn.ir import inline, node_cost
from graphcnn.plan import Call
from graphcnn.report.schedule import steps_of
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.torch_import.torchvision_networks import network

NETWORKS = (
    "alexnet",
    "vgg16_bn",
    "resnet18",
    "resnet50",
    "squeezenet1_1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "densenet121",
    "googlenet",
    "shufflenet_v2_x1_0",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
)
TOLERANCE = 1e-4
LARGEST_SHARE = 0.02
HEAD = ("network", "nodes", "kernels", "library calls", "MACs", "bytes", "error", "verify")
LINE = "{:<19} {:>5} {:>7}  {:<40} {:>6} {:>6}  {:>7}  {}"


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        network: Its name.
        size: Height and width of the image.
        nodes: Of the imported graph.
        kernels: Launches of our kernels in a call.
        library: What is called of the library, and how often.
        macs_share: The part of the multiply-accumulates that these calls do.
        bytes_share: Their part of the bytes: every operand, weights included, read once by each
            node that runs, and every result written once.
        error: Largest difference from torch's outputs, over the largest of these.
        varies: Whether another image has other outputs.
        verified: The verdict of `verify`.
        seconds: What import, compile and verify took together.
    """

    network: str
    size: int
    nodes: int
    kernels: int
    library: dict[str, int]
    macs_share: float
    bytes_share: float
    error: float
    varies: bool
    verified: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether all that is asked of it holds."""
        return (
            self.error <= TOLERANCE
            and self.varies
            and self.verified.startswith("PASS")
            and max(self.macs_share, self.bytes_share) < LARGEST_SHARE
        )

    def __str__(self) -> str:
        calls = ", ".join(f"{name} x{n}" for name, n in self.library.items()) or "-"
        shares = (f"{100 * self.macs_share:.2f} %", f"{100 * self.bytes_share:.2f} %")
        verdict = self.verified.partition(":")[0]
        return LINE.format(
            self.network, self.nodes, self.kernels, calls, *shares, f"{self.error:.1e}", verdict
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--size", type=int, default=224, help="height and width of the image")
    parser.add_argument("--json", metavar="FILE", type=Path, help="where to write the figures")
    options = parser.parse_args()
    print(LINE.format(*HEAD))
    rows = []
    for name in options.networks:
        rows.append(measured(name, options.size))
        print(rows[-1], flush=True)
        if options.json:
            options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    failed = [row.network for row in rows if not row.ok]
    print(f"failed: {', '.join(failed)}" if failed else "all networks are taken, and right")
    return int(bool(failed))


def measured(name: str, size: int) -> Row:
    """A network, imported, compiled, compared with torch and verified."""
    module = network(name, size=size)
    generator = torch.Generator().manual_seed(1)
    image, other = torch.randn(2, 1, 3, size, size, generator=generator)
    start = time.perf_counter()
    graph = gx.from_torch(module, image)
    model = gx.compile(graph, device="cpu")
    (entry,) = graph.inputs
    with torch.no_grad():
        wanted = module(image).double()
    got, apart = (torch.as_tensor(model(**{entry.name: x})).double() for x in (image, other))
    verdict = gx.verify(model, **{entry.name: image.numpy()}).verdict
    seconds = time.perf_counter() - start
    scale = wanted.abs().max()
    kernels, library, macs, moved = work(model)
    return Row(
        name,
        size,
        len(graph.nodes),
        kernels,
        library,
        macs,
        moved,
        float((got - wanted).abs().max() / scale),
        bool((got - apart).abs().max() > 0.01 * scale),
        verdict,
        round(seconds, 1),
    )


def work(model: CompiledModel) -> tuple[int, dict[str, int], float, float]:
    """Launches of kernels; calls of the library, and their parts of the MACs and of the bytes."""
    graph, flat = model.graph, inline(model.graph)
    kernels = 0
    library: dict[str, int] = {}
    macs = {True: 0, False: 0}
    moved = {True: 0, False: 0}
    for name, steps in steps_of(model.plan).items():
        node = graph.producer(name)
        calls = [step for step in steps if isinstance(step.work, Call)]
        kernels += len(steps) - len(calls)
        for step in calls:
            library[step.label] = library.get(step.label, 0) + 1
        weights = sum(
            graph.type_of(n).nbytes for n in dict.fromkeys(node.inputs) if graph.is_param(n)
        )
        moved[bool(calls)] += node_traffic(node, graph) * node.type.dtype.itemsize + weights
        macs[bool(calls)] += sum(node_cost(member, flat).macs for member in node.members)
    return (
        kernels,
        library,
        macs[True] / max(1, sum(macs.values())),
        moved[True] / max(1, sum(moved.values())),
    )


if __name__ == "__main__":
    sys.exit(main())
