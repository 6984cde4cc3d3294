"""Memory that executors hand to kernels, and what they keep."""

import ctypes
import gc
import mmap
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.errors import MissingWeights
from graphcnn.ir import with_he_weights
from graphcnn.kernels.launch import MASKED_REACH
from graphcnn.plan import Packing
from graphcnn.plan.memory import ALIGNMENT
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.memory import GUARD_BYTES, allocate
from graphcnn.runtime.weights import WeightStore
from tests.held import held, resident
from tests.runtime.small_networks import small


def test_blocks_are_aligned_apart_and_guarded(monkeypatch):
    monkeypatch.delenv("GRAPHCNN_SANITIZE", raising=False)
    sizes = [1, 300, 0, 4096]
    homes = allocate(sizes, torch.device("cpu"))
    storage = homes[0].untyped_storage()
    end = storage.data_ptr()
    for home, nbytes in zip(homes, sizes, strict=True):
        assert home.numel() == nbytes
        assert home.untyped_storage().data_ptr() == storage.data_ptr()
        if nbytes:
            assert home.data_ptr() % ALIGNMENT == 0
            assert home.data_ptr() >= end
            end = home.data_ptr() + nbytes
    assert homes[0].data_ptr() - storage.data_ptr() >= GUARD_BYTES
    assert storage.data_ptr() + storage.nbytes() - end >= GUARD_BYTES


def test_the_guard_bands_hold_what_kernels_may_address():
    assert GUARD_BYTES >= MASKED_REACH


@pytest.mark.parametrize("nbytes", [1, 1000])
def test_the_sanitizer_sees_exact_sizes(nbytes, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    (home,) = allocate([nbytes], torch.device("cpu"))
    assert home.untyped_storage().nbytes() == nbytes


@pytest.mark.parametrize("target", ["triton", "library"])
def test_a_model_that_is_dropped_frees_its_values_at_once(target):
    """Memory of a GPU is nothing that Python's collector of cycles feels the lack of."""
    model = gx.compile(small(), target=target, device="cpu")
    gc.disable()
    try:
        with model.loaded(example_inputs(model.graph)) as executor:
            executor.run()
            value = weakref.ref(executor.value("fc"))
        del executor, model
        assert value() is None
    finally:
        gc.enable()


def classifier(weight=None):
    """Most of its weights are those of a linear layer."""
    h = gx.relu(gx.conv2d(gx.input("image", (1, 4, 8, 8)), gx.param("conv.weight", (8, 4, 1, 1))))
    weight = gx.param("fc.weight", (700, 512)) if weight is None else weight
    h = gx.linear(gx.flatten(h), weight, gx.param("fc.bias", (700,)), name="fc")
    return with_he_weights(gx.graph("classifier", h))


@pytest.mark.parametrize("target", ["triton", "library"])
def test_weights_are_held_once(target):
    graph = classifier()
    model = gx.compile(graph, target=target, device="cpu")
    weights = sum(param.type.nbytes for param in graph.params)
    assert held(model) < 1.05 * weights
    assert gx.verify(model).ok


def test_weights_in_a_file_are_held_once(tmp_path):
    gx.save(classifier(), tmp_path / "net.gcn")
    graph = gx.load(tmp_path / "net.gcn")
    (file,) = tmp_path.glob("*.safetensors")
    model = gx.compile(graph, device="cpu")
    assert resident(file) == 0
    image = example_inputs(graph)["image"]
    wanted = gx.compile(classifier(), device="cpu")(image)
    np.testing.assert_array_equal(model(image), wanted)
    assert resident(file) == 0
    assert gx.verify(model).ok
    with pytest.warns(UserWarning, match="missing"):
        model.refit({"fc.bias": np.ones(700, np.float32)}, strict=False)
    assert resident(file) == 0
    assert gx.verify(model).ok


def test_a_param_that_nothing_reads_needs_no_data():
    graph = classifier()
    idle = replace(graph.params[0], name="idle", data=None)
    model = gx.compile(graph.replace(params=(idle, *graph.params)), device="cpu")
    image = example_inputs(graph)["image"]
    np.testing.assert_array_equal(model(image), gx.compile(graph, device="cpu")(image))


def test_a_saved_graph_stays_as_it_was_when_another_takes_its_place(tmp_path):
    gx.save(classifier(), tmp_path / "net.gcn")
    graph = gx.load(tmp_path / "net.gcn")
    model = gx.compile(graph, device="cpu")
    gx.save(with_he_weights(gx.parse(str(graph)), 7), tmp_path / "net.gcn")
    assert graph.fingerprint == classifier().fingerprint
    assert gx.verify(model).ok


@pytest.mark.parametrize("closed", [False, True])
def test_what_the_caller_can_write_to_is_copied(closed):
    """Also where the array that was passed is read-only and the one that it is a part of is not."""
    weight = aligned = np.empty(700 * 512 + 16, np.float32)
    aligned = aligned[-(weight.ctypes.data // 4) % 16 :][: 700 * 512].reshape(700, 512)
    aligned[...] = np.random.default_rng(0).standard_normal(aligned.shape)
    aligned.setflags(write=not closed)
    model = gx.compile(classifier(aligned), device="cpu")
    image = example_inputs(model.graph)["image"]
    before = model(image)
    weight[...] = 0
    np.testing.assert_array_equal(model(image), before)
    assert not gx.verify(model).ok


def test_one_weight_is_packed_at_a_time(monkeypatch):
    pack, made, most = Packing.pack, [], []

    def counted(self, params):
        array = pack(self, params)
        assert array.size * self.dtype.itemsize == self.nbytes
        if all(array is not params[name].values for name in self.sources):
            most.append(sum(other() is not None for other in made))
            made.append(weakref.ref(array))
        return array

    monkeypatch.setattr(Packing, "pack", counted)
    gx.compile(gx.models.resnet18(size=32), device="cpu", batches=(2,))
    assert len(most) > 10
    assert max(most) <= 1


def test_a_weight_that_could_not_be_packed_is_none_that_is():
    graph = classifier()
    bare = graph.replace(params=(replace(graph.params[0], data=None), *graph.params[1:]))
    store = WeightStore(gx.compile(graph, device="cpu").target.on, bare.param_by_name)
    plan = gx.compile(graph, device="cpu").plan
    for _ in range(2):
        with pytest.raises(MissingWeights):
            store.pack(plan.weights)
    assert not any(name.startswith("conv") for name in store.tensors)


def test_kernels_stay_inside_of_weights_that_they_read_in_place(monkeypatch):
    """The weight of a linear layer ends where mapped memory ends."""
    nbytes = 4 * 700 * 512
    size = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    block = mmap.mmap(-1, size + mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(block))
    assert not ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + size), mmap.PAGESIZE, 0)
    weight = np.frombuffer(block, np.float32, 700 * 512, size - nbytes).reshape(700, 512)
    weight[...] = np.random.default_rng(0).standard_normal(weight.shape)
    monkeypatch.setattr("graphcnn.runtime.weights.is_frozen", lambda _: True)
    model = gx.compile(classifier(weight), device="cpu", batches=(3, 8))
    assert weight.ctypes.data in {t.data_ptr() for t in model._weights.tensors.values()}
    for batch in (1, 3, 8):
        image = np.ones((batch, 4, 8, 8), np.float32)
        assert gx.verify(model, image=image).ok
