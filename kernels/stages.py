"""The pointwise functions of a tail, each under the name of its operator.

A stage function takes float32 values and then its operator's attributes, as constexprs.
`libdevice.exp` is within 2 units in the last place everywhere. `tl.exp` is not on a GPU: it is an
exponential of base 2 of a rounded product, off by up to |value| units.
"""

import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit
def relu(value):
    """0 where negative, value elsewhere: NaN stays NaN and -0 stays -0, as in torch."""
    return tl.where(value < 0.0, 0.0, value)


@triton.jit
def leaky_relu(value, SLOPE: tl.constexpr):
    """Value where positive, SLOPE * value elsewhere."""
    return tl.where(value > 0.0, value, value * SLOPE)


@triton.jit
def sigmoid(value):
    """1 / (1 + exp(-value))."""
    return 1.0 / (1.0 + libdevice.exp(-value))


@triton.jit
def tanh(value):
    """Hyperbolic tangent, of small relative error everywhere; -0 stays -0.

    Below 0.625 in size, where 1 - exp(-2 |value|) would cancel, the odd polynomial of Cephes' tanhf
    (S. L. Moshier, Methods and Programs for Mathematical Functions, 1989).
    """
    square = value * value
    series = -5.70498872745e-3 * square + 2.06390887954e-2
    series = series * square - 5.37397155531e-2
    series = series * square + 1.33314422036e-1
    series = series * square - 3.33332819422e-1
    small = value * (1.0 + series * square)
    decay = libdevice.exp(-2.0 * tl.abs(value))
    size = (1.0 - decay) / (1.0 + decay)
    large = tl.where(value < 0.0, -size, size)
    return tl.where(tl.abs(value) < 0.625, small, large)


@triton.jit
def silu(value):
    """Value * sigmoid(value)."""
    return value / (1.0 + libdevice.exp(-value))


@triton.jit
def hardswish(value):
    """Value * min(max(value + 3, 0), 6) / 6."""
    gate = value + 3.0
    gate = tl.where(gate < 0.0, 0.0, gate)
    return value * (tl.where(gate > 6.0, 6.0, gate) * (1.0 / 6.0))


@triton.jit
def gelu(value, TANH: tl.constexpr):
    """Value times the normal distribution function at value; TANH: by its approximation.

    Source: D. Hendrycks and K. Gimpel, Gaussian Error Linear Units, 2016.
    """
    if TANH:
        inner = 0.7978845608028654 * (value + 0.044715 * value * value * value)
        gate = tanh(inner)
    else:
        gate = libdevice.erf(value * 0.7071067811865476)
    return 0.5 * value * (1.0 + gate)


@triton.jit
def batch_norm(value, scale, shift):
    """Value * scale + shift, the affine form of a batch norm at inference."""
    return value * scale + shift


@triton.jit
def add(value, other):
    """Value + other."""
    return value + other


@triton.jit
def mul(value, other):
    """Value * other."""
    return value * other


@triton.jit
def sub(value, other):
    """Value - other."""
    return value - other


@triton.jit
def div(value, other):
    """Value / other, on a GPU off by up to 2 units in the last place: rounding it to nearest takes
    more registers than the largest tiles have."""
    return value / other


@triton.jit
def minimum(value, other):
    """The smaller of two values; NaN if either is."""
    return tl.minimum(value, other, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def maximum(value, other):
    """The larger of two values; NaN if either is."""
    return tl.maximum(value, other, propagate_nan=tl.PropagateNan.ALL)
