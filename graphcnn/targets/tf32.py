"""Float32 multiplied in tf32: which values are rounded where, packed weights, and bounds.

Operands of products are rounded, weights when they are packed and images by the kernel that stores
them, where products alone read them; other images by the kernel that multiplies them, as it loads
them. So no value that anything else reads, the caller included, is less than float32.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from graphcnn.ir import Array, DType, Fused, Graph, Node, Op, OpKind, TensorType, inline
from graphcnn.ir.evaluate import Rule
from graphcnn.kernels import Stage, Tail, round_to_tf32, stages
from graphcnn.ops import (
    Anchor,
    Concat,
    Conv,
    ConvTranspose,
    Interpolate,
    Linear,
    MaxPool,
    PixelShuffle,
    PixelUnshuffle,
    Roll,
    Strided,
)
from graphcnn.ops.rounding import TF32, UNDERFLOW
from graphcnn.plan import Packing

# Ops whose results are elements of their operands, beside views and repetitions.
_SELECTING = (Concat, MaxPool, PixelShuffle, PixelUnshuffle, Roll, Strided)


def tf32(array: Array) -> Array:
    """The nearest numbers of tf32 to those of float32; of two, the one whose last bit is 0.

    Infinities stay, and every NaN becomes the usual one: bit for bit what `round_to_tf32` gives.
    """
    bits = np.where(np.isnan(array), np.float32(np.nan), array).astype(np.float32).view(np.uint32)
    even = bits >> np.uint32(13) & np.uint32(1)
    rounded = (bits + np.uint32(0xFFF) + even & np.uint32(0xFFFFE000)).view(np.float32)
    return np.asarray(rounded)


def in_tf32(packing: Packing) -> Packing:
    """The same numbers, rounded."""
    arrange = partial(_rounded, arrange=packing.arrange)
    return replace(packing, name=f"{packing.name}@tf32", arrange=arrange)


def _rounded(*weights: Array, arrange: Callable[..., Array]) -> Array:
    return tf32(arrange(*weights))


def multiplies(node: Node, graph: Graph) -> bool:
    """Whether a node is computed by products that may be of tf32.

    A depthwise convolution and a matrix-vector product are limited by memory: their kernels
    multiply float32 as it is.
    """
    if not isinstance(node.op, Anchor) or node.type.dtype is not DType.F32:
        return False
    x = graph.type_of(node.inputs[0])
    if isinstance(node.op, Conv | ConvTranspose):
        return not 1 < node.op.groups == x.shape[1]
    return isinstance(node.op, Linear) and x.size > x.shape[-1]


def rounded_values(graph: Graph, called: Collection[str]) -> frozenset[str]:
    """Values that hold numbers of tf32 in memory, because products alone read them, or what selects
    elements for products.

    Args:
        graph: What is lowered.
        called: Its nodes that are calls of a library, which round nothing.
    """
    flat = inline(graph)
    foreign = {m.name for node in graph.nodes if node.name in called for m in node.members}
    wanted: set[str] = set()

    def takes(user: Node, name: str) -> bool:
        if user.name in foreign:
            return False
        if multiplies(user, flat):
            return name not in user.inputs[1:]
        return user.name in wanted and _selects(user, flat)

    for node in reversed(flat.nodes):
        users = flat.users(node.name)
        read = node.name not in flat.outputs and all(takes(user, node.name) for user in users)
        if read and users and node.type.dtype is DType.F32:
            wanted.add(node.name)
    found: set[str] = set()
    for node in graph.nodes:
        selected = _selects(node, graph) and found.issuperset(node.inputs)
        if node.name not in called and (selected or _ends_in_tail(node)):
            found |= wanted.intersection(value.name for value in node.outputs)
    return frozenset(found)


def _ends_in_tail(node: Node) -> bool:
    """Whether its kernel takes another step before it stores."""
    pointwise = node.op.kind <= OpKind.BROADCAST and hasattr(stages, node.op.name)
    return pointwise or isinstance(node.op, Anchor | Fused)


def _selects(node: Node, graph: Graph) -> bool:
    """Whether a node's elements are elements of its operands."""
    if isinstance(node.op, Interpolate):
        return node.op.repeats(graph.type_of(node.inputs[0])) is not None
    return isinstance(node.op, _SELECTING) or node.op.kind is OpKind.VIEW


def rounding(
    tail: Tail, exports: Sequence[int], node: Node, tf32: frozenset[str]
) -> tuple[Tail, tuple[int, ...], frozenset[str]]:
    """A node's tail with a step that rounds each stored value that is to be of tf32.

    What reads on from such a value inside of the kernel reads it rounded, as it is stored.

    Args:
        tail: Its steps.
        exports: Indices of the stored values, in the order of the node's outputs.
        node: The node.
        tf32: The values that are to be of tf32.

    Returns:
        The steps, the indices that the stored values have then, and which of them are rounded.
    """
    names = [value.name for value in node.outputs]
    steps, stored = list(tail), list(exports)
    found = tf32.intersection(names)
    for value in sorted({stored[names.index(name)] for name in found}, reverse=True):
        after = (replace(step, reads=_moved(step.reads, value)) for step in steps[value:])
        steps[value:] = [Stage(round_to_tf32, (value,), (), non_decreasing=True), *after]
        stored = [at + (at >= value) for at in stored]
    return tuple(steps), tuple(stored), found


def _moved(reads: tuple[Any, ...], value: int) -> tuple[Any, ...]:
    """What steps read behind one that is put after a value."""
    return tuple(read + (read >= value) if isinstance(read, int) else read for read in reads)


@dataclass(frozen=True)
class Tf32Product(Op):
    """A convolution or linear layer `op` of operands that are rounded to tf32 beforehand.

    What the rounding of operands in memory does to the result is known, as these are; an operand
    that stays in the kernel is off by its own error and half a unit more.
    """

    kind: ClassVar[OpKind] = OpKind.ANCHOR
    op: Op

    def infer(self, *inputs: TensorType) -> TensorType:
        """That of the op."""
        return self.op.infer(*inputs)

    def reference(self, *inputs: Array) -> Array:
        """That of the op, of operands as they are."""
        return self.op.reference(*inputs)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The op's, of rounded operands, and how far these take the result."""
        return self._of_rounded(self.op.error, inputs, errors, output, unit)

    def noise(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """Likewise."""
        return self._of_rounded(self.op.noise, inputs, errors, output, unit)

    def _of_rounded(
        self,
        rule: Rule,
        inputs: tuple[Array, ...],
        errors: tuple[Array, ...],
        output: Array,
        unit: float,
    ) -> Array:
        (x, weight, *bias), (slack, *rest) = inputs, errors
        if slack.any():
            slack = slack + TF32 * (np.abs(x) + slack) + UNDERFLOW
        else:
            x = tf32(x).astype(np.float64)
        taken = (x, tf32(weight).astype(np.float64), *bias)
        made = self.op.reference(*taken)
        bound: Array = np.abs(made - output) + rule(taken, (slack, *rest), made, unit)
        return bound
