"""What the rounding-error bounds of operators share.

The model is that of N. J. Higham, Accuracy and Stability of Numerical Algorithms, chapters 2 and 3:
a computed elementary operation is exact up to a relative error of `unit` and an absolute error of
`UNDERFLOW`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphcnn.ir.op import Array, gamma

# Smallest normal number of float32 and bfloat16, in which kernels accumulate: results below it may
# be flushed to zero.
UNDERFLOW = 2.0**-126

# Allowance for exp, log, tanh and the additions and the division around them, in units of the
# result. An exponential within two units in the last place takes four of these at most; one that is
# taken as 2^y of a rounded product y, which is off by |x| units, is not allowed for.
TRANSCENDENTAL = 8.0


def product_error(
    product: Callable[[Array, Array], Array],
    inputs: tuple[Array, ...],
    errors: tuple[Array, ...],
    terms: int,
    unit: float,
) -> Array:
    """gamma(n) * sum |x||w|, in any order of summation, plus the operands' errors.

    Args:
        product: The op without its bias; linear in the input and in the weight.
        inputs: input, weight and perhaps bias, the latter as it is added to the product.
        errors: Absolute error bounds of these.
        terms: Roundings of an output element: its products and two more.
        unit: Unit roundoff of the arithmetic.
    """
    x, weight = np.abs(inputs[0]), np.abs(inputs[1])
    bound: Array | float = 0.0
    if errors[1].any():
        bound = product(x, errors[1])
        weight = weight + errors[1]
    magnitude = product(x, weight)
    if errors[0].any():
        spread = product(errors[0], weight)
        bound = bound + spread
        magnitude += spread
    if len(inputs) == 3:
        bound = bound + errors[2]
        magnitude += np.abs(inputs[2]) + errors[2]
    total: Array = bound + (gamma(terms, unit) * magnitude + terms * UNDERFLOW)
    return total
