"""Operators that torch composes before export sees them, found again as one.

local_response_norm is x / (k + alpha * mean over channels of x*x) ** beta there, the mean by a pool
over the channels as one more dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx


@dataclass(frozen=True, slots=True)
class ResponseNorm:
    """A local_response_norm of a value."""

    input: fx.Node
    size: int
    alpha: float
    beta: float
    k: float


def response_norm(node: fx.Node) -> ResponseNorm | None:
    """The norm that a division ends, if it is one."""
    if not _is(node, "div.Tensor") or not isinstance(node.args[0], fx.Node):
        return None
    x = node.args[0]
    power = _call(node.args[1], "pow.Tensor_Scalar")
    shifted = power and _call(power.args[0], "add.Tensor")
    scaled = shifted and _call(shifted.args[0], "mul.Tensor")
    if not (power and shifted and scaled):
        return None
    numbers = (scaled.args[1], power.args[1], shifted.args[1])
    if not all(isinstance(number, int | float) for number in numbers) or shifted.kwargs:
        return None
    pooled = _through(scaled.args[0], ("view.default", "reshape.default", "squeeze.dim"))
    if pooled is None or not (
        _is(pooled, "avg_pool3d.default") or _is(pooled, "avg_pool2d.default")
    ):
        return None
    window, stride, *others = pooled.args[1:]
    pad = _call(pooled.args[0], "pad.default") or _call(pooled.args[0], "constant_pad_nd.default")
    if pad is None or others or not isinstance(window, list | tuple):
        return None
    squared = _call(
        _through(pad.args[0], ("view.default", "reshape.default", "unsqueeze.default")),
        "mul.Tensor",
    )
    size = window[0]
    if (
        squared is None
        or squared.args != (x, x)
        or not isinstance(size, int)
        or any(n != 1 for n in (*window[1:], *stride))  # type: ignore[misc]
        or [*pad.args[1]][-2:] != [size // 2, (size - 1) // 2]  # type: ignore[misc]
        or any([*pad.args[1]][:-2])  # type: ignore[misc]
        or any(value not in ("constant", 0, 0.0, None) for value in pad.args[2:])
        or not _over_channels(x, pad, pooled)
    ):
        return None
    alpha, beta, k = (float(number) for number in numbers)  # type: ignore[arg-type]
    return ResponseNorm(x, size, alpha, beta, k)


def needed(output: fx.Node) -> set[fx.Node]:
    """What an output depends on, through the norms that are found again."""
    found: set[fx.Node] = set()
    waiting = [output]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            norm = response_norm(node)
            waiting += [norm.input] if norm else node.all_input_nodes
    return found - {output}


def _over_channels(x: fx.Node, pad: fx.Node, pooled: fx.Node) -> bool:
    """Whether the window's first dimension is the channels: [N, 1, C, ...]."""
    source = pad.args[0]
    if not isinstance(source, fx.Node):
        return False
    outer, shape = x.meta["val"].shape, source.meta["val"].shape
    if len(outer) < 3 or len(shape) != (5 if _is(pooled, "avg_pool3d.default") else 4):
        return False
    return bool(shape[1] == 1 and shape[2] == outer[1] and shape[0] == outer[0])


def _through(node: object, names: tuple[str, ...]) -> fx.Node | None:
    """The first node before views of these kinds."""
    while isinstance(node, fx.Node) and any(_is(node, name) for name in names):
        node = node.args[0]
    return node if isinstance(node, fx.Node) else None


def _call(node: object, name: str) -> fx.Node | None:
    return node if isinstance(node, fx.Node) and _is(node, name) else None


def _is(node: fx.Node, name: str) -> bool:
    return str(node.target) == f"aten.{name}"
