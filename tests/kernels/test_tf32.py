"""Rounding to tf32 in a kernel, bit for bit, and kernels that multiply rounded numbers."""

import numpy as np
import pytest
import torch

from graphcnn.kernels import (
    ConvTile,
    Stage,
    conv2d,
    pointwise,
    round_to_tf32,
)
from graphcnn.targets.tf32 import tf32
from tests.kernels.buffers import Output, randn, view_of


def patterns():
    """Bits of float32: at random, every exponent, ties of both kinds, NaN of all kinds."""
    drawn = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32)
    kept = drawn[:20_000] & np.uint32(0xFFFFE000)
    ties = [kept | np.uint32(low) for low in (0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF)]
    high = np.arange(512, dtype=np.uint32) << np.uint32(23)
    fractions = np.array([0, 1, 0x1000, 0x1FFF, 0x3000, 0x400000, 0x7FEFFF, 0x7FF000, 0x7FFFFF])
    every = (high[:, None] | fractions.astype(np.uint32)[None, :]).ravel()
    return np.concatenate([drawn, *ties, every]).view(np.float32)


def test_rounding_is_to_nearest_and_to_even():
    """By float64, whose numbers of 11 bits NumPy rounds to even."""
    x = patterns()
    finite = np.isfinite(x)
    exact = x[finite].astype(np.float64)
    # A number of tf32 is a whole number of steps, which do not shrink below the normal range.
    step = np.exp2(np.maximum(np.frexp(exact)[1] - 11, -136.0))
    wanted = np.rint(exact / step) * step
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(tf32(x[finite]), wanted.astype(np.float32))
    assert (np.signbit(tf32(x[finite])) == np.signbit(x[finite])).all()
    np.testing.assert_array_equal(tf32(x[np.isinf(x)]), x[np.isinf(x)])
    # The cut of a tensor core leaves NaN what it is.
    cut = (tf32(x[np.isnan(x)]).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    assert np.isnan(cut).all()
    np.testing.assert_array_equal(tf32(tf32(x)), tf32(x))


def test_kernels_round_as_numpy_does(run_native):
    x = torch.from_numpy(patterns())
    y = torch.full_like(x, 123.0)
    run_native(pointwise(view_of(x), view_of(y), (Stage(round_to_tf32),)))
    np.testing.assert_array_equal(y.numpy().view(np.uint32), tf32(x.numpy()).view(np.uint32))


@pytest.mark.parametrize("channels", [32, 3])
@pytest.mark.parametrize("rounded", [True, False])
def test_products_are_of_rounded_numbers(run, channels, rounded):
    """Bit for bit those of rounded numbers as they are; NaN and infinities among them."""
    x, w = randn(2, channels, 9, 7), randn(16, 9 * channels, seed=1)
    x[0, 0, 4, 4], x[1, 1, 2, 3] = float("inf"), float("nan")
    exact = [torch.from_numpy(tf32(each.numpy())) for each in (x, w)]

    def product(x, w, **precision):
        out = Output((2, 16, 9, 7))
        steps = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
        tile = ConvTile(32, 64, 32)
        made = conv2d(
            view_of(x),
            view_of(w),
            None,
            [out.view],
            kernel=(3, 3),
            **steps,
            groups=1,
            out_size=(9, 7),
            tile=tile,
            **precision,
        )
        run(made)
        return out.tensor.numpy()

    wanted = product(*exact, precision="ieee")
    image = exact[0] if rounded else x
    got = product(image, exact[1], precision="tf32", rounded=rounded)
    np.testing.assert_array_equal(got, wanted)
    assert np.isfinite(wanted).any()
    assert not np.isfinite(wanted).all()
    assert (product(x, w, precision="tf32x3") != wanted).any()
