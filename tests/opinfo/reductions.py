"""Reductions along dimensions."""

import torch

from graphcnn import errors, ops
from tests.opinfo.sample import INTEGERS, Bad, OpInfo, Sample, only_floats


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
            Bad(lambda: op((0,)), ((2, 3),), errors.DTypeMismatch, "floating point", INTEGERS),
        ),
    )


INFO: dict[str, OpInfo] = {
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
            only_floats(lambda: ops.Var((1,))),
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
            only_floats(lambda: ops.Argmax(1)),
        ),
    ),
}
