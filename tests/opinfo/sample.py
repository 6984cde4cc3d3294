"""A row of the table of operators, and the parts that several families make theirs of."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F

from graphcnn import errors, ops
from graphcnn.ir import DType, Graph, Node, Op, Param, TensorType, Value
from graphcnn.ops import elementary

FLOATS = (DType.F16, DType.BF16, DType.F32, DType.F64)
INTEGERS = (DType.I32,)
_ON_POSITIVES = (
    elementary.Log(),
    elementary.Sqrt(),
    elementary.Rsqrt(),
    elementary.Pow(0.3),
    elementary.Pow(-1.0),
)
NO_FLOATS = errors.DTypeMismatch, "floating point", INTEGERS


@dataclass(frozen=True)
class Sample:
    op: Op
    shapes: tuple[tuple[int, ...], ...]
    macs: int = 0
    # Of operands of whole numbers, by position: how many each is one of. The others hold floats.
    choices: dict[int, int] = field(default_factory=dict, hash=False)

    def __str__(self):
        return f"{self.op}-{'-'.join('x'.join(map(str, shape)) for shape in self.shapes)}"

    def types(self, dtype=DType.F32):
        return tuple(
            TensorType(shape, DType.I64 if place in self.choices else dtype)
            for place, shape in enumerate(self.shapes)
        )

    def output(self, dtype=DType.F32):
        return self.op.infer(*self.types(dtype))

    def operands(self, seed=0, dtype=DType.F64):
        """Operands that are exact in `dtype`, as float64."""
        rng = np.random.default_rng(seed)
        drawn = [2 * rng.standard_normal(shape) for shape in self.shapes]
        if self.op.name == "batch_norm":
            drawn[2] = rng.uniform(0.5, 1.5, self.shapes[2])
        if isinstance(self.op, ops.Comparison):  # so that some are equal
            drawn = [np.sign(np.round(array)) * (array.size > 3) for array in drawn]
        if isinstance(self.op, ops.Where):
            drawn[0] = np.round(drawn[0] / 2)
        if self.op == ops.Power():
            drawn[0] = 0.5 + np.abs(drawn[0]) % 1
        if self.op in _ON_POSITIVES:
            drawn = [0.5 + np.abs(array) for array in drawn]
        for place, count in self.choices.items():
            drawn[place] = rng.integers(0, count, self.shapes[place])
        types = self.types(dtype)
        return [
            type.dtype.round(array).astype(np.float64)
            for type, array in zip(types, drawn, strict=True)
        ]

    def graph(self, dtype=DType.F32):
        """A graph of this op alone; the first operand is an input and the others are params."""
        values = tuple(Value(f"v{i}", type) for i, type in enumerate(self.types(dtype)))
        params = tuple(Param(value.name, value.type) for value in values[1:])
        node = Node("y", self.op, tuple(v.name for v in values), (Value("y", self.output(dtype)),))
        return Graph("sample", values[:1], params, (node,), ("y",))


@dataclass(frozen=True)
class Bad:
    make: Callable[[], Op]
    shapes: tuple[tuple[int, ...], ...]
    error: type[errors.GraphCNNError]
    says: str
    dtypes: tuple[DType, ...] = ()

    def raise_error(self):
        dtypes = self.dtypes or (DType.F32,) * len(self.shapes)
        types = [TensorType(*pair) for pair in zip(self.shapes, dtypes, strict=True)]
        return self.make().infer(*types)


@dataclass(frozen=True)
class OpInfo:
    torch: Callable[..., torch.Tensor]
    samples: tuple[Sample, ...]
    bad: tuple[Bad, ...]


def padded(x, padding, value=0.0, mode="constant"):
    sides = np.reshape(padding, (2, -1))[:, ::-1].T.ravel().tolist()
    return F.pad(x, sides, mode, value if mode == "constant" else None)


def unary(function):
    return lambda op, x: function(x)


def pointwise(*classes):
    shapes = ((2, 3, 5, 4), (1, 7), (1, 1, 1, 1), (6,), ())
    return tuple(Sample(op, (shape,)) for op in classes for shape in shapes)


def only_floats(op):
    return Bad(op, ((2, 3),), errors.DTypeMismatch, "floating point", INTEGERS)


def simple(function, op):
    """The row of a function of one element without attributes."""
    return OpInfo(unary(function), pointwise(op()), (only_floats(op),))
