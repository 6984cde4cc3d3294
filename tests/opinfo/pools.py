"""Pools of windows, of the whole map, and to a given size."""

import torch
from torch.nn import functional as F

from graphcnn import errors, ops
from tests.opinfo.sample import NO_FLOATS, Bad, OpInfo, Sample, padded, unary


def _max_pool(op, x):
    pool, before = getattr(F, op.name), op.padding[: op.rank]
    # Infinite padding changes what ceil_mode keeps, so symmetric padding is left to torch.
    if before == op.padding[op.rank :]:
        return pool(x, op.kernel_size, op.stride, before, op.dilation, op.ceil_mode)
    x = padded(x, op.padding, -torch.inf)
    return pool(x, op.kernel_size, op.stride, 0, op.dilation)


def _avg_pool(op, x):
    pool, before = getattr(F, op.name), op.padding[: op.rank]
    if before == op.padding[op.rank :]:
        return pool(x, op.kernel_size, op.stride, before, op.ceil_mode, op.count_include_pad)
    means = pool(padded(x, op.padding), op.kernel_size, op.stride)
    if op.count_include_pad:
        return means
    inside = padded(torch.ones_like(x), op.padding)
    return means / pool(inside, op.kernel_size, op.stride)


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
            Bad(lambda: op(ones), ((2, 3, 4, 4)[: 2 + op.rank],), *NO_FLOATS),
        ),
    )


INFO: dict[str, OpInfo] = {
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
        unary(lambda x: F.adaptive_avg_pool2d(x, 1)),
        tuple(Sample(ops.GlobalAvgPool2d(), (shape,)) for shape in ((2, 3, 7, 5), (1, 1, 1, 1))),
        (Bad(ops.GlobalAvgPool2d, ((2, 3),), errors.RankError, "N, C, H, W"),),
    ),
    **{
        op.name: _adaptive_pool(op)
        for op in (
            ops.AdaptiveAvgPool1d,
            ops.AdaptiveAvgPool2d,
            ops.AdaptiveMaxPool1d,
            ops.AdaptiveMaxPool2d,
        )
    },
}
