"""Tile shapes, and what bears them."""

from enum import IntEnum
from typing import NamedTuple


class Pressure(IntEnum):
    """How many registers a convolution's loads and tail need beside the accumulator.

    LOW: channels-last views, at most 32 taps, one output, a tail whose steps read no value but the
    one before them, and no full-size operand unless it pools. NORMAL: channels-last views. HIGH:
    some view is not channels-last, so that every element has an address of its own.
    """

    LOW = 0
    NORMAL = 1
    HIGH = 2


class ConvTile(NamedTuple):
    """One program's share of a convolution: `channels` x `pixels` outputs, `reduction` a step.

    With `parts` of the reduction it takes one of these, and another kernel adds them up.
    """

    channels: int
    pixels: int
    reduction: int
    num_warps: int = 4
    num_stages: int = 3
    parts: int = 1


class LinearTile(NamedTuple):
    """One program's share of a linear layer: `features` outputs of `rows` rows.

    `rows == 1` is the matrix-vector form, which keeps `reduction` partial sums of each output.
    `parts` is as of a `ConvTile`.
    """

    features: int
    rows: int
    reduction: int
    num_warps: int = 4
    num_stages: int = 3
    parts: int = 1
