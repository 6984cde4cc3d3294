"""A profile has a row for everything that runs, and none for a model that is wrong."""

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.ops import Conv2d, Relu
from graphcnn.report import profile, profiling
from graphcnn.targets import library
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
    # A quotient and a sum round in every row; a median is a mean of two.
    roundings = 4 * len(found.rows)
    assert_equal_but_for_roundings(sum(row.share for row in found.rows), 1, roundings)
    medians = [row.timing.median for row in found.rows]
    assert_equal_but_for_roundings(found.seconds, sum(medians), roundings)
    conv = found.rows[0]
    flops, moved = 2 * 4 * 4 * 64, 4 * (2 * 256 + 16)
    assert_equal_but_for_roundings(conv.gflops * conv.timing.median * 1e9, flops, 4)
    assert_equal_but_for_roundings(conv.gbytes * conv.timing.median * 1e9, moved, 4)
    assert conv.timing.samples >= 5
    assert all(row.torch.samples == row.timing.samples for row in found.rows)
    assert all(row.torch.low > 0 < row.to_torch for row in found.rows)
    torch_medians = [row.torch.median for row in found.rows]
    assert_equal_but_for_roundings(found.torch_seconds, sum(torch_medians), roundings)
    if target == "triton":
        assert found.rows[1].kernel == "fill, copy"
    assert found.ok
    assert "total" in str(found)


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
    monkeypatch.delitem(library.TABLE, Conv2d)
    found = profile(gx.compile(net, device="cpu"), seconds=0.05)
    assert found.ok
    assert found.torch_seconds is found.rows[0].torch is found.rows[0].to_torch is None
    assert str(found)


def test_figures_of_a_wrong_torch_are_not_shown(monkeypatch):
    x = gx.input("image", (1, 4, 8, 8))
    net = gx.graph("net", gx.relu(x, name="act"))
    monkeypatch.setitem(library.TABLE, Relu, lambda op: torch.neg)
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
    assert found.seconds is found.torch_seconds is found.gflops is None
    assert "node 'conv'" in found.problem
    assert "not timed" in str(found)
