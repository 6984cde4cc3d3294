"""Convolutions and transposed ones."""

import torch
from torch.nn import functional as F

from graphcnn import errors, ops
from graphcnn.ir import DType
from tests.opinfo.sample import Bad, OpInfo, Sample, padded


def _conv(op, x, weight, bias=None):
    x = padded(x, op.padding)
    return getattr(F, op.name)(x, weight, bias, op.stride, 0, op.dilation, op.groups)


def _conv_transpose(op, x, weight, bias=None):
    options = (op.stride, op.padding, op.output_padding, op.groups, op.dilation)
    return getattr(F, op.name)(x, weight, bias, *options)


def _biased(*args, **attributes):
    """Sample of a convolution with a bias: (x, weight), macs, attributes."""
    (x, weight), macs = args
    op = {3: ops.Conv1d, 4: ops.Conv2d}[len(x)]
    return Sample(op(**attributes), (x, weight, weight[:1]), macs)


def _transposed(make, shapes, macs, **attributes):
    """Likewise of a transposed convolution, whose filters are the weight's second dimension."""
    op = make(**attributes)
    return Sample(op, (*shapes, (shapes[1][1] * op.groups,)), macs)


INFO: dict[str, OpInfo] = {
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
}
