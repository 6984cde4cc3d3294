"""New weights in a compiled model: the plan stays, all that was computed of params is made anew."""

import signal
import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from triton.runtime.jit import JITFunction

import graphcnn as gx
from graphcnn import models
from graphcnn.errors import NonFiniteWeights, RefitRefused, WeightsMismatch
from graphcnn.ir import CompileLog, with_he_weights
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.runtime.weights import WeightStore
from tests import networks
from tests.runtime.small_networks import mixed, small
from tests.stepwise import check_model
from tests.tolerance import F32, assert_within_bounds


def values(graph, seed):
    """Other numbers for every param, by name."""
    bare = graph.replace(params=gx.parse(str(graph)).params)
    return {param.name: param.data for param in with_he_weights(bare, seed).params}


def folding(dtype="float32"):
    """Batch norms that fold, one that does not, an average pool that does, and a constant."""
    h = networks.norm(networks.conv(gx.input("image", (2, 3, 8, 8), dtype), "conv", 4, 3), "fold")
    h = gx.relu(networks.norm(gx.relu(h), "stay"))
    shift, scale = (gx.param(f"{name}.vector", (4, 1, 1), dtype) for name in ("shift", "scale"))
    h = h + gx.mul(shift, scale, name="constant")
    h = gx.avg_pool2d(networks.conv(h, "pooled", 4, 1), 2, name="pool")
    return with_he_weights(gx.graph("folding", h))


def refit_equals_compile(graph, target="triton"):
    model = gx.compile(graph, target=target, device="cpu")
    inputs = example_inputs(graph)
    before, plan = model(**inputs), model.plan
    weights = values(graph, 5)
    model.refit(weights)
    assert model.plan is plan
    fresh = gx.compile(gx.load_weights(graph, weights), target=target, device="cpu")
    assert model.source.fingerprint == fresh.source.fingerprint
    assert model.graph.fingerprint == fresh.graph.fingerprint
    got, wanted = model(**inputs), fresh(**inputs)
    if not isinstance(got, dict):
        before, got, wanted = ({"y": array} for array in (before, got, wanted))
    for name, array in got.items():
        np.testing.assert_array_equal(array, wanted[name])
        assert not np.array_equal(array, before[name])
    return model


@pytest.mark.parametrize("target", ["triton", "library", "numpy"])
@pytest.mark.parametrize("make", [small, mixed, folding])
def test_a_refit_model_is_the_compiled_one(make, target):
    told = gx.verify(refit_equals_compile(make(), target))
    assert told.ok, told


def test_half_precision():
    assert gx.verify(refit_equals_compile(folding("float16"))).ok


def test_a_residual_network():
    model = refit_equals_compile(models.resnet18(size=32, classes=10))
    assert gx.verify(model).ok


def test_nothing_is_planned_or_compiled(monkeypatch):
    model = gx.compile(folding(), device="cpu")
    monkeypatch.setattr(CompiledModel, "_plan", pytest.fail)
    monkeypatch.setattr(model.target, "lower", pytest.fail)
    monkeypatch.setattr(JITFunction, "_do_compile", pytest.fail)
    model.refit(values(model.source, 5))
    model(image=np.zeros((2, 3, 8, 8), np.float32))


def test_every_batch_size_has_the_new_weights():
    graph = small()
    model = gx.compile(graph, device="cpu", batches=(1, 3))
    weights = values(graph, 5)
    model.refit(weights)
    for batch in (1, 2, 3, 5):
        image = np.random.default_rng(batch).standard_normal((batch, 3, 8, 8)).astype(np.float32)
        loaded = gx.load_weights(gx.ir.rebatch(graph, batch), weights)
        assert_within_bounds(loaded, {"image": image}, {"fc": model(image)}, unit=F32)
        assert gx.verify(model, image=image).ok


def test_weights_from_a_file_and_a_part_of_them(tmp_path):
    model = gx.compile(small(), device="cpu")
    other = gx.load_weights(small(), values(small(), 5))
    gx.save(other, tmp_path / "net.gcn")
    model.refit(next(tmp_path.glob("*.safetensors")))
    assert model.source.fingerprint == other.fingerprint
    bias = np.arange(5, dtype=np.float32)
    before = model(example_inputs(other)["image"])
    with pytest.warns(UserWarning, match="missing"):
        model.refit({"fc.bias": bias}, strict=False)
    wanted = before - other.param_by_name["fc.bias"].data + bias
    np.testing.assert_allclose(model(example_inputs(other)["image"]), wanted, atol=1e-5)


def test_verify_sees_a_weight_that_was_not_packed_anew(monkeypatch):
    model = gx.compile(small(), device="cpu")
    monkeypatch.setattr(WeightStore, "replace", lambda *_: None)
    model.refit(values(small(), 5))
    assert not gx.verify(model).ok


