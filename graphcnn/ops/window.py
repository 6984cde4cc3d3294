"""Sliding windows: output extents with their formula, and the windows of an array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphcnn.errors import InputTooSmall
from graphcnn.ir.op import Array, Op


@dataclass(frozen=True, slots=True)
class Window:
    """A filter's or a pool's window over [N, C, H, W]; pairs are (height, width), padding is
    (top, left, bottom, right)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int] = (1, 1)
    ceil: bool = False

    def outputs(self, op: Op, height: int, width: int) -> tuple[int, int]:
        """Output height and width.

        Raises:
            InputTooSmall: when no window fits.
        """
        return self._extent(op, 0, height), self._extent(op, 1, width)

    def _extent(self, op: Op, axis: int, size: int) -> int:
        kernel, stride = self.kernel[axis], self.stride[axis]
        before, after = self.padding[axis], self.padding[axis + 2]
        span = self.dilation[axis] * (kernel - 1) + 1
        room = size + before + after - span
        if room < 0:
            raise self._too_small(op, axis, size, span)
        if not self.ceil:
            return room // stride + 1
        # PyTorch's rule: no window may start beyond the input and its leading padding.
        extent = -(-room // stride) + 1
        return extent - 1 if (extent - 1) * stride >= size + before else extent

    def _too_small(self, op: Op, axis: int, size: int, span: int) -> InputTooSmall:
        side = ("height", "width")[axis]
        kernel, stride = self.kernel[axis], self.stride[axis]
        dilation = self.dilation[axis]
        before, after = self.padding[axis], self.padding[axis + 2]
        pads = f"2*{before}" if before == after else f"{before} + {after}"
        spread = str(kernel) if dilation == 1 else f"({dilation}*({kernel} - 1) + 1)"
        rounding = "ceil" if self.ceil else "floor"
        room = size + before + after - span
        needed = span - before - after
        return InputTooSmall(
            f"the window of {op.name} does not fit into its padded input",
            got=f"{side} {rounding}(({size} + {pads} - {spread})/{stride}) + 1, "
            f"where {size} + {pads} - {spread} = {room} < 0",
            wanted=f"an input {side} of at least {needed} with this padding",
            remedy=f"enlarge the {side} from {size} to {needed}, pad it by {-room} more in all, "
            f"or use a window that spans at most {size + before + after}",
        )

    def view(self, x: Array, outputs: tuple[int, int], fill: float) -> Array:
        """Windows of x[N, C, H, W] as a view [N, C, OH, OW, R, S] of a padded copy."""
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        sides = [(0, 0), (0, 0)]
        for axis in (0, 1):
            before = self.padding[axis]
            last = (outputs[axis] - 1) * self.stride[axis] + spans[axis]
            sides.append((before, max(0, last - before - x.shape[2 + axis])))
        padded = np.pad(x, sides, constant_values=fill) if any(map(any, sides)) else x
        sliding = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))
        (sh, sw), (dh, dw), (oh, ow) = self.stride, self.dilation, outputs
        return sliding[:, :, : (oh - 1) * sh + 1 : sh, : (ow - 1) * sw + 1 : sw, ::dh, ::dw]
