"""A compiler of convolutional networks: graphs fused into Triton kernels, and verified.

The public names are loaded when they are first used, so that `import graphcnn` is quick and loads
neither torch nor triton.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from graphcnn import errors, models
    from graphcnn.compiler import compile
    from graphcnn.files import load, save
    from graphcnn.frontend.collect import graph
    from graphcnn.frontend.expr import Tensor, add, input, mul, param
    from graphcnn.frontend.from_text import parse
    from graphcnn.frontend.functional import (
        batch_norm,
        concat,
        dropout,
        flatten,
        gelu,
        global_avg_pool2d,
        hardswish,
        leaky_relu,
        linear,
        log_softmax,
        relu,
        reshape,
        sigmoid,
        silu,
        softmax,
        tanh,
    )
    from graphcnn.frontend.spatial import (
        avg_pool1d,
        avg_pool2d,
        conv1d,
        conv2d,
        max_pool1d,
        max_pool2d,
        pad,
    )
    from graphcnn.ir.graph import Graph
    from graphcnn.report import compare, explain, profile, verify

_HOME = {
    "compile": "compiler",
    "Tensor": "frontend.expr",
    "graph": "frontend.collect",
    "input": "frontend.expr",
    "param": "frontend.expr",
    "add": "frontend.expr",
    "avg_pool1d": "frontend.spatial",
    "avg_pool2d": "frontend.spatial",
    "batch_norm": "frontend.functional",
    "concat": "frontend.functional",
    "conv1d": "frontend.spatial",
    "conv2d": "frontend.spatial",
    "dropout": "frontend.functional",
    "flatten": "frontend.functional",
    "gelu": "frontend.functional",
    "global_avg_pool2d": "frontend.functional",
    "hardswish": "frontend.functional",
    "leaky_relu": "frontend.functional",
    "linear": "frontend.functional",
    "log_softmax": "frontend.functional",
    "max_pool1d": "frontend.spatial",
    "max_pool2d": "frontend.spatial",
    "mul": "frontend.expr",
    "pad": "frontend.spatial",
    "relu": "frontend.functional",
    "reshape": "frontend.functional",
    "sigmoid": "frontend.functional",
    "silu": "frontend.functional",
    "softmax": "frontend.functional",
    "tanh": "frontend.functional",
    "Graph": "ir.graph",
    "parse": "frontend.from_text",
    "load": "files",
    "save": "files",
    "compare": "report",
    "explain": "report",
    "profile": "report",
    "verify": "report",
}
_MODULES = ("errors", "models")

__all__ = [
    "Graph",
    "Tensor",
    "add",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "compare",
    "compile",
    "concat",
    "conv1d",
    "conv2d",
    "dropout",
    "errors",
    "explain",
    "flatten",
    "gelu",
    "global_avg_pool2d",
    "graph",
    "hardswish",
    "input",
    "leaky_relu",
    "linear",
    "load",
    "log_softmax",
    "max_pool1d",
    "max_pool2d",
    "models",
    "mul",
    "pad",
    "param",
    "parse",
    "profile",
    "relu",
    "reshape",
    "save",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"graphcnn.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("graphcnn")
    if name not in _HOME:
        raise AttributeError(f"module 'graphcnn' has no attribute '{name}'")
    found = getattr(import_module(f"graphcnn.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
