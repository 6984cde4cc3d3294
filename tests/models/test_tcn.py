"""The temporal convolutional network against PyTorch; its figures are in test_published."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import graphcnn as gx
from graphcnn import models
from graphcnn.analysis import receptive_fields
from graphcnn.ir import node_cost
from tests.models.against_torch import assert_equals_torch


class Block(nn.Module):
    """As in the authors' program, but for weight norm: padded on both sides, and chomped."""

    def __init__(self, channels, dilation):
        super().__init__()
        self.chomped = 6 * dilation
        spread = {"dilation": dilation, "padding": self.chomped}
        self.conv1 = nn.Conv1d(channels, 25, 7, **spread)
        self.conv2 = nn.Conv1d(25, 25, 7, **spread)
        self.downsample = nn.Conv1d(channels, 25, 1) if channels != 25 else nn.Identity()

    def forward(self, x):
        h = self.conv1(x)[:, :, : -self.chomped].relu()
        h = self.conv2(h)[:, :, : -self.chomped].relu()
        return (h + self.downsample(x)).relu()


class Tcn(nn.Module):
    def __init__(self, levels):
        super().__init__()
        self.blocks = nn.Sequential(*(Block(25 if n else 1, 2**n) for n in range(levels)))
        self.linear = nn.Linear(25, 10)

    def forward(self, x):
        return (self.linear(self.blocks(x)[:, :, -1]).log_softmax(1),)


def test_equals_torch():
    assert_equals_torch(models.tcn(2, steps=40, levels=3, seed=1), Tcn(3), ["log_softmax"])


def test_weight_norm_is_folded():
    """Written with it, the network has a number per filter more: 66,910 in all."""
    module = Tcn(8)
    plain = sum(p.numel() for p in module.parameters())
    for block in module.blocks:
        weight = block.conv2.weight.detach().clone()
        weight_norm(block.conv1)
        weight_norm(block.conv2)
        torch.testing.assert_close(block.conv2.weight, weight)
    assert (plain, sum(p.numel() for p in module.parameters())) == (66_510, 66_910)


def test_the_past_that_the_last_step_depends_on():
    (field,) = receptive_fields(models.tcn())["last"]["sequence"]
    assert (field.size, field.start + field.size) == (3061, 784)


def test_macs_of_chomped_convolutions(without_weights):
    """What the authors' program computes and throws away is what our padding does not."""
    net = models.tcn()
    chomped = 0
    for node in net.nodes:
        if node.op.name == "conv1d":
            filters, channels, taps = net.type_of(node.inputs[1]).shape
            chomped += filters * channels * taps * node.op.padding[0]
    assert sum(node_cost(node, net).macs for node in net.nodes) == 51_607_050
    assert 51_607_050 + chomped == 64_969_350


@pytest.mark.cpu
def test_what_the_passes_leave_of_it_is_verified():
    model = gx.compile(models.tcn(steps=100, levels=4), device="cpu")
    assert any(name.endswith(".part") for name in model.graph.names)
    assert gx.verify(model).ok
