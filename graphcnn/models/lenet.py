"""LeNet-5 for 28x28 digits, with ReLU and max pooling, and trained weights.

Source: Y. LeCun et al., Gradient-based learning applied to document recognition, 1998: 6 and 16
filters of 5x5, layers of 120, 84 and 10. The input is padded from 28x28 to the paper's 32x32.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphcnn.arguments import count
from graphcnn.frontend import functional as gx
from graphcnn.frontend import graph, input, param
from graphcnn.frontend.spatial import conv2d, max_pool2d
from graphcnn.ir.graph import Graph

_DATA = files("graphcnn.models") / "data"
# weights.shape of each layer; biases have one element per filter or feature.
_LAYERS = {
    "conv1": (6, 1, 5, 5),
    "conv2": (16, 6, 5, 5),
    "fc3": (120, 400),
    "fc4": (84, 120),
    "fc5": (10, 84),
}


def lenet(batch: int = 1, dtype: str = "float32") -> Graph:
    """The trained network: image[batch, 1, 28, 28] in [0, 1] to the probabilities of ten digits."""
    weight = {name: param(f"{name}.weight", shape, dtype) for name, shape in _LAYERS.items()}
    bias = {name: param(f"{name}.bias", shape[:1], dtype) for name, shape in _LAYERS.items()}
    h = input("image", (count(batch, "batch", 1), 1, 28, 28), dtype)
    h = conv2d(h, weight["conv1"], bias["conv1"], padding=2, name="conv1")
    h = max_pool2d(gx.relu(h, name="relu1"), 2, name="pool1")
    h = conv2d(h, weight["conv2"], bias["conv2"], name="conv2")
    h = max_pool2d(gx.relu(h, name="relu2"), 2, name="pool2")
    h = gx.flatten(h, name="flatten")
    h = gx.relu(gx.linear(h, weight["fc3"], bias["fc3"], name="fc3"), name="relu3")
    h = gx.relu(gx.linear(h, weight["fc4"], bias["fc4"], name="fc4"), name="relu4")
    h = gx.linear(h, weight["fc5"], bias["fc5"], name="fc5")
    network = graph("lenet", gx.softmax(h, name="softmax"))
    trained = _trained()
    return network.replace(
        params=tuple(replace(p, data=p.type.dtype.round(trained[p.name])) for p in network.params)
    )


def mnist_sample() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Digits that the weights were not trained on: images [1000, 1, 28, 28] in [0, 1], labels."""
    with (_DATA / "mnist_1000.npz").open("rb") as file, np.load(file) as npz:
        images = npz["images"][:, None].astype(np.float32) / np.float32(255)
        return images, npz["labels"].astype(np.int64)


@cache
def _trained() -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load

    weights: dict[str, NDArray[Any]] = load((_DATA / "lenet.safetensors").read_bytes())
    return weights
