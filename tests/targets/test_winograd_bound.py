"""The bounds on minimal filtering hold for float32, and not for a constant that is a little off."""

import numpy as np
import pytest

from graphcnn.kernels import TRANSFORMS
from graphcnn.targets.winograd import WinogradConv2d

UNIT = 2.0**-24
SIZES = sorted(TRANSFORMS)


def filtered(op, x, weight, tables, kind=np.float32):
    """The convolution of one image without padding, in the arithmetic of a dtype."""
    transform, m = TRANSFORMS[op.outputs], op.outputs
    first, pairs, last = (np.array(table, kind) for table in tables)
    along = np.array(transform.filter)
    u = np.einsum("ir,kcrs,js->ijkc", along, weight, along).astype(kind)
    down, right = ((n - 2) // m for n in x.shape[1:])
    y = np.zeros((len(weight), down * m, right * m), kind)

    def product(a, b):
        """In sequence, every product and sum rounded."""
        total = a[:, :1] * b[:1]
        for k in range(1, a.shape[1]):
            total = total + a[:, k : k + 1] * b[k : k + 1]
        return total

    for r in range(down):
        for s in range(right):
            tile = x[:, r * m : r * m + m + 2, s * m : s * m + m + 2].astype(kind)
            v = np.array([product(pairs, product(first, d)) for d in tile])
            v = np.array([product(pairs, product(first, d.T)).T for d in v])
            k = np.zeros(u.shape[:3], kind)
            for c in range(len(v)):
                k = k + u[:, :, :, c] * v[c][:, :, None]
            k = np.moveaxis(k, 2, 0)
            z = [product(last, product(pairs, product(last, product(pairs, p)).T)).T for p in k]
            y[:, r * m : r * m + m, s * m : s * m + m] = z
    return y[None]


def drawn(kind, channels, outputs):
    rng = np.random.default_rng(channels)
    x, weight = rng.standard_normal((channels, 2 * outputs + 2, outputs + 2)), None
    weight = rng.standard_normal((3, channels, 3, 3))
    if kind == "positive":
        x, weight = np.abs(x), np.abs(weight)
    if kind == "zeros around":
        x[:, :, : outputs // 2 + 2] = 0.0
        x[:, : outputs + 1] = 0.0
    return x.astype(np.float32), weight.astype(np.float32)


def judged(outputs, kind, channels, tables):
    """The largest shares of both bounds that the error uses."""
    x, weight = drawn(kind, channels, outputs)
    op = WinogradConv2d(outputs=outputs)
    operands = x[None].astype(np.float64), weight.astype(np.float64)
    none = tuple(np.zeros(a.shape) for a in operands)
    exact = op.reference(*operands)
    error = np.abs(filtered(op, x, weight, tables) - exact)
    bounds = (rule(operands, none, exact, UNIT) for rule in (op.error, op.noise))
    return [float((error / bound).max()) for bound in bounds]


@pytest.mark.parametrize("outputs", SIZES)
@pytest.mark.parametrize("channels", [1, 16, 300])
@pytest.mark.parametrize("kind", ["normal", "positive", "zeros around"])
def test_float32_stays_within_them(outputs, channels, kind):
    proof, practice = judged(outputs, kind, channels, TRANSFORMS[outputs].tables)
    assert 1e-4 < proof < 1
    assert 1e-3 < practice < 1


CONSTANTS = [
    (outputs, at, i, k)
    for outputs in SIZES
    for at, table in enumerate(TRANSFORMS[outputs].tables)
    for i, row in enumerate(table)
    for k, number in enumerate(row)
    if number
]


@pytest.mark.parametrize("constant", CONSTANTS, ids=str)
def test_a_wrong_constant_breaks_both(constant):
    outputs, at, i, k = constant
    tables = [np.array(table) for table in TRANSFORMS[outputs].tables]
    tables[at][i, k] += 1e-3
    proof, practice = judged(outputs, "normal", 32, tables)
    assert proof > 1
    assert practice > 3


@pytest.mark.parametrize("outputs", SIZES)
def test_the_algorithm_is_exact(outputs):
    x, weight = drawn("normal", 5, outputs)
    op = WinogradConv2d(outputs=outputs)
    got = filtered(op, x, weight, TRANSFORMS[outputs].tables, np.float64)
    np.testing.assert_allclose(
        got, op.reference(x[None].astype(float), weight.astype(float)), atol=1e-12
    )


def test_what_is_not_finite_leaves_its_tiles_unknown():
    op = WinogradConv2d(outputs=4)
    x, weight = np.ones((1, 2, 10, 6)), np.ones((3, 2, 3, 3))
    x[0, 1, 0, 5] = np.nan
    none = np.zeros(x.shape), np.zeros(weight.shape)
    for rule in (op.error, op.noise):
        bound = rule((x, weight), none, op.reference(x, weight), UNIT)
        assert not np.isfinite(bound[:, :, :4]).any()
        assert np.isfinite(bound[:, :, 4:]).all()
