"""Batches that are too large: for what kernels address, and for memory."""

import re
import weakref

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.errors import OutOfMemory, TooLarge
from graphcnn.ir import CompileLog, rebatch
from graphcnn.plan import Packing
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.runtime.memory import allocate, block_bytes
from graphcnn.runtime.workspace import Workspace
from graphcnn.targets.device import Device
from tests import networks
from tests.runtime.small_networks import mixed, small

BEYOND = {
    "small": small,
    "mixed": mixed,
    "unet_block": networks.unet_block,
    "resnet18": lambda: gx.models.resnet18(1, size=64),
    "vgg11": lambda: gx.models.vgg11(1, size=64),
    "mobilenet_v2": lambda: gx.models.mobilenet_v2(1, size=64),
}


def without_data(graph):
    """The network without weights, which is compiled as far as its plan."""
    return graph.replace(params=tuple(type(p)(p.name, p.type, None) for p in graph.params))


@pytest.mark.parametrize("name", BEYOND)
def test_a_graph_beyond_32_bit_offsets_says_the_largest_batch(name):
    graph = without_data(BEYOND[name]())
    with pytest.raises(TooLarge, match="cannot address a batch of this size") as caught:
        gx.compile(rebatch(graph, 2**26), device="cpu")
    error = caught.value
    most = int(re.fullmatch(r"at most (\d+) samples in a call", error.wanted)[1])
    assert 1 < most < 2**26
    assert f"{2**26} samples: " in error.got
    assert error.where.startswith("value '")
    assert error.remedy == "split the batch"
    gx.compile(rebatch(graph, most), device="cpu")
    with pytest.raises(TooLarge, match=f"{most + 1} samples"):
        gx.compile(rebatch(graph, most + 1), device="cpu")


def test_what_no_allocator_gives():
    with pytest.raises(OutOfMemory, match="memory of the device does not suffice") as caught:
        allocate([1 << 50], torch.device("cpu"))
    error = caught.value
    assert error.where == "cpu"
    assert error.nbytes == block_bytes([1 << 50])
    assert f"{error.nbytes:,} bytes are wanted: " in error.got
    assert error.remedy == "free memory, or take a smaller batch"


@pytest.fixture
def memory(monkeypatch):
    """A function that limits what one allocation may take, and what is said to be free."""
    empty = torch.empty
    limit = [1 << 60]

    def limited(*args, **options):
        if options.get("dtype") is torch.int8 and args[0] > limit[0]:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {args[0]} bytes.")
        return empty(*args, **options)

    monkeypatch.setattr(torch, "empty", limited)
    monkeypatch.setattr(Device, "free_bytes", lambda self: limit[0])

    def to(nbytes):
        limit[0] = nbytes

    return to


def images(batch):
    return np.random.default_rng(batch).standard_normal((batch, 3, 8, 8)).astype(np.float32)


def test_a_batch_beyond_memory_says_the_largest_that_fits(memory):
    model = gx.compile(small(), device="cpu")
    before, (workspace,) = model(images(2)), model._idle
    fitting, plan = model._plan(rebatch(model.graph, 40), model.log)
    results = sum(fitting.type_of(name).nbytes for name in fitting.outputs)
    memory(block_bytes([plan.arena_bytes]) + results)
    with pytest.raises(OutOfMemory) as caught:
        model(images(100))
    error = caught.value
    most = error.largest_batch
    assert 40 <= most < 100
    assert error.what == "the memory does not suffice for 100 samples"
    assert error.where == "graph 'small' on cpu"
    assert re.fullmatch(
        r"[\d,]+ bytes for activations, [\d,]+ bytes for weights; [\d,]+ bytes free", error.got
    )
    assert error.wanted == f"at most {most} samples in a call"
    assert error.remedy == "split the batch"
    assert error.nbytes > block_bytes([plan.arena_bytes])
    assert not workspace.executors, "nothing of it is kept"
    assert workspace.arena(0).nbytes == 0
    assert 100 not in model._plans
    with pytest.raises(OutOfMemory, match=f"for {most + 1} samples"):
        model.prepare([most + 1])
    model(images(most))
    np.testing.assert_array_equal(model(images(2)), before)


def test_a_network_beyond_memory(memory):
    """Where not one sample fits, the batch is not at fault."""
    memory(block_bytes([0]))
    with pytest.raises(OutOfMemory, match="does not suffice for this network") as caught:
        gx.compile(small(), device="cpu")
    assert caught.value.largest_batch is None
    assert caught.value.wanted is None
    assert "half precision" in caught.value.remedy


def test_weights_beyond_memory(memory):
    h = gx.conv2d(gx.input("x", (1, 64, 2, 2)), np.ones((512, 64, 3, 3), np.float32), padding=1)
    graph = gx.graph("g", h)
    plan = CompiledModel(graph, graph, gx.compile(graph, device="cpu").target, CompileLog()).plan
    packed = sum(weight.nbytes for weight in plan.weights)
    assert packed > 1 << 20
    memory(block_bytes([plan.arena_bytes]))
    with pytest.raises(OutOfMemory, match=f"{packed:,} bytes for weights"):
        gx.compile(graph, device="cpu")


def test_what_was_taken_before_is_given_back_first(memory, monkeypatch):
    """The arena fits, the weights do not: what is free then is all but what stays."""
    x = gx.input("x", (1, 64, 2, 2))
    graph = gx.graph("g", gx.conv2d(x, np.ones((512, 64, 3, 3), np.float32), padding=1))
    taken, arena = [], Workspace.arena

    def noted(self, nbytes):
        found = arena(self, nbytes)
        taken.append(weakref.ref(found.untyped_storage()))
        return found

    def free(self):
        assert [each() for each in taken] == [None]
        return 1 << 60

    plan = CompiledModel(graph, graph, gx.compile(graph, device="cpu").target, CompileLog()).plan
    memory(block_bytes([plan.arena_bytes]))
    monkeypatch.setattr(Workspace, "arena", noted)
    monkeypatch.setattr(Device, "free_bytes", free)
    with pytest.raises(OutOfMemory, match="does not suffice"):
        gx.compile(graph, device="cpu")
    assert taken


def test_results_beyond_memory(monkeypatch):
    model = gx.compile(small(), device="cpu")

    def refused(type, like):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")

    monkeypatch.setattr("graphcnn.runtime.executor.empty", refused)
    with pytest.raises(OutOfMemory, match="memory of the device does not suffice"):
        model(images(2))


def test_memory_of_the_host(monkeypatch):
    """What weights are arranged in is the host's, and NumPy has words of its own."""

    def full(self, params):
        raise MemoryError("Unable to allocate 9.00 GiB")

    monkeypatch.setattr(Packing, "pack", full)
    with pytest.raises(OutOfMemory, match="does not suffice"):
        gx.compile(networks.unet_block(), device="cpu")


@pytest.mark.parametrize("free", [None, 0])
def test_a_system_that_does_not_say_what_is_free(memory, monkeypatch, free):
    memory(0)
    monkeypatch.setattr(Device, "free_bytes", lambda self: free)
    with pytest.raises(OutOfMemory) as caught:
        gx.compile(small(), device="cpu")
    assert ("an unknown amount free" if free is None else "0 bytes free") in caught.value.got


def test_other_errors_of_torch_go_on(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("something else")

    monkeypatch.setattr(torch, "empty", broken)
    with pytest.raises(RuntimeError, match="something else"):
        allocate([8], torch.device("cpu"))
