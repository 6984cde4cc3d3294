"""The main job: a trained network on real input, explained, verified and compared; then VGG-16."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np

from graphcnn import models
from graphcnn.compiler import compile
from graphcnn.files import write
from graphcnn.ir import Graph
from graphcnn.report import Comparison, compare, explain, verify
from graphcnn.runtime.compiled import CompiledModel

# Batches of this size fill two cores and leave the last of 1,000 digits in a full batch.
DIGITS_PER_CALL = 100


def demo(json_path: str | None = None) -> int:
    """Run the main job and print its tables.

    Args:
        json_path: Where to write every result as JSON as well.

    Returns:
        0, or 1 when a verification failed.
    """
    lenet = compile(models.lenet(batch=DIGITS_PER_CALL))
    if lenet.target.on.memory.type == "cpu":
        print("no CUDA device: the kernels run natively on the CPU, and no GPU figure is shown\n")
    results: dict[str, Any] = {"digits": _classify(lenet)}
    print(explanation := explain(lenet))
    print(lenet_check := verify(lenet))
    print(lenet_times := _compared(models.lenet(batch=DIGITS_PER_CALL)))
    vgg16 = models.vgg16()
    print(vgg16_check := verify(compile(vgg16)))
    print(vgg16_times := _compared(vgg16))
    results |= {
        "explain": explanation.to_json(),
        "verify": [lenet_check.to_json(), vgg16_check.to_json()],
        "compare": [lenet_times.to_json(), vgg16_times.to_json()],
    }
    if json_path is not None:
        write(json_path, json.dumps(results, indent=2, allow_nan=False).encode())
    return 0 if lenet_check.ok and vgg16_check.ok else 1


def _classify(model: CompiledModel) -> dict[str, float]:
    """Print and return how many of the shipped digits the model gets right, and how fast."""
    images, labels = models.mnist_sample()
    batches = np.split(images, len(images) // DIGITS_PER_CALL)
    model(image=batches[0])  # the first call starts the threads
    start = time.perf_counter()
    guessed = np.concatenate([model(image=batch).argmax(1) for batch in batches])
    seconds = time.perf_counter() - start
    accuracy = float((guessed == labels).mean())
    rate = len(images) / seconds
    print(
        f"LeNet on {len(images):,} MNIST digits that it was not trained on: "
        f"{100 * accuracy:.1f} % right, {rate:,.0f} images/s\n"
    )
    return {"images": len(images), "accuracy": accuracy, "images_per_second": rate}


def _compared(graph: Graph) -> Comparison:
    return compare(
        {
            "torch": compile(graph, target="library"),
            "unfused": compile(graph, fuse=False),
            "fused": compile(graph),
        }
    )
