"""WaveNet against PyTorch, and its receptive field; its figures are in test_published."""

from torch import nn
from torch.nn import functional as F

from graphcnn import models
from graphcnn.analysis import receptive_fields
from graphcnn.ir import node_cost
from tests.models.against_torch import assert_equals_torch


class Layer(nn.Module):
    def __init__(self, dilation, last):
        super().__init__()
        self.filter, self.gate = (nn.Conv1d(32, 32, 2, dilation=dilation) for _ in range(2))
        self.skip = nn.Conv1d(32, 256, 1)
        self.residual = None if last else nn.Conv1d(32, 32, 1)
        self.past = dilation

    def forward(self, x):
        padded = F.pad(x, (self.past, 0))
        gated = self.filter(padded).tanh() * self.gate(padded).sigmoid()
        return x if self.residual is None else x + self.residual(gated), self.skip(gated)


class WaveNet(nn.Module):
    def __init__(self, stacks, layers):
        super().__init__()
        self.causal = nn.Conv1d(256, 32, 2, padding=1)
        ends = [
            (stack, layer) == (stacks - 1, layers - 1)
            for stack in range(stacks)
            for layer in range(layers)
        ]
        self.layers = nn.ModuleList(Layer(2 ** (n % layers), end) for n, end in enumerate(ends))
        self.post1, self.post2 = nn.Conv1d(256, 256, 1), nn.Conv1d(256, 256, 1)

    def forward(self, audio):
        h, total = self.causal(audio)[..., :-1], 0
        for layer in self.layers:
            h, skip = layer(h)
            total = total + skip
        return self.post2(F.relu(self.post1(F.relu(total))))


def test_equals_torch():
    net = models.wavenet(2, steps=40, stacks=2, layers=4, seed=1)
    assert_equals_torch(net, WaveNet(2, 4))


def test_the_past_that_a_sample_depends_on():
    (field,) = receptive_fields(models.wavenet(steps=2))["softmax"]["audio"]
    assert (field.size, field.start) == (3071, -3070)


def test_the_last_layer_has_no_residual(without_weights):
    """Implementations that count it have 1,056 parameters and 1,024 MACs per sample more."""
    net = models.wavenet()
    assert "stack3.layer9.residual.weight" not in net.param_by_name
    assert sum(param.type.size for param in net.params) == 557_920 - 1_056
    assert sum(node_cost(node, net).macs for node in net.nodes) == 559_939_584 - 1024 * 1024
