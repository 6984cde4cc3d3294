"""The launches of a group, where another kernel than one implicit product computes its anchor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from graphcnn.ir import DType, Op
from graphcnn.kernels import (
    LANES,
    Boxes,
    Choice,
    Launch,
    Stem,
    Tail,
    View,
    box_refusal,
    conv_pressure,
    operands,
    padded,
    padded_shape,
    pixel_rows,
    stem_conv2d,
)
from graphcnn.ops import Conv, Conv2d
from graphcnn.ops.window import Window
from graphcnn.plan import Packing
from graphcnn.targets import winograd
from graphcnn.targets.chain import Chain
from graphcnn.targets.layout import contiguous
from graphcnn.targets.lowering import Lowering
from graphcnn.targets.pack import in_runs


class Piece(NamedTuple):
    """A launch of a group.

    Attributes:
        launch: The launch.
        scratch: The memory that it works in, or fills for the next one.
        rounded_as: As of `Arithmetic`.
        word: The algorithm's name, where it has one.
        reads: What it reads; empty: the inputs of the group.
        ends: Whether it writes the outputs of the group.
    """

    launch: Launch
    scratch: tuple[View, ...] = ()
    rounded_as: Mapping[str, Op] = MappingProxyType({})
    word: str = ""
    reads: tuple[View, ...] = ()
    ends: bool = True


def in_parts(x: View, scratch: View, tail: Tail, launches: tuple[Launch, Launch]) -> list[Piece]:
    """What sums the parts of a reduction of x, and what adds these up and ends in a tail.

    Both numbers of roundings together are at most that of the sum in one part, so that its bound
    holds.
    """
    first, second = launches
    return [
        Piece(first, (scratch,), word="parts of", reads=(x,), ends=False),
        Piece(second, word="sum of", reads=(scratch, *operands(tail))),
    ]


def filtered(
    lowering: Lowering,
    chain: Chain,
    choice: Choice,
    x: View,
    shift: Packing | None,
    outputs: Sequence[View],
    options: Mapping[str, Any],
) -> Piece:
    """A convolution by minimal filtering, which works in memory of its own."""
    op, param = chain.anchor.op, lowering.param(chain.anchor.inputs[1])
    assert isinstance(op, Conv2d)
    weight = lowering.weight(winograd.filters(param, choice.tile, lowering.device.traits.weights))
    bias = shift and lowering.weight(shift)
    scratch = lowering.scratch(chain.anchor, (choice.tile.scratch(x.shape[1]),))
    launch = choice.launch(x, weight, bias, outputs, scratch=scratch, **options)
    rounded_as = winograd.WinogradConv2d(op.stride, op.padding, outputs=choice.tile.outputs)
    rounded = {chain.anchor.name: rounded_as}
    return Piece(launch, (scratch,), rounded_as=rounded, word="winograd")


def stem_of(
    chain: Chain,
    x: View,
    outputs: Sequence[View],
    tail: Tail,
    window: Window,
    size: tuple[int, int],
) -> Stem | None:
    """What the choice of a kernel asks of a convolution of few channels; None for any other."""
    op = chain.anchor.op
    plain = isinstance(op, Conv) and op.groups == 1 and not chain.gate and not chain.head
    whole = window.dilation == (1, 1) and min(window.begins) >= 0
    if not plain or not whole or x.shape[1] > LANES:
        return None
    rows, taps = window.kernel
    shape = padded_shape(x, window.kernel, window.stride, window.begins, size)
    image = View(None, shape, contiguous(shape), x.dtype)
    pressure = conv_pressure(image.permuted(0, 4, 1, 3), outputs, tail, (1, 1))
    return Stem((rows, taps), image.size * DType(x.dtype).itemsize, pressure)


def boxes_of(
    chain: Chain, x: View, images: int, tail: Tail, window: Window, size: tuple[int, int]
) -> Boxes | None:
    """What the choice of a kernel asks of a convolution that tensor descriptors may serve, with the
    number of images that it chooses for; None for any other."""
    op = chain.anchor.op
    plain = isinstance(op, Conv) and op.groups == 1 and not chain.gate and not chain.head
    if not plain or box_refusal(x, tail, window.stride, x.buffer.offset):
        return None
    steps = {"kernel": window.kernel, "stride": window.stride, "padding": window.begins}
    return Boxes(images, size, pixel_rows(x, tail, **steps, out_size=size) is not None)


def by_runs(
    lowering: Lowering,
    chain: Chain,
    x: View,
    shift: Packing | None,
    outputs: Sequence[View],
    window: Window,
    options: Mapping[str, Any],
) -> list[Piece]:
    """A convolution of few channels: its padded image, and what reads it."""
    steps = {name: value for name, value in options.items() if name != "padding"}
    shape = padded_shape(x, window.kernel, window.stride, window.begins, options["out_size"])
    image = lowering.scratch(chain.anchor, shape, DType(x.dtype))
    weight = lowering.weight(in_runs(lowering.param(chain.anchor.inputs[1])))
    bias = lowering.weight(shift) if shift else None
    launch = stem_conv2d(
        image, weight, bias, outputs, kernel=window.kernel, stride=window.stride, **steps
    )
    pad = Piece(padded(x, image, window.begins), (image,), ends=False, word="padded image of")
    return [pad, Piece(launch, reads=(image, *operands(options["tail"])), word="stem")]
