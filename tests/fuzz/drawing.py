"""Random graphs with every attribute, operand and number that the operators accept.

They hold what `tests.strategies` avoids: values that are not finite, computed weights, constants
that only params reach, ranks other than four, attributes at the edge of their range, params without
data, inputs and params that are returned.
"""

import random
from dataclasses import replace

import numpy as np

import graphcnn as gx
from graphcnn.errors import GraphCNNError
from graphcnn.frontend.expr import Tensor
from graphcnn.ir import DType, Graph
from tests.opinfo import Sample
from tests.strategies import Drawing

DTYPES = ("float64", "float64", "float32", "float16", "bfloat16")
INFINITY = float("inf")


def drawn(seed: int, dtypes: tuple[str, ...] = DTYPES) -> Graph:
    """The graph of a seed: half of them tame, as in `tests.strategies`, half of them wild."""
    integer = random.Random(seed).randint
    return (Drawing, Wild)[seed % 2](integer, dtypes).graph(max_steps=8)


def arrays(graph: Graph, seed: int, *, special: bool) -> dict[str, np.ndarray]:
    """An array per input, in its dtype; now and then with infinities, NaN, zeros and extremes."""
    rng = np.random.default_rng(seed)
    return {
        value.name: value.type.dtype.round(_numbers(rng, value.type.shape, special))
        for value in graph.inputs
    }


def _numbers(rng: np.random.Generator, shape: tuple[int, ...], special: bool) -> np.ndarray:
    numbers = rng.standard_normal(shape)
    if special and rng.integers(2):
        extremes = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 6e-8, 1e4, -30.0, 100.0)
        chosen = rng.choice(extremes, shape)
        numbers = np.where(rng.random(shape) < rng.choice((0.02, 0.3, 1.0)), chosen, numbers)
    return numbers


