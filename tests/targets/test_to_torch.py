"""Graphs as modules of torch: equal to the reference, trained as torch's own."""

import copy
import io
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import graphcnn as gx
from graphcnn import models
from graphcnn.errors import (
    IndexOutOfRange,
    MissingInput,
    MissingWeights,
    UnexpectedInput,
    UnsupportedOp,
)
from graphcnn.ir import Fused, evaluate, with_he_weights
from graphcnn.runtime.boundary import example_inputs
from tests import networks
from tests.runtime.small_networks import mixed, small
from tests.test_built_in import SMALL
from tests.tolerance import F32, assert_within_bounds


def outputs(graph, module, inputs):
    with torch.no_grad():
        got = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return got if isinstance(got, dict) else {graph.outputs[0]: got}


@pytest.mark.parametrize("name", SMALL)
def test_built_in_networks(name, monkeypatch):
    for module in ("vgg", "alexnet"):
        monkeypatch.setattr(sys.modules[f"graphcnn.models.{module}"], "_FEATURES", 64)
    graph = models.build(name, 2, **SMALL[name])
    inputs = example_inputs(graph)
    module = gx.to_torch(graph)
    got = outputs(graph, module, inputs)
    wanted = evaluate(graph, inputs)
    assert got.keys() == wanted.keys()
    for key, value in wanted.items():
        assert np.ptp(value) > 0
        np.testing.assert_allclose(got[key].numpy(), value, atol=1e-4 * np.abs(value).max())
    # The library target runs the same operators in the same order.
    model = gx.compile(graph, target="library", device="cpu", passes=[])
    same = model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    for key, value in got.items():
        torch.testing.assert_close(value, same[key] if isinstance(same, dict) else same)
    # There and back again.
    state = module.state_dict()
    assert set(state) == {param.name for param in graph.params if not param.constant}
    bare = graph.replace(
        params=tuple(p if p.constant else replace(p, data=None) for p in graph.params)
    )
    assert gx.load_weights(bare, state).fingerprint == graph.fingerprint


@pytest.mark.parametrize("graph", [small(), mixed()], ids=["small", "mixed"])
def test_within_bounds(graph):
    inputs = example_inputs(graph)
    got = outputs(graph, gx.to_torch(graph), inputs)
    assert_within_bounds(graph, inputs, {n: v.numpy() for n, v in got.items()}, unit=F32)


def test_a_compiled_graph_is_taken_apart():
    graph = small()
    fused = gx.compile(graph, device="cpu").graph
    assert any(isinstance(node.op, Fused) for node in fused.nodes)
    inputs = example_inputs(graph)
    got = outputs(graph, gx.to_torch(fused), inputs)["fc"]
    assert_within_bounds(graph, inputs, {"fc": got.numpy()}, unit=F32)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    graph = networks.unet_block(dtype=dtype)
    module = gx.to_torch(graph)
    assert {p.dtype for p in module.parameters()} == {getattr(torch, dtype)}
    assert gx.load_weights(gx.parse(str(graph)), module.state_dict()).fingerprint == (
        graph.fingerprint
    )


def trained_network():
    h = networks.conv(gx.input("image", (4, 3, 8, 8)), "layers.0", 4, 3)
    h = gx.dropout(gx.relu(networks.norm(h, "layers.1")), 0.25)
    h = 0.5 * h.flatten()
    weight, bias = gx.param("head.weight", (2, 256)), gx.param("head.bias", (2,))
    return with_he_weights(gx.graph("trained", gx.linear(h, weight, bias, name="head")))


class Twin(nn.Module):
    """The same, written in torch."""

    def __init__(self):
        super().__init__()
        layers = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.25)
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(256, 2)

    def forward(self, x):
        return self.head(0.5 * self.layers(x).flatten(1))


