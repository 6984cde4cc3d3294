"""Canonical networks as graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphcnn.errors import UnknownModel
from graphcnn.ir.graph import Graph
from graphcnn.models.lenet import lenet, mnist_sample
from graphcnn.models.vgg import vgg11, vgg13, vgg16, vgg19

MODELS: dict[str, Callable[..., Graph]] = {
    "lenet": lenet,
    "vgg11": vgg11,
    "vgg13": vgg13,
    "vgg16": vgg16,
    "vgg19": vgg19,
}

__all__ = ["MODELS", "build", "lenet", "mnist_sample", "vgg11", "vgg13", "vgg16", "vgg19"]


def build(name: str, batch: int = 1, dtype: str = "float32", **options: Any) -> Graph:
    """A built-in network by name.

    Args:
        name: A key of `MODELS`.
        batch: Images per call.
        dtype: Element type of the image and the weights.
        options: What the builder of that network takes besides.

    Raises:
        UnknownModel: for another name.
    """
    if name not in MODELS:
        raise UnknownModel(
            f"there is no built-in network '{name}'",
            got=name,
            wanted=", ".join(MODELS),
            remedy="use one of these names, or the path of a text graph",
        )
    return MODELS[name](batch, dtype, **options)
