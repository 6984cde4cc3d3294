"""Resampling of maps."""

import numpy as np
from torch.nn import functional as F

from graphcnn import errors, ops
from tests.opinfo.sample import NO_FLOATS, Bad, OpInfo, Sample


def _interpolate(op, x):
    how = {"scale_factor": op.scale_factor, "recompute_scale_factor": op.recompute_scale_factor}
    how = how if op.scale_factor else {"size": op.size}
    align = op.align_corners if op.linear else None
    return F.interpolate(x, mode=op.mode, align_corners=align, **how)


INFO: dict[str, OpInfo] = {
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
            Bad(lambda: ops.Interpolate((2,)), ((1, 2, 3),), *NO_FLOATS),
        ),
    ),
}
