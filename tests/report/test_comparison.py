"""A comparison verifies, then times by turns."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.errors import InputShapeError, InvalidAttribute
from graphcnn.ir import Graph
from graphcnn.report import compare
from graphcnn.runtime.timing import LEAST_ROUNDS, Ratio

DRAW = np.random.default_rng(1)


@pytest.fixture(scope="module")
def net() -> Graph:
    x = gx.input("image", (1, 3, 16, 16))
    h = gx.relu(gx.conv2d(x, DRAW.standard_normal((8, 3, 3, 3), np.float32), padding=1))
    return gx.graph("small", gx.max_pool2d(h, 2))


@pytest.fixture(scope="module")
def models(net):
    return {
        "fused": gx.compile(net, device="cpu"),
        "unfused": gx.compile(net, device="cpu", fuse=False),
        "torch": gx.compile(net, target="library", device="cpu"),
    }


def test_figures(models):
    found = compare(models, seconds=0.2)
    rows = {row.name: row for row in found.rows}
    assert found.ok
    assert found.baseline == "torch"
    assert found.rounds >= LEAST_ROUNDS
    assert [rows[name].kernels for name in models] == [1, 3, 3]
    # Pixels read and written by each kernel, and the filters.
    image, conv, pooled, filters = 3 * 256, 8 * 256, 8 * 64, 8 * 27
    assert rows["fused"].moved_bytes == 4 * (image + pooled + filters)
    assert rows["torch"].moved_bytes == 4 * (image + 4 * conv + pooled + filters)
    assert rows["torch"].arena_bytes == 0 < rows["fused"].arena_bytes
    for own in (rows["torch"].to_baseline, rows["unfused"].to_unfused):
        assert own.low == own.median == own.high == 1
    assert all(0 < row.error < 1e-5 for row in found.rows)
    for row in found.rows:
        assert row.timing.rounds == found.rounds
        assert 0 < row.timing.low <= row.timing.median <= row.timing.high
    text = str(found)
    for row in found.rows:
        assert all(str(figure) in text for figure in (row.timing, row.to_baseline, row.to_unfused))
    assert "no GPU figure" in text
    assert "to torch" in text
    assert found.environment.torch in text


def test_ratios_are_medians_of_pairs(models, monkeypatch):
    # Machine noise that hits both models of a round cancels: 2 in every round, though the ratio
    # of the medians is 4 / 1.
    taken = {"fused": [1.0, 4.0, 10.0], "unfused": [0.5, 2.0, 5.0], "torch": [1.0, 1.0, 1.0]}
    monkeypatch.setattr("graphcnn.report.comparison.interleave", lambda *_, **__: taken)
    rows = {row.name: row for row in compare(models).rows}
    assert rows["fused"].to_unfused == Ratio.of([2.0, 2.0, 2.0])
    assert rows["fused"].to_baseline == Ratio.of(taken["fused"])


def test_a_wrong_model_is_not_timed(net, models):
    wrong = gx.compile(net, device="cpu")
    wrong(image=np.zeros((1, 3, 16, 16), np.float32))
    next(iter(wrong._weights.tensors.values()))[:] += 1
    found = compare({"wrong": wrong, "fused": models["fused"]}, seconds=0.1)
    bad, good = found.rows
    assert not found.ok
    assert found.baseline == "wrong"
    assert bad.timing is bad.to_baseline is good.to_baseline is None
    assert good.timing is not None
    assert "FAIL wrong: not timed" in str(found)
    assert "conv2d" in bad.problem


def test_only_wrong_models(net):
    wrong = gx.compile(net, device="cpu")
    wrong(image=np.zeros((1, 3, 16, 16), np.float32))
    next(iter(wrong._weights.tensors.values()))[:] += 1
    found = compare({"wrong": wrong})
    assert found.rounds == 0
    assert found.rows[0].timing is None


def test_user_mistakes(models):
    with pytest.raises(InvalidAttribute, match="nothing to compare"):
        compare({})
    with pytest.raises(InvalidAttribute, match="called by a name"):
        compare({1: models["fused"]})
    with pytest.raises(InputShapeError):
        compare(models, image=np.zeros((1, 3, 16, 17), np.float32))


@pytest.mark.parametrize("target", ["triton", "library", "numpy"])
def test_a_network_without_nodes_moves_nothing(target):
    net = gx.parse("graph g {\n  input x: f16[2,3]\n  return x\n}")
    found = compare({"only": gx.compile(net, target=target, device="cpu")}, seconds=0.01)
    assert found.ok
    assert (found.rows[0].kernels, found.rows[0].moved_bytes) == (0, 0)


def test_another_batch_size_moves_more(models):
    image = DRAW.standard_normal((2, 3, 16, 16), np.float32)
    fused = models["fused"]
    once, twice = (compare({"fused": fused}, seconds=0.05, image=x) for x in (image[:1], image))
    assert twice.rows[0].moved_bytes - once.rows[0].moved_bytes == 4 * (3 * 256 + 8 * 64)
    fused(image=image)  # calls go on working after a comparison
