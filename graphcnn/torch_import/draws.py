"""Which calls of ATen's operators draw random numbers."""

from __future__ import annotations

import torch
from torch import fx

# Arguments by which an operator that could draw does not: a dropout or rrelu outside of training,
# attention that drops nothing.
_STILL = {"train": False, "training": False, "dropout_p": 0.0}


def is_drawn(node: fx.Node) -> bool:
    """Whether a call draws random numbers."""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    defaults = {one.name: one.default_value for one in schema}
    given = defaults | dict(zip(defaults, node.args, strict=False)) | node.kwargs
    return all(given.get(name, not value) != value for name, value in _STILL.items())
