"""What a kernel that slides a filter over maps is told of both."""

from typing import Any, NamedTuple


class Sizes(NamedTuple):
    """Height and width of the input, and of the output before any pool."""

    H: int
    W: int
    OH: int
    OW: int


class Geometry(NamedTuple):
    """A filter as constexprs: channels and filters of one group, R x S taps, and their steps.

    It slides over a map in which every pixel of the input stands UP_H x UP_W times side by side.
    Where PANEL is not 0, it is packed in panels of so many filters. The reduction has PARTS.
    """

    C: Any
    K: Any
    R: Any
    S: Any
    STRIDE_H: Any
    STRIDE_W: Any
    PAD_TOP: Any
    PAD_LEFT: Any
    DILATION_H: Any
    DILATION_W: Any
    UP_H: Any = 1
    UP_W: Any = 1
    PANEL: Any = 0
    PARTS: Any = 1
