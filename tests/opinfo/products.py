"""Products of matrices."""

import torch
from torch.nn import functional as F

from graphcnn import errors, ops
from graphcnn.ir import DType
from tests.opinfo.sample import Bad, OpInfo, Sample

INFO: dict[str, OpInfo] = {
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
}
