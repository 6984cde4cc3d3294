"""Kernels on CUDA read and write the caller's tensors where they are, and NumPy's through pinned
memory; on a stand-in, whose streams run as late as waits allow."""

import gc
import weakref

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.runtime.boundary import example_inputs
from graphcnn.targets.cuda_memory import PAGE_BYTES
from tests.runtime.small_networks import NETWORKS, mixed, small
from tests.runtime.test_dlpack import Standard
from tests.runtime.test_loans import several
from tests.stand_in_gpu import stand_in_target
from tests.stepwise import check_model


@pytest.fixture
def gpu(monkeypatch):
    """What device="cuda" means in this test."""
    target, driver = stand_in_target(90)
    monkeypatch.setattr("graphcnn.compiler.resolve", lambda *_: target)
    return driver


@pytest.fixture
def copies(monkeypatch):
    """The tensors that are copied on the device or to it, as pairs of addresses."""
    from tests.stand_in_gpu import StandInDevice

    made, copy = [], StandInDevice.copy

    def noted(self, source, into):
        made.append((source.data_ptr(), into.data_ptr()))
        copy(self, source, into)

    monkeypatch.setattr(StandInDevice, "copy", noted)
    return made


def images(count, batch=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, 3, 8, 8, generator=generator) for _ in range(count)]


def test_tensors_are_not_copied(gpu, copies):
    model = gx.compile(small(), device="cuda")
    (x,) = images(1)
    with model.loaded({"image": x}) as executor:
        assert executor.value("image").data_ptr() == x.data_ptr()
        executor.run()
        wanted = executor.value("fc").clone()
    out = torch.full((2, 5), torch.nan)
    assert torch.equal(model(x), wanted)
    assert torch.equal(model(x, out=out), wanted)
    assert copies == []
    assert wanted.std() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_compute_the_same_on_lent_memory(gpu, copies, name):
    graph = NETWORKS[name]("float16")
    model = gx.compile(graph, device="cuda")
    inputs = {name: torch.from_numpy(a) for name, a in example_inputs(graph).items()}
    check_model(model, inputs)
    assert copies == []


@pytest.mark.parametrize("fuse", [True, False])
def test_outputs_that_share_memory_with_others_inside_of_the_model(gpu, fuse):
    model = gx.compile(several(), fuse=fuse)
    x = torch.from_numpy(example_inputs(model.graph)["x"])
    check_model(model, {"x": x})
    got = model(x)
    arrays = [x, *got.values()]
    assert len({array.data_ptr() for array in arrays}) == len(arrays)
    kept = {name: array.clone() for name, array in got.items()}
    for array in got.values():
        array.fill_(torch.nan)
    for name, array in model(x).items():
        assert torch.equal(array, kept[name])


@pytest.mark.parametrize(
    "arrange",
    [
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: torch.stack([x, x], -1)[..., 1],
        lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
    ],
    ids=["channels last", "every other", "between vectors"],
)
def test_a_tensor_that_lies_otherwise_is_copied(gpu, copies, arrange):
    """Kernels are compiled for strides, and for addresses that are multiples of 16 bytes."""
    model = gx.compile(small(), device="cuda")
    plain, other = images(2)
    wanted = model(plain), model(other)
    for x, right in zip((plain, other), wanted, strict=True):
        arranged = arrange(x)
        assert not arranged.is_contiguous() or arranged.data_ptr() % 16
        assert torch.equal(model(arranged), right)
    assert [source for source, _ in copies] != []
    copies.clear()
    assert torch.equal(model(plain), wanted[0])
    assert copies == []


def test_masked_lanes_find_memory_around_what_is_lent(gpu, copies):
    """The first convolution is padded; its output is written in place all the same."""
    model = gx.compile(small(), device="cuda")
    (x,) = images(1)
    wanted = model(x)
    reach = (8 + 1) * x.element_size()  # a row and a pixel of padding
    first, last = x.data_ptr(), x.data_ptr() + x.nbytes - 1
    assert gpu.asked == [first - reach, last + reach]
    assert copies == []
    gpu.first_mapped = first
    assert torch.equal(model(x), wanted)
    assert gpu.asked[2:] == [first - reach]
    assert [source for source, _ in copies] == [first]


def test_where_no_lane_is_masked_nobody_is_asked(gpu, copies):
    model = gx.compile(gx.graph("g", gx.relu(gx.input("x", (2, 3)))), device="cuda")
    assert torch.equal(model(-torch.ones(2, 3)), torch.zeros(2, 3))
    assert gpu.asked == copies == []


def test_a_reach_of_more_than_a_page_is_not_looked_into(gpu, copies, monkeypatch):
    monkeypatch.setattr("graphcnn.targets.cuda_memory.PAGE_BYTES", 35)
    model = gx.compile(small(), device="cuda")
    (x,) = images(1)
    model(x)
    assert [source for source, _ in copies] == [x.data_ptr()]
    assert PAGE_BYTES > 35


def test_nothing_of_a_call_is_kept(gpu):
    model = gx.compile(mixed(), device="cuda")
    inputs = {name: torch.from_numpy(a) for name, a in example_inputs(model.graph).items()}
    gone = [weakref.ref(tensor) for tensor in inputs.values()]
    results = model.source.named(model(**inputs))
    gone += [weakref.ref(tensor) for tensor in results.values()]
    del inputs, results
    assert [ref() for ref in gone] == [None] * len(gone)


