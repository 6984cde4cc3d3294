"""Small random CNN graphs that use every operator, chosen by hypothesis or by a seed.

`graphs()` is a hypothesis strategy of valid graphs with weights, `Drawing` makes one from any
source of choices, and `inputs(graph, seed)` makes arrays to call it with. They hold what compilers
get wrong: residual adds (also of a value with itself), values with several readers, several
outputs, some of them read again inside, tied weights, dead ends, awkward channel counts, uneven
padding, partial last windows, 1x1 images.

Operators come from the samples of `tests.opinfo`, fitted to the values they are applied to; only
the structures that fusion is for are written out here.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from hypothesis import strategies as st

import graphcnn as gx
from graphcnn.errors import GraphCNNError
from graphcnn.frontend.expr import Call, Input, Tensor, Weight
from graphcnn.ir import DType, Graph, OpKind, TensorType
from tests import opinfo
from tests.opinfo import Sample

_CHANNELS = (1, 2, 3, 4, 5, 8, 13, 16, 17)
_SIZES = (1, 2, 3, 5, 6, 7, 8, 9, 11)
_LARGEST = 4096


@cache
def fitted(sample: Sample, type: TensorType) -> Sample | None:
    """The sample for a first operand of this type, if its op takes one.

    A size of a further operand that is also a size of the first one goes along with that.
    """
    first, *others = sample.shapes
    moves = dict.fromkeys(size for shape in others for size in shape)
    for size in moves:
        moves[size] = [n for n, own in zip(type.shape, first, strict=False) if own == size]
    choices = [itertools.product(*(dict.fromkeys([*moves[n], n]) for n in s)) for s in others]
    for shapes in itertools.product(*choices):
        found = replace(sample, shapes=(type.shape, *shapes))
        try:
            sample.op.infer(*found.types(type.dtype))
        except GraphCNNError:
            continue
        return found
    return None


@cache
def is_tame(sample: Sample) -> bool:
    """Floats stay floats, and finite ones finite in float32: negative ones, zero and positive ones,
    in all operands of the first one's shape, and large ones in the first."""
    if sample.choices or not sample.output().dtype.is_float:
        return False
    first, *others = sample.operands()
    with np.errstate(all="ignore"):
        made = [sample.op.reference(np.full(first.shape, n), *others) for n in (-1e30, 1e30)]
        for number in (-2.0, 0.0, 2.0):
            alike = (np.full(x.shape, number) if x.shape == first.shape else x for x in others)
            made.append(sample.op.reference(np.full(first.shape, number), *alike))
        made = np.float32(made)
    return bool(np.isfinite(made).all())


