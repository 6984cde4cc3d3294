"""Bounds of norms by a value's own statistics, over long rows in one chain of float32."""

import numpy as np
import pytest

from graphcnn import ops

F32 = 2.0**-24
LENGTH = 3000


def sequential(x):
    """Sums term after term in float32, in two passes, without weights."""

    def mean(rows):
        return np.cumsum(rows, axis=1, dtype=np.float32)[:, -1:] / np.float32(rows.shape[1])

    centred = x - mean(x)
    return centred / np.sqrt(mean(centred * centred) + np.float32(1e-5))


def rows(order, centre):
    x = np.random.default_rng(3).standard_normal((20, LENGTH)) + centre
    x = {"random": x, "sorted": np.sort(x), "none negative": np.abs(x)}[order]
    return x.astype(np.float32)


@pytest.mark.parametrize("order", ["random", "sorted", "none negative"])
@pytest.mark.parametrize("centre", [0.0, 30.0])
def test_bound_and_noise_of_long_rows(order, centre):
    """Within both; with one of the elements left out of the mean: beyond them."""
    x = rows(order, centre)
    op, exact_x, errors = ops.LayerNorm((LENGTH,)), x.astype(np.float64), np.zeros(x.shape)
    exact = op.reference(exact_x)
    allowed = op.error((exact_x,), (errors,), exact, F32)
    noise = op.noise((exact_x,), (errors,), exact, F32)
    off = np.abs(sequential(x) - exact)
    assert (off <= np.minimum(noise, allowed)).all()
    assert (off > F32 * np.abs(exact)).any()
    short = exact_x.copy()
    short[:, -1] = 0.0
    wrong = (exact_x - short.mean(axis=1, keepdims=True)) / exact_x.std(axis=1, keepdims=True)
    assert (np.abs(wrong - exact) > noise).any()


@pytest.mark.parametrize(("rule", "share"), [("error", 1.0), ("noise", 0.5)])
def test_operands_that_are_off(rule, share):
    """All at once, each by its bound or, for what happens in practice, by half of it."""
    rng = np.random.default_rng(0)
    op = ops.GroupNorm(2)
    operands = (rng.standard_normal((3, 6, 4, 5)), *rng.uniform(0.5, 2, (2, 6)))
    sizes = (1e-3, 0.01, 0.1)
    errors = tuple(e * np.ones(x.shape) for e, x in zip(sizes, operands, strict=True))
    exact = op.reference(*operands)
    allowed = getattr(op, rule)(operands, errors, exact, F32)
    for _ in range(20):
        pairs = zip(operands, sizes, strict=True)
        wrong = (x + share * e * rng.choice([-1, 1], x.shape) for x, e in pairs)
        assert (np.abs(op.reference(*wrong) - exact) <= allowed).all()
    assert allowed.max() < 1.0


def test_nothing_is_known_where_squares_overflow():
    x = np.array([[1e25, -1e25, 3e24, 0.0]])
    op = ops.LayerNorm((4,))
    bound = op.error((x,), (np.zeros(x.shape),), op.reference(x), F32)
    assert np.isinf(bound).all()


def test_one_wrong_weight_breaks_the_bound():
    rng = np.random.default_rng(1)
    for op, shape in (
        (ops.GroupNorm(2), (2, 6, 4, 5)),
        (ops.InstanceNorm(), (2, 6, 9)),
        (ops.LayerNorm((6,)), (3, 6)),
    ):
        operands = [rng.standard_normal(shape), *rng.uniform(0.5, 2, (2, 6))]
        exact = op.reference(*operands)
        zeros = tuple(np.zeros(x.shape) for x in operands)
        allowed = op.error(tuple(operands), zeros, exact, F32)
        for which in (1, 2):
            wrong = [x.copy() for x in operands]
            wrong[which][3] *= 1.01
            assert (np.abs(op.reference(*wrong) - exact) > allowed).any()