@pytest.mark.parametrize("placed", [False, True], ids=["new", "out="])
@pytest.mark.parametrize("kind", [torch.clone, lambda x: x.numpy()], ids=["torch", "numpy"])
def test_results_outlive_calls_on_several_streams(gpu, placed, kind):
    model = gx.compile(small(), device="cuda")
    given = [kind(x) for x in images(6)]
    wanted = [np.asarray(model(x)) for x in given]
    held = []
    for number, x in enumerate(given):
        with gpu.on_stream(1 + number % 3):
            out = kind(torch.full((2, 5), torch.nan)) if placed else None
            held.append(model(x, out=out))
            assert out is None or held[-1] is out
    gpu.synchronize()
    for got, right in zip(held, wanted, strict=True):
        np.testing.assert_array_equal(np.asarray(got), right)


def test_what_is_lent_is_held_for_the_stream(gpu):
    model = gx.compile(small(), device="cuda")
    (x,) = images(1)
    with gpu.on_stream(7):
        y = model(x)
    blocks = {tensor.untyped_storage().data_ptr() for tensor in (x, y)}
    assert blocks <= gpu.held[7]
    gpu.synchronize()


def test_numpy_goes_through_pinned_memory(gpu, copies, monkeypatch):
    """One copy to the device for each input, one back for each output, and one wait."""
    model = gx.compile(several(), device="cuda")
    x = example_inputs(model.graph)["x"]
    wanted = {name: array.numpy() for name, array in model(torch.from_numpy(x)).items()}
    copies.clear()
    finished = []
    finish = type(model.target.on).finish
    monkeypatch.setattr(
        type(model.target.on), "finish", lambda self: (finished.append(1), finish(self))
    )
    with gpu.on_stream(1):
        got = model(x)
    assert finished == [1]
    assert len(copies) == 1 + len(model.graph.outputs)
    for name, array in got.items():
        np.testing.assert_array_equal(array, wanted[name])
    first = [*copies]
    copies.clear()
    with gpu.on_stream(2):
        again = model(2 * x)
    assert [pair[0] for pair in copies[:1]] == [pair[0] for pair in first[:1]], "kept"
    assert [pair[1] for pair in copies[1:]] == [pair[1] for pair in first[1:]]
    np.testing.assert_array_equal(got["y"], wanted["y"])
    np.testing.assert_array_equal(again["y"], 2 * wanted["y"])


def test_pinned_memory_is_not_overwritten_before_it_was_read(gpu):
    """Each load is queued on a stream that has not run yet when the next array comes."""
    model = gx.compile(small(), device="cuda")
    given = images(4)
    wanted = [model(x) for x in given]
    got = [torch.full((2, 5), torch.nan) for _ in given]
    for number, (x, place) in enumerate(zip(given, got, strict=True), start=1):
        with gpu.on_stream(number), model.loaded({"image": x.numpy()}) as executor:
            executor.results(x, [place])
    assert got[-1].isnan().all(), "it is queued"
    gpu.synchronize()
    for mine, right in zip(got, wanted, strict=True):
        assert torch.equal(mine, right)


def test_without_the_wait_pinned_memory_would_be_overwritten(gpu, monkeypatch):
    """The stand-in shows it."""
    model = gx.compile(small(), device="cuda")
    given = images(2)
    wanted = [model(x) for x in given]
    monkeypatch.setattr(type(model.target.on), "reach", lambda self, event: None)
    got = [torch.full((2, 5), torch.nan) for _ in given]
    for number, (x, place) in enumerate(zip(given, got, strict=True), start=1):
        with gpu.on_stream(number), model.loaded({"image": x.numpy()}) as executor:
            executor.results(x, [place])
    gpu.synchronize()
    assert not torch.equal(got[0], wanted[0])
    assert torch.equal(got[1], wanted[1])


def test_memory_of_another_library_is_kept_until_it_was_read(gpu):
    """Its library does not know the stream."""
    model = gx.compile(small(), device="cuda")
    given = images(2)
    wanted = [model(x) for x in given]
    arrays = [Standard(x) for x in given]
    gone = [weakref.ref(x) for x in given]
    del given
    with gpu.on_stream(1):
        got = [model(arrays.pop(0)), model(arrays.pop(0))]
    gc.collect()
    assert None not in [ref() for ref in gone]
    gpu.synchronize()
    for mine, right in zip(got, wanted, strict=True):
        assert torch.equal(mine.tensor, right)
    model(Standard(images(1)[0]))
    assert [ref() for ref in gone] == [None, None]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_of_numpy(gpu, dtype):
    model = gx.compile(small(dtype), device="cuda")
    x = example_inputs(model.graph)["image"]
    tensor = torch.from_numpy(x).to(getattr(torch, dtype))
    with gpu.on_stream(1):
        got = model(x)
    np.testing.assert_array_equal(got, model(tensor).float().numpy().astype(got.dtype))
    out = np.full((2, 10), np.nan, got.dtype)[:, ::2]
    assert model(x, out=out) is out
    np.testing.assert_array_equal(out, got)


def test_several_batch_sizes_and_kinds_by_turns(gpu):
    model = gx.compile(small(), device="cuda")
    for batch in (2, 3, 2, 1, 3):
        (x,) = images(1, batch)
        from_numpy, from_torch = model(x.numpy()), model(x)
        np.testing.assert_array_equal(from_numpy, from_torch.numpy())
        assert gx.verify(model, image=x.numpy()).ok
