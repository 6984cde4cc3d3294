"""Every built-in network of torchvision against the figures that stand with its weights."""

import pytest

from graphcnn import models
from graphcnn.ir import node_cost, verify

# Trainable parameters, and 1e9 MACs of the convolutions and linear layers at 224x224: `num_params`
# and `_ops` in torchvision. AlexNet of 2012, at 227x227, has those of its paper's layers.
PUBLISHED = {
    "vgg11": (132_863_336, 7.609),
    "vgg13": (133_047_848, 11.308),
    "vgg16": (138_357_544, 15.47),
    "vgg19": (143_667_240, 19.632),
    "vgg11_bn": (132_868_840, 7.609),
    "vgg13_bn": (133_053_736, 11.308),
    "vgg16_bn": (138_365_992, 15.47),
    "vgg19_bn": (143_678_248, 19.632),
    "resnet18": (11_689_512, 1.814),
    "resnet34": (21_797_672, 3.664),
    "resnet50": (25_557_032, 4.089),
    "resnet101": (44_549_160, 7.801),
    "resnet152": (60_192_808, 11.514),
    "alexnet_2012": (60_965_224, 0.724),
    "alexnet": (61_100_840, 0.714),
    "squeezenet1_1": (1_235_496, 0.349),
    "densenet121": (7_978_856, 2.834),
    "mobilenet_v2": (3_504_872, 0.301),
}


def test_every_network_but_lenet_has_published_figures():
    assert ["lenet", *PUBLISHED] == list(models.MODELS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures(name, without_weights):
    net = models.build(name)
    verify(net)
    trained = [p for p in net.params if not p.name.endswith(("running_mean", "running_var"))]
    macs = sum(node_cost(node, net).macs for node in net.nodes)
    assert (sum(param.type.size for param in trained), round(macs / 1e9, 3)) == PUBLISHED[name]
    assert models.build(name, batch=3, dtype="f16").type_of("softmax").shape == (3, 1000)
