"""The pointwise functions of a tail, each under the name of its operator.

A stage function takes float32 values and then its operator's attributes, as constexprs.
`libdevice.exp` is within 2 units in the last place. On a GPU `tl.exp` is a power of 2 of a rounded
product, off by up to |value| units.
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
def clamp(value, LEAST: tl.constexpr, MOST: tl.constexpr):
    """LEAST where smaller, then MOST where larger: NaN stays NaN and a limit of 0 keeps -0."""
    value = tl.where(value < LEAST, LEAST, value)
    return tl.where(value > MOST, MOST, value)


@triton.jit
def hardtanh(value, LEAST: tl.constexpr, MOST: tl.constexpr):
    """The same, with limits in order."""
    return clamp(value, LEAST, MOST)


@triton.jit
def relu6(value):
    """Value between 0 and 6."""
    return clamp(value, 0.0, 6.0)


@triton.jit
def hardsigmoid(value):
    """Value + 3 between 0 and 6, / 6."""
    return clamp(value + 3.0, 0.0, 6.0) * (1.0 / 6.0)


@triton.jit
def elu(value, ALPHA: tl.constexpr):
    """Value where positive, ALPHA * (exp(value) - 1) elsewhere."""
    return tl.where(value > 0.0, value, ALPHA * libdevice.expm1(value))


@triton.jit
def selu(value):
    """1.0507 * elu(value, 1.6733)."""
    return tl.where(
        value > 0.0, 1.0507009873554805 * value, 1.7580993408473766 * libdevice.expm1(value)
    )


@triton.jit
def celu(value, ALPHA: tl.constexpr):
    """Value where positive, ALPHA * (exp(value / ALPHA) - 1) elsewhere."""
    return tl.where(value > 0.0, value, ALPHA * libdevice.expm1(value * (1.0 / ALPHA)))


@triton.jit
def softsign(value):
    """Value / (1 + |value|)."""
    return value / (1.0 + tl.abs(value))


@triton.jit
def softplus(value, BETA: tl.constexpr, THRESHOLD: tl.constexpr):
    """Log(1 + exp(BETA * value)) / BETA, and value where BETA * value > THRESHOLD.

    The exponential is of -|BETA * value|, so it does not overflow.
    """
    scaled = value * BETA
    soft = libdevice.log1p(libdevice.exp(-tl.abs(scaled))) * (1.0 / BETA)
    return tl.where(scaled > THRESHOLD, value, tl.where(value < 0.0, 0.0, value) + soft)


@triton.jit
def logsigmoid(value):
    """Log(sigmoid(value)), by the exponential of -|value|, which does not overflow."""
    return tl.where(value > 0.0, 0.0, value) - libdevice.log1p(libdevice.exp(-tl.abs(value)))


@triton.jit
def mish(value):
    """Value * tanh(log(1 + e)) = value * e (e + 2) / (e (e + 2) + 2) of e = exp(value).

    From 20 on the factor is 1 in float32, and further e^2 would overflow.
    """
    power = libdevice.exp(tl.where(value < 20.0, value, 20.0))
    product = power * (power + 2.0)
    return value * (product / (product + 2.0))


@triton.jit
def abs(value):
    """Size of value."""
    return tl.abs(value)


@triton.jit
def neg(value):
    """Value with the other sign; 0 - value would make 0 of 0, not -0."""
    return value * -1.0


@triton.jit
def exp(value):
    """E to the power of value."""
    return libdevice.exp(value)


@triton.jit
def log(value):
    """Natural logarithm: -inf at 0, NaN below.

    Below the normal range by that of value * 2^25: `libdevice.log` takes them as 0 on a GPU.
    """
    small = value < 1.1754943508222875e-38
    power = libdevice.log(tl.where(small, value * 33554432.0, value))
    return tl.where(small, power - 17.328679513998633, power)


@triton.jit
def sqrt(value):
    """Square root, rounded to nearest."""
    return tl.sqrt_rn(value)


@triton.jit
def rsqrt(value):
    """1 / square root. The instruction for it flushes small numbers on a GPU."""
    return 1.0 / tl.sqrt_rn(value)


@triton.jit
def erf(value):
    """Error function."""
    return libdevice.erf(value)


@triton.jit
def sin(value):
    """Sine of radians of any size: `tl.sin` is for small ones on a GPU."""
    return libdevice.sin(value)


@triton.jit
def cos(value):
    """Cosine of radians of any size: `tl.cos` is for small ones on a GPU."""
    return libdevice.cos(value)


@triton.jit
def pow(value, EXPONENT: tl.constexpr):
    """Value to the power of EXPONENT; a square is a product, and roots are roots, as in torch."""
    if EXPONENT == 2:
        power = value * value
    elif EXPONENT == 0.5:
        power = sqrt(value)
    elif EXPONENT == -0.5:
        power = rsqrt(value)
    else:
        power = libdevice.pow(value, EXPONENT * 1.0)
    return power


@triton.jit
def floor(value):
    """Largest whole number that is at most value."""
    return libdevice.floor(value)


@triton.jit
def ceil(value):
    """Smallest whole number that is at least value."""
    return libdevice.ceil(value)


@triton.jit
def trunc(value):
    """Next whole number towards 0."""
    return libdevice.trunc(value)


@triton.jit
def round(value):
    """Nearest whole number, of two the even one."""
    return libdevice.rint(value)


@triton.jit
def prelu(value, slope):
    """Value where positive, slope * value elsewhere."""
    return tl.where(value > 0.0, value, value * slope)


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
def power(value, other):
    """Value to the power of other. On a GPU `libdevice.pow` takes subnormal numbers as 0."""
    return libdevice.pow(value, other)


@triton.jit
def minimum(value, other):
    """The smaller of two values; NaN if either is."""
    return tl.minimum(value, other, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def maximum(value, other):
    """The larger of two values; NaN if either is."""
    return tl.maximum(value, other, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def eq(value, other):
    """1 where value equals other, else 0."""
    return tl.where(value == other, 1.0, 0.0)


@triton.jit
def ne(value, other):
    """1 where value does not equal other, else 0."""
    return tl.where(value != other, 1.0, 0.0)


@triton.jit
def lt(value, other):
    """1 where value is below other, else 0."""
    return tl.where(value < other, 1.0, 0.0)


@triton.jit
def le(value, other):
    """1 where value is at most other, else 0."""
    return tl.where(value <= other, 1.0, 0.0)


@triton.jit
def gt(value, other):
    """1 where value is above other, else 0."""
    return tl.where(value > other, 1.0, 0.0)


@triton.jit
def ge(value, other):
    """1 where value is at least other, else 0."""
    return tl.where(value >= other, 1.0, 0.0)


@triton.jit
def where(condition, value, other):
    """Value where the condition is not 0, else other."""
    return tl.where(condition != 0.0, value, other)
