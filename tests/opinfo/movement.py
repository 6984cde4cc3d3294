"""What moves elements and computes nothing."""

import numpy as np
import torch
from torch.nn import functional as F

from graphcnn import errors, ops
from graphcnn.ir import DType
from tests.opinfo.sample import Bad, OpInfo, Sample, only_floats, padded

INFO: dict[str, OpInfo] = {
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
            only_floats(lambda: ops.Expand((2, 3))),
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
            only_floats(lambda: ops.Permute((1, 0))),
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
            only_floats(lambda: ops.Slice(1, 1)),
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
            only_floats(lambda: ops.Squeeze((0,))),
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
            only_floats(lambda: ops.Unsqueeze(1)),
        ),
    ),
    "pad": OpInfo(
        lambda op, x: padded(x, op.padding, op.value, op.mode),
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
