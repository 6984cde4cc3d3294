"""Ops that put elements elsewhere: pad, roll, pixel_shuffle and its inverse."""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf
from typing import Any, ClassVar, Literal

import numpy as np

from graphcnn.errors import ChannelMismatch, InvalidAttribute, ShapeError, shown
from graphcnn.ir.op import Array
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import (
    FLOAT,
    check_choice,
    check_dim,
    check_integer,
    check_integers,
    check_number,
    check_operands,
    check_range,
    check_rank,
)
from graphcnn.ops.shape import Movement
from graphcnn.ops.window import layout

# NumPy's names of PyTorch's modes.
_NUMPYS: dict[str, Literal["constant", "reflect", "edge", "wrap"]] = {
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


@dataclass(frozen=True)
class Pad(Movement):
    """Maps [N, C, sizes] of one dimension or two, surrounded by `value`, or by their own elements.

    The padding is (left, right) or (top, left, bottom, right). Of the modes, "reflect" mirrors the
    map at the centre of its outermost elements, "replicate" repeats these, "circular" goes on at
    the other end.
    """

    name: ClassVar[str] = "pad"
    padding: tuple[int, ...]
    value: float = 0.0
    mode: str = "constant"

    def __post_init__(self) -> None:
        given = len(self.padding) if type(self.padding) is tuple else 0
        check_integers(self, "padding", 2 if given == 2 else 4, 0)
        check_number(self, "value", infinite=True)
        check_choice(self, "mode", tuple(_NUMPYS))
        if self.mode != "constant" and self.value != 0:
            raise InvalidAttribute(
                f'padding mode "{self.mode}" doesn\'t take in value argument',
                got=f"value={self.value}",
                wanted='a value with mode="constant" only',
                remedy="leave the value out",
            )

    @property
    def rank(self) -> int:
        """Dimensions of the maps."""
        return len(self.padding) // 2

    @property
    def sides(self) -> tuple[tuple[int, int], ...]:
        """The padding before and behind, for each dimension of the operand."""
        begins, ends = self.padding[: self.rank], self.padding[self.rank :]
        return ((0, 0), (0, 0), *zip(begins, ends, strict=True))

    def infer(self, *inputs: TensorType) -> TensorType:
        """The sizes with the padding added; raises RankError, ShapeError for a padding that a mode
        cannot fill, or InvalidAttribute for a value beyond the dtype's range."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        check_rank(self, "input", x, layout(self.rank))
        check_range(self, "value", x.dtype)
        most = {"reflect": -1, "circular": 0}.get(self.mode)
        for dim, (size, pair) in enumerate(zip(x.shape, self.sides, strict=True)):
            if most is not None and max(pair) > size + most:
                less = "less than" if most else "at most"
                raise ShapeError(
                    f'padding size should be {less} the corresponding input dimension with mode="'
                    f'{self.mode}"',
                    got=f"padding {pair} at dimension {dim} of {x}",
                    wanted=f"at most {size + most}",
                    remedy='use mode="replicate", or pad twice',
                )
        pairs = zip(x.shape, self.sides, strict=True)
        return x.with_shape(tuple(size + sum(pair) for size, pair in pairs))

    def reference(self, *inputs: Array) -> Array:
        """NumPy's padding."""
        return self._surround(inputs[0], self.value)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The operand's error, moved alike; of `value`, its rounding."""
        return self._surround(errors[0], 0.0 if isinf(self.value) else unit * abs(self.value))

    def _surround(self, x: Array, value: float) -> Array:
        mode = _NUMPYS[self.mode]
        options: Any = {"constant_values": value} if mode == "constant" else {}
        padded: Array = np.pad(x, self.sides, mode, **options)
        return padded


@dataclass(frozen=True)
class Roll(Movement):
    """Elements moved by shifts[i] along dims[i]; what leaves at one end enters at the other."""

    name: ClassVar[str] = "roll"
    shifts: tuple[int, ...]
    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        check_integers(self, "dims", max(1, _length(self.dims)), 0)
        check_integers(self, "shifts", len(self.dims), 1 - 2**31)
        if len(set(self.dims)) < len(self.dims):
            raise InvalidAttribute(
                "roll: dims holds each dimension once",
                got=f"dims={shown(self.dims)}",
                wanted="different dimensions",
                remedy="add up the shifts along one dimension",
            )

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type; raises RankError."""
        check_operands(self, inputs, input=FLOAT)
        check_dim(self, max(self.dims), inputs[0])
        return inputs[0]

    def reference(self, *inputs: Array) -> Array:
        """NumPy's roll."""
        return np.roll(inputs[0], self.shifts, self.dims)


def _length(value: object) -> int:
    return len(value) if type(value) is tuple else 0


@dataclass(frozen=True)
class PixelShuffle(Movement):
    """[N, C*r*r, H, W] to [N, C, H*r, W*r], r = `upscale_factor`: channels become pixels.

    Source: W. Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel Convolutional Neural Network, 2016.
    """

    name: ClassVar[str] = "pixel_shuffle"
    upscale_factor: int

    def __post_init__(self) -> None:
        check_integer(self, "upscale_factor", 1)

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, C, H*r, W*r]; raises RankError, or ChannelMismatch unless r*r divides them."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        check_rank(self, "input", x, layout(2))
        images, channels, height, width = x.shape
        r = self.upscale_factor
        if channels % (r * r):
            raise ChannelMismatch(
                "pixel_shuffle expects its input's channel dimension to be divisible by the square "
                "of upscale_factor",
                got=f"{channels} channels, upscale_factor={r}",
                wanted=f"a multiple of {r * r}",
                remedy=f"give the layer before it a multiple of {r * r} filters",
            )
        return x.with_shape((images, channels // (r * r), height * r, width * r))

    def reference(self, *inputs: Array) -> Array:
        """A reshape around a transposition."""
        (x,) = inputs
        r = self.upscale_factor
        images, channels, height, width = x.shape
        parts = x.reshape(images, channels // (r * r), r, r, height, width)
        return parts.transpose(0, 1, 4, 2, 5, 3).reshape(images, -1, height * r, width * r)


@dataclass(frozen=True)
class PixelUnshuffle(Movement):
    """[N, C, H*r, W*r] to [N, C*r*r, H, W], r = `downscale_factor`: the inverse of a shuffle."""

    name: ClassVar[str] = "pixel_unshuffle"
    downscale_factor: int

    def __post_init__(self) -> None:
        check_integer(self, "downscale_factor", 1)

    def infer(self, *inputs: TensorType) -> TensorType:
        """[N, C*r*r, H, W]; raises RankError, or ShapeError unless r divides height and width."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        check_rank(self, "input", x, layout(2))
        images, channels, height, width = x.shape
        r = self.downscale_factor
        for axis, size in (("height", height), ("width", width)):
            if size % r:
                raise ShapeError(
                    f"pixel_unshuffle expects {axis} to be divisible by downscale_factor",
                    got=f"{axis} {size}, downscale_factor={r}",
                    wanted=f"a multiple of {r}",
                    remedy="pad or crop the input",
                )
        return x.with_shape((images, channels * r * r, height // r, width // r))

    def reference(self, *inputs: Array) -> Array:
        """A reshape around a transposition."""
        (x,) = inputs
        r = self.downscale_factor
        images, channels, height, width = x.shape
        parts = x.reshape(images, channels, height // r, r, width // r, r)
        return parts.transpose(0, 1, 3, 5, 2, 4).reshape(images, -1, height // r, width // r)
