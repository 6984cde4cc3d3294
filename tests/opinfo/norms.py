"""Norms, by running statistics or the tensor's own, and softmax."""

import torch
from torch.nn import functional as F

from graphcnn import errors, ops
from tests.opinfo.sample import INTEGERS, NO_FLOATS, Bad, OpInfo, Sample, only_floats


def _batch_norm(op, x, mean, var, weight, bias):
    return F.batch_norm(x, mean, var, weight, bias, eps=op.eps)


def _bad_softmax(op):
    return (
        Bad(lambda: op(dim=2), ((2, 3),), errors.RankError, "no dimension 2"),
        Bad(lambda: op(dim=-1), (), errors.InvalidAttribute, "dim=-1"),
        Bad(lambda: op(dim=True), (), errors.InvalidAttribute, "dim=True"),
        only_floats(op),
    )


def _softmax_samples(op):
    return (
        Sample(op(), ((3, 10),)),
        Sample(op(), ((2, 5, 3, 2),)),
        Sample(op(dim=0), ((7,),)),
        Sample(op(dim=3), ((2, 3, 1, 17),)),
        Sample(op(), ((1, 1),)),
    )


INFO: dict[str, OpInfo] = {
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
            Bad(lambda: ops.GroupNorm(2), ((2, 6, 4),), *NO_FLOATS),
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
            Bad(ops.InstanceNorm, ((2, 6, 4),), *NO_FLOATS),
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
            Bad(lambda: ops.LayerNorm((6,)), ((2, 6),), *NO_FLOATS),
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
                INTEGERS,
            ),
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
}
