"""Several outputs come back as the module returned them, through every way that a graph may go."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_leaves

import graphcnn as gx
from graphcnn.errors import UnsupportedModule


class Pair(NamedTuple):
    first: torch.Tensor
    rest: list


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(self, x):
        y = self.fc(x)
        return {"out": Pair(y, [x * 2, None]), 3: (y, y.relu()), "none": [], "one": (x,)}


@dataclass
class Detections:
    boxes: torch.Tensor
    scores: torch.Tensor


torch.export.register_dataclass(Detections)

MODULES = {
    "nested": Everything(),
    "list": type("List", (nn.Module,), {"forward": lambda self, x: [x.relu(), x + 1]})(),
    "one in a tuple": type("One", (nn.Module,), {"forward": lambda self, x: (x.relu(),)})(),
    "alone": nn.ReLU(),
    "equal ones": type("Same", (nn.Module,), {"forward": lambda self, x: (x.abs(), x.abs())})(),
}


def assert_alike(found, wanted):
    (ours, spec), (torchs, wanted_spec) = tree_flatten(found), tree_flatten(wanted)
    # The class of a named tuple is another, of the same name and fields.
    assert str(spec).replace("graphcnn.ir.structure", __name__) == str(wanted_spec)
    for got, want in zip(ours, torchs, strict=True):
        if want is None:
            assert got is None
        else:
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODULES)
def test_a_call_returns_what_the_module_does(name, tmp_path):
    torch.manual_seed(0)
    module, x = MODULES[name].eval(), torch.randn(2, 3)
    graph = gx.from_torch(module, x)
    gx.save(graph, tmp_path / "net.gcn")
    loaded = gx.load(tmp_path / "net.gcn")
    assert loaded == graph
    with torch.no_grad():
        wanted = module(x)
        assert_alike(gx.to_torch(loaded)(x), wanted)
        model = gx.compile(loaded, target="numpy", device="cpu")
        assert_alike(model(x), wanted)
        assert_alike(model(x[:1]), module(x[:1]))
    assert gx.to_torch(model.graph)(x).__class__.__name__ == wanted.__class__.__name__
    assert all(isinstance(leaf, np.ndarray | None) for leaf in tree_leaves(model(x.numpy())))
    assert gx.verify(model, **{graph.inputs[0].name: x.numpy()}).ok


def test_a_refit_keeps_it():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(3, 2)

        def forward(self, x):
            return {"a": self.a(x), "more": [self.b(x), x]}

    module, x = Heads().eval(), torch.randn(2, 3)
    model = gx.compile(gx.from_torch(module, x), target="numpy", device="cpu")
    other = Heads().eval()
    model.refit(other.state_dict())
    with torch.no_grad():
        assert_alike(model(x), other(x))


def test_a_dataclass_is_a_named_tuple():
    class Detects(nn.Module):
        def forward(self, x):
            return Detections(x * 2, x.amax(1))

    x = torch.randn(2, 3)
    found = gx.compile(gx.from_torch(Detects(), x), target="numpy", device="cpu")(x)
    assert type(found).__name__ == "Detections"
    assert isinstance(found, tuple)
    torch.testing.assert_close(found.scores, x.amax(1))


def test_fields_of_torchs_results():
    class Largest(nn.Module):
        def forward(self, x):
            return torch.max(x, 1)

    x = torch.randn(2, 3)
    found = gx.compile(gx.from_torch(Largest(), x), target="numpy", device="cpu")(x)
    torch.testing.assert_close(found.values, x.amax(1))
    torch.testing.assert_close(found.indices, x.argmax(1))


@pytest.mark.parametrize("constant", [3, "text", {1.5: 2.0}])
def test_constants_are_refused(constant):
    class Constant(nn.Module):
        def forward(self, x):
            return x + 1, constant

    with pytest.raises(UnsupportedModule):
        gx.from_torch(Constant(), torch.randn(2, 3))


def test_a_stream_returns_it():
    class Causal(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(2, 2, 3)

        def forward(self, x):
            y = self.conv(nn.functional.pad(x, (2, 0)))
            return {"y": y, "pair": (y.relu(), x * 2)}

    module, x = Causal().eval(), torch.randn(1, 2, 6)
    model = gx.compile(gx.from_torch(module, x), target="numpy", device="cpu")
    stream = gx.stream(model)
    pieces = [stream(x[:, :, :4]), stream(x[:, :, 4:])]
    with torch.no_grad():
        wanted = module(x)
    assert pieces[0].keys() == wanted.keys()
    parts = [torch.cat(pair, 2) for pair in zip(*map(tree_leaves, pieces), strict=True)]
    for got, want in zip(parts, tree_leaves(wanted), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
