"""The networks of torchvision by name, with random weights that let numbers through."""

from __future__ import annotations

import difflib
import importlib
import warnings
from typing import Any

import torch

from graphcnn.errors import DTypeMismatch, UnknownModel
from graphcnn.ir.graph import Graph
from graphcnn.ir.types import DType
from graphcnn.torch_import.door import from_torch

# Operators of a library that only torch of the same build can load, and no network calls.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# As long as it lives, the schemas are known.
_declared: list[Any] = []


def graph(name: str, batch: int, dtype: str, seed: int) -> Graph:
    """A network of torchvision as a graph, on 224x224 images (299x299 for inception_v3).

    Raises:
        UnknownModel: as `network`.
        UnknownDType, DTypeMismatch: for a dtype that graphcnn lacks, or of whole numbers.
        The errors of `from_torch`.
    """
    size = 299 if name == "inception_v3" else 224
    if not DType.of(dtype).is_float:
        raise DTypeMismatch(
            "torchvision's networks compute in floating point",
            where=f"torchvision:{name}",
            got=dtype,
            wanted="float32, float16 or bfloat16",
            remedy="give another dtype",
        )
    kind = getattr(torch, DType.of(dtype).long_name)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, 3, size, size, generator=generator)
    return from_torch(network(name, seed, size).to(kind), images.to(kind))


def network(name: str, seed: int = 0, size: int = 224) -> torch.nn.Module:
    """A network of torchvision in eval mode.

    Its weights are those of torchvision's initialisation, and the statistics of its batch norms
    those of a seeded batch: with the initial ones the signal of a deep network dies out.

    Args:
        name: One of torchvision's classification networks, such as "resnet50".
        seed: For the weights and the batch.
        size: Height and width of the batch's images.

    Raises:
        UnknownModel: for a name that torchvision does not know, and without torchvision.
    """
    models = _models()
    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, known)
        raise UnknownModel(
            f"torchvision has no network '{name}'",
            got=f"torchvision:{name}",
            wanted=", ".join(near or known),
            remedy="use one of torchvision's classification networks",
        )
    with torch.random.fork_rng(devices=()), warnings.catch_warnings(), torch.no_grad():
        # googlenet and inception_v3 announce a change of their initialisation.
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(seed)
        module: torch.nn.Module = models.get_model(name, weights=None).eval()
        norms = [
            m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
        ]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        if norms:
            module(torch.randn(4, 3, size, size))
    return module.eval()


def _models() -> Any:
    try:
        try:
            return importlib.import_module("torchvision").models
        except RuntimeError:
            # Its compiled operators are of another build of torch.
            library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
            for schema in _SCHEMAS:
                library.define(schema)
            _declared.append(library)
            return importlib.import_module("torchvision").models
    except ImportError as error:
        raise UnknownModel(
            "torchvision is not installed",
            got=str(error),
            wanted="torchvision, of the version that belongs to the torch here",
            remedy='pip install "graphcnn[torchvision]"',
        ) from error
