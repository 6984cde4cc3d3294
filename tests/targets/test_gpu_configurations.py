"""Every distinct launch of real networks, compiled for a GPU that is not here: nothing spills."""

import pytest
import torch

import graphcnn as gx
from graphcnn.ir import Graph, rebatch
from graphcnn.models.lenet import lenet
from graphcnn.models.vgg import vgg16
from graphcnn.plan import Buffer
from tests import networks
from tests.gpu_compiler import compile_for_gpu_like
from tests.stand_in_gpu import SHARED_BYTES, stand_in_target

CAPABILITY = 80
NETWORKS = {
    "vgg16": lambda: vgg16(1, "float16"),
    "lenet": lambda: lenet(1, "float16"),
    "resnet18": lambda: networks.resnet18(224, 64, "float16"),
}


def launches(graph: Graph):
    """Each step's node, and its launch with tensors of the right dtypes for buffers."""
    target, _ = stand_in_target(CAPABILITY)
    lowered = target.lower(graph)
    dtypes = {place.buffer.name: place.type.dtype for place in lowered.locations.values()}
    for weight in lowered.weights:
        statistic = weight.layout.startswith("batch_norm")
        source = graph.param_by_name[weight.sources[0]].type.dtype
        dtypes[weight.name] = "f32" if statistic else source
    tensors = {
        name: torch.empty(0, dtype=torch.float32 if dtype == "f32" else torch.float16)
        for name, dtype in dtypes.items()
    }

    def concrete(argument):
        if isinstance(argument, Buffer):
            return tensors[argument.name]
        if isinstance(argument, tuple):
            return tuple(map(concrete, argument))
        return argument

    for step in lowered.steps:
        yield step.node, step.work.kernel, concrete(step.work.args), step.work.meta


def specialisation(argument):
    """What of an argument reaches the compiler."""
    if isinstance(argument, torch.Tensor):
        return argument.dtype
    if isinstance(argument, tuple):
        return tuple(map(specialisation, argument))
    return argument if argument in (None, 1) else ("number", argument % 16 == 0)


@pytest.fixture
def on_the_gpu(monkeypatch):
    target, _ = stand_in_target(CAPABILITY)
    monkeypatch.setattr("graphcnn.compiler.resolve", lambda name, device: target)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_launch_spills(name, on_the_gpu):
    graph = gx.compile(NETWORKS[name]()).graph
    distinct = {}
    for batch in (1, 8):
        for node, kernel, args, meta in launches(rebatch(graph, batch)):
            key = (kernel.__name__, specialisation(args), repr(sorted(meta.items(), key=str)))
            distinct.setdefault(key, (f"{node} at batch {batch}", kernel, args, meta))
    assert len(distinct) >= len(graph.nodes) / 2
    for where, kernel, args, meta in distinct.values():
        binary = compile_for_gpu_like(kernel, args, meta, CAPABILITY)
        assert binary.spills == 0, f"{where}: {binary.spills} bytes with {meta}"
        assert binary.registers <= 255, where
        assert binary.shared_bytes <= SHARED_BYTES[CAPABILITY], where
