"""Drawn groups: an anchor, perhaps with a head, then any steps, any of their values exported."""

import random

import numpy as np

import graphcnn as gx
from graphcnn.errors import GraphCNNError
from graphcnn.frontend.expr import Tensor
from graphcnn.ir import Graph, Refusal, outline
from graphcnn.targets.chain import chain_of
from tests.strategies import Drawing


def supports(body: Graph) -> Refusal | None:
    """Why no kernel computes a group, whatever it would cost, or None."""
    chain = chain_of(body)
    return chain if isinstance(chain, Refusal) else None


def drawn_group(seed: int, dtype: str, batch: int) -> Graph:
    """A graph of one group, which no target has been asked about, and of what it reads."""
    group = _Group(random.Random(seed).randint, (dtype,))
    return group.graph(group.anchor(batch))


def drawn_separable(seed: int, dtype: str, batch: int) -> Graph:
    """The same with a depthwise convolution, and steps, in front of a 1x1 one."""
    group = _Group(random.Random(seed).randint, (dtype,))
    return group.graph(group.separable(batch))


def drawn_flattened(seed: int, dtype: str, batch: int) -> Graph:
    """The same with a linear layer, and a flatten of maps, or of a part of them, in front of it."""
    group = _Group(random.Random(seed).randint, (dtype,))
    return group.graph(group.flattened(batch))


