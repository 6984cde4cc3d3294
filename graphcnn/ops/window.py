"""Sliding windows of any rank: output sizes with their formula, and the windows of an array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphcnn.errors import InputTooSmall
from graphcnn.ir.op import Array, Op

# The spatial dimensions in words, by their number.
AXES = {1: ("length",), 2: ("height", "width")}


def layout(rank: int) -> str:
    """The dimensions of a batch of maps: "N, C, H, W" for rank 2."""
    return ", ".join(("N", "C", *(axis[0].upper() for axis in AXES[rank])))


@dataclass(frozen=True, slots=True)
class Window:
    """A filter's or a pool's window over [N, C, ...]; all tuples have a number per spatial
    dimension.

    Attributes:
        kernel: Taps.
        stride: Steps from one window to the next.
        begins: Padding in front of the first element.
        ends: Padding behind the last one.
        dilation: Spacing of the taps.
        ceil: Whether a last, partial window is kept.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil: bool = False

    @property
    def spans(self) -> tuple[int, ...]:
        """Elements from the first tap to the last, both included."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    def lifted(self, rank: int) -> Window:
        """The same window over maps of `rank` dimensions, the new ones in front and of size 1."""
        more = rank - len(self.kernel)
        ones, zeros = (1,) * more, (0,) * more
        return Window(
            ones + self.kernel,
            ones + self.stride,
            zeros + self.begins,
            zeros + self.ends,
            ones + self.dilation,
            self.ceil,
        )

    def outputs(self, op: Op, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial sizes of the output.

        Raises:
            InputTooSmall: when no window fits.
        """
        return tuple(self._extent(op, axis, size) for axis, size in enumerate(sizes))

    def _extent(self, op: Op, axis: int, size: int) -> int:
        stride, before, after = self.stride[axis], self.begins[axis], self.ends[axis]
        room = size + before + after - self.spans[axis]
        if room < 0:
            raise self._too_small(op, axis, size, room)
        if not self.ceil:
            return room // stride + 1
        # PyTorch's rule: no window may start beyond the input and its leading padding.
        extent = -(-room // stride) + 1
        return extent - 1 if (extent - 1) * stride >= size + before else extent

    def _too_small(self, op: Op, axis: int, size: int, room: int) -> InputTooSmall:
        side = AXES[len(self.kernel)][axis]
        kernel, dilation = self.kernel[axis], self.dilation[axis]
        before, after = self.begins[axis], self.ends[axis]
        pads = f"2*{before}" if before == after else f"{before} + {after}"
        spread = str(kernel) if dilation == 1 else f"({dilation}*({kernel} - 1) + 1)"
        rounding = "ceil" if self.ceil else "floor"
        needed = size - room
        return InputTooSmall(
            f"the window of {op.name} does not fit into its padded input",
            got=f"{side} {rounding}(({size} + {pads} - {spread})/{self.stride[axis]}) + 1, "
            f"where {size} + {pads} - {spread} = {room} < 0",
            wanted=f"an input {side} of at least {needed} with this padding",
            remedy=f"enlarge the {side} from {size} to {needed}, pad it by {-room} more in all, "
            f"or use a window that spans at most {size + before + after}",
        )

    def view(self, x: Array, outputs: tuple[int, ...], fill: float) -> Array:
        """Windows of x[N, C, sizes] as a view [N, C, outputs, kernel] of a padded copy."""
        lasts = [(n - 1) * s + 1 for n, s in zip(outputs, self.stride, strict=True)]
        sides = [(0, 0), (0, 0)]
        for axis, before in enumerate(self.begins):
            needed = lasts[axis] + self.spans[axis] - 1
            sides.append((before, max(0, needed - before - x.shape[2 + axis])))
        padded = np.pad(x, sides, constant_values=fill) if any(map(any, sides)) else x
        axes = tuple(range(2, x.ndim))
        sliding = np.lib.stride_tricks.sliding_window_view(padded, self.spans, axis=axes)
        starts = (slice(0, last, step) for last, step in zip(lasts, self.stride, strict=True))
        taps = (slice(None, None, step) for step in self.dilation)
        return sliding[:, :, *starts, *taps]
