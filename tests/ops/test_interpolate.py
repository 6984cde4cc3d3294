"""Bounds of interpolation: what rounding makes of a place, and what it does not."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from graphcnn.ops import Interpolate

F32 = 2.0**-24


@pytest.mark.parametrize("size", [(301, 17), (40, 999)])
@pytest.mark.parametrize("align", [False, True])
def test_bound_of_far_places(size, align):
    """A place is off by roundings of itself; one that is off by a hundredth is beyond the bound."""
    x = np.random.default_rng(0).standard_normal((1, 2, 50, 400)).astype(np.float32)
    exact_x, op = x.astype(np.float64), Interpolate(size, (), "bilinear", align)
    exact = op.reference(exact_x)
    allowed = op.error((exact_x,), (np.zeros(x.shape),), exact, F32)
    got = F.interpolate(torch.from_numpy(x), size, mode="bilinear", align_corners=align).numpy()
    assert (np.abs(got - exact) <= allowed).all()
    assert (np.abs(got - exact) > 4 * F32 * np.abs(exact)).any()
    assert allowed.max() < 1e-3
    other = Interpolate(size, (), "bilinear", not align).reference(exact_x)
    assert (np.abs(other - exact) > allowed).any()


def test_errors_of_operands_move_along():
    op, rng = Interpolate((7, 9), (), "bilinear"), np.random.default_rng(1)
    x, error = rng.standard_normal((1, 1, 4, 5)), rng.uniform(0, 0.1, (1, 1, 4, 5))
    exact = op.reference(x)
    allowed = op.error((x,), (error,), exact, F32)
    assert (np.abs(op.reference(x + error) - exact) <= allowed).all()
    assert (np.abs(op.reference(x - error) - exact) <= allowed).all()
    assert (allowed <= op.reference(error) + 1e-5).all()
