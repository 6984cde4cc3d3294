"""The drawn graphs are valid, cover every op, and hold the structures they promise."""

import random
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from hypothesis import HealthCheck, given, settings

from graphcnn.errors import ShapeError
from graphcnn.ir import DType, Op, OpKind, TensorType, bounded, evaluate, parse, verify
from graphcnn.ir.evaluate import weights
from tests import opinfo
from tests.fuzz.drawing import Wild
from tests.strategies import Drawing, fitted, graphs, inputs, is_tame


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs())
def test_drawn_graphs_are_valid_and_finite(graph):
    verify(graph)
    assert parse(str(graph)) == graph
    values = evaluate(graph, inputs(graph))
    assert set(values) == set(graph.outputs)
    assert all(np.isfinite(array).all() for array in values.values())
    exact = inputs(graph) | {param.name: weights(param) for param in graph.params}
    made, errors, _ = bounded(graph.nodes, exact, 2.0**-24)
    for name in graph.outputs:
        if graph.producer(name):
            np.testing.assert_array_equal(made[name], values[name])
            assert np.isfinite(errors[name]).all()


def test_drawn_graphs_cover_everything():
    """All choices as likely: hypothesis prefers the first ones of a list."""
    seen: Counter[str] = Counter()
    for seed in range(1500):
        graph = Drawing(random.Random(seed).randint, ("float32",)).graph(8)
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
    tame = {name for name, info in opinfo.INFO.items() if any(map(is_tame, info.samples))}
    steep = {"exp", "log", "pow", "power", "rsqrt", "sqrt"}
    whole = {"argmax", "embedding", "gather", "one_hot"}
    assert set(opinfo.INFO) - tame == steep | whole
    wanted = tame | {
        "several outputs",
        "output read inside",
        "second reader",
        "self add",
        "tied weights",
        "residual",
    }
    assert [name for name in wanted if seen[name] < 2] == []
    assert set(opinfo.INFO) <= set(Op.registry)


def test_a_new_op_is_drawn_without_being_named(monkeypatch):
    monkeypatch.setattr(Op, "registry", dict(Op.registry))

    @dataclass(frozen=True)
    class ChannelScale(Op):
        """y = x * scale along the channels."""

        name: ClassVar[str] = "channel_scale"
        kind: ClassVar[OpKind] = OpKind.OPAQUE

        def infer(self, *types):
            if types[1].shape != types[0].shape[1:2]:
                raise ShapeError("a scale per channel", got=types[1], remedy="pass one")
            return types[0]

        def reference(self, x, scale):
            return x * scale.reshape(-1, *(1,) * (x.ndim - 2))

        def error(self, inputs, errors, output, unit):
            return errors[0] + unit * np.abs(output)

    sample = opinfo.Sample(ChannelScale(), ((2, 3, 4, 5), (3,)))
    monkeypatch.setitem(opinfo.INFO, "channel_scale", opinfo.OpInfo(None, (sample,), ()))
    for drawing in (Drawing, Wild):
        made = [drawing(random.Random(n).randint, ("float32",)).graph(8) for n in range(400)]
        nodes = [(g, node) for g in made for node in g.nodes if node.op == sample.op]
        assert len(nodes) > 1
        assert len({g.type_of(node.name).shape for g, node in nodes}) > 1


def test_samples_are_fitted_to_other_shapes():
    linear = opinfo.INFO["linear"].samples[0]
    assert linear.shapes == ((3, 10), (4, 10), (4,))
    assert fitted(linear, TensorType((2, 7), DType.F16)).shapes == ((2, 7), (4, 7), (4,))
    assert fitted(linear, TensorType((5,), DType.F16)) is None


def test_what_may_leave_the_finite_numbers_is_not_tame():
    padded = {sample.op.value: is_tame(sample) for sample in opinfo.INFO["pad"].samples}
    assert padded == {0.0: True, -1.5: True, -np.inf: False}
