"""Arithmetic of several operands, comparisons, a choice."""

import torch

from graphcnn import errors, ops
from graphcnn.ir import DType
from tests.opinfo.sample import Bad, OpInfo, Sample


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


INFO: dict[str, OpInfo] = {
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
}
