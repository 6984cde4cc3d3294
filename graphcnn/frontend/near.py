"""What somebody may have meant by a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# What is known elsewhere by another name, mostly PyTorch's, to what it is here.
_OTHERWISE = {
    "cat": "concat",
    "clip": "clamp",
    "concatenate": "concat",
    "contiguous": "reshape",
    "dim": "len(x.shape)",
    "max": "amax",
    "min": "amin",
    "ndim": "len(x.shape)",
    "numel": "math.prod(x.shape)",
    "size": "shape",
    "std": "var",
    "upsample": "interpolate",
    "view": "reshape",
    "where": "graphcnn.where(condition, a, b)",
}


def near(name: str, known: Iterable[str], otherwise: str) -> str:
    """A hint: "did you mean relu?", or what to do `otherwise`."""
    named = _OTHERWISE.get(name)
    close = [named] if named else difflib.get_close_matches(name, known)
    return f"did you mean {' or '.join(close)}?" if close else otherwise
