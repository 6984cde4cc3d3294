"""What runs where, and why."""

import pytest
import torch

import graphcnn as gx
from graphcnn import errors
from tests.torch_backend.compared import CONV, Shifted, assert_same, compiled, image, network


def test_explain_as_text():
    made = compiled(lambda x: torch.einsum("nchw->nc", CONV(x).relu()))
    with torch.no_grad():
        made(image())
    text = " ".join(str(gx.explain(made)).split())
    assert "1 graphs, 1 regions as plans of graphcnn" in text
    assert "aten.conv2d.default, aten.relu.default" in text
    assert "graphcnn has no such operator" in text


def test_explain_of_what_was_not_called():
    told = gx.explain(compiled(network()))
    assert told.graphs == ()
    assert "call it first" in str(told)
    for other in (3, [], network()):
        with pytest.raises(errors.InputKindError, match="compiled model"):
            gx.explain(other)


def test_explain_of_a_module_that_compiles_itself():
    model, x = Shifted().eval(), image()
    with pytest.raises(errors.InputKindError, match="compiled model"):
        gx.explain(model)
    model.compile(backend="graphcnn")
    assert "call it first" in str(gx.explain(model))
    with torch.no_grad():
        assert_same(model(x), model.forward(x))
    told = gx.explain(model)
    assert (told.name, told.regions) == ("Shifted", 1)


def test_explain_as_data():
    made = compiled(network())
    with torch.no_grad():
        made(image())
    (graph,) = gx.explain(made).to_json()["graphs"]
    (piece,) = graph["pieces"]
    assert piece["runs"] == "graphcnn"
    assert piece["kernels"] > 0
