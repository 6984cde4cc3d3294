"""DenseNet against PyTorch; its figures are in test_published."""

import torch
from torch import nn

from graphcnn import models
from tests.models.against_torch import assert_equals_torch


def normed(channels, conv, number=""):
    """Batch norm, ReLU and a convolution, under the network's names."""
    return {
        f"norm{number}": nn.BatchNorm2d(channels),
        f"relu{number}": nn.ReLU(),
        f"conv{number}": conv,
    }


class Dense(nn.Sequential):
    def __init__(self, channels):
        super().__init__()
        layers = normed(channels, nn.Conv2d(channels, 128, 1, bias=False), 1)
        layers |= normed(128, nn.Conv2d(128, 32, 3, padding=1, bias=False), 2)
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return torch.cat([x, super().forward(x)], 1)


class DenseNet(nn.Sequential):
    def __init__(self, classes):
        super().__init__()
        self.conv0 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.norm0, self.relu0, self.pool0 = nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        channels = 64
        for block, layers in enumerate((6, 12, 24, 16), 1):
            if block > 1:
                conv = nn.Conv2d(channels, channels // 2, 1, bias=False)
                transition = nn.Sequential()
                for name, layer in (normed(channels, conv) | {"pool": nn.AvgPool2d(2)}).items():
                    transition.add_module(name, layer)
                self.add_module(f"transition{block - 1}", transition)
                channels //= 2
            dense = nn.Sequential()
            for layer in range(1, layers + 1):
                dense.add_module(f"layer{layer}", Dense(channels))
                channels += 32
            self.add_module(f"block{block}", dense)
        self.norm5, self.relu5 = nn.BatchNorm2d(channels), nn.ReLU()
        self.pool5, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.classifier = nn.Linear(channels, classes)


def test_equals_torch():
    net = models.densenet121(2, size=64, classes=10, seed=1)
    names = assert_equals_torch(net, DenseNet(10))
    assert names == [param.name for param in net.params]
