"""Strided views: what they read is where they say it is."""

import numpy as np
import pytest

from graphcnn.ops import Permute, Strided
from tests.opinfo import SAMPLES

VIEWS = [sample for sample in SAMPLES if isinstance(sample.op, Strided)]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("sample", VIEWS, ids=str)
def test_a_value_lies_where_its_place_says(sample, order):
    (x,) = sample.operands()
    x = np.asarray(x, order=order)
    strides = tuple(step // x.itemsize for step in x.strides)
    skipped, found = sample.op.place(x.shape, strides)
    memory = x.ravel(order="K")[skipped:]
    steps = [step * x.itemsize for step in found]
    seen = np.lib.stride_tricks.as_strided(memory, sample.output().shape, steps)
    np.testing.assert_array_equal(seen, sample.op.reference(x))


def test_a_permutation_of_equal_sizes_is_no_identity():
    x = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(Permute((1, 0)).reference(x), x.T)
