"""Memory that executors hand to kernels, and what they keep."""

import gc
import threading
import weakref

import pytest
import torch

import graphcnn as gx
from graphcnn.kernels.launch import MASKED_REACH
from graphcnn.plan import Packing
from graphcnn.plan.memory import ALIGNMENT
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.executor import GUARD_BYTES, WeightStore, allocate
from graphcnn.targets.device import Device
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


def test_weights_are_packed_beside_the_compilation_of_kernels(monkeypatch):
    """Both are at work at once, and the model has all weights when it is ready."""
    graph = small()
    wanted = gx.compile(graph, device="cpu")(**example_inputs(graph))
    both, pack, prepare = threading.Barrier(2, timeout=60), Packing.pack, Device.prepare
    waited = set()

    def at_once(name):
        if name not in waited:
            waited.add(name)
            both.wait()

    def packing(self, params):
        at_once("pack")
        return pack(self, params)

    def preparing(self, *args):
        at_once("prepare")
        return prepare(self, *args)

    monkeypatch.setattr(Packing, "pack", packing)
    monkeypatch.setattr(Device, "prepare", preparing)
    got = gx.compile(graph, device="cpu")(**example_inputs(graph))
    assert waited == {"pack", "prepare"}
    assert (got == wanted).all()


@pytest.mark.parametrize("where", [(Packing, "pack"), (Device, "prepare")])
def test_weights_that_were_not_all_packed_are_packed_anew(where, monkeypatch):
    model = gx.compile(small(), device="cpu")
    inputs = example_inputs(model.graph)
    wanted = model(**inputs)
    model._weights = WeightStore(model.target.on, model.graph.param_by_name)
    model._idle.clear()

    def failing(*_):
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(*where, failing)
        with pytest.raises(MemoryError):
            model(**inputs)
    assert not model._weights.tensors
    assert (model(**inputs) == wanted).all()
