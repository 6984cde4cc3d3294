"""Every activation's device function over all halves, and over float32 by exponent.

Errors are counted in units in the last place (ulp) of the stored dtype at the exact value: the
distance of neighbouring numbers there, which below the normal range is the smallest number.
"""

import pytest
import torch
import torch.nn.functional as F

from graphcnn.kernels import Stage, pointwise, stages
from tests.kernels.buffers import DTYPES, view_of

SLOPE = 0.1
PARAMS = {
    "leaky_relu": (SLOPE,),
    "gelu": (False,),
    "gelu_tanh": (True,),
    "clamp": (-0.7, float("inf")),
    "hardtanh": (-2.0, 0.3),
    "elu": (0.3,),
    "celu": (0.3,),
    "softplus": (1.0, 20.0),
    "softplus_scaled": (0.6, 30.0),
    "pow": (2,),
    "pow_cube": (3,),
    "pow_root": (0.375,),
    "pow_half": (0.5,),
    "pow_inverse": (-1.0,),
}
FUNCTIONS = {
    "relu": torch.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, SLOPE),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "hardswish": F.hardswish,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu6": F.relu6,
    "clamp": lambda x: torch.clamp(x, -0.7),
    "hardtanh": lambda x: F.hardtanh(x, -2.0, 0.3),
    "hardsigmoid": F.hardsigmoid,
    "elu": lambda x: F.elu(x, 0.3),
    "selu": F.selu,
    "celu": lambda x: F.celu(x, 0.3),
    "softplus": F.softplus,
    "softplus_scaled": lambda x: F.softplus(x, 0.6, 30.0),
    "softsign": F.softsign,
    "logsigmoid": F.logsigmoid,
    "mish": F.mish,
    "abs": torch.abs,
    "neg": torch.neg,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "pow": torch.square,
    "pow_cube": lambda x: torch.pow(x, 3),
    "pow_root": lambda x: torch.pow(x, 0.375),
    "pow_half": torch.sqrt,
    "pow_inverse": lambda x: torch.pow(x, -1),
}
# Largest error in float32. leaky_relu rounds its slope and its product. The others hold an
# exponential within 2 ulp, or tanh's polynomial, and two or three more roundings: 4 ulp are eight
# units of 2^-24 or less, what `ops.rounding.TRANSCENDENTAL` allows. Seen on x86 with AVX-512, by
# gcc: 0.6, 2.2, 1.5 and 2.2.
ULPS = {
    "relu": 0.0,
    "leaky_relu": 1.5,
    "hardswish": 2.0,
    "relu6": 0.0,
    "clamp": 0.5,
    "hardtanh": 0.5,
    "hardsigmoid": 2.0,
    "softsign": 1.5,
    "logsigmoid": 5.0,
    "softplus": 5.0,
    "softplus_scaled": 6.0,
    "abs": 0.0,
    "neg": 0.0,
    "sqrt": 0.5,
    "rsqrt": 1.5,
    "pow": 0.5,
    "pow_half": 0.5,
}
# Where the gate of x * gate(x) cancels, its error is absolute: units of 2^-24 times |x|.
GATES = {"hardswish": 2.0, "gelu": 4.0, "gelu_tanh": 8.0}
# Fraction bits and exponent of the smallest normal number.
FORMATS = {"f32": (23, -126), "bf16": (7, -126), "f16": (10, -14)}


def every(dtype):
    """All numbers of a half type; 10^6 of float32: random patterns, and the range of exp."""
    if dtype != "f32":
        return torch.arange(-(2**15), 2**15).to(torch.int16).view(DTYPES[dtype])
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randint(-(2**31), 2**31, (600_000,), generator=generator).to(torch.int32)
    return torch.cat([patterns.view(torch.float32), torch.linspace(-110, 110, 400_000)])


def special(dtype):
    """Both zeros, infinities and NaN, the smallest numbers and the largest."""
    limits = torch.finfo(DTYPES[dtype])
    sizes = [0.0, limits.smallest_normal * limits.eps, limits.smallest_normal, limits.max]
    sizes += [float("inf"), float("nan")]
    return torch.tensor([sign * size for size in sizes for sign in (1, -1)], dtype=DTYPES[dtype])


def unit(exact, dtype):
    fraction, smallest = FORMATS[dtype]
    exponent = (torch.frexp(exact).exponent - 1).clamp(min=smallest)
    return torch.exp2((exponent - fraction).double())


def step_of(name):
    """The step of a function of the table: with an op's name, or with more after a "_"."""
    fn = getattr(stages, name, None) or getattr(stages, name.rpartition("_")[0])
    return Stage(fn, params=PARAMS.get(name, ()))


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_accuracy(run_native, name, dtype):
    x = torch.cat([every(dtype), special(dtype)])
    y = torch.full_like(x, 123.0)
    run_native(pointwise(view_of(x), view_of(y), (step_of(name),)))
    exact = FUNCTIONS[name](x.double())
    exact = torch.where(exact.to(x.dtype).isinf(), exact.to(x.dtype).double(), exact)
    assert torch.equal(y.isnan(), exact.isnan())
    known = ~exact.isnan()
    x, y, exact = x[known].double(), y[known].double(), exact[known]
    # But where a subtraction of 0 ends in 0: the exact result is too small for the dtype.
    vanished = (y == 0) & (exact != 0) & (name == "logsigmoid")
    assert torch.equal(y.signbit()[~vanished], exact.signbit()[~vanished])
    infinite = exact.isinf()
    assert torch.equal(y[infinite], exact[infinite])
    x, y, exact = x[~infinite], y[~infinite], exact[~infinite]
    # Halves are computed in float32 and rounded once more.
    ulps = ULPS.get(name, 4.0)
    ulps = ulps if dtype == "f32" else 0.5 + ulps * 2.0 ** (FORMATS[dtype][0] - 23)
    allowed = ulps * unit(exact, dtype)
    if name in GATES:
        allowed += GATES[name] * 2.0**-24 * x.abs()
    if name in ("sigmoid", "silu"):
        # The exponential is infinite there, and the result 0 of the right sign, as in torch.
        allowed = torch.where(x < -88.72, exact.abs(), allowed)
    if name == "softplus_scaled":
        allowed += (3 * 2.0**-24 * x.abs() * exact.clamp(max=1)).nan_to_num()
    if name == "mish":
        # The exponential is below the normal range there.
        allowed = torch.where(x < -87, allowed - x * 2.0**-149, allowed)
    worst = ((y - exact).abs() / allowed.clamp(min=1e-300)).max().item()
    assert worst <= 1, f"{ulps * worst:.3g} ulp"
