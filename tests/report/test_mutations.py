"""A change of any one node of a network, made by a pass before fusion, is caught and named."""

import pytest

import graphcnn as gx
from graphcnn.ir import inline
from graphcnn.passes import default_pipeline
from graphcnn.report import verify
from graphcnn.targets import resolve
from tests.report.edits import (
    Edit,
    averaging,
    reading,
    shifted,
    with_op,
    with_weight,
    without,
)

NETWORKS = {
    "alexnet_2012": lambda: gx.models.alexnet_2012(size=67, classes=10),
    "vgg11_bn": lambda: gx.models.vgg11_bn(size=32, classes=10),
    "resnet18": lambda: gx.models.resnet18(size=32, classes=10),
    "squeezenet1_1": lambda: gx.models.squeezenet1_1(size=40, classes=10),
    "mobilenet_v2": lambda: gx.models.mobilenet_v2(size=32, classes=10),
    "unet": lambda: gx.models.unet(size=188, width=4),
    "tcn": lambda: gx.models.tcn(steps=40, levels=3),
}
# Network, node, and what becomes of it.
MUTATIONS = [
    ("alexnet_2012", "relu1", without("relu1")),
    ("alexnet_2012", "norm1", without("norm1")),
    ("alexnet_2012", "norm2", with_op("norm2", k=1.99)),
    ("alexnet_2012", "pool2", averaging("pool2")),
    ("alexnet_2012", "conv2", with_weight("conv2", shifted)),
    ("vgg11_bn", "relu3_1", without("relu3_1")),
    ("vgg11_bn", "norm2_1", without("norm2_1")),
    ("vgg11_bn", "norm3_2", with_op("norm3_2", eps=1e-3)),
    ("vgg11_bn", "pool2", averaging("pool2")),
    ("vgg11_bn", "conv4_1", with_weight("conv4_1", shifted)),
    ("resnet18", "layer2.1.relu", without("layer2.1.relu")),
    ("resnet18", "layer3.0.bn2", without("layer3.0.bn2")),
    ("resnet18", "layer1.1.add", without("layer1.1.add")),
    ("resnet18", "maxpool", averaging("maxpool")),
    ("resnet18", "layer2.0.conv1", with_op("layer2.0.conv1", padding=(0, 0, 2, 2))),
    ("squeezenet1_1", "fire4.relu3x3", without("fire4.relu3x3")),
    ("squeezenet1_1", "fire2.concat", reading("fire2.concat", 1, 0)),
    ("squeezenet1_1", "fire5.concat", reading("fire5.concat", 0, 0)),
    ("squeezenet1_1", "pool1", averaging("pool1")),
    ("squeezenet1_1", "fire6.expand3x3", with_weight("fire6.expand3x3", shifted)),
    ("mobilenet_v2", "block3.depthwise_relu", without("block3.depthwise_relu")),
    ("mobilenet_v2", "block2.expand_bn", without("block2.expand_bn")),
    ("mobilenet_v2", "block4.project_bn", with_op("block4.project_bn", eps=1e-4)),
    ("mobilenet_v2", "block3.add", without("block3.add")),
    ("mobilenet_v2", "block2.depthwise", with_weight("block2.depthwise", shifted)),
    ("unet", "down2.relu1", without("down2.relu1")),
    ("unet", "up3.concat", reading("up3.concat", 1, 0)),
    ("unet", "up2.concat", reading("up2.concat", 1, 1)),
    ("unet", "pool3", averaging("pool3")),
    ("unet", "up4.up", with_weight("up4.up", shifted)),
    ("tcn", "level1.relu2", without("level1.relu2")),
    ("tcn", "level2.add", without("level2.add")),
    ("tcn", "level1.add", reading("level1.add", 1, 1)),
    ("tcn", "level2.conv1", with_op("level2.conv1", dilation=(3,), padding=(18, 0))),
    ("tcn", "level0.conv2", with_weight("level0.conv2", shifted)),
]


def behind(source, node, compiled):
    """Where a node that is left out shows: the first values behind it that are still there."""
    there = {n.name for n in compiled.nodes}
    for reader in source.nodes:
        if node in reader.inputs:
            yield from (
                [reader.name] if reader.name in there else behind(source, reader.name, compiled)
            )


@pytest.mark.parametrize(
    ("network", "node", "mutate"), MUTATIONS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_mutation_is_caught_and_named(network, node, mutate):
    source = NETWORKS[network]()
    supports = resolve("triton", "cpu").supports
    model = gx.compile(source, device="cpu", passes=[Edit(mutate), *default_pipeline(supports)])
    verdict = verify(model)
    assert not verdict.ok
    assert verdict.first_bad.node in {node, *behind(source, node, inline(model.graph))}


def test_the_networks_are_sound():
    for make in NETWORKS.values():
        assert verify(gx.compile(make(), device="cpu")).ok
