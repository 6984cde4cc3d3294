"""Every call of the package whose form depends on the torch version (2.11 to 2.14)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch import fx


def lowered(module: fx.GraphModule, inputs: Sequence[Any]) -> tuple[fx.GraphModule, int]:
    """A graph of Dynamo's as ATen's operators, as whole as the user called them.

    Args:
        module: What Dynamo traced.
        inputs: What it takes: tensors and sizes.

    Returns:
        The same graph, functional: what it writes to its inputs it returns first; and how many
        these are.
    """
    from torch._functorch.aot_autograd import aot_export_module

    with torch.no_grad():
        made, signature = aot_export_module(
            module, inputs, trace_joint=False, pre_dispatch=True, decompositions={}
        )
    assert isinstance(made, fx.GraphModule)
    return made, len(signature.user_inputs_to_mutate) + len(signature.buffers_to_mutate)


def source_of(placeholder: fx.Node) -> str:
    """Where Dynamo found an input, such as `L['self']._modules['c']._parameters['weight']`."""
    source = getattr(placeholder, "_dynamo_source", None)
    name = getattr(source, "name", "")
    return str(name() if callable(name) else name)


def is_state(placeholder: fx.Node, value: object) -> bool:
    """Whether an input of Dynamo's graph is a parameter or a buffer of a module."""
    kept = placeholder.meta.get("tensor_dict") or {}
    return isinstance(value, torch.nn.Parameter) or "_dynamo_static_input_type" in kept


def compiled_callers() -> list[Any]:
    """What was compiled by `torch.compile`, of all that is being called right now."""
    from torch._dynamo.eval_frame import OptimizedModule

    found: list[Any] = []
    frame = sys._getframe()
    while frame is not None:
        local = frame.f_locals
        if isinstance(local.get("self"), OptimizedModule):
            found.append(original(local["self"]))
        elif frame.f_code.co_name == "compile_wrapper" and "fn" in local:
            found.append(original(local["fn"]))
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    return found


def original(compiled: Any) -> Any:
    """The function or module that was handed to `torch.compile`."""
    from torch._dynamo.eval_frame import OptimizedModule

    if isinstance(compiled, OptimizedModule):
        return compiled._orig_mod
    function = getattr(compiled, "_torchdynamo_orig_callable", compiled)
    return function.__self__ if isinstance(function, MethodType) else function


def is_compiled(function: object) -> bool:
    """Whether something is what `torch.compile` returned, or a module after `compile()`."""
    from torch._dynamo.eval_frame import OptimizedModule

    if isinstance(function, torch.nn.Module) and function._compiled_call_impl is not None:
        return True
    return isinstance(function, OptimizedModule) or hasattr(function, "_torchdynamo_orig_callable")
