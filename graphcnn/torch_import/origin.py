"""Where a call of an exported graph comes from: the module that makes it, its name, and the user's
line."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import fx

from graphcnn.errors import Where

_TORCH = str(Path(torch.__file__).parent)
_OUTERMOST = re.compile(r"^(?:L__self__|[LG]\['\w+'\])\.?")
_FRAME = re.compile(r'File "(.+)", line (\d+)')


def valid(name: str) -> str:
    """A name of torch's as one of ours: these start with a letter."""
    name = re.sub(r"[^\w.\-/]", "_", name)
    return name if re.match(r"[A-Za-z_]", name) else f"_{name}"


def module_path(node: fx.Node) -> str:
    """The module that makes a call, such as "layer1.0.conv1"."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack else ""
    path = path.partition(".parametrizations.")[0]
    return "" if path.startswith("_empty_nn_module") else re.sub(_OUTERMOST, "", path)


def is_own_module(node: fx.Node) -> bool:
    """Whether the innermost module is one of torch's own."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return False
    kind = stack[-1][1]
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return kind.startswith("torch.nn.") and ".container." not in kind


def users_line(node: fx.Node) -> Where | None:
    """The innermost line outside of torch."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [(file, line) for file, line in frames if not file.startswith((_TORCH, "torch/"))]
    return Where(own[-1][0], int(own[-1][1])) if own else None
