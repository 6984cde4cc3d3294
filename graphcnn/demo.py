"""The main job: a trained network on real input, explained, verified and compared; then VGG-16."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from graphcnn import models
from graphcnn.compiler import compile
from graphcnn.files import write
from graphcnn.ir import Graph
from graphcnn.report import Comparison, compare, explain, verify
from graphcnn.report.tables import Table, text

# Batches of this size fill two cores and leave the last of 1,000 digits in a full batch.
DIGITS_PER_CALL = 100


def demo(json_path: str | None = None) -> int:
    """Run the main job and print its tables.

    Args:
        json_path: Where to write every result as JSON as well.

    Returns:
        0, or 1 when a model is wrong.
    """
    images, labels = models.mnist_sample()
    batches = np.split(images, len(images) // DIGITS_PER_CALL)
    digits = {"image": batches[0]}
    source = models.lenet(batch=DIGITS_PER_CALL)
    lenet = compile(source)
    if lenet.target.on.memory.type == "cpu":
        print("no CUDA device: the kernels run natively on the CPU, and no GPU figure is shown\n")
    print(lenet_check := verify(lenet, **digits))
    guessed = np.concatenate([lenet(image=batch).argmax(1) for batch in batches])
    accuracy = float((guessed == labels).mean())
    print(
        f"\nLeNet on {len(images):,} MNIST digits that it was not trained on: "
        f"{100 * accuracy:.1f} % right\n"
    )
    print(explanation := explain(lenet), end="\n\n")
    print(lenet_times := _compared(source, **digits), end="\n\n")
    print(text(_images_per_second(lenet_times)), end="\n\n")
    vgg16 = models.vgg16()
    print(vgg16_check := verify(compile(vgg16)), end="\n\n")
    print(vgg16_times := _compared(vgg16))
    results = {
        "digits": {"images": len(images), "accuracy": accuracy},
        "explain": explanation.to_json(),
        "verify": [lenet_check.to_json(), vgg16_check.to_json()],
        "compare": [lenet_times.to_json(), vgg16_times.to_json()],
    }
    if json_path is not None:
        write(json_path, json.dumps(results, indent=2, allow_nan=False).encode())
    return 0 if all(r.ok for r in (lenet_check, lenet_times, vgg16_check, vgg16_times)) else 1


def _compared(graph: Graph, **inputs: Any) -> Comparison:
    return compare(
        {
            "torch": compile(graph, target="library"),
            "unfused": compile(graph, fuse=False),
            "fused": compile(graph),
        },
        **inputs,
    )


def _images_per_second(times: Comparison) -> Table:
    """What the calls of a comparison are as a rate; a wrong model has none."""
    rows = tuple(
        (
            row.name,
            f"{DIGITS_PER_CALL / row.timing.median:,.0f}",
            f"{DIGITS_PER_CALL / row.timing.high:,.0f} .. {DIGITS_PER_CALL / row.timing.low:,.0f}",
        )
        for row in times.rows
        if row.timing is not None
    )
    return Table("images per second", ("model", "median", "quartiles"), rows)