@pytest.mark.parametrize(
    ("dtype", "first", "second", "node"),
    [
        ("float32", np.zeros(4), np.ones(4), "shift"),
        ("float32", np.ones(4), np.zeros(4), "shift"),
        ("float16", np.ones(4), np.full(4, 2.0**-20), "norm"),
    ],
)
def test_values_that_the_plan_depends_on_are_refused(dtype, first, second, node):
    h = networks.norm(networks.conv(gx.input("image", (1, 3, 8, 8), dtype), "conv", 4, 3), "norm")
    h = gx.add(h, gx.param("vector", (4, 1, 1), dtype), name="shift")
    graph = with_he_weights(gx.graph("g", gx.relu(h)))
    vector = "vector" if node == "shift" else "norm.weight"
    shape = graph.type_of(vector).shape
    weights = values(graph, 5)
    start = gx.load_weights(graph, {**weights, vector: first.reshape(shape)})
    model = gx.compile(start, device="cpu", target="numpy", fuse=False)
    inputs = example_inputs(graph)
    before = model(**inputs)
    wanted = {**weights, vector: second.reshape(shape)}
    with pytest.raises(RefitRefused, match=node) as caught:
        model.refit(wanted)
    assert "gx.compile" in caught.value.remedy
    np.testing.assert_array_equal(model(**inputs), before)
    assert gx.verify(model).ok
    gx.compile(gx.load_weights(model.source, wanted), device="cpu", target="numpy")


def test_after_an_error_the_weights_are_the_old_ones():
    model = gx.compile(small(), device="cpu")
    inputs = example_inputs(small())
    before, source = model(**inputs), model.source
    weights = values(small(), 5)
    for wrong, error in (
        ({"fc.bias": np.full(5, np.nan)}, NonFiniteWeights),
        ({"fc.bias": np.ones(4)}, WeightsMismatch),
        ({"fc.other": np.ones(4)}, WeightsMismatch),
    ):
        with pytest.raises(error):
            model.refit({**weights, **wrong})
    assert model.source is source
    np.testing.assert_array_equal(model(**inputs), before)


def test_a_graph_without_weights_is_fit_for_the_first_time():
    graph = gx.parse(str(small()))
    model = gx.compile(graph, device="cpu")
    model.refit(values(graph, 5))
    assert gx.verify(model).ok


def test_a_model_whose_graph_the_passes_did_not_make():
    model = gx.compile(folding(), device="cpu", target="numpy")
    made = CompiledModel(model.source, model.graph, model.target, CompileLog())
    with pytest.raises(RefitRefused):
        made.refit(values(model.source, 5))


def test_calls_from_other_threads_see_the_old_or_the_new_weights():
    model = gx.compile(small(), device="cpu")
    inputs = example_inputs(small())
    weights = [values(small(), seed) for seed in (1, 2)]
    wanted = []
    for each in weights:
        model.refit(each)
        wanted.append(model(**inputs))
    found, stop = [], threading.Event()

    def serve():
        while not stop.is_set():
            found.append(model(**inputs))

    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(20):
        model.refit(weights[turn % 2])
    stop.set()
    for thread in threads:
        thread.join()
    seen = {next((i for i, w in enumerate(wanted) if np.array_equal(w, g)), None) for g in found}
    assert seen == {0, 1}


def test_not_in_the_middle_of_a_call():
    model = gx.compile(small(), device="cpu")
    weights, raised = values(small(), 5), []

    def interrupt(*_):
        with pytest.raises(RefitRefused, match="between its calls") as caught:
            model.refit(weights)
        raised.append(caught.value)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with model.turn():
            signal.raise_signal(signal.SIGUSR1)
            with model.turn():
                pass
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(raised) == 2
    model.refit(weights)


def test_under_the_sanitizer(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    model = gx.compile(small(), device="cpu")
    model.refit(values(small(), 5))
    check_model(model, example_inputs(model.graph))


def test_the_graph_that_a_model_was_made_of_stays_as_it_was():
    """Kernels read some of its weights where they are."""
    graph = small()
    model = gx.compile(graph, device="cpu")
    assert model._weights.lent
    before = graph.fingerprint
    kept = {param.name: param.data.copy() for param in graph.params}
    inputs, weights = example_inputs(graph), values(graph, 5)
    first = model(**inputs)
    for _ in range(2):
        model.refit(weights)
        assert not np.array_equal(model(**inputs), first)
        assert gx.verify(model).ok
    assert graph.replace(params=graph.params).fingerprint == before
    for param in graph.params:
        np.testing.assert_array_equal(param.data, kept[param.name])
    model.refit(kept)
    np.testing.assert_array_equal(model(**inputs), first)


def test_weights_that_are_read_in_place_no_longer(monkeypatch):
    """Kernels read them where they are, then in memory of the model's own, then the reverse."""
    model = gx.compile(small(), device="cpu")
    inputs, found = example_inputs(small()), []
    for seed, frozen in ((1, False), (2, False), (3, True)):
        with monkeypatch.context() as patch:
            if not frozen:
                patch.setattr("graphcnn.runtime.weights.is_frozen", lambda _: False)
            model.refit(values(small(), seed))
        assert bool(model._weights.lent) is frozen
        assert gx.verify(model).ok
        found.append(model(**inputs))
    for one, other in pairwise(found):
        assert not np.array_equal(one, other)


def test_torch_tensors():
    graph = small()
    state = {name: torch.tensor(array) for name, array in values(graph, 5).items()}
    model = gx.compile(graph, device="cpu", target="library")
    model.refit(state)
    image = torch.from_numpy(example_inputs(graph)["image"])
    before = model(image)
    state["fc.bias"] += 1
    torch.testing.assert_close(model(image), before)
