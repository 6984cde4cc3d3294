"""Functions of mathematics of one element."""

import numpy as np
import torch

from graphcnn import errors
from graphcnn.ops import elementary, steps
from tests.opinfo.sample import Bad, OpInfo, only_floats, pointwise, simple

INFO: dict[str, OpInfo] = {
    "abs": simple(torch.abs, elementary.Abs),
    "neg": simple(torch.neg, elementary.Neg),
    "exp": simple(torch.exp, elementary.Exp),
    "log": simple(torch.log, elementary.Log),
    "sqrt": simple(torch.sqrt, elementary.Sqrt),
    "rsqrt": simple(torch.rsqrt, elementary.Rsqrt),
    "erf": simple(torch.erf, elementary.Erf),
    "sin": simple(torch.sin, elementary.Sin),
    "cos": simple(torch.cos, elementary.Cos),
    "floor": simple(torch.floor, steps.Floor),
    "ceil": simple(torch.ceil, steps.Ceil),
    "trunc": simple(torch.trunc, steps.Trunc),
    "round": simple(torch.round, steps.Round),
    "pow": OpInfo(
        lambda op, x: torch.pow(x, op.exponent),
        pointwise(elementary.Pow(), elementary.Pow(3), elementary.Pow(0.3), elementary.Pow(-1.0)),
        (
            Bad(lambda: elementary.Pow(np.nan), (), errors.InvalidAttribute, "finite"),
            Bad(lambda: elementary.Pow(True), (), errors.InvalidAttribute, "finite"),
            only_floats(elementary.Pow),
        ),
    ),
}
