"""The drawn graphs are valid, cover every op, and hold the structures they promise."""

from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings

from graphcnn.ir import Op, bounded, evaluate, parse, verify
from graphcnn.ir.evaluate import weights
from tests import opinfo
from tests.strategies import graphs, inputs


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs())
def test_drawn_graphs_are_valid_and_finite(graph):
    verify(graph)
    assert parse(str(graph)) == graph
    values = evaluate(graph, inputs(graph))
    assert set(values) == set(graph.outputs)
    assert all(np.isfinite(array).all() for array in values.values())
    exact = inputs(graph) | {param.name: weights(param) for param in graph.params}
    made, errors = bounded(graph.nodes, exact, 2.0**-24)
    for name in graph.outputs:
        if graph.producer(name):
            np.testing.assert_array_equal(made[name], values[name])
            assert np.isfinite(errors[name]).all()


def test_drawn_graphs_cover_everything():
    seen: Counter[str] = Counter()

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(graphs())
    def draw(graph):
        seen.update(node.op.name for node in graph.nodes)
        seen["several outputs"] += len(graph.outputs) > 1
        seen["output read inside"] += any(graph.users(name) for name in graph.outputs)
        seen["second reader"] += any(len(graph.users(node.name)) > 1 for node in graph.nodes)
        seen["self add"] += any(
            node.op.name == "add" and len(set(node.inputs)) == 1 for node in graph.nodes
        )
        seen["tied weights"] += any(len(graph.users(param.name)) > 1 for param in graph.params)
        seen["residual"] += any(
            node.op.name == "add" and all(graph.producer(name) for name in node.inputs)
            for node in graph.nodes
        )

    draw()
    wanted = set(opinfo.INFO) | {
        "several outputs",
        "output read inside",
        "second reader",
        "self add",
        "tied weights",
        "residual",
    }
    assert [name for name in wanted if seen[name] < 2] == []
    assert set(opinfo.INFO) <= set(Op.registry)
