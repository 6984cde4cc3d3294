"""SqueezeNet against PyTorch; its figures are in test_published."""

import torch
from torch import nn
from torch.nn import functional as F

from graphcnn import models
from tests.models.against_torch import assert_equals_torch


class Fire(nn.Module):
    def __init__(self, channels, squeeze, expand):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.one = nn.Conv2d(squeeze, expand, 1)
        self.three = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.one(x), self.three(x)], 1))


def test_equals_torch():
    net = models.squeezenet1_1(2, size=40, classes=10, seed=1)
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)  # at this size the last has a remainder
    module = nn.Sequential(
        *(nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool),
        *(Fire(64, 16, 64), Fire(128, 16, 64), pool),
        *(Fire(128, 32, 128), Fire(256, 32, 128), pool),
        *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
        *(nn.Dropout(), nn.Conv2d(512, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    assert_equals_torch(net, module)
