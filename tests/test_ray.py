"""Batch inference on Ray Data: what comes back is what the model gives, also when a worker dies."""

import importlib.util
import math
import sys

import numpy as np
import pytest

import graphcnn as gx
from graphcnn import errors
from graphcnn.ir import rebatch
from graphcnn.models.lenet import lenet
from graphcnn.ray import Worker, predict
from tests.runtime.small_networks import mixed

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason='Ray is not here: pip install "ray[data]"'
)


@pytest.fixture(scope="module")
def here():
    """Ray on this machine; workers need to find the modules of the tests."""
    from bench.ray_predict import ray_here

    with ray_here():
        yield


def dataset(**columns):
    import ray.data

    numbers = range(len(next(iter(columns.values()))))
    return ray.data.from_items([{name: rows[n] for name, rows in columns.items()} for n in numbers])


def by_number(rows, name):
    """A column in the order of the column "number", each number once."""
    assert sorted(row["number"] for row in rows) == [*range(len(rows))]
    return np.stack([row[name] for row in sorted(rows, key=lambda row: row["number"])])


@needs_ray
def test_every_image_once_when_a_worker_is_killed(here):
    from bench.ray_predict import run

    found = run(lenet(10), 1000, 2, kill=True)
    assert found.ok, found
    assert 0 < found.killed_at < 1000


@needs_ray
def test_outputs_are_columns_beside_those_that_are_kept(here):
    graph, rng = mixed(), np.random.default_rng(0)
    images = rng.standard_normal((7, *graph.inputs[0].type.shape[1:]), np.float32)
    data = dataset(number=np.arange(7), pixels=images)
    rows = predict(data, graph, batch_size=3, columns={"image": "pixels"}, workers=1).take_all()
    assert set(rows[0]) == {"number", *graph.outputs}
    model = gx.compile(rebatch(graph, 3), device="cpu")
    parts = [model(images[:3]), model(images[3:6]), model(images[6:])]
    for name in graph.outputs:
        wanted = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(by_number(rows, name), wanted)


def lookup():
    index = gx.input("index", (2,), "int64")
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    return gx.graph("net", gx.embedding(index, table, name="rows"))


@needs_ray
def test_errors_of_a_call_come_back_with_their_class_and_node(here):
    data = dataset(index=np.array([0, 1, 9]))
    with pytest.raises(errors.IndexOutOfRange) as caught:
        predict(data, lookup(), workers=1).take_all()
    assert "node 'rows'" in str(caught.value)
    assert caught.value.got == 9


def worker(graph, columns=None, **rows):
    """A worker as Ray makes it, which has the graph already, and what it makes of a batch."""
    made = Worker(None, columns or {v.name: v.name for v in graph.inputs}, "cpu")
    made.__dict__["model"] = gx.compile(graph, target="numpy", device="cpu")
    return made._predicted(rows)


def test_columns_that_lack_or_clash_are_named():
    with pytest.raises(errors.MissingInput, match="no column for the input 'index'") as caught:
        worker(lookup(), label=np.ones(2))
    assert "columns=" in caught.value.remedy
    with pytest.raises(errors.InvalidName, match="name of an output") as caught:
        worker(lookup(), index=np.array([1, 2]), rows=np.ones(2))
    assert caught.value.remedy
    with pytest.raises(errors.InputDTypeError):
        worker(lookup(), index=np.array([1.0, 2.0]))


def draws():
    x = gx.input("x", (2, 3))
    return gx.graph("net", x + gx.random_normal(x, seed=1, name="noise"))


X = gx.input("x", (2, 3))
MISTAKES = {
    "no dataset": (lambda data: predict([1], lookup()), errors.InputKindError, "Ray Data"),
    "no graph": (lambda data: predict(data, 1), errors.InvalidGraph, "graph"),
    "draws": (lambda data: predict(data, draws()), errors.BatchError, "'noise'"),
    "no weights": (
        lambda data: predict(data, gx.parse(str(lenet()))),
        errors.MissingWeights,
        "load_weights",
    ),
    "several rows for a sample": (
        lambda data: predict(data, gx.graph("net", gx.reshape(X, (-1,), name="long"))),
        errors.BatchError,
        "output 'long'",
    ),
    "a row for all": (
        lambda data: predict(
            data, gx.graph("n", [gx.relu(X), gx.relu(gx.constant("c", np.ones(2)), name="fixed")])
        ),
        errors.BatchError,
        "depends on no input",
    ),
    "columns": (
        lambda data: predict(data, lookup(), columns=["index"]),
        errors.InputKindError,
        "columns is a mapping",
    ),
    "a column that is a number": (
        lambda data: predict(data, lookup(), columns={"index": 1}),
        errors.InputKindError,
        "columns is a mapping",
    ),
    "no such input": (
        lambda data: predict(data, lookup(), columns={"image": "a"}),
        errors.UnexpectedInput,
        "image",
    ),
    "batch_size": (
        lambda data: predict(data, lookup(), batch_size=0),
        errors.InvalidAttribute,
        "batch_size is",
    ),
    "workers": (
        lambda data: predict(data, lookup(), workers=0),
        errors.InvalidAttribute,
        "workers is",
    ),
    "num_gpus": (
        lambda data: predict(data, lookup(), num_gpus=2),
        errors.InvalidAttribute,
        "at most 1",
    ),
    "num_cpus": (
        lambda data: predict(data, lookup(), num_cpus=math.nan),
        errors.InvalidAttribute,
        "num_cpus is",
    ),
}


@needs_ray
@pytest.mark.parametrize(("call", "error", "says"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(here, call, error, says):
    with pytest.raises(error) as caught:
        call(dataset(index=np.arange(3)))
    assert says in str(caught.value)
    assert caught.value.remedy


@needs_ray
def test_a_gpu_is_asked_of_ray(here, monkeypatch):
    import ray.data

    asked = {}
    record = lambda self, fn, **args: asked.update(args)  # noqa: E731
    monkeypatch.setattr(ray.data.Dataset, "map_batches", record)
    for gpus, device in ((0, "cpu"), (0.5, "cuda"), (1, "cuda")):
        predict(dataset(index=np.arange(3)), lookup(), num_gpus=gpus, workers=3)
        assert asked["fn_constructor_args"][2] == device
        assert asked["num_gpus"] == (gpus or None)
        assert asked["compute"].min_size == asked["compute"].max_size == 3
        assert asked["batch_size"] == 2


def test_without_ray_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(errors.MissingLibrary, match="not installed") as caught:
        predict(None, lookup())
    assert "ray[data]" in caught.value.remedy