def test_it_trains_as_the_same_module_in_torch():
    graph = trained_network()
    ours, theirs = gx.to_torch(graph), Twin()
    assert not ours.training
    counted = {name for name in theirs.state_dict() if name.endswith("tracked")}
    assert theirs.state_dict().keys() - ours.state_dict().keys() == counted
    theirs.load_state_dict(ours.state_dict(), strict=False)
    named = dict(theirs.named_parameters())
    assert {name for name, _ in ours.named_parameters()} == named.keys()
    buffers = {"layers.1.running_mean", "layers.1.running_var", "mul.other"}
    assert {name for name, _ in ours.named_buffers()} == buffers
    torch.manual_seed(1)
    x, y = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 1, 0])
    for module in (ours.train(), theirs.train()):
        optimizer = torch.optim.SGD(module.parameters(), 0.1)
        torch.manual_seed(0)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(module(x), y).backward()
            optimizer.step()
    for name, value in ours.state_dict().items():
        if name in theirs.state_dict():
            torch.testing.assert_close(value, theirs.state_dict()[name])
            before = torch.from_numpy(graph.param_by_name[name].data)
            # A shift in front of a batch norm has no effect, and no gradient but for rounding.
            assert name == "layers.0.bias" or not torch.equal(value, before)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    # Back into a graph, and into a compiled model.
    trained = gx.load_weights(graph, ours.state_dict())
    assert_within_bounds(
        trained, {"image": x.numpy()}, {"head": ours(x).detach().numpy()}, unit=F32
    )
    model = gx.compile(graph, device="cpu", target="numpy")
    model.refit(ours.state_dict())
    np.testing.assert_allclose(model(x.numpy()), ours(x).detach().numpy(), atol=1e-4)


def test_gradients_reach_every_parameter_and_the_input():
    graph = networks.preactivation()
    module = gx.to_torch(graph)
    x = torch.randn(1, 3, 16, 16, requires_grad=True)
    module(x).square().sum().backward()
    assert x.grad.abs().max() > 0
    for name, parameter in module.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_dropout_follows_the_mode_also_of_a_copy():
    x = torch.ones(1, 1000)
    module = gx.to_torch(gx.graph("g", gx.dropout(gx.input("x", (1, 1000)), 0.3)))
    torch.testing.assert_close(module(x), x)
    copied = copy.deepcopy(module).train()
    share = (copied(x) == 0).float().mean()
    assert 0.2 < share < 0.4
    torch.testing.assert_close(module(x), x)


def test_it_is_saved_and_moved_as_modules_are():
    module = gx.to_torch(small())
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(again(x), module(x))
    assert again.double()(x.double()).dtype == torch.float64


def test_the_graph_keeps_its_values():
    graph = small()
    module, before = gx.to_torch(graph), graph.fingerprint
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert "fingerprint" in vars(graph)
    assert gx.load_weights(graph, {p.name: p.data for p in graph.params}).fingerprint == before


def test_other_batch_sizes():
    module = gx.to_torch(small())
    x = torch.randn(5, 3, 8, 8)
    torch.testing.assert_close(module(x)[:2], module(x[:2]))


def test_wrong_calls():
    module = gx.to_torch(small())
    with pytest.raises(MissingInput):
        module()
    with pytest.raises(UnexpectedInput):
        module(torch.ones(2, 3, 8, 8), other=torch.ones(1))
    table = gx.embedding(gx.input("i", (1, 2), "int64"), np.ones((3, 2)), name="rows")
    with pytest.raises(IndexOutOfRange) as caught:
        gx.to_torch(gx.graph("g", table))(torch.tensor([[0, 3]]))
    assert "rows" in caught.value.where


def test_what_torch_cannot_hold():
    x = gx.input("x", (1, 3, 8, 8))
    with pytest.raises(MissingWeights):
        gx.to_torch(gx.parse(str(small())))
    with pytest.raises(UnsupportedOp) as caught:
        gx.to_torch(gx.graph("g", gx.max_pool2d(x, 2, 2, (0, 0, 1, 0), 1, True, name="pool")))
    assert "pool" in caught.value.where


def test_any_name_is_kept():
    h = gx.input("x", (1, 3))
    names = ("a", "a.b", "a..b", "b.", "half", "train.x", "type", "_parameters", "a/b-c")
    for number, name in enumerate(names):
        h = gx.add(h, gx.param(name, (3,)), name=f"sum{number}")
    graph = with_he_weights(gx.graph("g", h))
    module = gx.to_torch(graph)
    assert set(module.state_dict()) == {n for n, _ in module.named_parameters()} == set(names)
    doubled = {name: 2 * value for name, value in module.state_dict().items()}
    module.load_state_dict(doubled)
    x = torch.randn(1, 3)
    torch.testing.assert_close(module(x), x + sum(doubled.values()))
    assert module.double()(x.double()).dtype == torch.float64
