"""Built-in networks on the CPU: fused against unfused, with torch beside them.

    python -m bench.networks [--networks N ...] [--batch N] [--dtype D] [--seconds N] [--json FILE]

For each network: kernels and bytes of both, and times by turns, behind the check of every output.
Exits with status 1 when a model is wrong, or when a network is slower fused than unfused: when
three quarters of the rounds say so.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import graphcnn as gx
from graphcnn.report.comparison import Comparison
from graphcnn.report.tables import binary_size

# Smaller than published where a call would take seconds.
NETWORKS: dict[str, dict[str, Any]] = {
    "lenet": {},
    "alexnet_2012": {},
    "alexnet": {},
    "vgg16": {},
    "vgg16_bn": {},
    "resnet18": {},
    "resnet50": {},
    "squeezenet1_1": {},
    "densenet121": {},
    "mobilenet_v2": {},
    "unet": {"size": 252},
    "unet_bn": {"size": 128},
    "unet_bilinear": {"size": 128},
    "deep_autoencoder": {},
    "conv_autoencoder": {},
    "vae": {"mode": "seeded"},
    "vae_conv": {"mode": "seeded"},
    "vanilla_vae": {"mode": "seeded"},
    "tcn": {},
    "wavenet": {},
}
HEAD = ("network", "kernels", "moved", "fused", "to unfused", "to torch")
LINE = "{:<17} {:<12} {:<22} {:<26} {:<22} {:<22}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batch", type=int, default=1, help="images per call")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument(
        "--seconds", type=float, default=10, help="time to spend on samples of each"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="where to write the figures")
    options = parser.parse_args()
    report, slower = [], []
    print(LINE.format(*HEAD))
    for name in options.networks:
        graph = gx.models.build(name, options.batch, options.dtype, **NETWORKS[name])
        models = {
            "torch": gx.compile(graph, device="cpu", target="library"),
            "unfused": gx.compile(graph, device="cpu", fuse=False),
            "fused": gx.compile(graph, device="cpu"),
        }
        result = gx.compare(models, seconds=options.seconds)
        print(line(result), flush=True)
        report.append(result.to_json())
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n")
        ratio = result.rows[-1].to_unfused
        if not result.ok or ratio is None or ratio.low > 1:
            slower.append(name)
    print(f"wrong, or slower fused: {', '.join(slower)}" if slower else "every fusion pays")
    return int(bool(slower))


def line(result: Comparison) -> str:
    """A network's row of the printed table."""
    _, unfused, fused = result.rows
    kernels = f"{unfused.kernels} -> {fused.kernels}"
    moved = f"{binary_size(unfused.moved_bytes)} -> {binary_size(fused.moved_bytes)}"
    figures = (fused.timing, fused.to_unfused, fused.to_baseline)
    return LINE.format(result.model, kernels, moved, *(str(f or "-") for f in figures))


if __name__ == "__main__":
    sys.exit(main())
