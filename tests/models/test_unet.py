"""The U-Nets against PyTorch; their figures are in test_published."""

import torch
from torch import nn

from graphcnn import models
from tests.models.against_torch import assert_equals_torch

CHANNELS = (64, 128, 256, 512)


def double(channels, filters):
    layers = []
    for before in (channels, filters):
        layers += [nn.Conv2d(before, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Milesi's, its layers in the order of use."""

    def __init__(self, classes):
        super().__init__()
        self.down = nn.ModuleList(map(double, (3, *CHANNELS), (*CHANNELS, 1024)))
        self.up = nn.ModuleList()
        for channels in reversed(CHANNELS):
            up = nn.ConvTranspose2d(2 * channels, channels, 2, 2)
            self.up.append(nn.ModuleList([up, double(2 * channels, channels)]))
        self.scores = nn.Conv2d(64, classes, 1)

    def forward(self, x):
        skips = []
        for block in self.down:
            x = block(nn.functional.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        skips.pop()
        for up, block in self.up:
            x = block(torch.cat([skips.pop(), up(x)], 1))
        return self.scores(x)


def test_padded_with_batch_norm():
    assert_equals_torch(models.unet_bn(2, size=32, seed=1), UNet(2))