def inputs(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of the graph's input types, normal, rounded to their dtypes."""
    rng = np.random.default_rng(seed)
    return {v.name: v.type.dtype.round(rng.standard_normal(v.type.shape)) for v in graph.inputs}


@st.composite
def graphs(draw: st.DrawFn, *, max_steps: int = 8, dtypes: tuple[str, ...] = ("float32",)) -> Graph:
    """A valid graph of up to `max_steps` layers; a layer is one to six nodes."""
    return Drawing(lambda least, most: draw(st.integers(least, most)), dtypes).graph(max_steps)


class Drawing:
    """One graph being drawn: the values so far, and a generator of weights.

    Args:
        integer: The source of all choices: some integer from the first to the second, inclusive.
        dtypes: What to choose the graph's dtype from.
    """

    def __init__(self, integer: Callable[[int, int], int], dtypes: tuple[str, ...]) -> None:
        self.integer = integer
        self.dtype = self.pick(dtypes)
        # Weights come from a seed: hypothesis has nothing to shrink in their digits.
        self.rng = np.random.default_rng(integer(0, 2**16))
        self.values: list[Tensor] = []
        self.numbers = itertools.count()

    def graph(self, max_steps: int) -> Graph:
        sizes = self.image() if self.one_of(0, 1, 1, 1) else (self.one_of(*_SIZES),)
        shape = (self.one_of(1, 1, 2, 3), self.one_of(*_CHANNELS), *sizes)
        self.values.append(gx.input("image", shape, self.dtype))
        if self.chance():
            other = (shape[0], self.one_of(*_CHANNELS), *shape[2:])
            self.values.append(gx.input("second", other, self.dtype))
        for _ in range(self.integer(1, max_steps)):
            deeper = self.chance()
            self.values.append(self.layer(self.values[-1] if deeper else self.pick(self.values)))
        returned = [self.values[-1]]
        if self.chance():
            made = [v for v in self.values[:-1] if not isinstance(v, Input)]
            returned += dict.fromkeys(self.some(made))
        return gx.graph("drawn", returned)

    def layer(self, x: Tensor) -> Tensor:
        """Some layer that accepts x."""
        steps = [self.sampled] * 6
        steps += [self.activation, self.arithmetic, self.concat, self.flatten, self.part]
        steps += [self.layer_norm] if x.shape else []
        if len(x.shape) == 2:
            steps += [self.linear, self.linear, self.linear, self.to_maps]
        if len(x.shape) == 3:
            steps += [self.linear] + [self.window] * 8
        if len(x.shape) == 4:
            steps += [self.block] * 5
            steps += [self.conv2d, self.pool, self.pool, self.gate, self.global_pool, self.to_maps]
            steps += [self.pixels]
            steps += [
                self.residual,
                self.residual,
                self.shared,
                self.recurrent,
                self.head,
                self.head,
            ]
        return self.pick(steps)(x)

    # Choices

    def pick(self, items):
        return items[self.integer(0, len(items) - 1)]

    def some(self, items):
        """Up to two of them, not always different ones."""
        return [self.pick(items) for _ in range(self.integer(0, 2) if items else 0)]

    def one_of(self, *items: int) -> int:
        return self.pick(items)

    def chance(self) -> bool:
        return bool(self.integer(0, 1))

    def image(self) -> tuple[int, int]:
        return self.one_of(*_SIZES), self.one_of(*_SIZES)

    def pair(self, *items: int) -> tuple[int, int]:
        return self.one_of(*items), self.one_of(*items)

    def name(self, stem: str) -> str | None:
        """Now and then a name of the user's choice."""
        return f"{stem}.{next(self.numbers)}" if self.one_of(0, 0, 0, 1) else None

    def weight(self, *shape: int) -> np.ndarray:
        fan_in = max(1, int(np.prod(shape[1:])))
        data = self.rng.standard_normal(shape) * np.sqrt(2 / fan_in)
        return DType.of(self.dtype).round(data)

    def vector(self, size: int) -> np.ndarray:
        return DType.of(self.dtype).round(self.rng.uniform(0.5, 1.5, size))

    # Operators

    def sampled(self, x: Tensor, kind: OpKind | None = None) -> Tensor:
        """Some operator of the table, or of one kind of them, applied to x."""
        kinds = [*dict.fromkeys(info.samples[0].op.kind for info in opinfo.INFO.values())]
        kinds += [OpKind.ELEMENTWISE] * 3 + [OpKind.BROADCAST]  # which most operators are of
        for _ in range(8):
            chosen = self.pick(kinds) if kind is None else kind
            table = [i for i in opinfo.INFO.values() if i.samples[0].op.kind is chosen]
            found = fitted(self.pick(self.pick(table).samples), x.type)
            if found and found.output(x.dtype).size <= _LARGEST and self.accepts(found):
                return self.applied(found, x)
        return gx.relu(x)

    def window(self, x: Tensor) -> Tensor:
        """A convolution or a pool of the table."""
        return self.sampled(x, self.pick((OpKind.ANCHOR, OpKind.WINDOW)))

    def accepts(self, sample: Sample) -> bool:
        """Whether these graphs hold such a sample."""
        return is_tame(sample)

    def applied(self, sample: Sample, x: Tensor) -> Tensor:
        """The sample's op on x, and on values alike or new weights."""
        operands = [x]
        arrays = sample.operands(self.integer(0, 2**16))[1:]
        for array, type in zip(arrays, sample.types(x.dtype)[1:], strict=True):
            alike = [value for value in self.values if value.type == type == x.type]
            if alike and self.chance():
                operands.append(self.pick(alike))
            else:
                data = type.dtype.round(array / np.sqrt(max(1, np.prod(type.shape[1:]))))
                operands.append(Weight(type, None, data, data))
        return Call(sample.op, operands, ("input",), self.name(sample.op.name))

    # Layers

    def block(self, x: Tensor) -> Tensor:
        """conv [+ constant] [+ batch norm] [+ residual] [+ activation] [+ pool]: what fusion is
        for."""
        conv = self.conv2d(x)
        h = conv + self.vector(conv.shape[1]).reshape(-1, 1, 1) if self.chance() else conv
        h = self.batch_norm(h) if self.chance() else h
        if self.chance():
            same = [v for v in self.values if v.shape == h.shape and v is not h]
            h = self.sum_of(h, self.pick(same)) if same else h
        if self.chance():
            h = self.activation(h)
        if self.chance() and min(h.shape[2:]) >= 2:
            if self.chance():
                self.values.append(h)
            h = self.pick((gx.max_pool2d, gx.avg_pool2d))(h, 2)
        return h

    def conv2d(self, x: Tensor) -> Tensor:
        if x.shape[1] * x.shape[2] * x.shape[3] > _LARGEST:
            return self.global_pool(x)
        channels = x.shape[1]
        groups = self.one_of(1, 1, 1, channels)
        if channels % 2 == 0 and self.chance():
            groups = 2
        filters = groups * self.one_of(1, 2) if groups > 1 else self.one_of(*_CHANNELS, channels)
        same = self.chance()
        kernel = self.pair(1, 3) if same else self.pair(1, 1, 2, 3, 5)
        stride = (1, 1) if same else self.pair(1, 1, 2, 3)
        dilation = (1, 1) if same else self.pair(1, 1, 2)
        padding = (
            (kernel[0] // 2, kernel[1] // 2) * 2 if same else (*self.pair(0, 1), *self.pair(0, 2))
        )
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        lacks = [spans[i] - x.shape[2 + i] - padding[i] - padding[i + 2] for i in (0, 1)]
        padding = (*padding[:2], *(padding[2 + i] + max(0, lacks[i]) for i in (0, 1)))
        weight = self.weight(filters, channels // groups, *kernel)
        bias = self.vector(filters) - 1 if self.chance() else None
        name = self.name("conv")
        return gx.conv2d(x, weight, bias, stride, padding, dilation, groups, name=name)

    def residual(self, x: Tensor) -> Tensor:
        """ResNet's basic block: conv [bn] act conv [bn] + x, act."""
        if x.shape[1] * x.shape[2] * x.shape[3] > _LARGEST:
            return self.global_pool(x)
        h = x
        for last in (False, True):
            h = gx.conv2d(h, self.weight(x.shape[1], x.shape[1], 3, 3), padding=1)
            h = self.batch_norm(h) if self.chance() else h
            h = self.activation(self.sum_of(h, x) if last else h)
        return h

    def shared(self, x: Tensor) -> Tensor:
        """Two convolutions that read one value, added: both write, one is the other's residual."""
        if x.shape[1] * x.shape[2] * x.shape[3] > _LARGEST:
            return self.global_pool(x)
        filters = self.one_of(1, 4, 7)
        left = gx.conv2d(x, self.weight(filters, x.shape[1], 3, 3), padding=1)
        right = gx.conv2d(x, self.weight(filters, x.shape[1], 1, 1), self.vector(filters))
        return gx.relu(left + right)

    def recurrent(self, x: Tensor) -> Tensor:
        """One convolution applied twice: two nodes read one parameter."""
        if x.shape[1] * x.shape[2] * x.shape[3] > _LARGEST:
            return self.global_pool(x)
        weight, bias = self.weight(x.shape[1], x.shape[1], 3, 1), self.vector(x.shape[1])
        padding = (1, 0)
        h = gx.conv2d(gx.relu(gx.conv2d(x, weight, bias, padding=padding)), weight, padding=padding)
        return h + x if self.chance() else h

    def head(self, x: Tensor) -> Tensor:
        """A classifier: [global pool,] flatten, linear, activation."""
        h = gx.flatten(x if x.type.size < _LARGEST and self.chance() else self.global_pool(x))
        return self.activation(self.linear(h))

    def activation(self, x: Tensor) -> Tensor:
        return gx.relu(x) if self.chance() else self.sampled(x, OpKind.ELEMENTWISE)

    def pool(self, x: Tensor) -> Tensor:
        function = self.pick((gx.max_pool2d, gx.avg_pool2d))
        kernel = tuple(min(self.one_of(1, 2, 2, 3), size) for size in x.shape[2:])
        stride = kernel if self.chance() else self.pair(1, 2, 3)
        padding = tuple(self.integer(0, k - 1) for k in (*kernel, *kernel))
        options = {"padding": padding, "ceil_mode": self.chance()}
        if function is gx.avg_pool2d:
            options["count_include_pad"] = self.chance()
        elif min(x.shape[2:]) >= 5 and max(kernel) <= 2:
            options["dilation"] = self.pair(1, 2)
        if self.chance():
            # What a pass may move into the pool's own padding.
            x = gx.pad(x, padding, value=-np.inf if function is gx.max_pool2d else 0.0)
            options |= {"padding": (0, 0, 0, 0), "ceil_mode": False}
        return function(x, kernel, stride, name=self.name("pool"), **options)

    def global_pool(self, x: Tensor) -> Tensor:
        return gx.global_avg_pool2d(x, name=self.name("mean"))

    def batch_norm(self, x: Tensor) -> Tensor:
        size = x.shape[1]
        affine = (self.vector(size), self.vector(size) - 1) if self.chance() else ()
        return gx.batch_norm(x, self.vector(size) - 1, self.vector(size), *affine)

    def layer_norm(self, x: Tensor) -> Tensor:
        """Over some of the last dimensions, of sizes that no sample may have."""
        return gx.layer_norm(x, x.shape[-self.integer(1, len(x.shape)) :], eps=0.1)

    def gate(self, x: Tensor) -> Tensor:
        """Squeeze and excite: x times a number in [0, 1] per channel."""
        weight = self.weight(x.shape[1], x.shape[1], 1, 1)
        gate = gx.sigmoid(gx.conv2d(gx.global_avg_pool2d(x), weight))
        return x * (gate.expand(-1, -1, *x.shape[2:]) if self.chance() else gate)

    def sum_of(self, x: Tensor, other: Tensor) -> Tensor:
        return x + other if self.chance() else gx.add(other, x, name=self.name("sum"))

    def arithmetic(self, x: Tensor) -> Tensor:
        kind = self.one_of(0, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9)
        if kind == 0:
            return self.sum_of(x, self.pick([v for v in self.values if v.shape == x.shape]))
        if kind == 1:
            return x + x
        if kind == 2:
            return x * self.pick((0.0, 1.0, -0.5, 2.0))
        if kind == 3 and len(x.shape) == 4:
            return x * self.vector(x.shape[1]).reshape(-1, 1, 1)
        if kind == 4:
            # A neutral array: for each sample, which fixes the batch size, or for all.
            neutral = np.zeros(x.shape if self.chance() else (1, *x.shape[1:]))
            return x + neutral if self.chance() else x * (neutral + 1)
        if kind == 5:
            return x + self.pick((0.0, 1.0, -0.5))
        if kind == 6:
            # The value second; a divisor of 1 to 2.
            function = self.pick((gx.sub, gx.minimum, gx.maximum))
            return function(self.pick((0.0, 1.0, -0.5)), gx.div(x, gx.sigmoid(x) + 1.0))
        if kind == 7:
            function, number = self.pick((gx.sub, gx.div)), self.pick((0.0, 1.0, -0.5))
            return function(x, number or 1.0)
        if kind == 8:
            return (gx.sigmoid(x) + 1.0) ** gx.tanh(x)
        return x * gx.tanh(x)

    def concat(self, x: Tensor) -> Tensor:
        near = [
            v
            for v in self.values
            if len(v.shape) == len(x.shape) >= 2
            and (v.shape[0], *v.shape[2:]) == (x.shape[0], *x.shape[2:])
        ]
        if len(x.shape) < 2 or 2 * x.type.size > _LARGEST:
            return gx.relu(x)
        return gx.concat([x, *self.some(near)])

    def part(self, x: Tensor) -> Tensor:
        """Some elements, by brackets: of each dimension but the first a slice, or one; perhaps
        another dimension."""
        keys: list[object] = [slice(None)] * min(1, len(x.shape))
        for size in x.shape[1:]:
            first = self.integer(0, size - 1)
            some = slice(first, None, self.one_of(1, 1, 2)) if self.chance() else slice(None)
            keys.append(self.pick((first, some, some)) if len(x.shape) > 3 else some)
        if len(x.shape) < 4 and self.chance():
            keys.insert(self.integer(min(1, len(x.shape)), len(keys)), None)
        return x[tuple(keys)]

    def pixels(self, x: Tensor) -> Tensor:
        """Channels as pixels or the other way round, where they are even."""
        if x.shape[1] % 4 == 0 and self.chance():
            return gx.pixel_shuffle(x, 2, name=self.name("pixels"))
        if x.shape[2] % 2 or x.shape[3] % 2:
            return gx.unsqueeze(gx.squeeze(self.global_pool(x), 2), 2)
        return gx.pixel_unshuffle(x, 2, name=self.name("pixels"))

    def flatten(self, x: Tensor) -> Tensor:
        if not x.shape:
            return self.reshape(x, (1,))
        if len(x.shape) >= 2 and self.chance():
            return self.reshape(x, (x.shape[0], x.type.size // x.shape[0]))
        return gx.flatten(x, self.one_of(0, 1, 1, 1) if len(x.shape) >= 2 else 0)

    def to_maps(self, x: Tensor) -> Tensor:
        """Maps of one dimension or two."""
        if len(x.shape) == 4:
            return self.reshape(x, (*x.shape[:2], x.shape[2] * x.shape[3]))
        features = x.shape[1]
        divisor = self.pick([d for d in (1, 2, 3, 4) if features % d == 0])
        sizes = (features // divisor, 1) if self.chance() else (features // divisor,)
        return self.reshape(x, (x.shape[0], divisor, *sizes))

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Some size, or none, is inferred; only the first one leaves the batch size open."""
        inferred = self.one_of(0, 0, 1, len(shape))
        return gx.reshape(x, tuple(-1 if i == inferred else n for i, n in enumerate(shape)))

    def linear(self, x: Tensor) -> Tensor:
        features = self.one_of(*_CHANNELS)
        bias = self.vector(features) - 1 if self.chance() else None
        return gx.linear(x, self.weight(features, x.shape[-1]), bias, name=self.name("fc"))
