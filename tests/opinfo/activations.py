"""Activations, and what else is between layers: dropout."""

import numpy as np
import torch
from torch.nn import functional as F

from graphcnn import errors, ops
from graphcnn.ir import DType
from graphcnn.ops import activation, linear_units
from tests.opinfo.sample import Bad, OpInfo, Sample, only_floats, pointwise, simple, unary

INFO: dict[str, OpInfo] = {
    "relu": OpInfo(
        unary(F.relu),
        pointwise(activation.Relu()),
        (
            Bad(activation.Relu, ((2,), (2,)), errors.InvalidGraph, "reads input"),
            only_floats(activation.Relu),
        ),
    ),
    "leaky_relu": OpInfo(
        lambda op, x: F.leaky_relu(x, op.negative_slope),
        pointwise(
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
            only_floats(activation.LeakyRelu),
        ),
    ),
    "sigmoid": OpInfo(
        unary(torch.sigmoid),
        pointwise(activation.Sigmoid()),
        (only_floats(activation.Sigmoid),),
    ),
    "tanh": OpInfo(
        unary(torch.tanh), pointwise(activation.Tanh()), (only_floats(activation.Tanh),)
    ),
    "silu": OpInfo(unary(F.silu), pointwise(activation.Silu()), (only_floats(activation.Silu),)),
    "hardswish": OpInfo(
        unary(F.hardswish),
        pointwise(activation.Hardswish()),
        (only_floats(activation.Hardswish),),
    ),
    "gelu": OpInfo(
        lambda op, x: F.gelu(x, approximate=op.approximate),
        pointwise(activation.Gelu(), activation.Gelu("tanh")),
        (
            Bad(lambda: activation.Gelu("erf"), (), errors.InvalidAttribute, "'none' or 'tanh'"),
            Bad(lambda: activation.Gelu(True), (), errors.InvalidAttribute, "approximate=True"),
            only_floats(activation.Gelu),
        ),
    ),
    "relu6": simple(F.relu6, linear_units.Relu6),
    "clamp": OpInfo(
        lambda op, x: torch.clamp(x, op.min, op.max),
        pointwise(
            linear_units.Clamp(-0.7, 1.3),
            linear_units.Clamp(min=-1),
            linear_units.Clamp(max=1.5),
        ),
        (
            Bad(lambda: linear_units.Clamp(np.nan), (), errors.InvalidAttribute, "min=nan"),
            Bad(lambda: linear_units.Clamp(0.0, None), (), errors.InvalidAttribute, "max=None"),
            Bad(lambda: linear_units.Clamp(1e39), ((2,),), errors.InvalidAttribute, "f32 can"),
            only_floats(linear_units.Clamp),
        ),
    ),
    "hardtanh": OpInfo(
        lambda op, x: F.hardtanh(x, op.min_val, op.max_val),
        pointwise(linear_units.Hardtanh(), linear_units.Hardtanh(-2, 0.3)),
        (
            Bad(lambda: linear_units.Hardtanh(1.0, 0.5), (), errors.InvalidAttribute, "<="),
            Bad(lambda: linear_units.Hardtanh(max_val="a"), (), errors.InvalidAttribute, "max_"),
            only_floats(linear_units.Hardtanh),
        ),
    ),
    "hardsigmoid": simple(F.hardsigmoid, linear_units.Hardsigmoid),
    "elu": OpInfo(
        lambda op, x: F.elu(x, op.alpha),
        pointwise(linear_units.Elu(), linear_units.Elu(0.3), linear_units.Elu(-2)),
        (
            Bad(lambda: linear_units.Elu(np.inf), (), errors.InvalidAttribute, "finite"),
            Bad(lambda: linear_units.Elu(1e39), ((2,),), errors.InvalidAttribute, "f32 can"),
            only_floats(linear_units.Elu),
        ),
    ),
    "selu": simple(F.selu, linear_units.Selu),
    "celu": OpInfo(
        lambda op, x: F.celu(x, op.alpha),
        pointwise(linear_units.Celu(), linear_units.Celu(0.3), linear_units.Celu(2)),
        (
            Bad(lambda: linear_units.Celu(0.0), (), errors.InvalidAttribute, "at least"),
            Bad(lambda: linear_units.Celu(-1.0), (), errors.InvalidAttribute, "at least"),
            only_floats(linear_units.Celu),
        ),
    ),
    "softplus": OpInfo(
        lambda op, x: F.softplus(x, op.beta, op.threshold),
        pointwise(activation.Softplus(), activation.Softplus(0.6, 30.0)),
        (
            Bad(lambda: activation.Softplus(0.0), (), errors.InvalidAttribute, "at least"),
            Bad(lambda: activation.Softplus(1, np.inf), (), errors.InvalidAttribute, "threshold="),
            only_floats(activation.Softplus),
        ),
    ),
    "softsign": simple(F.softsign, activation.Softsign),
    "logsigmoid": simple(F.logsigmoid, activation.Logsigmoid),
    "mish": simple(F.mish, activation.Mish),
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
    "dropout": OpInfo(
        unary(torch.clone),
        pointwise(ops.Dropout(), ops.Dropout(0.1)),
        (
            Bad(lambda: ops.Dropout(1.5), (), errors.InvalidAttribute, "at most 1"),
            only_floats(ops.Dropout),
        ),
    ),
}
