"""Lowering what makes maps of another size."""

from __future__ import annotations

from graphcnn.ir import Node
from graphcnn.kernels import Places, View, adaptive_pool2d, copy, interpolate
from graphcnn.ops import AdaptiveMaxPool, AdaptivePool, Interpolate, PixelShuffle, PixelUnshuffle
from graphcnn.targets.lowering import Lowering, as_image

# One row of a map of one dimension: it stays, and no mean is taken.
_STAYS = Places(1.0, 0.0, LINEAR=False)


def resize(lowering: Lowering, node: Node) -> None:
    """An interpolation in one launch."""
    op = node.op
    assert isinstance(op, Interpolate)
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    sizes = zip(x.shape[2:], y.shape[2:], strict=True)
    steps = (op.step(axis, *pair) for axis, pair in enumerate(sizes))
    rows, columns = [_STAYS, *(Places(*step, LINEAR=op.linear) for step in steps)][-2:]
    launch = interpolate(as_image(x), as_image(y), rows=rows, columns=columns)
    lowering.emit(node, op.name, launch, (x,), (y,))


def adaptive_pool(lowering: Lowering, node: Node) -> None:
    """A pool to a given size in one launch."""
    assert isinstance(node.op, AdaptivePool)
    x, y = (as_image(lowering.view(name)) for name in (node.inputs[0], node.name))
    launch = adaptive_pool2d(x, y, pool_max=isinstance(node.op, AdaptiveMaxPool))
    lowering.emit(node, node.op.name, launch, (x,), (y,))


def pixels(lowering: Lowering, node: Node) -> None:
    """A copy between two views of six dimensions, [N, C, H, r, W, r]."""
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    if isinstance(node.op, PixelShuffle):
        r = node.op.upscale_factor
        launch = copy(_small(x, r), _large(y, r))
    else:
        assert isinstance(node.op, PixelUnshuffle)
        r = node.op.downscale_factor
        launch = copy(_large(x, r), _small(y, r))
    lowering.emit(node, node.op.name, launch, (x,), (y,))


def _small(view: View, r: int) -> View:
    """Maps [N, C*r*r, H, W] as [N, C, H, r, W, r]."""
    n, channels, height, width = view.shape
    a, b, c, d = view.strides
    shape, strides = (n, channels // (r * r), height, r, width, r), (a, b * r * r, c, b * r, d, b)
    return View(view.buffer, shape, strides, view.dtype)


def _large(view: View, r: int) -> View:
    """Maps [N, C, H*r, W*r] as [N, C, H, r, W, r]."""
    n, channels, height, width = view.shape
    a, b, c, d = view.strides
    shape, strides = (n, channels, height // r, r, width // r, r), (a, b, c * r, c, d * r, d)
    return View(view.buffer, shape, strides, view.dtype)
