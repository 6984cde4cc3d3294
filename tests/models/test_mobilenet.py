"""MobileNetV2 against PyTorch; its figures are in test_published."""

from torch import nn

from graphcnn import models
from tests.models.against_torch import assert_equals_torch

# Expansion, channels, blocks, stride.
STAGES = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


def layer(channels, filters, kernel, stride=1, groups=1):
    conv = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(filters), nn.ReLU6()


class InvertedResidual(nn.Module):
    def __init__(self, channels, filters, expansion, stride):
        super().__init__()
        inner = expansion * channels
        self.body = nn.Sequential(
            *(layer(channels, inner, 1) if expansion > 1 else ()),
            *layer(inner, inner, 3, stride, inner),
            *layer(inner, filters, 1)[:2],
        )
        self.keeps = stride == 1 and channels == filters

    def forward(self, x):
        return x + self.body(x) if self.keeps else self.body(x)


def test_equals_torch():
    blocks, channels = [], 32
    for expansion, filters, count, stride in STAGES:
        for block in range(count):
            step = 1 if block else stride
            blocks.append(InvertedResidual(channels, filters, expansion, step))
            channels = filters
    module = nn.Sequential(
        *(*layer(3, 32, 3, 2), *blocks, *layer(320, 1280, 1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 10)),
    )
    assert_equals_torch(models.mobilenet_v2(2, size=64, classes=10, seed=1), module)
