"""One table of samples, good and bad, for every operator; it drives every test of an op.

A `Sample` is an op with operand shapes, and `INFO[name].torch` computes the same in PyTorch. A
`Bad` is a way to make an op, which has to be refused there or by `infer`, with the error and a
part of its text.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F

from graphcnn import errors, ops
from graphcnn.ir import DType, Graph, Node, Op, Param, TensorType, Value
from graphcnn.ops import activation, elementary, linear_units, steps

_ON_POSITIVES = (
    elementary.Log(),
    elementary.Sqrt(),
    elementary.Rsqrt(),
    elementary.Pow(0.3),
    elementary.Pow(-1.0),
)
FLOATS = (DType.F16, DType.BF16, DType.F32, DType.F64)


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


def _padded(x, padding, value=0.0, mode="constant"):
    sides = np.reshape(padding, (2, -1))[:, ::-1].T.ravel().tolist()
    return F.pad(x, sides, mode, value if mode == "constant" else None)


def _conv(op, x, weight, bias=None):
    x = _padded(x, op.padding)
    return getattr(F, op.name)(x, weight, bias, op.stride, 0, op.dilation, op.groups)


def _conv_transpose(op, x, weight, bias=None):
    options = (op.stride, op.padding, op.output_padding, op.groups, op.dilation)
    return getattr(F, op.name)(x, weight, bias, *options)


def _max_pool(op, x):
    pool, before = getattr(F, op.name), op.padding[: op.rank]
    # Infinite padding changes what ceil_mode keeps, so symmetric padding is left to torch.
    if before == op.padding[op.rank :]:
        return pool(x, op.kernel_size, op.stride, before, op.dilation, op.ceil_mode)
    x = _padded(x, op.padding, -torch.inf)
    return pool(x, op.kernel_size, op.stride, 0, op.dilation)


def _avg_pool(op, x):
    pool, before = getattr(F, op.name), op.padding[: op.rank]
    if before == op.padding[op.rank :]:
        return pool(x, op.kernel_size, op.stride, before, op.ceil_mode, op.count_include_pad)
    means = pool(_padded(x, op.padding), op.kernel_size, op.stride)
    if op.count_include_pad:
        return means
    inside = _padded(torch.ones_like(x), op.padding)
    return means / pool(inside, op.kernel_size, op.stride)


def _batch_norm(op, x, mean, var, weight, bias):
    return F.batch_norm(x, mean, var, weight, bias, eps=op.eps)


def _unary(function):
    return lambda op, x: function(x)


def _biased(*args, **attributes):
    """Sample of a convolution with a bias: (x, weight), macs, attributes."""
    (x, weight), macs = args
    op = {3: ops.Conv1d, 4: ops.Conv2d}[len(x)]
    return Sample(op(**attributes), (x, weight, weight[:1]), macs)


def _transposed(make, shapes, macs, **attributes):
    """Likewise of a transposed convolution, whose filters are the weight's second dimension."""
    op = make(**attributes)
    return Sample(op, (*shapes, (shapes[1][1] * op.groups,)), macs)


def _pointwise(*classes):
    shapes = ((2, 3, 5, 4), (1, 7), (1, 1, 1, 1), (6,), ())
    return tuple(Sample(op, (shape,)) for op in classes for shape in shapes)


_TWO_OPERANDS = (Bad(activation.Relu, ((2,), (2,)), errors.InvalidGraph, "reads input"),)
_INTEGERS = (DType.I32,)


_NO_FLOATS = errors.DTypeMismatch, "floating point", _INTEGERS


def _only_floats(op):
    return Bad(op, ((2, 3),), errors.DTypeMismatch, "floating point", _INTEGERS)


def _simple(function, op):
    """The row of a function of one element without attributes."""
    return OpInfo(_unary(function), _pointwise(op()), (_only_floats(op),))


def _bad_arithmetic(op):
    return (
        Bad(op, ((2, 3, 4, 4), (2, 3, 4, 5)), errors.ShapeError, "4 against 5 in dimension -1"),
        Bad(op, ((2, 3, 4, 4), (3,)), errors.ShapeError, "[C, 1, 1]"),
        Bad(op, ((2, 3),), errors.InvalidGraph, "reads input, other"),
        Bad(op, ((2,), (2,)), errors.DTypeMismatch, "different", (DType.F32, DType.F16)),
        # A number beside half precision is float32; nothing else is, and no wider number.
        Bad(op, ((2,), (1,)), errors.DTypeMismatch, "different", (DType.F16, DType.F32)),
        Bad(op, ((2,), ()), errors.DTypeMismatch, "different", (DType.F16, DType.F64)),
        Bad(op, ((2,), ()), errors.DTypeMismatch, "different", (DType.F32, DType.F16)),
        Bad(op, ((2,), ()), errors.DTypeMismatch, "different", (DType.F16, DType.BF16)),
    )


def _arithmetic(op):
    shapes = (
        ((2, 3, 4, 5), (2, 3, 4, 5)),
        ((2, 3, 4, 5), (3, 1, 1)),
        ((2, 3, 1, 1), (2, 3, 4, 5)),
        ((1, 7), ()),
        ((), (4,)),
        ((2, 1, 4), (3, 1)),
    )
    return tuple(Sample(op, pair) for pair in shapes)


def _bad_softmax(op):
    return (
        Bad(lambda: op(dim=2), ((2, 3),), errors.RankError, "no dimension 2"),
        Bad(lambda: op(dim=-1), (), errors.InvalidAttribute, "dim=-1"),
        Bad(lambda: op(dim=True), (), errors.InvalidAttribute, "dim=True"),
        _only_floats(op),
    )


def _softmax_samples(op):
    return (
        Sample(op(), ((3, 10),)),
        Sample(op(), ((2, 5, 3, 2),)),
        Sample(op(dim=0), ((7,),)),
        Sample(op(dim=3), ((2, 3, 1, 17),)),
        Sample(op(), ((1, 1),)),
    )


def _reduction(op):
    """Its row in the table."""
    return OpInfo(
        lambda op, x: getattr(torch, op.name)(x, op.dim, op.keepdim),
        (
            Sample(op((1,)), ((2, 7, 4, 5),)),
            Sample(op((2, 3), True), ((2, 3, 6, 5),)),
            Sample(op((0, 2)), ((3, 4, 6),)),
            Sample(op((1, 3, 4)), ((2, 3, 2, 3, 2),)),
            Sample(op((0,)), ((9,),)),
            Sample(op((1,), True), ((2, 1, 3),)),
        ),
        (
            Bad(lambda: op(1), (), errors.InvalidAttribute, "dim=1"),
            Bad(lambda: op(()), (), errors.InvalidAttribute, "at least one"),
            Bad(lambda: op((2, 1)), (), errors.InvalidAttribute, "ascending"),
            Bad(lambda: op((1, 1)), (), errors.InvalidAttribute, "each once"),
            Bad(lambda: op((-1,)), (), errors.InvalidAttribute, "dim=(-1,)"),
            Bad(lambda: op((1,), 1), (), errors.InvalidAttribute, "True or False"),
            Bad(lambda: op((1, 2)), ((2, 3),), errors.RankError, "no dimension 2"),
            Bad(lambda: op((0,)), ((2, 3),), errors.DTypeMismatch, "floating point", _INTEGERS),
        ),
    )


def _interpolate(op, x):
    how = {"scale_factor": op.scale_factor, "recompute_scale_factor": op.recompute_scale_factor}
    how = how if op.scale_factor else {"size": op.size}
    align = op.align_corners if op.linear else None
    return F.interpolate(x, mode=op.mode, align_corners=align, **how)


def _adaptive_pool(op):
    """The row of an adaptive pool, over maps of its rank."""
    ones, two, more = (1,) * op.rank, (2, 1)[: op.rank], (3, 5)[: op.rank]
    layout = ", ".join(["N", "C", "L"] if op.rank == 1 else ["N", "C", "H", "W"])
    return OpInfo(
        lambda op, x: getattr(F, op.name)(x, op.output_size),
        (
            Sample(op(more), ((2, 3, 7, 8)[: 2 + op.rank],)),
            Sample(op(ones), ((1, 2, 6, 5)[: 2 + op.rank],)),
            Sample(op(two), ((2, 1, 8, 3)[: 2 + op.rank],)),
            Sample(op((8, 3)[: op.rank]), ((1, 2, 5, 4)[: 2 + op.rank],)),
        ),
        (
            Bad(lambda: op(ones), ((2, 3),), errors.RankError, layout),
            Bad(lambda: op((0,) * op.rank), (), errors.InvalidAttribute, "at least 1"),
            Bad(lambda: op(2), (), errors.InvalidAttribute, f"tuple of {op.rank} integer"),
            Bad(lambda: op(ones), ((2, 3, 4, 4)[: 2 + op.rank],), *_NO_FLOATS),
        ),
    )


