"""Compiled models: other batch sizes, threads, memory that is used again, the sanitizer."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.errors import BatchError, SanitizerFault
from graphcnn.ir import DType
from graphcnn.models.lenet import lenet, mnist_sample
from graphcnn.plan import Step
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel
from tests.runtime.small_networks import mixed, small
from tests.stepwise import check_model
from tests.tolerance import F32, assert_within_bounds


@pytest.fixture(scope="module")
def model():
    return gx.compile(small(), device="cpu")


def images(batch, seed=0):
    return np.random.default_rng(seed).standard_normal((batch, 3, 8, 8)).astype(np.float32)


def close(got, graph, image):
    inputs = {graph.inputs[0].name: image}
    assert_within_bounds(graph, inputs, {graph.outputs[0]: got}, unit=F32, dtype=DType.F32)


def wide(batch):
    graph = small()
    (image,) = graph.inputs
    return graph.replace(inputs=(replace(image, type=image.type.with_shape((batch, 3, 8, 8))),))


def test_another_batch_size_is_planned_once(monkeypatch):
    planned = []
    plan = CompiledModel._plan

    def counting(self, graph):
        planned.append(graph.inputs[0].type.shape[0])
        return plan(self, graph)

    monkeypatch.setattr(CompiledModel, "_plan", counting)
    model = gx.compile(small(), device="cpu")
    for batch in (2, 5, 1, 5, 2, 1, 5):
        close(model(image=images(batch, batch)), wide(batch), images(batch, batch))
    assert planned == [2, 5, 1]


def test_batch_sizes_share_packed_weights(model):
    model(image=images(2))
    before = {name: tensor.data_ptr() for name, tensor in model._weights.tensors.items()}
    model(image=images(3))
    after = {name: tensor.data_ptr() for name, tensor in model._weights.tensors.items()}
    assert before == after
    assert len(before) == 6


@pytest.mark.parametrize("target", ["library", "numpy"])
def test_other_targets_take_other_batch_sizes(target):
    model = gx.compile(small(), target=target, device="cpu")
    for batch in (2, 3, 1):
        close(model(image=images(batch)), wide(batch), images(batch))


def test_a_graph_with_a_fixed_batch_size():
    x = gx.input("x", (2, 3, 4))
    graph = gx.graph("g", gx.softmax(gx.reshape(x, (3, 8)), name="y"))
    model = gx.compile(graph, device="cpu")
    x = example_inputs(graph)["x"]
    close(model(x=x), graph, x)
    with pytest.raises(BatchError) as caught:
        model(x=x[:1])
    assert "reshape" in caught.value.where
    close(model(x=x), graph, x)


@pytest.mark.parametrize("target", ["triton", "library"])
def test_calls_from_several_threads(target):
    model = gx.compile(small(), target=target, device="cpu")
    graphs = {batch: wide(batch) for batch in (1, 2, 3)}
    together = threading.Barrier(6)

    def call(worker):
        together.wait()
        for turn in range(8):
            batch = 1 + (worker + turn) % 3
            image = images(batch, seed=100 * worker + turn)
            close(model(image=image), graphs[batch], image)
        return worker

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(call, range(6))) == list(range(6))


def test_two_models_in_two_threads():
    """Compiling and launching for one model while the other does the same."""
    nets = [small(), lenet()]
    together = threading.Barrier(2)

    def call(graph):
        together.wait()
        inputs = example_inputs(graph)
        close(gx.compile(graph, device="cpu")(**inputs), graph, inputs["image"])
        return graph.name

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(call, nets)) == ["small", "lenet"]


def test_numbers_do_not_depend_on_the_batch_or_the_caller(model):
    image = images(3)
    together = model(image=image)
    np.testing.assert_array_equal(together, model(image=torch.from_numpy(image)).numpy())
    alone = np.concatenate([model(image=image[i : i + 1]) for i in range(3)])
    for got in (together, alone):
        close(got, wide(3), image)


def test_memory_is_used_again_and_the_values_stay_right(model):
    plan = model.executor().plan
    activations = sum(slot.nbytes for slot in plan.slots)
    assert plan.arena_bytes - 2 * 65536 < activations
    checked, used = check_model(model, {"image": images(2)})
    assert checked == len(model.graph.nodes)
    assert 0 < used <= 1


def test_in_place_chains():
    x = gx.input("x", (2, 4, 3, 3))
    kept = gx.relu(x, name="kept")
    h = kept
    for index, function in enumerate((gx.sigmoid, gx.tanh, gx.silu)):
        h = function(gx.mul(h, 1.5 + index), name=f"h{index}")
    graph = gx.graph("g", [gx.add(h, kept, name="sum"), h])
    model = gx.compile(graph, device="cpu", fuse=False)
    assert sum(step.in_place for step in model.plan.steps) >= 4
    slots = {slot.name: slot.offset for slot in model.plan.slots}
    assert len(set(slots.values())) < len(slots)
    check_model(model, example_inputs(graph))


def test_a_residual_is_not_overwritten_by_its_sum_too_early():
    """The value that a step reads second is not the one it may write over."""
    x = gx.input("x", (1, 2, 4, 4))
    a = gx.relu(x, name="a")
    b = gx.mul(a, 2.0, name="b")
    total = gx.add(a, gx.add(b, a, name="c"), name="d")
    graph = gx.graph("g", gx.mul(total, b, name="e"))
    for fuse in (True, False):
        check_model(gx.compile(graph, device="cpu", fuse=fuse, passes=()), example_inputs(graph))


def test_channels_last_values_and_row_major_params_do_not_share_memory():
    """sum = param + image: the kernel reads the param first, and the image is stored otherwise."""
    data = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    x = gx.relu(gx.sigmoid(gx.input("x", (2, 3, 4, 5)), name="inner"), name="image")
    graph = gx.graph("g", gx.add(gx.param("p", (2, 3, 4, 5)), x, name="sum"))
    graph = graph.replace(params=(replace(graph.params[0], data=data),))
    check_model(gx.compile(graph, device="cpu", passes=()), example_inputs(graph))


def test_tied_statistics_with_another_eps():
    rng = np.random.default_rng(0)
    mean, var, scale, shift = rng.uniform(0.5, 1.5, (4, 3)).astype(np.float32)
    x = gx.input("x", (2, 3, 4, 5))
    h = gx.batch_norm(x, mean, var, scale, shift, eps=1e-5)
    graph = gx.graph("g", gx.batch_norm(gx.relu(h), mean, var, scale, shift, eps=2.0))
    check_model(gx.compile(graph, device="cpu", passes=()), example_inputs(graph))


def test_poison_shows_an_unwritten_value(model):
    """A step that never runs leaves NaN behind."""
    with model.loaded({"image": images(2)}, poison=True) as executor:
        assert torch.isnan(executor.value("fc")).all()
        np.testing.assert_array_equal(executor.value("image").numpy(), images(2))
        for step, run in list(executor.steps())[1:]:
            assert isinstance(step, Step)
            run()
        assert torch.isnan(executor.value("fc")).all()


def test_lenet_reads_digits():
    pictures, labels = mnist_sample()
    graph = lenet(batch=100)
    got = gx.compile(graph, device="cpu")(image=pictures[:100])
    close(got, graph, pictures[:100])
    assert (got.argmax(1) == labels[:100]).mean() > 0.95


@pytest.mark.parametrize(
    ("make", "fuse"),
    [(lenet, True), (mixed, True), (mixed, False)],
    ids=["lenet", "mixed fused", "mixed unfused"],
)
def test_networks_under_the_sanitizer(make, fuse, monkeypatch):
    graph = make()
    inputs = example_inputs(graph)
    plain = gx.compile(graph, device="cpu", fuse=fuse)(**inputs)
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    checked = gx.compile(graph, device="cpu", fuse=fuse)
    assert checked.target.on.driver.sanitize
    got = checked(**inputs)
    for result in (plain, got):
        named = result if isinstance(result, dict) else {graph.outputs[0]: result}
        assert_within_bounds(graph, inputs, named, unit=F32, dtype=DType.F32)


def test_the_sanitizer_sees_what_no_step_has_written(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    model = gx.compile(small(), device="cpu")
    with model.loaded({"image": images(2)}) as executor:
        _, second = list(executor.steps())[1]
        with pytest.raises(SanitizerFault, match="nothing wrote"):
            second()


def test_the_sanitizer_sees_a_write_beyond_a_buffer(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    made = gx.compile(gx.graph("g", gx.relu(gx.input("x", (7, 3)))), device="cpu")
    # Not bound to memory yet, so that the plan can be spoilt first.
    model = CompiledModel(made.source, made.graph, made.target, made.log)
    x, y = model.plan.slots
    model.plan = replace(model.plan, slots=(x, replace(y, nbytes=y.nbytes - 4)))
    with pytest.raises(SanitizerFault, match="store outside the tensor"):
        model(x=np.ones((7, 3), np.float32))
