"""AlexNet layer by layer, and against PyTorch."""

import pytest
from torch import nn
from torch.nn import functional as F

from graphcnn import models
from graphcnn.ir import node_cost
from tests.models.against_torch import assert_equals_torch

# Layer: output shape after the batch, parameters, MACs.
ALEXNET = {
    "conv1": ((64, 55, 55), 23_296, 70_276_800),
    "conv2": ((192, 27, 27), 307_392, 223_948_800),
    "conv3": ((384, 13, 13), 663_936, 112_140_288),
    "conv4": ((256, 13, 13), 884_992, 149_520_384),
    "conv5": ((256, 13, 13), 590_080, 99_680_256),
    "fc6": ((4096,), 37_752_832, 37_748_736),
    "fc7": ((4096,), 16_781_312, 16_777_216),
    "fc8": ((1000,), 4_097_000, 4_096_000),
}


PAPER = {
    "conv1": ((96, 55, 55), 34_944, 105_415_200),
    "conv2": ((256, 27, 27), 307_456, 223_948_800),
    "conv3": ((384, 13, 13), 885_120, 149_520_384),
    "conv4": ((384, 13, 13), 663_936, 112_140_288),
    "conv5": ((256, 13, 13), 442_624, 74_760_192),
    **{name: row for name, row in ALEXNET.items() if name.startswith("fc")},
}
UNGROUPED = PAPER | {
    "conv2": ((256, 27, 27), 614_656, 447_897_600),
    "conv4": ((384, 13, 13), 1_327_488, 224_280_576),
    "conv5": ((256, 13, 13), 884_992, 149_520_384),
}


@pytest.mark.parametrize(
    ("build", "layers", "total"),
    [
        (models.alexnet, ALEXNET, 714_188_480),
        (models.alexnet_2012, PAPER, 724_406_816),
        (models.alexnet_ungrouped, UNGROUPED, 1_135_256_096),
    ],
)
def test_layers(build, layers, total, without_weights):
    net = build()
    assert [node.name for node in net.nodes if node.op.kind.name == "ANCHOR"] == list(layers)
    for name, (shape, params, macs) in layers.items():
        node = net[name]
        assert node.type.shape == (1, *shape)
        assert sum(net.type_of(operand).size for operand in node.inputs[1:]) == params
        assert node_cost(node, net).macs == macs
    assert sum(macs for _, _, macs in layers.values()) == total


def test_equals_torch():
    net = models.alexnet(2, size=64, classes=10, seed=1)
    relu, pool = nn.ReLU(), nn.MaxPool2d(3, 2)
    module = nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), relu, pool),
        *(nn.Conv2d(64, 192, 5, padding=2), relu, pool),
        *(nn.Conv2d(192, 384, 3, padding=1), relu),
        *(nn.Conv2d(384, 256, 3, padding=1), relu),
        *(nn.Conv2d(256, 256, 3, padding=1), relu, pool, nn.Flatten()),
        *(nn.Dropout(), nn.Linear(256, 4096), relu),
        *(nn.Dropout(), nn.Linear(4096, 4096), relu, nn.Linear(4096, 10)),
    )
    assert_equals_torch(net, module)


class PaperNorm(nn.Module):
    """The paper's formula: alpha multiplies the sum over 5 neighbouring channels."""

    def forward(self, x):
        squares = F.pad(x**2, (0, 0, 0, 0, 2, 2)).unfold(1, 5, 1).sum(-1)
        return x / (2 + 1e-4 * squares) ** 0.75


@pytest.mark.parametrize(
    ("build", "groups"), [(models.alexnet_2012, 2), (models.alexnet_ungrouped, 1)]
)
def test_equals_the_paper(build, groups):
    net = build(2, size=67, classes=10, seed=1)
    relu, pool = nn.ReLU(), nn.MaxPool2d(3, 2)
    module = nn.Sequential(
        *(nn.Conv2d(3, 96, 11, 4), relu, PaperNorm(), pool),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=groups), relu, PaperNorm(), pool),
        *(nn.Conv2d(256, 384, 3, padding=1), relu),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=groups), relu),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=groups), relu, pool, nn.Flatten()),
        *(nn.Dropout(), nn.Linear(256, 4096), relu),
        *(nn.Dropout(), nn.Linear(4096, 4096), relu, nn.Linear(4096, 10)),
    )
    assert_equals_torch(net, module)
