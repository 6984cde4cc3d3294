"""Networks through the backend beside torch, and what `explain` tells of them."""

import torch
from torch import nn
from torch.utils._pytree import tree_leaves


def compiled(function, **kwargs):
    return torch.compile(function, backend="graphcnn", **kwargs)


def assert_same(found, wanted):
    found, wanted = tree_leaves(found), tree_leaves(wanted)
    assert len(found) == len(wanted)
    for ours, torchs in zip(found, wanted, strict=True):
        if isinstance(torchs, torch.Tensor):
            assert (ours.dtype, ours.shape, ours.stride()) == (
                torchs.dtype,
                torchs.shape,
                torchs.stride(),
            )
            within = 1e-4 * float(torchs.double().abs().max()) if torchs.numel() else 0
            torch.testing.assert_close(ours, torchs, atol=within, rtol=0)
        else:
            assert ours == torchs


def reasons(report):
    return [piece.because for graph in report.graphs for piece in graph.pieces if piece.because]


def network():
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5)).eval()


def image(batch=2):
    return torch.randn(batch, 3, 10, 12)


CONV = nn.Conv2d(3, 4, 3)


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
        self.second = nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3))

    def forward(self, x):
        return self.second(self.first(x)).relu()


class Shifted(nn.Module):
    """Zeros that are added leave the plan; numbers do not."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("shift", torch.zeros(4, 1, 1))

    def forward(self, x):
        return (self.conv(x).relu() + self.shift).sigmoid()
