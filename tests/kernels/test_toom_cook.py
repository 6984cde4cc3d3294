"""The matrices of minimal filtering are those of a filter of three taps."""

from fractions import Fraction

import numpy as np
import pytest

from graphcnn.kernels import TRANSFORMS

SIZES = sorted(TRANSFORMS)


def exactly(matrix):
    return np.array([[Fraction(number) for number in row] for row in matrix], dtype=object)


@pytest.mark.parametrize("outputs", SIZES)
def test_they_filter(outputs):
    """For every pair of a tap and an input: the output at their distance is 1, the others are 0."""
    transform = TRANSFORMS[outputs]
    inputs, result = exactly(transform.input), exactly(transform.output)
    filters = np.array(transform.filter)
    for tap in range(3):
        for place in range(outputs + 2):
            made = result @ (filters[:, tap] * inputs[:, place])
            wanted = [float(place - tap == at) for at in range(outputs)]
            np.testing.assert_allclose(made.astype(float), wanted, atol=1e-14)


@pytest.mark.parametrize("outputs", SIZES)
def test_the_parts_make_the_whole(outputs):
    transform = TRANSFORMS[outputs]
    first, pairs, last = map(exactly, transform.tables)
    np.testing.assert_array_equal(pairs @ first, exactly(transform.input))
    np.testing.assert_array_equal(last @ pairs, exactly(transform.output))


@pytest.mark.parametrize("outputs", SIZES)
def test_a_kernel_reads_exact_numbers(outputs):
    for table in TRANSFORMS[outputs].tables:
        np.testing.assert_array_equal(np.float32(table), np.float64(table))


@pytest.mark.parametrize("outputs", SIZES)
def test_the_sizes_of_parts_are_those_of_the_whole(outputs):
    """A running error bound may take the whole matrix: nothing cancels between its parts."""
    transform = TRANSFORMS[outputs]
    first, pairs, last = (np.abs(np.array(table)) for table in transform.tables)
    np.testing.assert_array_equal(pairs @ first, np.abs(transform.input))
    np.testing.assert_array_equal(last @ pairs, np.abs(transform.output))
