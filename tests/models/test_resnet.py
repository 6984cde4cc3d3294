"""The ResNets against PyTorch; their figures are in test_published."""

import pytest
from torch import nn
from torch.nn import functional as F

from graphcnn import models
from graphcnn.ir import evaluate
from graphcnn.runtime.boundary import example_inputs
from tests.models.against_torch import assert_equals_torch


def conv(channels, filters, kernel, stride=1):
    return nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    """A residual block of convolutions with these kernels, under torchvision's names."""

    def __init__(self, channels, filters, kernels, stride):
        super().__init__()
        strided = kernels.index(3)
        self.count = len(kernels)
        for number, (kernel, count) in enumerate(zip(kernels, filters, strict=True), 1):
            step = stride if number == strided + 1 else 1
            self.add_module(f"conv{number}", conv(channels, count, kernel, step))
            self.add_module(f"bn{number}", nn.BatchNorm2d(count))
            channels = count
        self.downsample = nn.Sequential()

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = F.relu(y) if number < self.count else y
        return F.relu(y + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self, depths, bottleneck, classes):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        channels = 64
        for stage, depth in enumerate(depths):
            width, blocks = 64 << stage, []
            filters = (width, width, 4 * width) if bottleneck else (width, width)
            for block in range(depth):
                stride = 2 if stage and not block else 1
                blocks.append(Block(channels, filters, (1, 3, 1) if bottleneck else (3, 3), stride))
                if stride > 1 or channels != filters[-1]:
                    blocks[-1].downsample = nn.Sequential(
                        conv(channels, filters[-1], 1, stride), nn.BatchNorm2d(filters[-1])
                    )
                channels = filters[-1]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        h = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        h = self.layer4(self.layer3(self.layer2(self.layer1(h))))
        return self.fc(h.mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "depths", "bottleneck"),
    [("resnet18", (2, 2, 2, 2), False), ("resnet50", (3, 4, 6, 3), True)],
)
def test_equals_torch(name, depths, bottleneck):
    net = models.build(name, 2, size=40, classes=10, seed=1)
    names = assert_equals_torch(net, ResNet(depths, bottleneck, 10))
    assert names == [param.name for param in net.params]


def test_deep_networks_stay_within_half_precision():
    """Without a large variance behind each branch, the sums of 50 blocks reach 1e10."""
    net = models.resnet152(size=32, classes=10)
    inputs = example_inputs(net)
    for value in evaluate(net, inputs, [node.name for node in net.nodes]).values():
        assert abs(value).max() < 1000
