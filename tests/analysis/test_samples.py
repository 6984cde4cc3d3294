"""What is said to keep samples apart does, by the reference, at every split of the batch."""

from dataclasses import replace

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.analysis import check_apart
from graphcnn.errors import BatchError, GraphCNNError
from graphcnn.ir import evaluate, outline, rebatch
from graphcnn.ir.graph import Graph, Value
from tests import networks
from tests.opinfo import INFO, SAMPLES
from tests.runtime.small_networks import NETWORKS

BATCH = 6


def graphs(sample):
    """A graph of an op, its first operand an input, and one where all operands are."""
    first = sample.graph()
    yield first
    if first.params:
        inputs = (*first.inputs, *(Value(param.name, param.type) for param in first.params))
        yield Graph("sample", inputs, (), first.nodes, first.outputs)


def split(graph, arrays, size):
    """What comes of parts of a batch, one behind the other."""
    starts = range(0, BATCH, size)
    part = rebatch(graph, size)
    pieces = [{name: x[start : start + size] for name, x in arrays.items()} for start in starts]
    return np.concatenate([evaluate(part, piece)["y"] for piece in pieces])


def arrays_of(graph, sample, rng):
    drawn = {}
    for place, value in enumerate(graph.inputs):
        shape = value.type.shape
        choices = sample.choices.get(place)
        drawn[value.name] = (
            rng.integers(0, choices, shape) if choices else rng.uniform(0.5, 2.0, shape)
        )
    return drawn


@pytest.mark.parametrize("name", INFO)
def test_parts_make_the_whole(name):
    """A sample that is refused tells nothing; every op but draws has one that is not."""
    rng, apart = np.random.default_rng(0), 0
    for sample in INFO[name].samples:
        for graph in graphs(sample):
            try:
                check_apart(graph)
                whole = rebatch(graph, BATCH)
            except BatchError:
                continue
            apart += 1
            given = sample.operands()
            data = {f"v{place}": array for place, array in enumerate(given)}
            params = tuple(replace(p, data=data[p.name]) for p in whole.params)
            whole = whole.replace(params=params)
            arrays = arrays_of(whole, sample, rng)
            wanted = evaluate(whole, arrays)["y"]
            for size in (1, 2, 3):  # BLAS adds up in another order for another size
                parts = split(whole, arrays, size)
                np.testing.assert_allclose(parts, wanted, 1e-12, 1e-12, err_msg=str(sample))
    assert (apart > 0) == (not name.startswith("random"))


def test_most_of_the_table_is_known():
    assert len(SAMPLES) > 300


MIXED = {
    "softmax over the batch": lambda x: gx.softmax(x, dim=0),
    "roll": lambda x: gx.roll(x, 1, 0),
    "concat": lambda x: gx.concat([x, x], dim=0),
    "slice": lambda x: x[1:],
    "gather": lambda x: gx.gather(x, 0, gx.input("i", (3, 3, 3), "int64")),
    "a row of all samples": lambda x: gx.reshape(x, (-1, 27)),
    "a matrix for each element": lambda x: gx.matmul(x[:, :, 0], np.ones((2, 3, 1))),
    "a sum": lambda x: gx.sum(x, 0),
    "the batch in the middle": lambda x: gx.permute(x, (1, 0, 2)),
    "an explicit batch": lambda x: gx.reshape(x, (3, 9)),
    "draws": lambda x: x + gx.random_normal(x, seed=1),
}


@pytest.mark.parametrize("mix", MIXED.values(), ids=MIXED)
def test_where_samples_meet_is_named(mix):
    h = gx.relu(gx.input("x", (3, 3, 3)), name="before")
    made = mix(h)
    graph = gx.graph("net", gx.abs(made, name="behind"))
    with pytest.raises(BatchError) as caught:
        check_apart(graph)
    assert "node '" in caught.value.where
    assert "behind" not in caught.value.where
    assert "before" not in caught.value.where
    assert caught.value.remedy


APART = {
    "rows of one sample": lambda x: gx.reshape(gx.relu(gx.reshape(x, (-1, 3))), (-1, 9)),
    "products of a sample": lambda x: gx.matmul(x, gx.transpose(x, 1, 2)),
    "a matrix": lambda x: gx.matmul(x, np.ones((3, 2))),
    "weights over each other": lambda x: x + gx.softmax(gx.param("p", (3, 3)), dim=0),
    "a draw for all": lambda x: x + gx.random_normal(gx.param("p", (3, 3)), seed=1),
}


@pytest.mark.parametrize("make", APART.values(), ids=APART)
def test_what_is_of_one_sample_is_let_through(make):
    check_apart(gx.graph("net", make(gx.input("x", (3, 3, 3)))))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_keep_samples_apart(name):
    check_apart(NETWORKS[name]("float32"))


def test_groups_are_looked_into():
    graph = networks.unet_block()
    check_apart(graph)
    h = gx.softmax(gx.relu(gx.input("x", (2, 3))), dim=0, name="over")
    graph = gx.graph("net", h)
    fused = graph.replace(nodes=(outline(graph.nodes, ("over",), graph),))
    with pytest.raises(BatchError, match="cannot be split") as caught:
        check_apart(fused)
    assert "'over'" in caught.value.where


def test_what_is_no_graph_is_refused():
    with pytest.raises(GraphCNNError):
        check_apart(gx.graph("net", gx.relu(gx.param("p", (3,)))))
