"""What a call costs the host on CUDA: Triton's own launcher, over a stub of NVIDIA's library.

    python -m bench.host_time [--network NAME] [--dtype D] [--seconds S] [--json FILE]

Needs no GPU: the driver's functions return at once, so what is left is Python's time and that of
Triton's launcher in C. "a step" is the time of a row of launches over their number; "a call" is a
whole call on a tensor of the device, copies in and out queued included. Times are medians, with
their quartiles, of rounds by turns.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
import triton

import graphcnn as gx
from graphcnn.compiler import optimize
from graphcnn.ir import CompileLog
from graphcnn.models import MODELS
from graphcnn.passes import journal
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.runtime.timing import Timing, interleave
from tests.stub_cuda import stub_target

# Small images: a copy of the CPU's is to cost no more than to queue one.
SIZE = 32
REPEATS = 20


def seconds_of(run):
    """Seconds of one of several runs in a row."""
    begin = time.perf_counter()
    for _ in range(REPEATS):
        run()
    return (time.perf_counter() - begin) / REPEATS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", choices=MODELS, default="resnet50")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to measure")
    parser.add_argument("--json", metavar="FILE", type=Path, help="where to write the figures")
    options = parser.parse_args()
    graph = gx.models.build(options.network, 1, options.dtype, size=SIZE)
    models = {}
    for name, cuda_graph in (("graph", True), ("launches", False)):
        target, _ = stub_target(cuda_graph)
        models[name] = CompiledModel(
            graph, optimize(graph, target, journal()), target, CompileLog()
        )
        models[name].prepare()
    inputs = {name: torch.from_numpy(array) for name, array in example_inputs(graph).items()}
    steps = len(models["graph"].plan.steps)

    def row(model):
        with model.turn() as executor:
            return seconds_of(executor.run)

    takes = {
        "a call, as a graph": lambda: seconds_of(lambda: models["graph"](**inputs)),
        "a call, launched": lambda: seconds_of(lambda: models["launches"](**inputs)),
        "a row, as a graph": lambda: row(models["graph"]),
        "a row, launched": lambda: row(models["launches"]),
    }
    samples = interleave(takes, seconds=options.seconds)
    samples["a step, launched"] = [taken / steps for taken in samples["a row, launched"]]
    print(f"{options.network} {options.dtype}, {steps} steps, triton {triton.__version__}")
    for name, taken in samples.items():
        print(f"{name:<20} {Timing.of(taken)}")
    if options.json:
        figures = {name: asdict(Timing.of(taken)) for name, taken in samples.items()}
        report = {"triton": triton.__version__, "network": options.network, "steps": steps}
        options.json.write_text(json.dumps(report | figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
