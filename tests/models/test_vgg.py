"""VGG layer by layer; VGG-16 and VGG-11 with batch norm against PyTorch at a small size."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from graphcnn import errors, models
from graphcnn.ir import bounded, evaluate, node_cost
from tests.models.against_torch import assert_equals_torch
from tests.tolerance import F64, assert_equal_but_for_roundings

# Of the convolutions and linear layers at 224x224.
MACS = {
    "vgg11": 7_609_090_048,
    "vgg13": 11_308_466_176,
    "vgg16": 15_470_264_320,
    "vgg19": 19_632_062_464,
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


@pytest.mark.parametrize("name", MACS)
def test_macs(name, without_weights):
    for net in (models.build(name), models.build(f"{name}_bn")):
        assert sum(node_cost(node, net).macs for node in net.nodes) == MACS[name]


def test_running_stats_of_vgg16_bn(without_weights):
    stats = [p.type.size for p in models.vgg16_bn().params if ".running_" in p.name]
    assert sum(stats) == 8_448


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


def test_vgg11_bn_equals_torch():
    module, channels = nn.Sequential(), 3
    for depth, filters in zip((1, 1, 2, 2, 2), (64, 128, 256, 512, 512), strict=True):
        for _ in range(depth):
            module.append(nn.Conv2d(channels, filters, 3, padding=1))
            module.extend([nn.BatchNorm2d(filters), nn.ReLU()])
            channels = filters
        module.append(nn.MaxPool2d(2))
    module.append(nn.Flatten())
    for features in (512, 4096):
        module.extend([nn.Linear(features, 4096), nn.ReLU(), nn.Dropout()])
    module.append(nn.Linear(4096, 10))
    assert_equals_torch(models.vgg11_bn(size=32, classes=10), module)


def test_weights_depend_on_the_seed_only():
    build = models.MODELS["vgg11"]
    first, again, other = (build(size=32, classes=2, seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_unknown_model():
    with pytest.raises(errors.UnknownModel, match=", ".join(models.MODELS)):
        models.build("vgg17")
