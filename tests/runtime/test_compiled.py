"""Compiled models: other batch sizes, threads, memory that is used again, the sanitizer."""

import itertools
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn import triton_api
from graphcnn.cpu import team
from graphcnn.errors import BatchError, InputKindError, InvalidAttribute, SanitizerFault, TooLarge
from graphcnn.ir import DType, with_he_weights
from graphcnn.models.lenet import lenet, mnist_sample
from graphcnn.plan import Step
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel
from tests import networks
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

    def counting(self, graph, log):
        planned.append(graph.inputs[0].type.shape[0])
        return plan(self, graph, log)

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


FIXED = """graph g {{
  input x: f32[2,4,6,6]
  h: f32[2,4,6,6] = relu(x)
  {}
  return {}
}}"""


@pytest.mark.parametrize("passes", [None, ()], ids=["all passes", "no pass"])
@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("y: f32[2,144] = reshape(h, shape=(2, -1))", "y"),
        ("y: f32[2,144] = reshape(h, shape=(2, 144))", "y"),
        ("y: f32[288] = reshape(h, shape=(288,))", "y"),
        ("y: f32[2,4,6,6] = reshape(h, shape=(2, 4, 6, -1))", "y"),
        ("y: f32[2,144] = reshape(h, shape=(2, -1))", "h"),  # dead, and gone
    ],
)
def test_no_pass_answers_for_a_batch_size_that_the_graph_refuses(line, result, passes):
    model = gx.compile(gx.parse(FIXED.format(line, result)), device="cpu", passes=passes)
    x = example_inputs(model.graph)["x"]
    assert model(x=x).size == x.size
    for wrong in (x[:1], np.concatenate([x, x])):
        with pytest.raises(BatchError) as caught:
            model(x=wrong)
        assert "node 'y' = reshape" in caught.value.where


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


def call_inside(model, image, monkeypatch):
    """A call with another image inside each step of a call; all outputs, the outer one's first."""
    within, other, found = [], images(len(image), seed=9), []

    def interrupted():
        """Asked before each launch how many threads there are."""
        if not within:
            within.append(True)
            found.append(model(image=other))
            within.pop()
        return 1

    monkeypatch.setattr(team, "SECONDS", 0.0)
    monkeypatch.setattr(team, "threads", interrupted)
    outer = model(image=image)
    monkeypatch.undo()
    return outer, other, found


@pytest.mark.parametrize("batch", [2, 3])
def test_a_call_inside_a_call_has_memory_of_its_own(batch, monkeypatch):
    model = gx.compile(small(), device="cpu")
    image = images(batch)
    outer, other, found = call_inside(model, image, monkeypatch)
    close(outer, wide(batch), image)
    assert len(found) == len(model.plan.steps)
    for inner in found:
        close(inner, wide(batch), other)
    close(model(image=other), wide(batch), other)


@pytest.mark.parametrize("target", ["triton", "library", "numpy"])
def test_a_call_between_the_steps_of_another(target):
    model = gx.compile(small(), target=target, device="cpu")
    with model.loaded({"image": images(2)}) as executor:
        for _, run in executor.steps():
            run()
            close(model(image=images(2, seed=9)), wide(2), images(2, seed=9))
        close(np.asarray(executor.value("fc")), wide(2), images(2))


def test_a_call_from_a_signal_handler_at_any_moment():
    """The timer's signal may come while the lock is taken, too."""
    model = gx.compile(small(), device="cpu", batches=(3,))
    image, other = images(2), images(3, seed=9)
    wanted, inside = model(image=image), model(image=other)
    wrong = []

    def handler(*_):
        if not np.array_equal(model(image=other), inside):
            wrong.append("inner")
        signal.setitimer(signal.ITIMER_REAL, next(pauses))

    pauses = itertools.cycle(np.linspace(1e-5, 1e-3, 97))
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, next(pauses))
    try:
        wrong += [i for i in range(500) if not np.array_equal(model(image=image), wanted)]
    finally:
        # The handler would set the timer once more, and what was there before ends the process.
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not wrong


def test_all_batch_sizes_share_one_arena(monkeypatch):
    """The memory taken is what the largest batch needs, in whatever order they come."""
    model = gx.compile(small(), device="cpu")
    for batch in (1, 4, 9, 3, 8):
        close(model(image=images(batch)), wide(batch), images(batch))
    (workspace,) = model._idle
    arena = workspace.arena(0)
    with model.turn(9) as largest:
        assert arena.nbytes == largest.plan.arena_bytes
    storage = arena.untyped_storage().data_ptr()
    for batch in (1, 9, None):
        with model.turn(batch) as executor:
            value = executor.value("fc")
        assert value.untyped_storage().data_ptr() == storage