def _philox(seed, count, offset):
    """The first two words of some blocks, in torch's 64-bit integers."""
    low = 0xFFFFFFFF

    def product(word, factor):
        # 64 bits in two halves: torch's integers have signs.
        small, large = word * (factor & 0xFFFF), word * (factor >> 16)
        total = (small >> 16) + large
        return total >> 16, (total << 16 | small & 0xFFFF) & low

    counters = torch.arange(count) + offset
    a, b, c, d = counters & low, counters >> 32, torch.zeros_like(counters), 0 * counters
    first, second = seed & low, seed >> 32
    for _ in range(10):
        (high_a, low_a), (high_c, low_c) = product(a, 0xD2511F53), product(c, 0xCD9E8D57)
        a, b, c, d = high_c ^ b ^ first, low_c, high_a ^ d ^ second, low_a
        first, second = first + 0x9E3779B9 & low, second + 0xBB67AE85 & low
    return a, b


def _drawn(op, x, bits=24):
    words = _philox(op.seed, x.numel(), op.offset)
    return [(word >> (32 - bits)).reshape(x.shape).to(x.dtype) / 2**bits for word in words]


def _normal(op, x):
    u, v = _drawn(op, x)
    return torch.sqrt(-2 * torch.log(u + 2.0**-24)) * torch.cos(2 * torch.pi * v)


def _bad_random(op):
    return (
        Bad(lambda: op(-1), (), errors.InvalidAttribute, "seed=-1"),
        Bad(lambda: op(2**63), (), errors.InvalidAttribute, "at most 9223372036854775807"),
        Bad(lambda: op(1.0), (), errors.InvalidAttribute, "seed=1.0"),
        Bad(lambda: op(True), (), errors.InvalidAttribute, "seed=True"),
        Bad(lambda: op(1, -1), (), errors.InvalidAttribute, "offset=-1"),
        Bad(lambda: op(1), ((2, 3),), errors.DTypeMismatch, "floating point", _INTEGERS),
        Bad(lambda: op(1), (), errors.InvalidGraph, "reads input"),
    )


def _random_samples(op, **more):
    far = op(2**62 + 12345678901, 2**40 - 3, **more)
    shapes = ((2, 3, 5, 4), (1, 7), (6,), (), (2, 3, 2, 3, 2))
    return (*(Sample(op(7, **more), (shape,)) for shape in shapes), Sample(far, ((3, 4),)))


