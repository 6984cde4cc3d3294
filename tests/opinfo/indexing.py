"""Look-ups by whole numbers."""

import torch
from torch.nn import functional as F

from graphcnn import errors, ops
from graphcnn.ir import DType
from tests.opinfo.sample import Bad, OpInfo, Sample

INFO: dict[str, OpInfo] = {
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
}
