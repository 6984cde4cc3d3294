"""A profile has a row for everything that runs, and none for a model that is wrong."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.report import profile

DRAW = np.random.default_rng(3)


@pytest.mark.parametrize("target", ["triton", "library"])
def test_rows_rates_and_shares(target):
    x = gx.input("image", (1, 4, 8, 8))
    h = gx.conv2d(x, DRAW.standard_normal((4, 4, 1, 1), np.float32), name="conv")
    h = gx.pad(h, (1, 1, 1, 1), name="pad")
    net = gx.graph("net", gx.softmax(gx.flatten(h, name="flatten"), name="softmax"))
    model = gx.compile(net, target=target, device="cpu")
    found = profile(model, seconds=0.05)
    flat = ["flatten"] if target == "library" else []
    assert [row.name for row in found.rows] == ["conv", "pad", *flat, "softmax"]
    assert sum(row.share for row in found.rows) == pytest.approx(1)
    assert found.seconds == pytest.approx(sum(row.timing.median for row in found.rows))
    conv = found.rows[0]
    flops, moved = 2 * 4 * 4 * 64, 4 * (2 * 256 + 16)
    assert conv.gflops * conv.timing.median * 1e9 == pytest.approx(flops)
    assert conv.gbytes * conv.timing.median * 1e9 == pytest.approx(moved)
    assert conv.timing.samples >= 5
    if target == "triton":
        assert found.rows[1].kernel == "fill, copy"
    assert found.ok
    assert "total" in str(found)


def test_a_wrong_model_is_not_timed():
    x = gx.input("image", (1, 4, 8, 8))
    net = gx.graph("net", gx.conv2d(x, DRAW.standard_normal((4, 4, 1, 1), np.float32), name="conv"))
    model = gx.compile(net, device="cpu")
    model(image=np.zeros((1, 4, 8, 8), np.float32))
    next(iter(model._weights.tensors.values()))[:] += 1
    found = profile(model, seconds=0.05)
    assert not found.ok
    assert found.rows == ()
    assert found.seconds is found.gflops is None
    assert "node 'conv'" in found.problem
    assert "not timed" in str(found)
