"""From ATen's convolutions, products, pools and norms to ours.

Rows as in `pointwise`. Maps without a batch, which torch takes as well, get one and lose it.
"""

from __future__ import annotations

import math
from typing import Any

from graphcnn.frontend import arithmetic, functional, movement, norms, spatial
from graphcnn.frontend.expr import Tensor
from graphcnn.torch_import.pointwise import Conversion
from graphcnn.torch_import.refusal import Refused

# The smallest eps of the norms.
_LEAST = 2.0**-126
PLACES = Refused("the places of the largest elements", "a max_pool that returns values alone")


def samples(x: Tensor, rank: int, function: Conversion, *args: Any) -> Tensor:
    """A function of [N, C, ...] on maps that may lack N."""
    if len(x.shape) == rank + 1:
        return movement.squeeze(function(movement.unsqueeze(x, 0), *args), 0)
    result: Tensor = function(x, *args)
    return result


def axes(value: Any, rank: int) -> tuple[int, ...]:
    """One number per dimension; torch's lists may hold one for all."""
    numbers = [value] if isinstance(value, int) else [*value]
    return tuple(int(n) for n in (numbers * rank if len(numbers) == 1 else numbers))


def _conv(rank: int) -> Conversion:
    function = (spatial.conv1d, spatial.conv2d)[rank - 1]

    def convert(x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any, g: int) -> Tensor:
        sides = padding if isinstance(padding, str) else axes(padding, rank) * 2
        options = (axes(stride, rank), sides, axes(dilation, rank), g)
        return samples(x, rank, function, w, b, *options)

    return convert


def _conv_transpose(rank: int) -> Conversion:
    function = (spatial.conv_transpose1d, spatial.conv_transpose2d)[rank - 1]

    def convert(x: Any, w: Any, b: Any, stride: Any, pad: Any, out: Any, g: int, d: Any) -> Tensor:
        stride, pad, out, d = (axes(value, rank) for value in (stride, pad, out, d))
        return samples(x, rank, function, w, b, stride, pad, out, g, d)

    return convert


def _convolution(*args: Any) -> Tensor:
    x, w, b, stride, padding, dilation, transposed, out, groups, *_ = args
    rank = len(w.shape) - 2
    if rank not in (1, 2):
        raise Refused(f"{rank} spatial dimensions", "conv1d, conv2d")
    if transposed:
        args = (stride, padding, out, groups, dilation)
        convert = _conv_transpose(rank)
    else:
        args = (stride, padding, dilation, groups)
        convert = _conv(rank)
    result: Tensor = convert(x, w, b, *args)
    return result


