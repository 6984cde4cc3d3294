"""Thirteen networks of torchvision through `torch.compile(backend="graphcnn")`, on the CPU.

    python -m bench.torch_compile [NETWORK ...]

For each: regions that run as plans, their kernels, calls of operators that stay with torch, how far
the outputs are from torch's, for batches of 2 and 1, and the seconds of the first call. Exits with
status 1 when one is further from torch than 1e-4 of the range.
"""

import sys
import time

import torch

import graphcnn as gx
from bench.torchvision_networks import NETWORKS, TOLERANCE
from graphcnn.torch_import.torchvision_networks import network

HEAD = ("network", "regions", "kernels", "torch's", "error", "seconds")
LINE = "{:<19} {:>7} {:>7} {:>7} {:>8} {:>7}"


def main(names: list[str]) -> int:
    print(LINE.format(*HEAD))
    errors = [measured(name) for name in names or NETWORKS]
    return int(max(errors) > TOLERANCE)


def measured(name: str) -> float:
    """Print a network's line; returns its error over the range."""
    module = network(name)
    images = torch.randn(2, 3, 224, 224)
    compiled = torch.compile(module, backend="graphcnn")
    start = time.perf_counter()
    with torch.no_grad():
        found = compiled(images)
        seconds = time.perf_counter() - start
        pairs = [(found, module(images)), (compiled(images[1:]), module(images[1:]))]
    error = max(float((ours - wanted).abs().max() / wanted.abs().max()) for ours, wanted in pairs)
    pieces = gx.explain(compiled).graphs[0].pieces
    ours = [piece for piece in pieces if piece.runs == "graphcnn"]
    left = sum(piece.calls for piece in pieces if piece.runs == "torch")
    kernels = sum(piece.kernels for piece in ours)
    cells = (name, len(ours), kernels, left, f"{error:.1e}", f"{seconds:.1f}")
    print(LINE.format(*cells), flush=True)
    torch._dynamo.reset()
    return error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
