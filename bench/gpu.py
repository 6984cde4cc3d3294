"""Networks on a CUDA device: torch, unfused and fused side by side, as CUDA graphs and as calls.

    python -m bench.gpu [--networks N ...] [--dtypes D ...] [--batches B ...] [--rounds R]
                        [--compile] [--json FILE]

"torch" is torch's eager operators on channels-last tensors, with cuDNN's own choice of algorithms;
float32 stands there twice, with tf32 off ("torch") and on ("torch tf32"). Every output is compared
with torch's first, and what is wrong is not timed. "replay" is the time of a CUDA graph of all
steps, which leaves out what the host needs for a launch; "call" has that in it. Runs take turns,
from an idle device with a flushed L2 cache; times are medians over the rounds.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

import graphcnn as gx
from graphcnn.doctor import driver_version
from graphcnn.ir import Graph, batch_of, inline, rebatch
from graphcnn.plan import Call, Device
from graphcnn.report.environment import Environment
from graphcnn.runtime.boundary import example_inputs, torch_dtype
from graphcnn.runtime.timing import Ratio, Timing, interleave, timed
from graphcnn.targets import resolve

NETWORKS = {
    "vgg16": gx.models.vgg16,
    "resnet18": gx.models.resnet18,
    "resnet50": gx.models.resnet50,
    "mobilenet_v2": gx.models.mobilenet_v2,
}
# Difference to torch's output that passes, over its range, or twice that of torch itself once its
# batch norms are folded, where that is more.
TOLERANCE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
# Larger than the L2 cache of any device.
FLUSHED_BYTES = 256 << 20

Run = Callable[[], Any]


class Eager:
    """A graph through torch's operators, on channels-last tensors where they have four dimensions.

    Args:
        graph: What to run.
        image: Its input.
    """

    def __init__(self, graph: Graph, image: torch.Tensor) -> None:
        device = image.device
        steps = resolve("library", device).lower(graph).steps
        self._steps = [
            (s.work.function, s.reads, s.node) for s in steps if isinstance(s.work, Call)
        ]
        self._input, self._output = graph.inputs[0].name, graph.outputs[0]
        dtype = torch_dtype(graph.inputs[0].type.dtype)
        params = {p.name: torch.from_numpy(p.values).to(device, dtype) for p in graph.params}
        self._given = {name: last(value) for name, value in (params | {self._input: image}).items()}
        self._final = [
            {name for name in reads if name not in self._given}
            - {name for _, later, _ in self._steps[at + 1 :] for name in later}
            for at, (_, reads, _) in enumerate(self._steps)
        ]

    def __call__(self) -> torch.Tensor:
        """The output, of its own memory."""
        values = dict(self._given)
        for (function, reads, node), final in zip(self._steps, self._final, strict=True):
            values[node] = function(*(values[name] for name in reads))
            for name in final - {self._output}:
                del values[name]
        return values[self._output]


def last(tensor: torch.Tensor) -> torch.Tensor:
    """Channels last where there are two spatial dimensions."""
    if tensor.dim() != 4:
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)


def under(tf32: bool, run: Run) -> Run:
    """A run for which torch may multiply float32 in tf32, or not."""

    def call() -> Any:
        before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            return run()
        finally:
            torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before

    return call


def captured(run: Run) -> Run:
    """What replays a CUDA graph of a run."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's stub
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest difference over the range; not a number wins."""
    wanted, got = wanted.double(), got.double()
    return float((got - wanted).abs().max() / (wanted.max() - wanted.min()))


def measured(
    models: dict[str, Any], graph: Graph, dtype: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """The rows of one network, dtype and batch."""
    device: Device = models["fused"].target.on
    image = torch.from_numpy(example_inputs(graph)[graph.inputs[0].name])
    image = last(image.to(device.memory, torch_dtype(graph.inputs[0].type.dtype)))
    eager = Eager(graph, image)
    calls: dict[str, Run] = {"torch": under(False, eager)}
    # Beside it what a careful user of torch would run: batch norms folded into the weights.
    folded = inline(rebatch(models["unfused"].graph, batch_of(graph)))
    if len(folded.nodes) < len(graph.nodes):
        calls["torch folded"] = under(False, Eager(folded, image))
    if dtype == "float32":
        calls["torch tf32"] = under(True, eager)
    if options.compile:
        calls["torch.compile"] = under(False, torch.compile(Eager(folded, image)))
    rows = []
    with torch.inference_mode():
        wanted = calls["torch"]()
        for name, call in calls.items():
            rows.append({"model": name, "error": error(call(), wanted)})
        # A deep network in half precision differs from itself once its weights are folded.
        own = next((row["error"] for row in rows if row["model"] == "torch folded"), 0.0)
        tolerated = max(TOLERANCE[dtype], 2 * own)
        for name, model in models.items():
            with model.loaded({graph.inputs[0].name: image}, poison=True) as executor:
                executor.run()
                wrong = error(executor.value(executor.graph.outputs[0]), wanted)
                steps = len(executor.plan.steps)
            rows.append({"model": name, "steps": steps, "error": wrong})
            if wrong <= tolerated:  # what is no number is not
                calls[name] = executor.run
            else:
                print(f"WRONG: {graph.name} {dtype} {batch_of(graph)} {name}: {wrong:.1e}")
        replays = {name: captured(call) for name, call in calls.items()}
        flushed = torch.empty(FLUSHED_BYTES, dtype=torch.int8, device=device.memory)

        def take(run: Run) -> float:
            flushed.zero_()
            return timed(run, device)

        replayed, called = (
            interleave(
                {name: partial(take, run) for name, run in runs.items()}, least=options.rounds
            )
            for runs in (replays, calls)
        )
    for row in rows:
        if row["model"] in calls:
            own = replayed[row["model"]]
            row["replay"], row["call"] = Timing.of(own), Timing.of(called[row["model"]])
            row["to_torch"] = Ratio.between(own, replayed["torch"])
            if "unfused" in replayed:
                row["to_unfused"] = Ratio.between(own, replayed["unfused"])
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["vgg16", "resnet50"])
    parser.add_argument("--dtypes", nargs="+", choices=TOLERANCE, default=["float16", "float32"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=30, help="timed runs of each")
    parser.add_argument("--compile", action="store_true", help="time torch.compile as well")
    parser.add_argument("--only-compile", action="store_true", help="fill Triton's cache, and end")
    parser.add_argument("--json", metavar="FILE", type=Path, help="where to write the figures")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    report: dict[str, Any] = {"rows": []}
    for network, dtype in product(options.networks, options.dtypes):
        graph = NETWORKS[network](batch=1, dtype=dtype)
        models = {
            "unfused": gx.compile(graph, fuse=False, device="cuda", batches=options.batches),
            "fused": gx.compile(graph, device="cuda", batches=options.batches),
        }
        if options.only_compile:
            continue
        environment = str(Environment.of(models["fused"].target.on))
        report |= {"environment": environment, "driver": driver_version()}
        for batch in options.batches:
            where = {"network": network, "dtype": dtype, "batch": batch}
            for row in measured(models, rebatch(graph, batch), dtype, options):
                report["rows"].append(where | row)
                print(line(where | row), flush=True)
            if options.json:
                options.json.write_text(json.dumps(report, default=asdict, indent=1) + "\n")
    return 0


def line(row: dict[str, Any]) -> str:
    """A row of the printed table."""
    figures = (str(row.get(name, "-")) for name in ("replay", "to_torch", "to_unfused", "call"))
    head = f"{row['network']:<12} {row['dtype']:<8} {row['batch']:>3} {row['model']:<13}"
    return head + " {:<26} {:<22} {:<22} {:<26}".format(*figures) + f" {row['error']:.1e}"


if __name__ == "__main__":
    sys.exit(main())