class Wild(Drawing):
    """A drawing that also applies any operator with any attribute to any value."""

    def graph(self, max_steps: int) -> Graph:
        shape = tuple(self.one_of(1, 1, 2, 3, 4) for _ in range(self.one_of(0, 1, 2, 3, 4, 4, 5)))
        self.values.append(gx.input("first", shape, self.dtype))
        graph = super().graph(max_steps)
        if self.one_of(*range(8)) == 0:
            sources = tuple(source.name for source in graph.sources)
            graph = graph.replace(outputs=(*graph.outputs, self.pick(sources)))
        return graph

    def layer(self, x: Tensor) -> Tensor:
        for _ in range(8):
            try:
                if self.chance():
                    made = super().layer(x)
                else:
                    made = self.pick(self.OPERATORS)(self, self.pick((x, *self.values)))
            except GraphCNNError:
                continue  # this operator does not accept this value; many do not
            if made.type.size <= 4096:
                return made
        return gx.relu(x)

    # Numbers

    def weight(self, *shape: int) -> np.ndarray:
        data = super().weight(*shape)
        kind = self.one_of(*range(12))
        scale = {0: 0.0, 1: 1e-8, 2: 1e-6, 3: 300.0, 4: 2.0**-24}.get(kind, 1.0)
        return DType.of(self.dtype).round(data * scale)

    def operand(self, *shape: int) -> Tensor | np.ndarray:
        """A weight: an array, a param without data, or a value that the graph computes."""
        fitting = [value for value in self.values if value.shape == shape]
        kind = self.one_of(*range(16))
        if kind == 0:
            return gx.param(f"p.{next(self.numbers)}", shape, self.dtype)
        if kind < 4 and fitting:
            return self.pick(fitting)
        return self.weight(*shape)

    def number(self) -> float:
        return self.pick((0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 1e-8, 1e-3, 3.7, 6e4))

    def sides(self, most: int) -> tuple[int, ...]:
        return tuple(self.integer(0, most) for _ in range(4))

    # Operators

    def any_conv2d(self, x: Tensor) -> Tensor:
        channels = x.shape[1] if len(x.shape) == 4 else 1
        groups = self.pick([g for g in range(1, channels + 1) if channels % g == 0])
        filters = groups * self.integer(1, 3)
        kernel, stride, dilation = self.pair(1, 1, 2, 3, 4), self.pair(1, 2, 3, 5), self.pair(1, 3)
        return gx.conv2d(
            x,
            self.operand(filters, channels // groups, *kernel),
            self.operand(filters) if self.chance() else None,
            stride,
            self.sides(5),
            dilation,
            groups,
        )

    def any_linear(self, x: Tensor) -> Tensor:
        features = self.integer(1, 5)
        bias = self.operand(features) if self.chance() else None
        return gx.linear(x, self.operand(features, *x.shape[-1:]), bias)

    def any_pool(self, x: Tensor) -> Tensor:
        kernel, stride = self.pair(1, 2, 3, 4, 5), self.pair(1, 2, 3, 7)
        if self.chance():
            options = {"dilation": self.pair(1, 2, 3), "ceil_mode": self.chance()}
            return gx.max_pool2d(x, kernel, stride, self.sides(3), **options)
        flags = self.chance(), self.chance()
        return gx.avg_pool2d(x, kernel, stride, self.sides(3), *flags)

    def any_batch_norm(self, x: Tensor) -> Tensor:
        size = x.shape[1:2]
        mean, gamma, beta = (self.operand(*size) for _ in range(3))
        variance = np.abs(self.weight(*size))
        return gx.batch_norm(x, mean, variance, gamma, beta, self.pick((1e-5, 1e-3, 0.1, 5.0)))

    def accepts(self, sample: Sample) -> bool:
        return not sample.choices and sample.output().dtype.is_float

    def applied(self, sample: Sample, x: Tensor) -> Tensor:
        """With other numbers for attributes, now and then."""
        if self.chance():
            for name, value in vars(sample.op).items():
                if type(value) in (int, float):
                    drawn = self.number() if type(value) is float else self.integer(0, 4)
                    sample = replace(sample, op=replace(sample.op, **{name: drawn}))
        return super().applied(sample, x)

    def any_arithmetic(self, x: Tensor) -> Tensor:
        function = self.pick((gx.add, gx.sub, gx.mul, gx.div, gx.power, gx.minimum, gx.maximum))
        kind = self.integer(0, 3)
        if kind == 0:
            number = self.number()
            return function(number, x) if self.chance() else function(x, number)
        if kind == 1:
            return function(x, self.pick(self.values))
        shape = [self.pick((1, size)) for size in x.shape]
        other = self.operand(*shape[self.integer(0, len(shape)) :])
        return function(other, x) if self.chance() else function(x, other)

    def any_constant(self, x: Tensor) -> Tensor:
        """What no input reaches: an operator on params only."""
        values, self.values = self.values, [gx.param(f"c.{next(self.numbers)}", x.shape, x.dtype)]
        constant = self.activation(self.values[0] * self.weight(*x.shape[-1:]))
        self.values = values
        return self.pick((gx.add, gx.div, gx.maximum))(x, constant)

    def any_shape(self, x: Tensor) -> Tensor:
        kind = self.integer(0, 7)
        if kind == 0:
            return gx.flatten(x, self.integer(-2, 4))
        if kind == 1:
            return gx.concat([x, *self.some(self.values)], self.integer(-2, 4))
        if kind == 2:
            mode = self.pick(("constant", "reflect", "replicate", "circular"))
            value = self.pick((0.0, INFINITY, -INFINITY, self.number()))
            return gx.pad(x, self.sides(2), mode, value if mode == "constant" else 0.0)
        if kind == 3:
            ends = (self.integer(-5, 4), self.integer(-4, 5), self.integer(1, 3))
            return gx.slice(x, self.integer(-2, 3), *ends)
        if kind == 4:
            sizes = [self.integer(1, 4) if size == 1 else -1 for size in x.shape]
            return gx.expand(gx.roll(x, self.integer(-5, 5), self.integer(-2, 3)), tuple(sizes))
        if kind == 5:
            return gx.permute(x, self.rng.permutation(len(x.shape)).tolist())
        sizes = list(x.shape)
        if kind == 6 and sizes:
            sizes[self.integer(0, len(sizes) - 1)] = -1
        self.rng.shuffle(sizes)
        if len(sizes) > 1 and self.chance():
            sizes[-2:] = [-1 if -1 in sizes[-2:] else sizes[-2] * sizes[-1]]
        return gx.reshape(x, tuple(int(size) for size in sizes))

    OPERATORS = (
        any_conv2d,
        any_linear,
        any_pool,
        any_batch_norm,
        *(Drawing.sampled,) * 3,
        any_arithmetic,
        any_constant,
        any_shape,
    )
