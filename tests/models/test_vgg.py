"""VGG against the published counts; the whole of VGG-16 against PyTorch at a small size."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from graphcnn import errors, models
from graphcnn.ir import bounded, evaluate, node_cost, verify
from tests.tolerance import F64, assert_equal_but_for_roundings

# Parameters of torchvision's weights, and MACs of the convolutions and linear layers at 224x224.
PUBLISHED = {
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
}
# Layer: output shape after the batch, parameters, MACs.
VGG16 = {
    "conv1_1": ((64, 224, 224), 1_792, 86_704_128),
    "conv1_2": ((64, 224, 224), 36_928, 1_849_688_064),
    "conv2_1": ((128, 112, 112), 73_856, 924_844_032),
    "conv2_2": ((128, 112, 112), 147_584, 1_849_688_064),
    "conv3_1": ((256, 56, 56), 295_168, 924_844_032),
    "conv3_2": ((256, 56, 56), 590_080, 1_849_688_064),
    "conv3_3": ((256, 56, 56), 590_080, 1_849_688_064),
    "conv4_1": ((512, 28, 28), 1_180_160, 924_844_032),
    "conv4_2": ((512, 28, 28), 2_359_808, 1_849_688_064),
    "conv4_3": ((512, 28, 28), 2_359_808, 1_849_688_064),
    "conv5_1": ((512, 14, 14), 2_359_808, 462_422_016),
    "conv5_2": ((512, 14, 14), 2_359_808, 462_422_016),
    "conv5_3": ((512, 14, 14), 2_359_808, 462_422_016),
    "fc6": ((4096,), 102_764_544, 102_760_448),
    "fc7": ((4096,), 16_781_312, 16_777_216),
    "fc8": ((1000,), 4_097_000, 4_096_000),
}


@pytest.fixture
def without_weights(monkeypatch):
    """The counts need no numbers: drawing 144 million takes seconds."""
    monkeypatch.setattr("graphcnn.models.vgg.with_he_weights", lambda graph, seed: graph)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name, without_weights):
    net = models.build(name)
    verify(net)
    macs = sum(node_cost(node, net).macs for node in net.nodes)
    assert (sum(param.type.size for param in net.params), macs) == PUBLISHED[name]
    assert models.build(name, batch=3, dtype="f16").type_of("softmax").shape == (3, 1000)


def test_layers_of_vgg16(without_weights):
    net = models.vgg16()
    assert [node.name for node in net.nodes if node.op.kind.name == "ANCHOR"] == list(VGG16)
    for name, (shape, params, macs) in VGG16.items():
        node = net[name]
        assert node.type.shape == (1, *shape)
        assert sum(net.type_of(operand).size for operand in node.inputs[1:]) == params
        assert node_cost(node, net).macs == macs
    names = [node.op.name for node in net.nodes]
    assert [names.count(op) for op in ("conv2d", "relu", "max_pool2d", "linear", "dropout")] == [
        *(13, 15, 5, 3, 2),
    ]
    assert net.outputs == ("softmax",)


def test_vgg16_equals_torch():
    net = models.vgg16(batch=2, size=32, classes=10, seed=3)
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32))
    weights = {param.name: torch.tensor(param.data).double() for param in net.params}
    values = evaluate(net, {"image": x}, [node.name for node in net.nodes]) | {"image": x}
    h = torch.tensor(x)
    for name in VGG16:
        w, b = weights[f"{name}.weight"], weights[f"{name}.bias"]
        y = F.linear(h.flatten(1), w, b) if name[0] == "f" else F.conv2d(h, w, b, padding=1)
        node = net.producer(name)
        (source,) = (operand for operand in node.inputs if not net.is_param(operand))
        operands = {source: values[source]}
        operands |= {p.name: p.values.astype(float) for p in net.params if p.name in node.inputs}
        _, allowed, _ = bounded((node,), operands, F64)
        # Each layer on the reference of the one before, so that the bound stays that of a layer.
        assert (np.abs(values[name] - y.numpy()) <= 2 * allowed[name]).all(), name
        h = F.relu(torch.tensor(values[name]))
        h = F.max_pool2d(h, 2) if name in ("conv1_2", "conv2_2") or name[-1] == "3" else h
    assert np.ptp(values["softmax"]) > 0.01
    # Ten numbers, each with a rounding of its own and that of their sum.
    assert_equal_but_for_roundings(values["softmax"].sum(1), 1, 2 * 10)


def test_weights_depend_on_the_seed_only():
    build = models.MODELS["vgg11"]
    first, again, other = (build(size=32, classes=2, seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_unknown_model():
    with pytest.raises(errors.UnknownModel, match="lenet, vgg11, vgg13, vgg16, vgg19"):
        models.build("vgg17")
