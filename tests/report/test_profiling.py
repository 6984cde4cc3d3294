"""A profile has a row for everything that runs, and none for a model that is wrong."""

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.ops import Conv
from graphcnn.ops.activation import Relu
from graphcnn.report import profile, profiling
from graphcnn.runtime.timing import Ratio, Timing
from graphcnn.targets import torch_ops
from tests.tolerance import assert_equal_but_for_roundings

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
    # A quotient and a sum round in every row.
    roundings = 4 * len(found.rows)
    assert_equal_but_for_roundings(sum(row.share for row in found.rows), 1, roundings)
    assert found.total.share == 1
    assert found.total.timing.rounds == found.rows[0].timing.rounds
    conv = found.rows[0]
    flops, moved = 2 * 4 * 4 * 64, 4 * (2 * 256 + 16)
    assert_equal_but_for_roundings(conv.gflops * conv.timing.median * 1e9, flops, 4)
    assert_equal_but_for_roundings(conv.gbytes * conv.timing.median * 1e9, moved, 4)
    assert conv.timing.rounds >= 5
    assert all(row.torch.rounds == row.timing.rounds for row in found.rows)
    assert all(row.torch.low > 0 < row.to_torch.low for row in (*found.rows, found.total))
    if target == "triton":
        assert found.rows[1].kernel == "pad"
    assert found.ok
    for row in (*found.rows, found.total):
        assert all(str(figure) in str(found) for figure in (row.timing, row.torch, row.to_torch))


def test_a_total_is_the_spread_of_the_sums_of_rounds(monkeypatch):
    """Not the sum of medians: a round that is slow in one step is fast in the other."""
    net = gx.graph("net", gx.tanh(gx.relu(gx.input("x", (1, 4)), name="a"), name="b"))
    own = [{"a": 1.0, "b": 9.0}, {"a": 2.0, "b": 3.0}, {"a": 9.0, "b": 1.0}]
    taken = {"own": own, "torch": [{"a": 2.0, "b": 3.0}] * 3}
    monkeypatch.setattr(profiling, "interleave", lambda *_, **__: taken)
    total = profile(gx.compile(net, device="cpu")).total
    assert total.timing == Timing.of([10.0, 5.0, 10.0])
    assert total.torch == Timing.of([5.0, 5.0, 5.0])
    assert total.to_torch == Ratio.of([2.0, 1.0, 2.0])


def test_torch_beside_a_group_runs_the_nodes_of_the_group():
    x = gx.input("image", (1, 4, 8, 8))
    h = gx.conv2d(x, DRAW.standard_normal((4, 4, 1, 1), np.float32), name="conv")
    net = gx.graph("net", gx.max_pool2d(gx.relu(h, name="act"), 2, name="pool"))
    model = gx.compile(net, device="cpu")
    beside = profiling._library(model)
    assert [step.node for step in beside.plan.steps] == ["conv", "act", "pool"]
    (row,) = profile(model, seconds=0.05).rows
    assert row.name == "pool"
    assert row.torch is not None


def test_without_an_operator_of_torch_there_is_no_figure_beside(monkeypatch):
    x = gx.input("image", (1, 4, 8, 8))
    net = gx.graph("net", gx.conv2d(x, DRAW.standard_normal((4, 4, 1, 1), np.float32), name="conv"))
    monkeypatch.delitem(torch_ops.TABLE, Conv)
    found = profile(gx.compile(net, device="cpu"), seconds=0.05)
    assert found.ok
    assert found.total.torch is found.rows[0].torch is found.rows[0].to_torch is None
    assert str(found)


def test_figures_of_a_wrong_torch_are_not_shown(monkeypatch):
    x = gx.input("image", (1, 4, 8, 8))
    net = gx.graph("net", gx.relu(x, name="act"))
    monkeypatch.setitem(torch_ops.TABLE, Relu, lambda op: torch.neg)
    found = profile(gx.compile(net, device="cpu"), seconds=0.05)
    assert not found.ok
    assert found.rows == ()


def test_a_network_that_runs_no_kernel_has_nothing_to_time():
    net = gx.graph("net", gx.flatten(gx.input("image", (1, 4, 8, 8))))
    found = profile(gx.compile(net, device="cpu"), seconds=0.05)
    assert found.ok
    assert found.rows == ()
    assert "not timed: no kernel runs" in str(found)


def test_a_wrong_model_is_not_timed():
    x = gx.input("image", (1, 4, 8, 8))
    net = gx.graph("net", gx.conv2d(x, DRAW.standard_normal((4, 4, 1, 1), np.float32), name="conv"))
    model = gx.compile(net, device="cpu")
    model(image=np.zeros((1, 4, 8, 8), np.float32))
    next(iter(model._weights.tensors.values()))[:] += 1
    found = profile(model, seconds=0.05)
    assert not found.ok
    assert found.rows == ()
    assert found.total is None
    assert "node 'conv'" in found.problem
    assert "not timed" in str(found)
