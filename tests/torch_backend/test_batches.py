"""Batch sizes without a trace of their own."""

import torch
import torch.fx.experimental._config as shape_config
from torch._dynamo.utils import counters

import graphcnn as gx
from graphcnn.torch_backend import region
from tests.torch_backend.compared import assert_same, compiled, image, network

WEIGHTS = [name for name in network().state_dict() if not name.endswith("tracked")]


def test_batches_without_a_trace_of_their_own():
    model = network()
    made = compiled(model)
    # torch 2.11 traces a convolution of a single sample apart.
    apart = int(torch.__version__.startswith("2.11."))
    with torch.no_grad(), shape_config.patch(backed_size_oblivious=True):
        for batch in (1, 2, 7, 8):
            x = image(batch)
            torch._dynamo.mark_dynamic(x, 0)
            with torch._dynamo.config.patch(error_on_recompile=batch > 1 + apart):
                assert_same(made(x), model(x))
    assert counters["stats"]["unique_graphs"] == 1 + apart
    graphs = gx.explain(made).graphs
    assert [piece.runs for graph in graphs for piece in graph.pieces] == ["graphcnn"] * (1 + apart)


def test_dynamic_keeps_the_other_sizes():
    model = network()
    made = compiled(model, dynamic=True)
    with torch.no_grad():
        for batch in (2, 7, 8):
            x = image(batch)
            with torch._dynamo.config.patch(error_on_recompile=batch > 2):
                assert_same(made(x), model(x))
        wider = torch.randn(2, 3, 10, 20)  # another size of maps is another trace
        assert_same(made(wider), model(wider))
    assert counters["stats"]["unique_graphs"] == 2


def test_a_batch_that_is_a_number_has_a_plan_of_its_own():
    def function(x):
        return x.relu() * x.shape[0]

    made = compiled(function, dynamic=True)
    for batch in (2, 7, 2):
        x = image(batch)
        assert_same(made(x), function(x))
    assert counters["stats"]["unique_graphs"] == 1


def test_a_region_is_one_plan_for_all_batches_and_holds_the_weights(monkeypatch):
    made = []

    def compile(graph, **kwargs):
        made.append(graph)
        return gx.compile(graph, **kwargs)

    monkeypatch.setattr(region, "compile", compile)
    model = network()
    predict = compiled(model, dynamic=True)
    with torch.no_grad():
        for batch in (2, 7, 8):
            predict(image(batch))
    (graph,) = made
    assert len(graph.inputs) == 1
    assert {param.name for param in graph.params} == {f"_{name}" for name in WEIGHTS}


def test_a_region_that_sees_twice_the_batch():
    def function(x):
        stacked = torch.einsum("nchw->cnhw", torch.cat([x, x * 2])).transpose(0, 1)
        return torch.cumsum(stacked, 1).relu() * 3

    made = compiled(function, dynamic=True)
    for batch in (2, 7):
        x = image(batch)
        assert_same(made(x), function(x))
    assert gx.explain(made).regions == 2
    assert counters["stats"]["unique_graphs"] == 1