class _Group(Drawing):
    def graph(self, anchor: Tensor) -> Graph:
        """What reads an anchor; the group starts at the node of that name."""
        chain = [anchor]
        for _ in range(self.one_of(0, 1, 2, 3, 4, 6, 12)):
            x = chain[-1] if self.one_of(0, 1, 1) else self.pick(chain)
            chain.append(self.step(x, chain))
        read = {id(operand) for value in chain[1:] for operand in value.operands}
        left = [
            v for v in chain if v is chain[-1] or id(v) not in read or self.one_of(*range(6)) == 0
        ]
        graph = gx.graph("drawn", left)
        inside = ["anchor"]
        for node in graph.nodes:
            if not set(inside).isdisjoint(node.inputs):
                inside.append(node.name)
        before = tuple(node for node in graph.nodes if node.name not in inside)
        members = tuple(node for node in graph.nodes if node.name in inside)
        return graph.replace(nodes=(*before, outline(members, graph.outputs, graph)))

    def anchor(self, batch: int) -> Tensor:
        channels, sizes = self.one_of(1, 3, 8, 16), self.pair(1, 4, 7, 8)
        kind = self.one_of(1, 2, 2, 2, 2, 12, 13, 14)
        if kind > 2:  # a linear layer
            middle = tuple(self.one_of(1, 2, 3) for _ in range(kind - 12))
            x = self.source((batch, *middle, channels))
            weight = self.weight(self.one_of(1, 5, 16), channels)
            return gx.linear(x, weight, self.bias(weight), name="anchor")
        groups = self.one_of(1, 1, channels)
        per_group = channels // groups
        taps = tuple(self.one_of(1, 3) for _ in range(kind))
        weight = self.weight(groups * self.one_of(1, 2, 8), per_group, *taps)
        x = self.source((batch, channels, *sizes[:kind]))
        options = {"padding": 1, "groups": groups, "name": "anchor"}
        options |= {"stride": self.one_of(1, 1, 2), "dilation": self.one_of(1, 1, 2)}
        try:
            return (gx.conv1d, gx.conv2d)[kind - 1](x, weight, self.bias(weight), **options)
        except GraphCNNError:
            return self.anchor(batch)

    def separable(self, batch: int) -> Tensor:
        channels, sizes = self.one_of(3, 8, 40), self.pair(4, 7, 8)
        kind = self.one_of(1, 2, 2)
        taps = tuple(self.one_of(1, 2, 3) for _ in range(kind))
        x, depthwise = (
            self.source((batch, channels, *sizes[:kind])),
            self.weight(channels, 1, *taps),
        )
        options = {"padding": self.one_of(1, 2), "groups": channels, "name": "anchor"}
        options |= {"stride": self.one_of(1, 1, 2), "dilation": self.one_of(1, 1, 2)}
        conv = (gx.conv1d, gx.conv2d)[kind - 1]
        head = [conv(x, depthwise, self.bias(depthwise), **options)]
        for _ in range(self.one_of(0, 1, 1, 2, 3)):
            head.append(self.step(head[-1], head))
        weight = self.weight(self.one_of(5, 16, 40), channels, *(1,) * kind)
        return conv(head[-1], weight, self.bias(weight))

    def flattened(self, batch: int) -> Tensor:
        kind, channels, sizes = self.one_of(1, 2, 2), self.one_of(2, 3, 8), self.pair(1, 4, 7)
        maps = self.source((batch, channels, *sizes[:kind]))
        maps = self.pick((maps, maps[:, 1:], maps[..., :2], gx.transpose(maps, 1, 2)))
        rows = gx.flatten(maps, name="anchor")
        weight = self.weight(self.one_of(1, 5, 16), rows.shape[1])
        return gx.linear(rows, weight, self.bias(weight))

    def bias(self, weight: np.ndarray) -> np.ndarray | None:
        return self.vector(weight.shape[0]) if self.chance() else None

    def source(self, shape: tuple[int, ...]) -> Tensor:
        """An input, or a value that a kernel before this one computes."""
        x = gx.input(f"input.{next(self.numbers)}", shape, self.dtype)
        return x if self.chance() else gx.relu(x)

    def step(self, x: Tensor, chain: list[Tensor]) -> Tensor:
        kind = self.one_of(0, 0, 0, 1, 1, 1, 2, 3)
        if kind == 1:
            other = self.operand(x, chain)
            if isinstance(other, Tensor) and self.chance():
                x, other = other, x
            return self.pick((gx.add, gx.mul))(x, other)
        if kind == 2:
            return self.batch_norm(x)
        if kind == 3 and len(x.shape) in (3, 4):
            try:
                return self.pooled(x)
            except GraphCNNError:
                pass  # the window is larger than the image
        slope = self.one_of(-2, 0, 1) / 4
        others = (gx.sigmoid, gx.tanh, gx.silu, gx.hardswish, gx.gelu)
        unary = self.pick((gx.relu, lambda v: gx.leaky_relu(v, slope), *others))
        return unary(x)

    def pooled(self, x: Tensor) -> Tensor:
        rank = len(x.shape) - 2
        max_pool = (gx.max_pool1d, gx.max_pool2d)[rank - 1]
        avg_pool = (gx.avg_pool1d, gx.avg_pool2d)[rank - 1]
        kernel = tuple(self.one_of(1, 2, 2, 2, 4, 3) for _ in range(rank))
        return self.pick((max_pool, avg_pool))(x, kernel)

    def operand(self, x: Tensor, chain: list[Tensor]) -> Tensor | np.ndarray | float:
        """One that broadcasts to x: of the chain, of a kernel before it, a constant, a number."""
        alike = [value for value in chain if value.shape == x.shape]
        shapes = {
            "full": x.shape,
            "channels": (1, x.shape[1], *(1 for _ in x.shape[2:])),
            "channels of each sample": (*x.shape[:2], *(1 for _ in x.shape[2:])),
            "one of each sample": (x.shape[0], *(1 for _ in x.shape[1:])),
            "last": x.shape[-1:],
            "without a batch": x.shape[1:],
            "some": tuple(size if self.chance() else 1 for size in x.shape),
        }
        shape = shapes[self.pick(tuple(shapes))]
        kind = self.one_of(0, 0, 1, 1, 1, 2, 2, 3)
        if kind == 0:
            return self.pick(alike)
        if kind == 1:
            return self.source(shape)
        return self.weight(*shape) if kind == 2 else self.one_of(-1, 0, 2) / 2