def classifier():
    """Convolution, pool, linear layer and softmax."""
    h = gx.input("image", (1, 3, 16, 16))
    h = gx.max_pool2d(gx.relu(networks.conv(h, "conv", 8, 3)), 2, name="pool")
    h = gx.linear(gx.flatten(h), gx.param("fc.weight", (10, 512)), name="fc")
    return with_he_weights(gx.graph("classifier", gx.softmax(h)))


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("make", [classifier, small, mixed])
def test_batch_sizes_share_their_kernels(make, fuse, monkeypatch):
    """One sample, odd numbers and multiples of 16 are no reason to compile a kernel anew."""
    prepare, kernels = triton_api.prepare, {}

    def counting(kernel, args, meta, driver):
        prepared = prepare(kernel, args, meta, driver)
        kernels.setdefault(prepared.compiled.hash, kernel.__name__)
        return prepared

    monkeypatch.setattr(triton_api, "prepare", counting)
    model = gx.compile(make(), device="cpu", fuse=fuse)
    batch = model.graph.inputs[0].type.shape[0]
    before = dict(kernels)
    model.prepare(sorted({1, 2, 3, 7, 16, 17, 40} - {batch}))
    new = [name for key, name in kernels.items() if key not in before]
    # A linear layer of one row is another kernel than one of several.
    assert new in ([], ["matvec_kernel"], ["conv2d_kernel"])


def test_batch_sizes_share_the_weights_of_linear_layers():
    model = gx.compile(classifier(), device="cpu", batches=(8,))
    packed = set(model._weights.tensors)
    # One row takes the param as it is, several rows take panels.
    assert len(packed) == len(model.graph.params) + 1
    model.prepare((100,))
    assert set(model._weights.tensors) == packed


@pytest.mark.parametrize("target", ["triton", "numpy"])
def test_batches_are_prepared(target, monkeypatch):
    model = gx.compile(small(), target=target, device="cpu", batches=(1, 2, 5))
    monkeypatch.setattr(CompiledModel, "_plan", None)
    monkeypatch.setattr("graphcnn.triton_api.prepare", None)
    for batch in (5, 1, 2):
        close(model(image=images(batch)), wide(batch), images(batch))


def test_smaller_batches_than_its_own_stay_prepared():
    model = gx.compile(small(), device="cpu", batches=(1,))
    (workspace,) = model._idle
    assert workspace.executors.keys() == {1, None}


@pytest.mark.parametrize("batches", [8, "8", (0,), (True,), (2.0,), None, [1, -1]], ids=repr)
def test_batches_that_are_none(batches):
    with pytest.raises((InputKindError, InvalidAttribute), match="the argument batches"):
        gx.compile(small(), device="cpu", batches=batches)


def test_a_batch_beyond_32_bit_offsets_says_the_largest_that_fits():
    x = gx.input("x", (1, 3, 512, 512))
    graph = gx.graph("g", gx.global_avg_pool2d(gx.conv2d(x, np.ones((16, 3, 1, 1), np.float32))))
    model = gx.compile(graph, device="cpu")
    most = (2**31 - 1) // (16 * 512 * 512)
    with pytest.raises(TooLarge, match=f"wanted: at most {most} samples in a call") as caught:
        model.prepare([most + 1])
    assert f"{most + 1} samples" in caught.value.got
    with pytest.raises(TooLarge, match="2147483647 elements of one tensor"):
        gx.compile(gx.graph("g", gx.relu(gx.input("x", (1, 32, 8192, 8192)))), device="cpu")


def test_a_batch_beyond_the_grid_is_a_call_of_the_library():
    model = gx.compile(gx.graph("g", gx.global_avg_pool2d(gx.input("x", (1, 1, 2, 2)))))
    x = np.random.default_rng(0).standard_normal((65_536, 1, 2, 2), np.float32)
    with model.loaded({"x": x}) as executor:
        assert [step.label for step in executor.plan.steps] == ["library global_avg_pool2d"]
    np.testing.assert_allclose(model(x=x), x.mean((2, 3), keepdims=True), atol=1e-6)


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
    plan = model.plan
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
