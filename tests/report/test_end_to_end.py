"""What outputs may differ by follows from how far noise moves them."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import evaluate
from graphcnn.report.end_to_end import ACCUMULATION, ROOM, expected_outputs

DRAW = np.random.default_rng(4)


def test_the_reference_is_that_of_evaluate():
    x = gx.input("x", (2, 3, 6, 6))
    h = gx.relu(gx.conv2d(x, DRAW.standard_normal((4, 3, 3, 3), np.float32)), name="h")
    net = gx.graph("net", [gx.softmax(gx.flatten(h), name="y"), h])
    given = {"x": DRAW.standard_normal((2, 3, 6, 6))}
    found, wanted = expected_outputs(net, given), evaluate(net, given)
    assert found.keys() == wanted.keys() == {"y", "h"}
    for name, expected in found.items():
        np.testing.assert_array_equal(expected.value, wanted[name])


@pytest.mark.parametrize(("dtype", "unit"), [("float32", 2.0**-24), ("float16", 2.0**-11)])
@pytest.mark.parametrize("gain", [1.0, 100.0])
def test_noise_is_amplified_as_the_network_amplifies(dtype, unit, gain):
    # y = gain * (x + 0): the noise of the first node, of at most `size`, grows by the gain.
    x = gx.input("x", (1, 4096), dtype)
    zero, factor = np.zeros(4096, dtype), np.full(4096, gain, dtype)
    net = gx.graph("net", gx.mul(gx.add(x, zero), factor))
    given = {"x": DRAW.uniform(-1, 1, (1, 4096))}
    (expected,) = expected_outputs(net, given).values()
    size = (unit + ACCUMULATION) * gain * np.abs(given["x"]).max()
    assert ROOM * size < expected.allowed <= 2 * ROOM * size
