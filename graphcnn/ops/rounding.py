"""What the rounding-error bounds of operators share.

The model is that of N. J. Higham, Accuracy and Stability of Numerical Algorithms, chapters 2 and 3:
a computed elementary operation is exact up to a relative error of `unit` and an absolute error of
`UNDERFLOW`.
"""

from __future__ import annotations

import numpy as np

from graphcnn.ir.op import Array

# Smallest normal number of float32 and bfloat16, in which kernels accumulate: results below it may
# be flushed to zero, and factors of products of bfloat16 as well.
UNDERFLOW = 2.0**-126

# What a kernel that accumulates in float32 may lose to infinity: half of the range of float32.
OVERFLOW = 2.0**127

# Unit roundoff of an arithmetic that rounds to nearest; tensor cores truncate, which takes more.
FLOAT32 = 2.0**-24
# That of rounding float32 to the 11 significant bits of tf32.
TF32 = 2.0**-11

# How many times its typical size the rounding error of a long sum may be in practice.
DEVIATIONS = 8.0

# Allowance for exp, log, tanh and the additions and the division around them, in units of the
# result. An exponential within two units in the last place takes four of these at most; one that is
# taken as 2^y of a rounded product y, which is off by |x| units, is not allowed for.
TRANSCENDENTAL = 8.0


def sum_noise(total: Array, squares: Array, magnitude: Array, terms: int, unit: float) -> Array:
    """What rounding does in practice to sums.

    Rounding errors of both signs cancel, so that a sum in sequence is off by about `unit` times the
    root of the sum of its squared partial sums (N. J. Higham and T. Mary, A new approach to
    probabilistic rounding error analysis, SIAM J. Sci. Comput. 41, 2019). For terms in random order
    the k-th partial sum is k n-ths of the total, off that by the root of k n-ths of the squares:
    with y the total and Q the sum of squares over n terms, the squared partial sums add up to
    n/2 (Q - y^2/n) + n y^2/3. `DEVIATIONS` times that root is the first part of the result. The
    second is for terms that are in order, say the negative ones first: a partial sum is at most
    half of magnitude and total, and n of them at random signs add up to the root of n. Where
    additions truncate (`unit` is more than float32's), errors are of one sign and there are n / 8.

    Calibrated on sums of 64 to 25,088 products, 400 of each kind. Added in sequence in float32 they
    used at most 0.14 of this where terms were in random order and 0.94 where they were sorted; with
    additions of 8 or 16 products that are aligned and cut, as in tensor cores, 0.05 where signs
    were mixed and 0.69 where no term was negative. Kernels on the CPU: `bench/false_alarms.py`.

    Args:
        total: Exact sums.
        squares: The sums of the squared terms.
        magnitude: The sums of the terms' sizes.
        terms: How many terms a sum has, at most.
        unit: Unit roundoff of the additions.
    """
    walk = terms / 2 * np.maximum(squares - total**2 / terms, 0.0) + terms / 3 * total**2
    growth = terms / 8 if unit > FLOAT32 else np.sqrt(terms)
    noise: Array = unit * (DEVIATIONS * np.sqrt(walk) + growth * (magnitude + np.abs(total)) / 2)
    return noise


def beyond_range(magnitude: Array, bound: Array) -> Array:
    """The bound, infinite where a sum of such magnitude may overflow on the way."""
    return np.where(magnitude > OVERFLOW, np.inf, bound)
