"""What the tests of trained networks share: packages without their `__init__`, and the checks."""

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock, patch

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

import graphcnn as gx
from graphcnn.plan import Call

TOLERANCE = 1e-4


def folder(package, distribution):
    """Where a package lies; the test is skipped without it."""
    spec = find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not here: pip install --no-deps {distribution}")
    return Path(spec.submodule_search_locations[0])


def picture(name):
    """A picture of scikit-image's, [1, 3, H, W] in [0, 1]."""
    image = pytest.importorskip("PIL.Image", reason="pip install pillow")
    at = folder("skimage", "scikit-image") / f"data/{name}.png"
    colours = np.asarray(image.open(at).convert("RGB"), np.float32)
    return torch.from_numpy(colours / 255).permute(2, 0, 1)[None]


def onnx_weights(path):
    """The weights in an ONNX file, by name: of packages that come with no others."""
    onnx = pytest.importorskip("onnx", reason="pip install onnx")
    tensors = onnx.load(path).graph.initializer
    return {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in tensors}


def definition(at, module, absent=(), **constants):
    """A module of a package whose `__init__` is not run, which imports what other parts need.

    Args:
        at: The package's folder.
        module: Its dotted name inside of the package.
        absent: Modules of the package that stand-ins replace.
        constants: What the module reads from its package.
    """
    package = ModuleType(at.name)
    package.__path__ = [str(at)]
    vars(package).update(constants)
    stubs = {f"{at.name}.{name}": MagicMock() for name in absent}
    with patch.dict(sys.modules, {at.name: package, **stubs}):
        return importlib.import_module(f"{at.name}.{module}")


def imported(module, *example, other):
    """A trained module through `from_torch`, compiled for the CPU, and checked.

    Its outputs are torch's, `verify` passes, and other inputs have other outputs. Prints a row of
    the table in docs/trained_networks.md: nodes, kernels, calls of the library, error.

    Args:
        module: In eval mode.
        example: What it is called with.
        other: Inputs that it ought to tell from the example's.

    Returns:
        A function of tensors: the compiled model's outputs, in the module's order.
    """
    graph = gx.from_torch(module, *example)
    model = gx.compile(graph, device="cpu")
    names = [value.name for value in graph.inputs]

    def run(*tensors):
        return tree_leaves(model(**dict(zip(names, tensors, strict=True))))

    with torch.no_grad():
        wanted = tree_leaves(module(*example))
    got = run(*example)
    errors = [float((g - w).abs().max() / w.abs().max()) for g, w in zip(got, wanted, strict=True)]
    assert max(errors) <= TOLERANCE
    assert all(
        (g - o).abs().max() > 100 * TOLERANCE * w.abs().max()
        for g, o, w in zip(got, run(*other), wanted, strict=True)
    )
    found = gx.verify(model, **{n: np.asarray(x) for n, x in zip(names, example, strict=True)})
    assert found.ok, found.verdict
    calls = sum(isinstance(step.work, Call) for step in model.plan.steps)
    kernels = len(model.plan.steps) - calls
    print(
        f"\n{type(module).__name__}: {len(graph.nodes)} | {kernels} | {calls} | {max(errors):.0e}"
    )
    return run
