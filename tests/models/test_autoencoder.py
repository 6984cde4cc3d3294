"""The auto-encoders against PyTorch; their figures are in test_published."""

from itertools import pairwise

from torch import nn

from graphcnn import models
from tests.models.against_torch import assert_equals_torch


class OneOutput(nn.Sequential):
    def forward(self, x):
        return (super().forward(x),)


def test_deep():
    module, features = OneOutput(), [784, 1000, 500, 250, 30, 250, 500, 1000, 784]
    for number, (before, after) in enumerate(pairwise(features)):
        module.append(nn.Linear(before, after))
        module.append(nn.Identity() if number == 3 else nn.Sigmoid())
    assert_equals_torch(models.deep_autoencoder(3, seed=1), module, ["reconstruction"])