def _max_pool(rank: int, indices: bool = False) -> Conversion:
    function = (spatial.max_pool1d, spatial.max_pool2d)[rank - 1]

    def convert(x: Any, size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Any:
        size = axes(size, rank)
        step = axes(stride, rank) if stride else size
        sides = axes(padding, rank) * 2
        found = samples(x, rank, function, size, step, sides, axes(dilation, rank), ceil)
        return (found, PLACES) if indices else found

    return convert


def _avg_pool(rank: int) -> Conversion:
    function = (spatial.avg_pool1d, spatial.avg_pool2d)[rank - 1]

    def convert(
        x: Any, size: Any, stride: Any, pad: Any, ceil: bool, counts: bool, divisor: Any = None
    ) -> Tensor:
        size = axes(size, rank)
        step = axes(stride, rank) if stride else size
        sides = axes(pad, rank)
        means = samples(x, rank, function, size, step, sides * 2, ceil, counts)
        if divisor is None:
            return means
        # Zeros that fill the last windows: then every mean is of as many elements.
        lengths = zip(means.shape[-rank:], step, size, x.shape[-rank:], sides, strict=True)
        ends = [max(0, (n - 1) * s + k - length - begin) for n, s, k, length, begin in lengths]
        filled = samples(x, rank, spatial.pad, (*sides, *ends))
        whole = samples(filled, rank, function, size, step)
        return arithmetic.mul(whole, math.prod(size) / divisor)

    return convert


def _batch_norm(x: Any, w: Any, b: Any, mean: Any, var: Any, _: float, eps: float) -> Any:
    if mean is None or var is None:
        raise Refused("statistics of the batch", "batch_norm in eval mode")
    unused = Refused("statistics of the batch")
    return norms.batch_norm(x, mean, var, w, b, eps), unused, unused


def _batch_norm_whole(x: Any, w: Any, b: Any, mean: Any, var: Any, *args: Any) -> Any:
    training, momentum, eps, *_ = args
    if training:
        raise Refused("statistics of the batch", "batch_norm in eval mode")
    return _batch_norm(x, w, b, mean, var, momentum, eps)[0]


def _instance_norm(x: Any, w: Any, b: Any, mean: Any, var: Any, *args: Any) -> Tensor:
    own, _, eps, _ = args
    return norms.instance_norm(x, mean, var, w, b, own, eps)


def _group_norm(x: Any, groups: int, w: Any, b: Any, eps: float, *_: Any) -> Tensor:
    if eps >= _LEAST:
        return norms.group_norm(x, groups, w, b, eps)
    rows = functional.reshape(x, (-1, groups, math.prod(x.shape[1:]) // groups))
    normed = functional.reshape(_standardized(rows, [2], eps), (-1, *x.shape[1:]))
    return _affine(normed, *(_per_channel(vector, len(x.shape)) for vector in (w, b)))


def _per_channel(vector: Any, rank: int) -> Any:
    return None if vector is None else functional.reshape(vector, (-1, *(1,) * (rank - 2)))


def _layer_norm(x: Any, shape: Any, w: Any, b: Any, eps: float, *_: Any) -> Tensor:
    if eps >= _LEAST:
        return norms.layer_norm(x, tuple(map(int, shape)), w, b, eps)
    return _affine(_standardized(x, _last(x, shape), eps), w, b)


def _standardized(x: Tensor, dims: list[int], eps: float) -> Tensor:
    """Less its mean, over its deviation: for an eps of which the norms' bounds know nothing."""
    centred = arithmetic.sub(x, functional.mean(x, dims, True))
    variance = functional.mean(arithmetic.mul(centred, centred), dims, True)
    return arithmetic.mul(centred, functional.rsqrt(arithmetic.add(variance, eps)))


def _affine(x: Tensor, w: Any, b: Any) -> Tensor:
    scaled = x if w is None else arithmetic.mul(x, w)
    return scaled if b is None else arithmetic.add(scaled, b)


def _last(x: Tensor, shape: Any) -> list[int]:
    """The last dimensions, as many as a shape has."""
    return list(range(len(x.shape) - len(shape), len(x.shape)))


def _rms_norm(x: Any, shape: Any, w: Any, eps: float | None) -> Tensor:
    small = float(2.0**-23) if eps is None else eps
    squares = functional.mean(arithmetic.mul(x, x), _last(x, shape), True)
    return _affine(arithmetic.mul(x, functional.rsqrt(squares + small)), w, None)


def _softmax(function: Conversion) -> Conversion:
    def convert(x: Tensor, dim: int, *_: Any) -> Tensor:
        if x.shape:
            return function(x, dim)  # type: ignore[no-any-return]
        return functional.reshape(function(functional.reshape(x, (1,)), 0), ())

    return convert


def _matmul(x: Any, y: Any) -> Tensor:
    """Products of vectors as of matrices with one row or column."""
    row, column = len(x.shape) == 1, len(y.shape) == 1
    if not row and not column:
        return arithmetic.matmul(x, y)
    product = arithmetic.matmul(
        movement.unsqueeze(x, 0) if row else x,
        movement.unsqueeze(y, 1) if column else y,
    )
    rank = len(product.shape)
    gone = ([rank - 2] if row else []) + ([rank - 1] if column else [])
    return movement.squeeze(product, gone)


def _linear(x: Any, w: Any, b: Any) -> Tensor:
    if len(x.shape) == 1:
        return movement.squeeze(functional.linear(movement.unsqueeze(x, 0), w, b), 0)
    return functional.linear(x, w, b)


def _sum_and_product(base: Any, x: Any, y: Any, beta: Any, alpha: Any) -> Tensor:
    product = arithmetic.matmul(x, y) * alpha if alpha != 1 else arithmetic.matmul(x, y)
    if beta == 0:
        return product
    return arithmetic.add(base * beta if beta != 1 else base, product)


def _attention(q: Any, k: Any, v: Any, mask: Any, *args: Any) -> Tensor:
    p, causal, scale, grouped = args
    if p or causal or grouped or mask is not None:
        raise Refused("a mask, dropout or groups", "attention without them")
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    weights = arithmetic.matmul(q, movement.transpose(k, -2, -1)) * factor
    return arithmetic.matmul(functional.softmax(weights, -1), v)


ROWS: dict[str, Conversion] = {
    **{f"conv{rank}d.{form}": _conv(rank) for rank in (1, 2) for form in ("default", "padding")},
    "conv_transpose1d.default": _conv_transpose(1),
    "conv_transpose2d.input": _conv_transpose(2),
    "convolution.default": _convolution,
    "_convolution.default": _convolution,
    "linear.default": _linear,
    **dict.fromkeys(("matmul.default", "mv.default", "dot.default", "mm.default"), _matmul),
    "bmm.default": arithmetic.bmm,
    **dict.fromkeys(("addmm.default", "baddbmm.default", "addmv.default"), _sum_and_product),
    "scaled_dot_product_attention.default": _attention,
    **{f"max_pool{rank}d.default": _max_pool(rank) for rank in (1, 2)},
    **{f"max_pool{rank}d_with_indices.default": _max_pool(rank, True) for rank in (1, 2)},
    **{f"avg_pool{rank}d.default": _avg_pool(rank) for rank in (1, 2)},
    "_native_batch_norm_legit_no_training.default": _batch_norm,
    "batch_norm.default": _batch_norm_whole,
    "instance_norm.default": _instance_norm,
    "group_norm.default": _group_norm,
    "layer_norm.default": _layer_norm,
    "rms_norm.default": _rms_norm,
    "softmax.int": _softmax(functional.softmax),
    "log_softmax.int": _softmax(functional.log_softmax),
    "_softmax.default": _softmax(functional.softmax),
    "_log_softmax.default": _softmax(functional.log_softmax),
}