INFO: dict[str, OpInfo] = {
    **{
        op.name: _adaptive_pool(op)
        for op in (
            ops.AdaptiveAvgPool1d,
            ops.AdaptiveAvgPool2d,
            ops.AdaptiveMaxPool1d,
            ops.AdaptiveMaxPool2d,
        )
    },
    "group_norm": OpInfo(
        lambda op, x, w=None, b=None: torch.group_norm(x, op.num_groups, w, b, op.eps),
        (
            Sample(ops.GroupNorm(2), ((2, 6, 4, 5), (6,), (6,))),
            Sample(ops.GroupNorm(3, 0.1), ((1, 6, 7), (6,))),
            Sample(ops.GroupNorm(1), ((2, 3, 5, 3),)),
            Sample(ops.GroupNorm(4), ((3, 4, 2, 3, 2), (4,), (4,))),
            Sample(ops.GroupNorm(2), ((4, 10),)),
        ),
        (
            Bad(lambda: ops.GroupNorm(4), ((2, 6, 4),), errors.ChannelMismatch, "1, 2, 3, 6"),
            Bad(lambda: ops.GroupNorm(1), ((6,),), errors.RankError, "[6, 1]"),
            Bad(lambda: ops.GroupNorm(2), ((2, 6, 4), (5,)), errors.ChannelMismatch, "weight[6]"),
            Bad(
                lambda: ops.GroupNorm(2),
                ((2, 6, 4), (6,), (6, 1)),
                errors.ChannelMismatch,
                "bias[6]",
            ),
            Bad(lambda: ops.GroupNorm(0), (), errors.InvalidAttribute, "num_groups=0"),
            Bad(lambda: ops.GroupNorm(2, 0.0), (), errors.InvalidAttribute, "eps=0.0"),
            Bad(lambda: ops.GroupNorm(2), ((2, 6, 4),), *_NO_FLOATS),
        ),
    ),
    "instance_norm": OpInfo(
        lambda op, x, w=None, b=None: F.instance_norm(x, weight=w, bias=b, eps=op.eps),
        (
            Sample(ops.InstanceNorm(), ((2, 3, 4, 5), (3,), (3,))),
            Sample(ops.InstanceNorm(0.1), ((3, 2, 11), (2,))),
            Sample(ops.InstanceNorm(), ((1, 5, 2, 3, 2),)),
        ),
        (
            Bad(ops.InstanceNorm, ((2, 6),), errors.RankError, "[2, 6, 1]"),
            Bad(ops.InstanceNorm, ((2, 6, 4), (4,)), errors.ChannelMismatch, "weight[6]"),
            Bad(lambda: ops.InstanceNorm(-1.0), (), errors.InvalidAttribute, "eps=-1.0"),
            Bad(
                lambda: ops.InstanceNorm(1e39),
                ((2, 3, 4),),
                errors.InvalidAttribute,
                "f32 can hold",
            ),
            Bad(ops.InstanceNorm, ((2, 6, 4),), *_NO_FLOATS),
        ),
    ),
    "layer_norm": OpInfo(
        lambda op, x, w=None, b=None: F.layer_norm(x, op.normalized_shape, w, b, op.eps),
        (
            Sample(ops.LayerNorm((5,)), ((2, 6, 4, 5), (5,), (5,))),
            Sample(ops.LayerNorm((3, 4, 2), 0.1), ((2, 3, 4, 2), (3, 4, 2))),
            Sample(ops.LayerNorm((17,)), ((4, 17),)),
            Sample(ops.LayerNorm((2,), 1.0), ((3, 5, 2), (2,))),
            Sample(ops.LayerNorm((3,), 0.5), ((2, 4, 5, 3), (3,), (3,))),
            Sample(ops.LayerNorm((7,), 0.5), ((2, 7), (7,))),
            Sample(ops.LayerNorm((4, 3)), ((4, 3), (4, 3), (4, 3))),
        ),
        (
            Bad(lambda: ops.LayerNorm((4,)), ((2, 6),), errors.ShapeError, "an input [..., 4]"),
            Bad(lambda: ops.LayerNorm((2, 3)), ((3,),), errors.ShapeError, "(2, 3)"),
            Bad(lambda: ops.LayerNorm((6,)), ((2, 6), (1, 6)), errors.ChannelMismatch, "weight[6]"),
            Bad(lambda: ops.LayerNorm(()), (), errors.InvalidAttribute, "at least one"),
            Bad(lambda: ops.LayerNorm(6), (), errors.InvalidAttribute, "normalized_shape=6"),
            Bad(lambda: ops.LayerNorm((0,)), (), errors.InvalidAttribute, "(0,)"),
            Bad(lambda: ops.LayerNorm((6,)), ((2, 6),), *_NO_FLOATS),
        ),
    ),
    "interpolate": OpInfo(
        _interpolate,
        (
            Sample(ops.Interpolate(scale_factor=(2.0, 2.0)), ((2, 3, 4, 5),)),
            Sample(ops.Interpolate((7, 3)), ((1, 2, 5, 9),)),
            Sample(ops.Interpolate(scale_factor=(1.7,)), ((2, 3, 7),)),
            Sample(ops.Interpolate((7, 3), mode="nearest-exact"), ((1, 2, 5, 9),)),
            Sample(ops.Interpolate(scale_factor=(1.7,), mode="nearest-exact"), ((2, 3, 7),)),
            Sample(ops.Interpolate((9, 8), mode="bilinear"), ((2, 3, 4, 5),)),
            Sample(ops.Interpolate((3, 11), mode="bilinear", align_corners=True), ((1, 2, 7, 5),)),
            Sample(ops.Interpolate((1, 4), mode="bilinear", align_corners=True), ((1, 2, 3, 4),)),
            Sample(ops.Interpolate(scale_factor=(2.5, 0.6), mode="bilinear"), ((1, 2, 5, 8),)),
            Sample(
                ops.Interpolate(
                    scale_factor=(2.5, 0.6), mode="bilinear", recompute_scale_factor=True
                ),
                ((1, 2, 5, 8),),
            ),
            Sample(ops.Interpolate((9,), mode="linear"), ((2, 3, 4),)),
            Sample(ops.Interpolate(scale_factor=(1.05,), mode="linear"), ((2, 3, 5),)),
        ),
        (
            Bad(ops.Interpolate, (), errors.InvalidAttribute, "size=(), scale_factor=()"),
            Bad(lambda: ops.Interpolate((2,), (2.0,)), (), errors.InvalidAttribute, "one of both"),
            Bad(lambda: ops.Interpolate(2), (), errors.InvalidAttribute, "size=2"),
            Bad(lambda: ops.Interpolate((0, 2)), (), errors.InvalidAttribute, "at least 1"),
            Bad(
                lambda: ops.Interpolate(scale_factor=(0.0,)), (), errors.InvalidAttribute, "above 0"
            ),
            Bad(
                lambda: ops.Interpolate(scale_factor=(np.inf,)), (), errors.InvalidAttribute, "inf"
            ),
            Bad(lambda: ops.Interpolate((2,), mode="cubic"), (), errors.InvalidAttribute, "cubic"),
            Bad(
                lambda: ops.Interpolate((2,), mode="bilinear"),
                (),
                errors.InvalidAttribute,
                "2 numbers for 'bilinear'",
            ),
            Bad(
                lambda: ops.Interpolate((2,), align_corners=True),
                (),
                errors.InvalidAttribute,
                "linear modes",
            ),
            Bad(
                lambda: ops.Interpolate((2,), align_corners=None),
                (),
                errors.InvalidAttribute,
                "True or False",
            ),
            Bad(
                lambda: ops.Interpolate((2,), recompute_scale_factor=True),
                (),
                errors.InvalidAttribute,
                "beside size",
            ),
            Bad(lambda: ops.Interpolate((2, 2)), ((1, 2, 3),), errors.RankError, "N, C, H, W"),
            Bad(
                lambda: ops.Interpolate(scale_factor=(0.5, 0.3)),
                ((1, 2, 4, 3),),
                errors.InputTooSmall,
                "width 3 times 0.3",
            ),
            Bad(lambda: ops.Interpolate((2,)), ((1, 2, 3),), *_NO_FLOATS),
        ),
    ),
    "random_normal": OpInfo(
        _normal, _random_samples(ops.RandomNormal), _bad_random(ops.RandomNormal)
    ),
    "random_uniform": OpInfo(
        lambda op, x: _drawn(op, x, op.bits)[0],
        (
            *_random_samples(ops.RandomUniform),
            *_random_samples(ops.RandomUniform, bits=8),
        ),
        (
            *_bad_random(ops.RandomUniform),
            Bad(lambda: ops.RandomUniform(1, bits=25), (), errors.InvalidAttribute, "at most 24"),
        ),
    ),
    "amax": _reduction(ops.Amax),
    "amin": _reduction(ops.Amin),
    "mean": _reduction(ops.Mean),
    "sum": _reduction(ops.Sum),
    "var": OpInfo(
        lambda op, x: torch.var(x, op.dim, correction=op.correction, keepdim=op.keepdim),
        (
            Sample(ops.Var((1,)), ((2, 7, 4, 5),)),
            Sample(ops.Var((2, 3), True, 0), ((2, 3, 6, 5),)),
            Sample(ops.Var((0, 2), correction=2), ((3, 4, 6),)),
            Sample(ops.Var((1,), correction=0), ((9, 2),)),
            Sample(ops.Var((0,)), ((9,),)),
        ),
        (
            Bad(lambda: ops.Var((1,)), ((2, 1),), errors.ShapeError, "divide by zero"),
            Bad(lambda: ops.Var((0, 1), False, 6), ((2, 3),), errors.ShapeError, "lower the"),
            Bad(lambda: ops.Var((1,), False, -1), (), errors.InvalidAttribute, "correction=-1"),
            Bad(lambda: ops.Var((1,), False, True), (), errors.InvalidAttribute, "correction"),
            Bad(lambda: ops.Var((1, 0)), (), errors.InvalidAttribute, "ascending"),
            Bad(lambda: ops.Var((2,)), ((2, 3),), errors.RankError, "no dimension 2"),
            _only_floats(lambda: ops.Var((1,))),
        ),
    ),
    "conv1d": OpInfo(
        _conv,
        (
            _biased(((2, 3, 9), (4, 3, 3)), 8 * 9 * 9, padding=(1, 1)),
            _biased(((1, 4, 12), (6, 2, 2)), 6 * 6 * 4, stride=(2,), groups=2),
            _biased(((2, 5, 10), (5, 1, 3)), 10 * 10 * 3, padding=(4, 0), dilation=(2,), groups=5),
            _biased(((1, 3, 11), (2, 3, 4)), 2 * 4 * 12, stride=(3,), padding=(0, 3)),
            Sample(ops.Conv1d(), ((1, 1, 1), (1, 1, 1)), 1),
        ),
        (
            Bad(ops.Conv1d, ((3, 8), (4, 3, 3)), errors.RankError, "[1, 3, 8]"),
            Bad(ops.Conv1d, ((1, 3, 8, 8), (4, 3, 3)), errors.RankError, "[N, C, L]"),
            Bad(ops.Conv1d, ((1, 3, 8), (4, 3, 3, 3)), errors.RankError, "[K, C/groups, R]"),
            Bad(ops.Conv1d, ((1, 3, 8), (4, 2, 3)), errors.ChannelMismatch, "conv1d"),
            Bad(ops.Conv1d, ((1, 3, 2), (4, 3, 3)), errors.InputTooSmall, "length floor("),
            Bad(lambda: ops.Conv1d(stride=(1, 1)), (), errors.InvalidAttribute, "of 1 integer of"),
            Bad(lambda: ops.Conv1d(padding=(1,)), (), errors.InvalidAttribute, "of 2 integers"),
        ),
    ),
    "conv_transpose1d": OpInfo(
        _conv_transpose,
        (
            _transposed(ops.ConvTranspose1d, ((2, 4, 5), (4, 3, 4)), 2 * 4 * 5 * 12, stride=(2,)),
            _transposed(
                ops.ConvTranspose1d,
                ((1, 4, 6), (4, 3, 3)),
                4 * 6 * 9,
                stride=(3,),
                padding=(2,),
                output_padding=(1,),
                dilation=(2,),
                groups=2,
            ),
            Sample(ops.ConvTranspose1d(), ((1, 1, 1), (1, 1, 1)), 1),
        ),
        (
            Bad(ops.ConvTranspose1d, ((3, 8), (3, 4, 3)), errors.RankError, "[1, 3, 8]"),
            Bad(ops.ConvTranspose1d, ((1, 3, 8), (3, 4)), errors.RankError, "[C, K/groups, R]"),
            Bad(ops.ConvTranspose1d, ((1, 3, 8), (4, 3, 3)), errors.ChannelMismatch, "exchange"),
            Bad(
                lambda: ops.ConvTranspose1d(padding=(2,)),
                ((1, 3, 2), (3, 4, 3)),
                errors.InputTooSmall,
                "an output length of 0",
            ),
            Bad(
                lambda: ops.ConvTranspose1d((2,), (0,), (2,)),
                (),
                errors.InvalidAttribute,
                "below (2,)",
            ),
        ),
    ),
    "conv_transpose2d": OpInfo(
        _conv_transpose,
        (
            _transposed(
                ops.ConvTranspose2d, ((2, 3, 5, 4), (3, 6, 2, 2)), 2 * 60 * 24, stride=(2, 2)
            ),
            _transposed(
                ops.ConvTranspose2d,
                ((1, 4, 4, 5), (4, 3, 4, 4)),
                80 * 48,
                stride=(2, 2),
                padding=(1, 1),
            ),
            _transposed(
                ops.ConvTranspose2d,
                ((1, 4, 3, 5), (4, 2, 3, 3)),
                60 * 18,
                stride=(2, 1),
                padding=(1, 0),
                output_padding=(1, 0),
                groups=2,
            ),
            _transposed(
                ops.ConvTranspose2d,
                ((1, 3, 3, 4), (3, 1, 3, 2)),
                36 * 6,
                stride=(4, 3),
                dilation=(2, 3),
                output_padding=(3, 2),
                groups=3,
            ),
            _transposed(ops.ConvTranspose2d, ((1, 17, 4, 4), (17, 5, 3, 3)), 17 * 16 * 45),
            Sample(ops.ConvTranspose2d((2, 2)), ((1, 2, 3, 3), (2, 3, 1, 1)), 9 * 6),
        ),
        (
            Bad(ops.ConvTranspose2d, ((3, 8, 8), (3, 4, 3, 3)), errors.RankError, "[N, C, H, W]"),
            Bad(
                lambda: ops.ConvTranspose2d(groups=2),
                ((1, 3, 8, 8), (3, 4, 3, 3)),
                errors.ChannelMismatch,
                "divisor of 3",
            ),
            Bad(
                ops.ConvTranspose2d,
                ((1, 3, 8, 8), (3, 4, 3, 3), (3,)),
                errors.ShapeError,
                "[4], groups times",
            ),
        ),
    ),
    "conv2d": OpInfo(
        _conv,
        (
            _biased(((2, 3, 8, 8), (4, 3, 3, 3)), 8 * 64 * 27, padding=(1, 1, 1, 1)),
            _biased(((1, 5, 7, 9), (3, 5, 3, 2)), 3 * 5 * 8 * 30),
            _biased(((1, 4, 11, 9), (6, 2, 2, 3)), 6 * 5 * 7 * 12, stride=(2, 1), groups=2),
            _biased(((2, 6, 9, 10), (6, 1, 3, 3)), 12 * 9 * 10 * 9, groups=6, padding=(2, 0, 0, 2)),
            _biased(((1, 2, 9, 9), (4, 1, 3, 3)), 4 * 5 * 5 * 9, groups=2, dilation=(2, 2)),
            _biased(
                ((1, 3, 12, 7), (2, 3, 3, 3)),
                2 * 4 * 5 * 27,
                stride=(3, 2),
                padding=(2, 1, 0, 3),
                dilation=(2, 1),
            ),
            _biased(((1, 1, 1, 1), (1, 1, 1, 1)), 1),
            _biased(((3, 16, 4, 4), (17, 16, 1, 1)), 51 * 16 * 16),
            _biased(((1, 2, 3, 3), (3, 2, 5, 5)), 3 * 3 * 3 * 50, padding=(2, 2, 2, 2)),
            Sample(ops.Conv2d(), ((2, 3, 5, 5), (4, 3, 3, 3)), 8 * 9 * 27),
        ),
        (
            Bad(ops.Conv2d, ((3, 8, 8), (4, 3, 3, 3)), errors.RankError, "[1, 3, 8, 8]"),
            Bad(ops.Conv2d, ((1, 3, 8, 8), (4, 27)), errors.RankError, "[K, C/groups, R, S]"),
            Bad(
                ops.Conv2d,
                ((1, 3, 8, 8), (4, 2, 3, 3)),
                errors.ChannelMismatch,
                "reads 2 * 1 = 2",
            ),
            Bad(
                lambda: ops.Conv2d(groups=4),
                ((1, 6, 8, 8), (8, 1, 3, 3)),
                errors.ChannelMismatch,
                "groups=1, 2",
            ),
            Bad(
                ops.Conv2d,
                ((1, 6, 8, 8), (8, 3, 3, 3)),
                errors.ChannelMismatch,
                "pass groups=2",
            ),
            Bad(
                lambda: ops.Conv2d(stride=(2, 2)),
                ((1, 3, 8, 2), (4, 3, 3, 3)),
                errors.InputTooSmall,
                "width floor((2 + 2*0 - 3)/2) + 1",
            ),
            Bad(
                lambda: ops.Conv2d(padding=(1, 0, 0, 0), dilation=(4, 1)),
                ((1, 3, 7, 8), (4, 3, 3, 3)),
                errors.InputTooSmall,
                "from 7 to 8",
            ),
            Bad(
                ops.Conv2d,
                ((1, 3, 8, 8), (4, 3, 3, 3), (3,)),
                errors.ShapeError,
                "[4], the weight's first dimension",
            ),
            Bad(ops.Conv2d, ((1, 3, 8, 8),), errors.InvalidGraph, "input, weight[, bias]"),
            Bad(lambda: ops.Conv2d(stride=(0, 1)), (), errors.InvalidAttribute, "stride=(0, 1)"),
            Bad(lambda: ops.Conv2d(padding=(1, 1)), (), errors.InvalidAttribute, "4 integers"),
            Bad(lambda: ops.Conv2d(padding=(-1, 0, 0, 0)), (), errors.InvalidAttribute, "least 0"),
            Bad(lambda: ops.Conv2d(dilation=2), (), errors.InvalidAttribute, "dilation=2"),
            # Its repr is no tuple of the text form.
            Bad(lambda: ops.Conv2d(stride=torch.Size((1, 1))), (), errors.InvalidAttribute, "Size"),
            Bad(lambda: ops.Conv2d(groups=0), (), errors.InvalidAttribute, "groups=0"),
            Bad(lambda: ops.Conv2d(stride=(2**40, 1)), (), errors.InvalidAttribute, "integers"),
            Bad(
                ops.Conv2d,
                ((1, 3, 8, 8), (4, 3, 3, 3)),
                errors.DTypeMismatch,
                "different dtypes",
                (DType.F16, DType.F32),
            ),
            Bad(
                ops.Conv2d,
                ((1, 3, 8, 8), (4, 3, 3, 3)),
                errors.DTypeMismatch,
                "floating point",
                (DType.I8, DType.I8),
            ),
            Bad(
                lambda: ops.Conv2d(padding=(2**31 - 1,) * 4),
                ((2**20, 2**20, 1, 1), (2**20, 2**20, 1, 1)),
                errors.TooLarge,
                "2^63",
            ),
        ),
    ),
    "linear": OpInfo(
        lambda op, x, w, b=None: F.linear(x, w, b),
        (
            Sample(ops.Linear(), ((3, 10), (4, 10), (4,)), 120),
            Sample(ops.Linear(), ((1, 33), (17, 33), (17,)), 561),
            Sample(ops.Linear(), ((2, 5), (1, 5)), 10),
            Sample(ops.Linear(), ((2, 3, 1, 6), (5, 6), (5,)), 180),
        ),
        (
            Bad(ops.Linear, ((6,), (5, 6)), errors.RankError, "[1, 6]"),
            Bad(ops.Linear, ((2, 6), (5, 6, 1)), errors.RankError, "[O, I]"),
            Bad(ops.Linear, ((2, 6), (6, 5)), errors.ChannelMismatch, "reads 5"),
            Bad(ops.Linear, ((2, 3, 4, 4), (5, 48)), errors.ChannelMismatch, "put flatten(x)"),
            Bad(ops.Linear, ((2, 6), (5, 6), (6,)), errors.ShapeError, "[5]"),
            Bad(ops.Linear, (), errors.InvalidGraph, "0 operands: none"),
        ),
    ),
    "max_pool1d": OpInfo(
        _max_pool,
        (
            Sample(ops.MaxPool1d((2,), (2,)), ((2, 3, 9),)),
            Sample(ops.MaxPool1d((3,), (2,), (1, 1), (2,), True), ((1, 2, 8),)),
            Sample(ops.MaxPool1d((3,), (1,), (2, 0)), ((1, 2, 5),)),
        ),
        (
            Bad(lambda: ops.MaxPool1d((3,), (1,)), ((1, 2, 2),), errors.InputTooSmall, "length"),
            Bad(lambda: ops.MaxPool1d((2,), (2,)), ((2, 9),), errors.RankError, "N, C, L"),
            Bad(
                lambda: ops.MaxPool1d((2,), (2,), (2, 0)),
                (),
                errors.InvalidAttribute,
                "each side of the length",
            ),
        ),
    ),
    "max_pool2d": OpInfo(
        _max_pool,
        (
            Sample(ops.MaxPool2d((2, 2), (2, 2)), ((2, 3, 8, 8),)),
            Sample(ops.MaxPool2d((3, 3), (2, 2), (1, 1, 1, 1)), ((1, 2, 9, 7),)),
            Sample(ops.MaxPool2d((2, 3), (1, 2), (0, 1, 1, 0)), ((2, 1, 5, 6),)),
            Sample(ops.MaxPool2d((2, 2), (1, 1), dilation=(3, 2)), ((1, 2, 7, 6),)),
            Sample(ops.MaxPool2d((2, 2), (2, 2), ceil_mode=True), ((1, 2, 7, 5),)),
            Sample(ops.MaxPool2d((3, 2), (3, 3), (1, 1, 1, 1), ceil_mode=True), ((1, 2, 7, 6),)),
            Sample(ops.MaxPool2d((3, 3), (2, 2), (1, 1, 1, 1), (2, 2), True), ((1, 2, 6, 5),)),
            Sample(ops.MaxPool2d((1, 1), (1, 1)), ((1, 1, 1, 1),)),
        ),
        (
            Bad(
                lambda: ops.MaxPool2d((3, 3), (2, 2)),
                ((1, 2, 2, 9),),
                errors.InputTooSmall,
                "height floor((2 + 2*0 - 3)/2) + 1",
            ),
            Bad(lambda: ops.MaxPool2d((2, 2), (2, 2)), ((2, 9),), errors.RankError, "N, C, H, W"),
            Bad(
                lambda: ops.MaxPool2d((2, 2), (2, 2), (2, 0, 0, 0)),
                (),
                errors.InvalidAttribute,
                "at most 1 on each side",
            ),
            Bad(
                lambda: ops.MaxPool2d((2, 2), (1, 1), (2, 2, 2, 2), (3, 3)),
                ((1, 1, 1, 8),),
                errors.InputTooSmall,
                "padding only",
            ),
            Bad(lambda: ops.MaxPool2d((0, 1), (1, 1)), (), errors.InvalidAttribute, "kernel_size"),
            Bad(
                lambda: ops.MaxPool2d((2, 2), (2, 2), ceil_mode=1),
                (),
                errors.InvalidAttribute,
                "True or False",
            ),
        ),
    ),
    "avg_pool1d": OpInfo(
        _avg_pool,
        (
            Sample(ops.AvgPool1d((2,), (2,)), ((2, 3, 9),)),
            Sample(ops.AvgPool1d((3,), (2,), (1, 1), count_include_pad=False), ((1, 2, 8),)),
            Sample(ops.AvgPool1d((3,), (2,), (1, 1), ceil_mode=True), ((1, 2, 8),)),
            Sample(ops.AvgPool1d((3,), (1,), (2, 0), count_include_pad=False), ((1, 2, 5),)),
        ),
        (
            Bad(lambda: ops.AvgPool1d((3,), (1,)), ((1, 2, 2),), errors.InputTooSmall, "length"),
            Bad(
                lambda: ops.AvgPool1d(3, (1,)), (), errors.InvalidAttribute, "tuple of 1 integer of"
            ),
        ),
    ),
    "avg_pool2d": OpInfo(
        _avg_pool,
        (
            Sample(ops.AvgPool2d((2, 2), (2, 2)), ((2, 3, 8, 8),)),
            Sample(ops.AvgPool2d((3, 2), (2, 3), (1, 1, 1, 1)), ((1, 2, 9, 7),)),
            Sample(
                ops.AvgPool2d((3, 3), (2, 2), (1, 1, 1, 1), count_include_pad=False),
                ((1, 2, 8, 7),),
            ),
            Sample(ops.AvgPool2d((3, 3), (2, 2), (1, 1, 1, 1), ceil_mode=True), ((1, 2, 8, 6),)),
            Sample(ops.AvgPool2d((3, 3), (2, 2), (1, 0, 1, 0), True, False), ((2, 1, 8, 6),)),
            Sample(
                ops.AvgPool2d((3, 3), (1, 2), (2, 0, 1, 1), count_include_pad=False),
                ((1, 2, 5, 6),),
            ),
            Sample(ops.AvgPool2d((2, 2), (1, 1), (0, 0, 1, 1)), ((1, 2, 5, 6),)),
        ),
        (
            Bad(
                lambda: ops.AvgPool2d((4, 1), (1, 1), (1, 0, 0, 0), ceil_mode=True),
                ((1, 2, 2, 9),),
                errors.InputTooSmall,
                "height ceil((2 + 1 + 0 - 4)/1) + 1",
            ),
            Bad(
                lambda: ops.AvgPool2d((2, 2), (2, 2)), ((2, 9, 9),), errors.RankError, "1, 2, 9, 9"
            ),
            Bad(
                lambda: ops.AvgPool2d((2, 2), (2, 2), (0, 0, 0, 2)),
                (),
                errors.InvalidAttribute,
                "at most 1",
            ),
            Bad(lambda: ops.AvgPool2d((2,), (2, 2)), (), errors.InvalidAttribute, "2 integers"),
        ),
    ),
    "global_avg_pool2d": OpInfo(
        _unary(lambda x: F.adaptive_avg_pool2d(x, 1)),
        tuple(Sample(ops.GlobalAvgPool2d(), (shape,)) for shape in ((2, 3, 7, 5), (1, 1, 1, 1))),
        (Bad(ops.GlobalAvgPool2d, ((2, 3),), errors.RankError, "N, C, H, W"),),
    ),
    "batch_norm": OpInfo(
        _batch_norm,
        (
            Sample(ops.BatchNorm(), ((2, 3, 4, 5), *((3,),) * 4)),
            Sample(ops.BatchNorm(eps=0.1), ((4, 7), *((7,),) * 4)),
            Sample(ops.BatchNorm(eps=0.001), ((1, 1, 6), *((1,),) * 4)),
        ),
        (
            Bad(ops.BatchNorm, ((4,), *((4,),) * 4), errors.RankError, "[1, 4]"),
            Bad(
                ops.BatchNorm,
                ((2, 3, 4, 4), (3,), (4,), (3,), (3,)),
                errors.ChannelMismatch,
                "running_var f32[4]",
            ),
            Bad(ops.BatchNorm, ((2, 3), (3,)), errors.InvalidGraph, "running_var"),
            Bad(lambda: ops.BatchNorm(eps=-1.0), (), errors.InvalidAttribute, "eps=-1.0"),
            Bad(lambda: ops.BatchNorm(eps=float("nan")), (), errors.InvalidAttribute, "finite"),
            Bad(
                lambda: ops.BatchNorm(eps=1e39),
                ((2, 3), *((3,),) * 4),
                errors.InvalidAttribute,
                "f32 can hold",
            ),
        ),
    ),
    "local_response_norm": OpInfo(
        lambda op, x: F.local_response_norm(x, op.size, op.alpha, op.beta, op.k),
        (
            Sample(ops.LocalResponseNorm(5, 5e-4, k=2.0), ((2, 7, 4, 5),)),
            Sample(ops.LocalResponseNorm(3, 0.5, 2.5, 0.1), ((1, 9, 6),)),
            Sample(ops.LocalResponseNorm(2, 3.0, 0.5), ((2, 3, 2, 3, 2),)),
            Sample(ops.LocalResponseNorm(9, 2.0), ((1, 3, 2, 2),)),
            Sample(ops.LocalResponseNorm(1, 0.7, 0.0), ((1, 2, 1, 3),)),
        ),
        (
            Bad(lambda: ops.LocalResponseNorm(0), (), errors.InvalidAttribute, "size=0"),
            Bad(lambda: ops.LocalResponseNorm(5.0), (), errors.InvalidAttribute, "size=5.0"),
            Bad(lambda: ops.LocalResponseNorm(5, -1.0), (), errors.InvalidAttribute, "alpha=-1.0"),
            Bad(lambda: ops.LocalResponseNorm(5, k=0.0), (), errors.InvalidAttribute, "k=0.0"),
            Bad(lambda: ops.LocalResponseNorm(5), ((2, 6),), errors.RankError, "[2, 6, 1]"),
            Bad(
                lambda: ops.LocalResponseNorm(5, 1e39),
                ((2, 6, 3),),
                errors.InvalidAttribute,
                "f32 can hold",
            ),
            Bad(
                lambda: ops.LocalResponseNorm(5),
                ((2, 6, 3),),
                errors.DTypeMismatch,
                "floating point",
                _INTEGERS,
            ),
        ),
    ),
    "relu": OpInfo(
        _unary(F.relu),
        _pointwise(activation.Relu()),
        (*_TWO_OPERANDS, _only_floats(activation.Relu)),
    ),
    "leaky_relu": OpInfo(
        lambda op, x: F.leaky_relu(x, op.negative_slope),
        _pointwise(
            activation.LeakyRelu(),
            activation.LeakyRelu(0.3),
            activation.LeakyRelu(-2.0),
        ),
        (
            Bad(
                lambda: activation.LeakyRelu(float("inf")),
                (),
                errors.InvalidAttribute,
                "finite",
            ),
            Bad(lambda: activation.LeakyRelu(10**400), (), errors.InvalidAttribute, "finite"),
            Bad(lambda: activation.LeakyRelu("a"), (), errors.InvalidAttribute, "finite"),
            # Its repr is no number of the text form.
            Bad(
                lambda: activation.LeakyRelu(np.float64(0.1)),
                (),
                errors.InvalidAttribute,
                "finite",
            ),
            Bad(lambda: activation.LeakyRelu(np.True_), (), errors.InvalidAttribute, "finite"),
            *(
                Bad(
                    lambda: activation.LeakyRelu(1e39),
                    ((2,),),
                    errors.InvalidAttribute,
                    "f32",
                    (dtype,),
                )
                for dtype in (DType.F16, DType.BF16, DType.F32)
            ),
            _only_floats(activation.LeakyRelu),
        ),
    ),
    "sigmoid": OpInfo(
        _unary(torch.sigmoid),
        _pointwise(activation.Sigmoid()),
        (_only_floats(activation.Sigmoid),),
    ),
    "tanh": OpInfo(
        _unary(torch.tanh), _pointwise(activation.Tanh()), (_only_floats(activation.Tanh),)
    ),
    "silu": OpInfo(_unary(F.silu), _pointwise(activation.Silu()), (_only_floats(activation.Silu),)),
    "hardswish": OpInfo(
        _unary(F.hardswish),
        _pointwise(activation.Hardswish()),
        (_only_floats(activation.Hardswish),),
    ),
    "gelu": OpInfo(
        lambda op, x: F.gelu(x, approximate=op.approximate),
        _pointwise(activation.Gelu(), activation.Gelu("tanh")),
        (
            Bad(lambda: activation.Gelu("erf"), (), errors.InvalidAttribute, "'none' or 'tanh'"),
            Bad(lambda: activation.Gelu(True), (), errors.InvalidAttribute, "approximate=True"),
            _only_floats(activation.Gelu),
        ),
    ),
    "relu6": _simple(F.relu6, linear_units.Relu6),
    "clamp": OpInfo(
        lambda op, x: torch.clamp(x, op.min, op.max),
        _pointwise(
            linear_units.Clamp(-0.7, 1.3),
            linear_units.Clamp(min=-1),
            linear_units.Clamp(max=1.5),
        ),
        (
            Bad(lambda: linear_units.Clamp(np.nan), (), errors.InvalidAttribute, "min=nan"),
            Bad(lambda: linear_units.Clamp(0.0, None), (), errors.InvalidAttribute, "max=None"),
            Bad(lambda: linear_units.Clamp(1e39), ((2,),), errors.InvalidAttribute, "f32 can"),
            _only_floats(linear_units.Clamp),
        ),
    ),
    "hardtanh": OpInfo(
        lambda op, x: F.hardtanh(x, op.min_val, op.max_val),
        _pointwise(linear_units.Hardtanh(), linear_units.Hardtanh(-2, 0.3)),
        (
            Bad(lambda: linear_units.Hardtanh(1.0, 0.5), (), errors.InvalidAttribute, "<="),
            Bad(lambda: linear_units.Hardtanh(max_val="a"), (), errors.InvalidAttribute, "max_"),
            _only_floats(linear_units.Hardtanh),
        ),
    ),
    "hardsigmoid": _simple(F.hardsigmoid, linear_units.Hardsigmoid),
    "elu": OpInfo(
        lambda op, x: F.elu(x, op.alpha),
        _pointwise(linear_units.Elu(), linear_units.Elu(0.3), linear_units.Elu(-2)),
        (
            Bad(lambda: linear_units.Elu(np.inf), (), errors.InvalidAttribute, "finite"),
            Bad(lambda: linear_units.Elu(1e39), ((2,),), errors.InvalidAttribute, "f32 can"),
            _only_floats(linear_units.Elu),
        ),
    ),
    "selu": _simple(F.selu, linear_units.Selu),
    "celu": OpInfo(
        lambda op, x: F.celu(x, op.alpha),
        _pointwise(linear_units.Celu(), linear_units.Celu(0.3), linear_units.Celu(2)),
        (
            Bad(lambda: linear_units.Celu(0.0), (), errors.InvalidAttribute, "at least"),
            Bad(lambda: linear_units.Celu(-1.0), (), errors.InvalidAttribute, "at least"),
            _only_floats(linear_units.Celu),
        ),
    ),
    "softplus": OpInfo(
        lambda op, x: F.softplus(x, op.beta, op.threshold),
        _pointwise(activation.Softplus(), activation.Softplus(0.6, 30.0)),
        (
            Bad(lambda: activation.Softplus(0.0), (), errors.InvalidAttribute, "at least"),
            Bad(lambda: activation.Softplus(1, np.inf), (), errors.InvalidAttribute, "threshold="),
            _only_floats(activation.Softplus),
        ),
    ),
    "softsign": _simple(F.softsign, activation.Softsign),
    "logsigmoid": _simple(F.logsigmoid, activation.Logsigmoid),
    "mish": _simple(F.mish, activation.Mish),
    "abs": _simple(torch.abs, elementary.Abs),
    "neg": _simple(torch.neg, elementary.Neg),
    "exp": _simple(torch.exp, elementary.Exp),
    "log": _simple(torch.log, elementary.Log),
    "sqrt": _simple(torch.sqrt, elementary.Sqrt),
    "rsqrt": _simple(torch.rsqrt, elementary.Rsqrt),
    "erf": _simple(torch.erf, elementary.Erf),
    "sin": _simple(torch.sin, elementary.Sin),
    "cos": _simple(torch.cos, elementary.Cos),
    "floor": _simple(torch.floor, steps.Floor),
    "ceil": _simple(torch.ceil, steps.Ceil),
    "trunc": _simple(torch.trunc, steps.Trunc),
    "round": _simple(torch.round, steps.Round),
    "pow": OpInfo(
        lambda op, x: torch.pow(x, op.exponent),
        _pointwise(elementary.Pow(), elementary.Pow(3), elementary.Pow(0.3), elementary.Pow(-1.0)),
        (
            Bad(lambda: elementary.Pow(np.nan), (), errors.InvalidAttribute, "finite"),
            Bad(lambda: elementary.Pow(True), (), errors.InvalidAttribute, "finite"),
            _only_floats(elementary.Pow),
        ),
    ),
    "argmax": OpInfo(
        lambda op, x: torch.argmax(x, op.dim, op.keepdim),
        (
            Sample(ops.Argmax(1), ((2, 7, 4, 5),)),
            Sample(ops.Argmax(2, True), ((2, 3, 6),)),
            Sample(ops.Argmax(0), ((9, 4),)),
            Sample(ops.Argmax(0), ((5,),)),
        ),
        (
            Bad(lambda: ops.Argmax(-1), (), errors.InvalidAttribute, "dim=-1"),
            Bad(lambda: ops.Argmax(1, 1), (), errors.InvalidAttribute, "True or False"),
            Bad(lambda: ops.Argmax(2), ((2, 3),), errors.RankError, "no dimension 2"),
            _only_floats(lambda: ops.Argmax(1)),
        ),
    ),
    "embedding": OpInfo(
        lambda op, x, weight: F.embedding(x, weight),
        (
            Sample(ops.Embedding(), ((3, 4), (7, 5)), choices={0: 7}),
            Sample(ops.Embedding(), ((6,), (1, 2)), choices={0: 1}),
            Sample(ops.Embedding(), ((), (4, 3)), choices={0: 4}),
        ),
        (
            Bad(ops.Embedding, ((3,), (7, 5)), errors.DTypeMismatch, "its input in whole numbers"),
            Bad(
                ops.Embedding,
                ((3,), (7, 5)),
                errors.DTypeMismatch,
                "its weight in floating point",
                (DType.I64, DType.I64),
            ),
            Bad(ops.Embedding, ((3,), (7,)), errors.RankError, "[V, D]", (DType.I64, DType.F32)),
        ),
    ),
    "one_hot": OpInfo(
        lambda op, x: F.one_hot(x, op.num_classes).to(getattr(torch, DType(op.dtype).long_name)),
        (
            Sample(ops.OneHot(5), ((3, 4),), choices={0: 5}),
            Sample(ops.OneHot(3, "f16"), ((6,),), choices={0: 3}),
            Sample(ops.OneHot(2, "f32"), ((),), choices={0: 2}),
        ),
        (
            Bad(lambda: ops.OneHot(0), (), errors.InvalidAttribute, "num_classes=0"),
            Bad(lambda: ops.OneHot(3, "i64"), (), errors.InvalidAttribute, "dtype='i64'"),
            Bad(lambda: ops.OneHot(3), ((2,),), errors.DTypeMismatch, "whole numbers"),
        ),
    ),
    "gather": OpInfo(
        lambda op, x, index: torch.gather(x, op.dim, index),
        (
            Sample(ops.Gather(1), ((3, 7, 2), (3, 4, 2)), choices={1: 7}),
            Sample(ops.Gather(0), ((4, 6), (9, 3)), choices={1: 4}),
            Sample(ops.Gather(0), ((5,), (2,)), choices={1: 5}),
        ),
        (
            Bad(lambda: ops.Gather(-1), (), errors.InvalidAttribute, "dim=-1"),
            Bad(lambda: ops.Gather(1), ((2, 3), (2, 3)), errors.DTypeMismatch, "index in whole"),
            *(
                Bad(lambda: ops.Gather(1), shapes, error, says, (DType.F32, DType.I64))
                for shapes, error, says in (
                    (((2, 3), (2,)), errors.RankError, "2 dimensions"),
                    (((2, 3), (3, 3)), errors.ShapeError, "3 above 2 in dimension 0"),
                    (((2,), (2,)), errors.RankError, "no dimension 1"),
                )
            ),
        ),
    ),
    "dropout": OpInfo(
        _unary(torch.clone),
        _pointwise(ops.Dropout(), ops.Dropout(0.1)),
        (
            Bad(lambda: ops.Dropout(1.5), (), errors.InvalidAttribute, "at most 1"),
            _only_floats(ops.Dropout),
        ),
    ),
    "softmax": OpInfo(
        lambda op, x: F.softmax(x, op.dim), _softmax_samples(ops.Softmax), _bad_softmax(ops.Softmax)
    ),
    "log_softmax": OpInfo(
        lambda op, x: F.log_softmax(x, op.dim),
        _softmax_samples(ops.LogSoftmax),
        _bad_softmax(ops.LogSoftmax),
    ),
    **{
        op.name: OpInfo(
            lambda op, a, b: getattr(torch, op.name)(a, b), _arithmetic(op()), _bad_arithmetic(op)
        )
        for op in (ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Minimum, ops.Maximum)
    },
    **{
        op.name: OpInfo(
            lambda op, a, b: getattr(torch, op.name)(a, b).to(a.dtype),
            _arithmetic(op()),
            _bad_arithmetic(op),
        )
        for op in (ops.Eq, ops.Ne, ops.Lt, ops.Le, ops.Gt, ops.Ge)
    },
    "power": OpInfo(
        lambda op, a, b: torch.pow(a, b), _arithmetic(ops.Power()), _bad_arithmetic(ops.Power)
    ),
    "where": OpInfo(
        lambda op, condition, a, b: torch.where(condition != 0, a, b),
        (
            Sample(ops.Where(), ((2, 3, 4, 5),) * 3),
            Sample(ops.Where(), ((2, 1, 4, 5), (3, 1, 1), (2, 3, 4, 5))),
            Sample(ops.Where(), ((4, 5), (2, 3, 1, 5), ())),
            Sample(ops.Where(), ((7,), (), (1,))),
            Sample(ops.Where(), ((3, 1), (1, 4), (3, 4))),
        ),
        (
            Bad(ops.Where, ((2,), (2,)), errors.InvalidGraph, "condition, input, other"),
            Bad(ops.Where, ((2,), (2,), (3,)), errors.ShapeError, "2 against 3"),
            Bad(ops.Where, ((2,), (3,), (3,)), errors.ShapeError, "2 against 3"),
            Bad(ops.Where, ((2, 3), (3,), (2,)), errors.ShapeError, "[C, 1, 1]"),
            Bad(
                ops.Where,
                ((2,),) * 3,
                errors.DTypeMismatch,
                "its condition in floating point",
                (DType.I32, DType.F32, DType.F32),
            ),
            Bad(
                ops.Where,
                ((2,),) * 3,
                errors.DTypeMismatch,
                "different",
                (DType.F32, DType.F16, DType.F16),
            ),
        ),
    ),
    "prelu": OpInfo(
        lambda op, x, weight: F.prelu(x, weight),
        (
            Sample(ops.Prelu(), ((2, 3, 4, 5), (3,))),
            Sample(ops.Prelu(), ((2, 3, 4, 5), (1,))),
            Sample(ops.Prelu(), ((2, 5, 7), (5,))),
            Sample(ops.Prelu(), ((3, 6), (6,))),
            Sample(ops.Prelu(), ((6,), (1,))),
            Sample(ops.Prelu(), ((), (1,))),
        ),
        (
            Bad(ops.Prelu, ((2, 3, 4, 4), (4,)), errors.ChannelMismatch, "3 channels"),
            Bad(ops.Prelu, ((2, 3, 4, 4), (3, 1, 1)), errors.RankError, "[C]"),
            Bad(ops.Prelu, ((3,), (3,)), errors.RankError, "takes one slope"),
            Bad(ops.Prelu, ((3,),), errors.InvalidGraph, "input, weight"),
            Bad(
                ops.Prelu, ((2, 3), (3,)), errors.DTypeMismatch, "different", (DType.F32, DType.F16)
            ),
        ),
    ),
    "matmul": OpInfo(
        lambda op, a, b: torch.matmul(a, b),
        (
            Sample(ops.Matmul(), ((3, 10), (10, 4)), 120),
            Sample(ops.Matmul(), ((2, 3, 5), (2, 5, 4)), 120),
            Sample(ops.Matmul(), ((2, 1, 3, 5), (4, 5, 2)), 240),
            Sample(ops.Matmul(), ((1, 1), (1, 1)), 1),
        ),
        (
            Bad(ops.Matmul, ((3,), (3, 4)), errors.RankError, "[1, 3] or [3, 1]"),
            Bad(ops.Matmul, ((2, 3), (3,)), errors.RankError, "the second operand"),
            Bad(ops.Matmul, ((2, 3), (4, 3)), errors.ShapeError, "exchange the last two"),
            Bad(ops.Matmul, ((2, 3), (5, 6)), errors.ShapeError, "3 against 5"),
            Bad(ops.Matmul, ((2, 2, 3), (5, 3, 6)), errors.ShapeError, "in dimension -3"),
            Bad(ops.Matmul, ((2, 3),), errors.InvalidGraph, "input, other"),
            Bad(ops.Matmul, ((2, 3), (3, 4)), errors.DTypeMismatch, "", (DType.F32, DType.F64)),
        ),
    ),
    "flatten": OpInfo(
        lambda op, x: torch.flatten(x, op.start_dim),
        (
            Sample(ops.Flatten(), ((2, 3, 4, 5),)),
            Sample(ops.Flatten(0), ((2, 3),)),
            Sample(ops.Flatten(2), ((2, 3, 4, 1),)),
        ),
        (
            Bad(lambda: ops.Flatten(4), ((2, 3, 4, 5),), errors.RankError, "no dimension 4"),
            Bad(lambda: ops.Flatten(0), ((),), errors.RankError, "scalar"),
            Bad(lambda: ops.Flatten(-1), (), errors.InvalidAttribute, "start_dim=-1"),
        ),
    ),
    "reshape": OpInfo(
        lambda op, x: torch.reshape(x, op.shape),
        (
            Sample(ops.Reshape((6, -1)), ((2, 3, 4, 5),)),
            Sample(ops.Reshape((5, 4, 3, 2)), ((2, 3, 4, 5),)),
            Sample(ops.Reshape(()), ((1, 1),)),
            Sample(ops.Reshape((-1,)), ((2, 3),)),
        ),
        (
            Bad(lambda: ops.Reshape((4, -1)), ((2, 3),), errors.ShapeError, "has 6 elements"),
            Bad(lambda: ops.Reshape((2, 3, 2)), ((2, 3),), errors.ShapeError, "2 * 3 * 2 = 12"),
            Bad(lambda: ops.Reshape((-1, -1)), (), errors.InvalidAttribute, "most one -1"),
            Bad(lambda: ops.Reshape((0,)), (), errors.InvalidAttribute, "positive"),
            Bad(lambda: ops.Reshape(6), (), errors.InvalidAttribute, "tuple"),
        ),
    ),
    "concat": OpInfo(
        lambda op, *xs: torch.cat(xs, op.dim),
        (
            Sample(ops.Concat(), ((2, 3, 4, 5), (2, 1, 4, 5), (2, 6, 4, 5))),
            Sample(ops.Concat(0), ((2, 3), (1, 3))),
            Sample(ops.Concat(3), ((1, 2, 3, 4), (1, 2, 3, 1))),
            Sample(ops.Concat(), ((2, 3),)),
        ),
        (
            Bad(ops.Concat, (), errors.InvalidGraph, "at least one"),
            Bad(ops.Concat, ((2, 3, 4), (2, 3)), errors.RankError, "position 1"),
            Bad(ops.Concat, ((2, 3), (3, 3)), errors.ShapeError, "2 against 3 in dimension 0"),
            Bad(lambda: ops.Concat(2), ((2, 3),), errors.RankError, "no dimension 2"),
            Bad(ops.Concat, ((2, 3), (2, 3)), errors.DTypeMismatch, "", (DType.F32, DType.F64)),
        ),
    ),
    "expand": OpInfo(
        lambda op, x: x.expand(op.shape),
        (
            Sample(ops.Expand((-1, 3, -1, 5)), ((2, 1, 4, 1),)),
            Sample(ops.Expand((4, 2, 3)), ((2, 1),)),
            Sample(ops.Expand((2, 3)), ((3,),)),
        ),
        (
            Bad(lambda: ops.Expand((-1, 4)), ((2, 3),), errors.ShapeError, "existing size (3)"),
            Bad(lambda: ops.Expand((3,)), ((1, 3),), errors.RankError, "greater or equal"),
            Bad(lambda: ops.Expand((-1, 1, 3)), ((1, 3),), errors.ShapeError, "non-existing"),
            Bad(lambda: ops.Expand((0, 3)), (), errors.InvalidAttribute, "positive"),
            Bad(lambda: ops.Expand([1, 3]), (), errors.InvalidAttribute, "tuple"),
            _only_floats(lambda: ops.Expand((2, 3))),
        ),
    ),
    "permute": OpInfo(
        lambda op, x: x.permute(op.dims),
        (
            Sample(ops.Permute((0, 2, 3, 1)), ((2, 3, 4, 5),)),
            Sample(ops.Permute((3, 1, 0, 2)), ((2, 3, 4, 5),)),
            Sample(ops.Permute((1, 0)), ((3, 7),)),
            Sample(ops.Permute((0, 2, 1)), ((2, 3, 5),)),
            Sample(ops.Permute((4, 3, 2, 1, 0)), ((2, 3, 2, 3, 2),)),
            Sample(ops.Permute(()), ((),)),
        ),
        (
            Bad(lambda: ops.Permute((0, 2, 1)), ((2, 3),), errors.RankError, "does not match"),
            Bad(lambda: ops.Permute((0, 2)), (), errors.InvalidAttribute, "each dimension once"),
            Bad(lambda: ops.Permute((1, 1, 0)), (), errors.InvalidAttribute, "dims=(1, 1, 0)"),
            Bad(lambda: ops.Permute([0, 1]), (), errors.InvalidAttribute, "tuple"),
            _only_floats(lambda: ops.Permute((1, 0))),
        ),
    ),
    "pixel_shuffle": OpInfo(
        lambda op, x: F.pixel_shuffle(x, op.upscale_factor),
        (
            Sample(ops.PixelShuffle(2), ((2, 12, 3, 5),)),
            Sample(ops.PixelShuffle(3), ((1, 9, 2, 1),)),
            Sample(ops.PixelShuffle(1), ((1, 2, 2, 2),)),
        ),
        (
            Bad(
                lambda: ops.PixelShuffle(2), ((1, 6, 2, 2),), errors.ChannelMismatch, "divisible by"
            ),
            Bad(lambda: ops.PixelShuffle(2), ((1, 8, 2),), errors.RankError, "N, C, H, W"),
            Bad(lambda: ops.PixelShuffle(0), (), errors.InvalidAttribute, "upscale_factor=0"),
        ),
    ),
    "pixel_unshuffle": OpInfo(
        lambda op, x: F.pixel_unshuffle(x, op.downscale_factor),
        (
            Sample(ops.PixelUnshuffle(2), ((2, 3, 6, 10),)),
            Sample(ops.PixelUnshuffle(3), ((1, 1, 3, 6),)),
        ),
        (
            Bad(lambda: ops.PixelUnshuffle(2), ((1, 6, 2, 3),), errors.ShapeError, "width 3"),
            Bad(lambda: ops.PixelUnshuffle(2), ((8, 2, 2),), errors.RankError, "N, C, H, W"),
            Bad(lambda: ops.PixelUnshuffle(1.0), (), errors.InvalidAttribute, "factor=1.0"),
        ),
    ),
    "roll": OpInfo(
        lambda op, x: torch.roll(x, op.shifts, op.dims),
        (
            Sample(ops.Roll((1, -2), (2, 3)), ((2, 3, 4, 5),)),
            Sample(ops.Roll((7,), (1,)), ((3, 5),)),
            Sample(ops.Roll((1,), (0,)), ((3, 5, 2),)),
            Sample(ops.Roll((4, 1), (1, 0)), ((2, 4, 3),)),
            Sample(ops.Roll((1, 2, 3, 4, 5), (0, 1, 2, 3, 4)), ((2, 3, 2, 7, 2),)),
        ),
        (
            Bad(lambda: ops.Roll((1,), (2,)), ((2, 3),), errors.RankError, "no dimension 2"),
            Bad(lambda: ops.Roll((1, 2), (0,)), (), errors.InvalidAttribute, "of 1 integer of"),
            Bad(
                lambda: ops.Roll((1, 2), (0, 0)), (), errors.InvalidAttribute, "each dimension once"
            ),
            Bad(lambda: ops.Roll((), ()), (), errors.InvalidAttribute, "of 1 integer of"),
            Bad(lambda: ops.Roll(1, (0,)), (), errors.InvalidAttribute, "shifts=1"),
        ),
    ),
    "slice": OpInfo(
        lambda op, x: x.movedim(op.dim, 0)[op.start : op.stop : op.step].movedim(0, op.dim),
        (
            Sample(ops.Slice(1, 1, 3), ((2, 5, 4, 3),)),
            Sample(ops.Slice(3, 1, -1), ((2, 3, 4, 5),)),
            Sample(ops.Slice(2, -5, step=2), ((2, 3, 7),)),
            Sample(ops.Slice(0, -1), ((3, 4),)),
            Sample(ops.Slice(0, 1, 100, 3), ((9,),)),
            Sample(ops.Slice(1), ((2, 3),)),
            Sample(ops.Slice(4, 1), ((2, 3, 2, 3, 2),)),
        ),
        (
            Bad(lambda: ops.Slice(2), ((2, 3),), errors.RankError, "no dimension 2"),
            Bad(lambda: ops.Slice(1, 3), ((2, 3),), errors.ShapeError, "at least one element"),
            Bad(lambda: ops.Slice(1, 2, -1), ((2, 3),), errors.ShapeError, "elements 2 to -1 of 3"),
            Bad(lambda: ops.Slice(1, step=0), (), errors.InvalidAttribute, "must be positive"),
            Bad(lambda: ops.Slice(1, 0.0), (), errors.InvalidAttribute, "start=0.0"),
            Bad(lambda: ops.Slice(1, stop=None), (), errors.InvalidAttribute, "stop=None"),
            Bad(lambda: ops.Slice(-1), (), errors.InvalidAttribute, "dim=-1"),
            _only_floats(lambda: ops.Slice(1, 1)),
        ),
    ),
    "squeeze": OpInfo(
        lambda op, x: x.squeeze(op.dim),
        (
            Sample(ops.Squeeze((2, 3)), ((2, 3, 1, 1),)),
            Sample(ops.Squeeze((1,)), ((4, 1, 3, 5),)),
            Sample(ops.Squeeze((0,)), ((1,),)),
        ),
        (
            Bad(lambda: ops.Squeeze((1,)), ((2, 3),), errors.ShapeError, "3 elements in"),
            Bad(lambda: ops.Squeeze((2,)), ((2, 1),), errors.RankError, "no dimension 2"),
            Bad(lambda: ops.Squeeze(()), (), errors.InvalidAttribute, "at least one"),
            Bad(lambda: ops.Squeeze((1, 0)), (), errors.InvalidAttribute, "ascending"),
            _only_floats(lambda: ops.Squeeze((0,))),
        ),
    ),
    "unsqueeze": OpInfo(
        lambda op, x: x.unsqueeze(op.dim),
        (
            Sample(ops.Unsqueeze(1), ((2, 3, 4),)),
            Sample(ops.Unsqueeze(2), ((3, 5),)),
            Sample(ops.Unsqueeze(0), ((),)),
            Sample(ops.Unsqueeze(2), ((2, 3, 4, 5),)),
        ),
        (
            Bad(lambda: ops.Unsqueeze(3), ((2, 3),), errors.RankError, "no dimension 3"),
            Bad(lambda: ops.Unsqueeze(-1), (), errors.InvalidAttribute, "dim=-1"),
            _only_floats(lambda: ops.Unsqueeze(1)),
        ),
    ),
    "pad": OpInfo(
        lambda op, x: _padded(x, op.padding, op.value, op.mode),
        (
            Sample(ops.Pad((1, 2, 3, 4)), ((2, 3, 4, 5),)),
            Sample(ops.Pad((0, 0, 1, 0), -1.5), ((1, 2, 3, 3),)),
            Sample(ops.Pad((1, 1, 1, 1), -np.inf), ((1, 1, 2, 2),)),
            Sample(ops.Pad((4, 0)), ((2, 3, 5),)),
            Sample(ops.Pad((2, 3, 1, 0), mode="reflect"), ((2, 3, 4, 5),)),
            Sample(ops.Pad((2, 4), mode="reflect"), ((1, 2, 5),)),
            Sample(ops.Pad((4, 0, 1, 7), mode="replicate"), ((2, 3, 2, 4),)),
            Sample(ops.Pad((0, 3), mode="replicate"), ((1, 2, 1),)),
            Sample(ops.Pad((4, 1, 0, 5), mode="circular"), ((2, 3, 4, 5),)),
            Sample(ops.Pad((2, 1), mode="circular"), ((1, 2, 3),)),
        ),
        (
            Bad(lambda: ops.Pad((1, 1, 1, 1)), ((2, 3),), errors.RankError, "N, C, H, W"),
            Bad(lambda: ops.Pad((1, 1)), ((2, 3, 4, 5),), errors.RankError, "N, C, L"),
            Bad(lambda: ops.Pad((1, 1, 1)), (), errors.InvalidAttribute, "4 integers"),
            Bad(lambda: ops.Pad((1, 1), mode="mirror"), (), errors.InvalidAttribute, "'reflect'"),
            Bad(
                lambda: ops.Pad((1, 1), 2.0, "reflect"),
                (),
                errors.InvalidAttribute,
                "doesn't take in value",
            ),
            Bad(
                lambda: ops.Pad((0, 1, 4, 1), mode="reflect"),
                ((1, 2, 4, 5),),
                errors.ShapeError,
                "padding (0, 4) at dimension 2",
            ),
            Bad(
                lambda: ops.Pad((6, 1), mode="circular"),
                ((1, 2, 5),),
                errors.ShapeError,
                "at most 5",
            ),
            Bad(lambda: ops.Pad((-1, 0, 0, 0)), (), errors.InvalidAttribute, "least 0"),
            Bad(lambda: ops.Pad((0, 0, 0, 0), np.nan), (), errors.InvalidAttribute, "value=nan"),
            *(
                Bad(
                    lambda value=value: ops.Pad((0, 0, 0, 0), value),
                    ((1, 1, 2, 2),),
                    errors.InvalidAttribute,
                    f"{dtype} can hold",
                    (dtype,),
                )
                for dtype, value in (
                    (DType.F16, 65520.0),
                    (DType.F16, -1e6),
                    (DType.BF16, 3.4e38),
                    (DType.F32, 1e39),
                )
            ),
        ),
    ),
}

SAMPLES = tuple(sample for info in INFO.values() for sample in info.samples)
BAD = tuple((name, bad) for name, info in INFO.items() for bad in info.bad)
