"""Constants of the rounding-error bounds that operators share.

The model is that of N. J. Higham, Accuracy and Stability of Numerical Algorithms, chapters 2 and 3:
a computed elementary operation is exact up to a relative error of `unit` and an absolute error of
`UNDERFLOW`.
"""

from __future__ import annotations

# Smallest normal number of float32 and bfloat16, in which kernels accumulate: results below it may
# be flushed to zero.
UNDERFLOW = 2.0**-126

# Allowance for exp, log, tanh and the division that follows them, in units of the result: device
# versions are accurate to a few units in the last place and are not correctly rounded.
TRANSCENDENTAL = 8.0

# An exponential taken as 2^(x*log2(e)) has a relative error of |x| units from rounding the product
# and of another |x| from the constant.
EXPONENT = 2.0
