"""The auto-encoders against PyTorch; their figures are in test_published."""

from itertools import pairwise

from torch import nn

from graphcnn import models
from tests.models.against_torch import assert_equals_torch


class OneOutput(nn.Sequential):
    def forward(self, x):
        return (super().forward(x),)


def test_convolutional():
    """With Keras's "same" pools, which pad behind where a size is odd."""
    pool, up, relu = nn.MaxPool2d(2, ceil_mode=True), nn.Upsample(scale_factor=2), nn.ReLU()
    module = OneOutput(
        *(nn.Conv2d(1, 16, 3, padding=1), relu, pool),
        *(nn.Conv2d(16, 8, 3, padding=1), relu, pool),
        *(nn.Conv2d(8, 8, 3, padding=1), relu, pool),
        *(nn.Conv2d(8, 8, 3, padding=1), relu, up),
        *(nn.Conv2d(8, 8, 3, padding=1), relu, up),
        *(nn.Conv2d(8, 16, 3), relu, up),
        *(nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid()),
    )
    net = models.conv_autoencoder(3, seed=1)
    assert net.type_of("pool3").shape == (3, 8, 4, 4)
    assert_equals_torch(net, module, ["reconstruction"])


def test_deep():
    module, features = OneOutput(), [784, 1000, 500, 250, 30, 250, 500, 1000, 784]
    for number, (before, after) in enumerate(pairwise(features)):
        module.append(nn.Linear(before, after))
        module.append(nn.Identity() if number == 3 else nn.Sigmoid())
    assert_equals_torch(models.deep_autoencoder(3, seed=1), module, ["reconstruction"])
