"""Every activation's device function over all halves, and over float32 by exponent.

Errors are counted in units in the last place (ulp) of the stored dtype at the exact value: the
distance of neighbouring numbers there, which below the normal range is the smallest number.
"""

import pytest
import torch
import torch.nn.functional as F

from graphcnn.kernels import pointwise
from tests.kernels.buffers import DTYPES, stage, view_of

SLOPE = 0.1
PARAMS = {"leaky_relu": SLOPE, "gelu": False, "gelu_tanh": True}
FUNCTIONS = {
    "relu": torch.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, SLOPE),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "hardswish": F.hardswish,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}
# Largest error in float32. leaky_relu rounds its slope and its product. The others hold an
# exponential within 2 ulp, or tanh's polynomial, and two or three more roundings: 4 ulp are eight
# units of 2^-24 or less, what `ops.rounding.TRANSCENDENTAL` allows. Seen on x86 with AVX-512, by
# gcc: 0.6, 2.2, 1.5 and 2.2.
ULPS = {"relu": 0.0, "leaky_relu": 1.5, "hardswish": 2.0}
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


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_accuracy(run_native, name, dtype):
    x = torch.cat([every(dtype), special(dtype)])
    y = torch.full_like(x, 123.0)
    step = stage(name.removesuffix("_tanh"), param=PARAMS.get(name))
    run_native(pointwise(view_of(x), view_of(y), (step,)))
    exact = FUNCTIONS[name](x.double())
    assert torch.equal(y.isnan(), exact.isnan())
    known = ~exact.isnan()
    x, y, exact = x[known].double(), y[known].double(), exact[known]
    assert torch.equal(y.signbit(), exact.signbit())
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
    worst = ((y - exact).abs() / allowed.clamp(min=1e-300)).max().item()
    assert worst <= 1, f"{ulps * worst:.3g} ulp"
