"""The front door: what compile makes of real networks, and what it says when it cannot."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.costs.devices import GPUS, gpu_like
from graphcnn.costs.traits import traits_of
from graphcnn.errors import (
    DeviceUnavailable,
    FusionRefused,
    InvalidAttribute,
    InvalidGraph,
    MissingWeights,
    NonFiniteWeights,
    UnknownNode,
    UnknownTarget,
)
from graphcnn.ir import Finished, Fused, Skipped, inline, outline
from graphcnn.kernels import CPU, CPU_BF16
from graphcnn.models.resnet import resnet18
from graphcnn.models.vgg import vgg16
from graphcnn.passes import Simplify, default_pipeline
from graphcnn.runtime.boundary import example_inputs
from graphcnn.targets.resolve_device import resolve_device
from tests import networks
from tests.stepwise import check_meaning, check_model


def block():
    """conv -> relu -> pool, and a second convolution."""
    h = gx.input("image", (1, 3, 8, 8))
    h = gx.relu(gx.conv2d(h, weight(4, 3, 3, 3), padding=1, name="conv"), name="relu")
    h = gx.max_pool2d(h, 2, name="pool")
    return gx.graph("block", gx.conv2d(h, weight(2, 4, 1, 1), name="last"))


def weight(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def kernels(model):
    return [step.label for step in model.plan.steps]


@pytest.fixture(scope="module")
def vgg():
    return vgg16(1, size=64, classes=10)


def test_vgg16_is_thirteen_convolutions_and_three_linear_layers(vgg):
    model = gx.compile(vgg, device="cpu", winograd=False)
    assert Counter(kernels(model)) == {
        "conv2d+relu": 8,
        "conv2d+relu+max_pool2d": 5,
        "linear+relu": 2,
        "linear": 1,
        "softmax": 1,
    }
    (refusal,) = model.log.refusals
    assert (refusal.node, refusal.blame) == ("flatten", ("fc6",))
    unfused = gx.compile(vgg, device="cpu", fuse=False)
    assert len(kernels(unfused)) == 13 + 13 + 5 + 3 + 2 + 1
    assert model.plan.arena_bytes < unfused.plan.arena_bytes


def test_resnet18_is_one_kernel_per_convolution():
    graph = resnet18(size=64, classes=10)
    model = gx.compile(graph, device="cpu", winograd=False)
    assert Counter(kernels(model)) == {
        "conv2d+relu": 9,
        "conv2d+add+relu": 7,
        "conv2d+add+relu+global_avg_pool2d": 1,
        "conv2d": 3,
        "max_pool2d": 1,
        "linear": 1,
        "softmax": 1,
    }
    because = {refusal.node: refusal.because for refusal in model.log.refusals}
    assert list(because) == ["maxpool"]
    assert "windows overlap: tiles of 64 pixels would compute" in because["maxpool"]
    check_model(model, example_inputs(graph))


def test_a_u_net_block_exports_its_skips():
    graph = networks.unet_block()
    model = gx.compile(graph, device="cpu", winograd=False)
    names = kernels(model)
    assert sum(name.startswith("conv2d") for name in names) == 7
    assert set(names) - {"copy"} == {"conv2d", "conv2d+relu", "conv2d+relu+max_pool2d"}
    exports = [node.op.exports for node in model.graph.nodes if isinstance(node.op, Fused)]
    assert ("a2.relu", "down") in exports
    assert ("b2.relu", "bottom") in exports
    check_model(model, example_inputs(graph))


def test_a_preactivation_network():
    graph = networks.preactivation()
    model = gx.compile(graph, device="cpu")
    assert sum(name.startswith("conv2d") for name in kernels(model)) == 5
    check_model(model, example_inputs(graph))


def test_must_fuse_and_must_not_fuse():
    graph = block()
    apart = gx.compile(graph, device="cpu", must_not_fuse=[("conv", "pool")])
    assert kernels(apart) == ["conv2d+relu", "max_pool2d", "conv2d"]
    together = gx.compile(graph, device="cpu", must_fuse=[("conv", "relu", "pool")])
    assert kernels(together) == ["conv2d+relu+max_pool2d", "conv2d"]
    inputs = example_inputs(graph)
    for model in (apart, together):
        check_model(model, inputs)


@pytest.mark.parametrize(
    ("demands", "says"),
    [
        ({"must_fuse": [("pool", "last")]}, "last"),
        (
            {"must_fuse": [("conv", "relu")], "must_not_fuse": [("conv", "relu")]},
            "relu",
        ),
        ({"must_fuse": [("conv", "relu")], "fuse": False}, "fuse=False"),
        ({"must_fuse": [("conv", "relu")], "target": "library"}, "does not fuse"),
        ({"must_fuse": [("conv", "relu")], "passes": (Simplify(),)}, "Fuse pass"),
        ({"must_not_fuse": [("conv", "relu")], "passes": ()}, "default pipeline"),
    ],
    ids=["impossible", "contrary", "fusion off", "library", "other passes", "no passes"],
)
def test_demands_that_cannot_be_met(demands, says):
    with pytest.raises(FusionRefused) as caught:
        gx.compile(block(), device="cpu", **demands)
    assert says in str(caught.value)
    assert caught.value.remedy


def test_a_demand_for_an_unknown_node():
    with pytest.raises(UnknownNode, match="conv9"):
        gx.compile(block(), device="cpu", must_fuse=[("conv9", "relu")])


def test_unknown_targets_and_devices():
    with pytest.raises(UnknownTarget, match="'tvm'") as caught:
        gx.compile(block(), target="tvm")
    assert caught.value.wanted == "triton, library, numpy"
    for target in ("triton", "library"):
        with pytest.raises(DeviceUnavailable) as caught:
            gx.compile(block(), target=target, device="tpu")
        assert "tpu" in str(caught.value)
        assert 'device="cpu"' in caught.value.remedy


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a CUDA device")
def test_cuda_where_there_is_none():
    for device in ("cuda", "cuda:1", torch.device("cuda", 0)):
        with pytest.raises(DeviceUnavailable, match='wanted: "auto", "cpu", or the same as a'):
            gx.compile(block(), device=device)
    assert gx.compile(block()).target.on.traits in (CPU, CPU_BF16)


@pytest.mark.parametrize(
    "device", [5, None, "", "cpu:1", "cuda:", "tpu:0", "meta", torch.device("meta")]
)
def test_what_is_no_device(device):
    with pytest.raises(DeviceUnavailable, match="the argument device"):
        gx.compile(block(), device=device)


def test_devices_by_index(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda memory: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda memory: (9, 0))
    told = SimpleNamespace(multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda memory: told)
    names = {"auto": 1, "cuda": 1, "cuda:0": 0, "cuda:1": 1, torch.device("cuda", 0): 0}
    for name, index in names.items():
        device = resolve_device(name)
        assert device.traits is traits_of(GPUS["h200"])
        assert device.memory == torch.device("cuda", index)
        assert device.capability == 90
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda memory: (8, 6))
    told.multi_processor_count = 28
    assert resolve_device("cuda").traits is traits_of(gpu_like("NVIDIA H200", 86, 28))
    assert resolve_device("cuda").traits.programs == 28
    assert resolve_device(torch.device("cpu")).traits in (CPU, CPU_BF16)
    with pytest.raises(DeviceUnavailable, match='"cpu", "cuda:0", "cuda:1"'):
        resolve_device("cuda:2")


def test_a_fused_source_is_taken_apart():
    graph = block()
    model = gx.compile(graph, device="cpu")
    again = gx.compile(model.graph, device="cpu", fuse=False)
    assert again.source is model.graph
    assert not any(isinstance(node.op, Fused) for node in again.graph.nodes)
    assert again.graph == inline(model.graph)
    twice = gx.compile(model.graph, device="cpu")
    assert twice.graph == model.graph
    conv, relu, *rest = graph.nodes
    strange = graph.replace(nodes=(outline((conv, relu), ("conv", "relu"), graph), *rest))
    check_meaning(gx.compile(strange, device="cpu"), example_inputs(graph))


def test_the_source_stays_as_it_was():
    graph = networks.preactivation()
    before = (str(graph), graph.fingerprint)
    model = gx.compile(graph, device="cpu")
    assert model.source is graph
    assert (str(graph), graph.fingerprint) == before
    assert gx.compile(graph, device="cpu").graph == model.graph


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("target", ["triton", "library", "numpy"])
def test_weights_that_are_not_finite(target, value):
    graph = block()
    params = {param.name: param for param in graph.params}
    data = params["conv.weight"].data.copy()
    data[1, 2, 0, 1] = value
    params["conv.weight"] = replace(params["conv.weight"], data=data)
    with pytest.raises(NonFiniteWeights) as caught:
        gx.compile(graph.replace(params=tuple(params.values())), target=target)
    assert caught.value.where == "param 'conv.weight' at [1, 2, 0, 1]"
    assert caught.value.remedy


@pytest.mark.parametrize("fuse", [True, False])
def test_a_parsed_graph_has_no_weights(fuse):
    model = gx.compile(gx.parse(str(block())), device="cpu", fuse=fuse)
    assert len(model.plan.steps) > 0
    with pytest.raises(MissingWeights) as caught:
        model(**example_inputs(block()))
    assert "param 'conv.weight: f32[4,3,3,3]'" in caught.value.where
    assert "load weights" in caught.value.remedy


def test_an_invalid_graph_is_refused_before_anything_else():
    graph = block().replace(outputs=("nothing",))
    with pytest.raises(InvalidGraph, match="nothing"):
        gx.compile(graph, target="tvm")


def test_passes_are_run_as_given():
    graph = block()
    assert gx.compile(graph, device="cpu", passes=()).graph == graph
    model = gx.compile(graph, device="cpu", passes=(Simplify(),))
    assert [stage.name for stage in model.log.of(Finished)] == ["simplify"]
    stages = [stage.name for stage in gx.compile(graph, device="cpu").log.of(Finished)]
    assert stages == [step.name for step in default_pipeline()]


@pytest.mark.parametrize(
    ("options", "because"),
    [
        ({"target": "library"}, "target 'library' does not fuse"),
        ({"fuse": False}, "fuse=False"),
        ({"passes": (Simplify(),)}, "it is not among `passes`"),
    ],
    ids=["library", "fusion off", "other passes"],
)
def test_a_compile_without_fusion_says_why_and_declines_nothing(options, because):
    log = gx.compile(block(), device="cpu", **options).log
    assert log.refusals == []
    assert log.of(Skipped)[-1] == Skipped("fuse", because)
    assert log.graphs["fuse"] == log.of(Finished)[-1].after


@pytest.mark.parametrize("groups", [5, "conv1", ["conv1"], ("conv1", "relu1"), [("conv1", 5)], [5]])
@pytest.mark.parametrize("keyword", ["must_fuse", "must_not_fuse"])
def test_demands_are_groups_of_names(groups, keyword):
    x = gx.input("x", (1, 2, 4, 4))
    net = gx.graph("net", gx.relu(x, name="relu1"))
    with pytest.raises(InvalidAttribute, match="list of groups") as caught:
        gx.compile(net, device="cpu", **{keyword: groups})
    assert f'{keyword}=[("conv1", "relu1")]' in caught.value.remedy
