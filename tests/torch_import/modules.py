"""Modules that resemble no network, with examples of their inputs, and a comparison."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils._pytree import tree_leaves

from graphcnn.ir import evaluate


class SharedWeights(nn.Module):
    """A module called twice, and its weight once more as a function's."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return F.conv2d(self.conv(self.conv(x).relu()), self.conv.weight)


class Buffers(nn.Module):
    """A buffer that is added, one that is a mask, and a learned number."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.randn(4, 1, 1))
        self.register_buffer("mask", torch.rand(8, 8) > 0.5)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return torch.where(self.mask, (x - self.mean) * self.scale, -1.0)


class Tied(nn.Module):
    """Two layers that share one parameter."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(8, 8), nn.Linear(8, 8)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(torch.tanh(self.encode(x)))


class Lists(nn.Module):
    """Sequentials in a ModuleList, their results concatenated."""

    def __init__(self):
        super().__init__()
        self.ways = nn.ModuleList(
            nn.Sequential(nn.Conv2d(4, 3, k, padding=k // 2), nn.BatchNorm2d(3), nn.Hardswish())
            for k in (1, 3, 5)
        )

    def forward(self, x):
        return torch.cat([way(x) for way in self.ways], 1)


class InPlace(nn.Module):
    """Writes to values, and to parts of them."""

    def forward(self, x):
        y = x * 2
        y += 1
        F.relu_(y)
        y[:, 1:3].mul_(0.5)
        y[:, 0] = 3.0
        return y.clamp_(max=2.5)


class Slices(nn.Module):
    """Parts by slices, splits, steps and lists of places."""

    def forward(self, x):
        a, b = x.chunk(2, 1)
        c = x[:, [3, 0], 1:-1, ::2]
        return a + b, c, x[..., -1], x.flip(2), x.unbind(1)[2]


class Reshapes(nn.Module):
    """Reshapes with -1, with the batch by its number, and across dimensions."""

    def forward(self, x):
        n, c, h, w = x.shape
        y = x.view(n, c // 2, 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        z = y.permute(0, 2, 3, 1).reshape(n, h * w, c)
        return z.flatten(1), y.reshape(-1, c * h, w), z.expand(n, -1, c)


class Configured(nn.Module):
    """Control flow by what is known beforehand."""

    def __init__(self, deep):
        super().__init__()
        self.deep = deep
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x, twice=True):
        if self.deep and x.shape[1] == 4:
            x = self.conv(x)
        for _ in range(2 if twice else 1):
            x = F.silu(x)
        return x


class Normed(nn.Module):
    """weight_norm and spectral_norm, and every norm of the tensor's own."""

    def __init__(self):
        super().__init__()
        self.conv = weight_norm(nn.Conv2d(4, 8, 3))
        self.fc = spectral_norm(nn.Linear(6, 5))
        self.norms = nn.Sequential(
            nn.InstanceNorm2d(8, affine=True),
            nn.LocalResponseNorm(3, alpha=0.1, k=2.0),
            nn.GroupNorm(4, 8),
            nn.LayerNorm([6, 6]),
            nn.InstanceNorm2d(8, track_running_stats=True),
        )

    def forward(self, x):
        return self.fc(self.norms(self.conv(x)))


class Nested(nn.Module):
    """Takes a dict and a tuple, returns nested ones."""

    def forward(self, inputs, pair):
        a, (b, c) = inputs["a"], pair
        return {"sum": a + b, "rest": (c.mean((2, 3)), [a.amax(1)])}


class Positions(nn.Module):
    """A module that makes constants: positions, and a causal mask in 1-d convolutions."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3, dilation=2)

    def forward(self, x):
        length = x.shape[-1]
        x = x + torch.linspace(0, 1, length) * torch.ones(4, 1)
        return self.conv(F.pad(x, (4, 0))).masked_fill(torch.arange(length) % 2 == 0, 0.5)


class Squeeze(nn.Module):
    """Squeeze and excitation, written with functions."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.randn(4, 2))

    def forward(self, x):
        s = F.adaptive_avg_pool2d(x, 1).flatten(1)
        s = F.hardsigmoid(F.linear(F.relu6(F.linear(s, self.down)), self.up))
        return x * s[:, :, None, None]


class Resized(nn.Module):
    """Resampling in all forms, and pools of odd windows."""

    def forward(self, x):
        up = F.interpolate(x, scale_factor=1.5, mode="bilinear", align_corners=True)
        near = F.interpolate(x, size=(5, 11))
        return (
            up,
            near,
            F.avg_pool2d(up, 3, 2, 1, True, False),
            F.max_pool2d(near, 3, 2, 1, 1, True),
        )


class Attention(nn.Module):
    """Attention of the channels, by products of matrices."""

    def forward(self, x):
        q = x.flatten(2)
        weights = torch.softmax(q @ q.transpose(1, 2) / q.shape[-1] ** 0.5, -1)
        return (weights @ q).view_as(x), torch.linalg.vector_norm(q, dim=-1), q.var(-1).rsqrt()


class Token(nn.Module):
    """A learned token in front of each sample's, and a learned query for each sample."""

    def __init__(self):
        super().__init__()
        self.token, self.query = nn.Parameter(torch.randn(1, 8)), nn.Parameter(torch.randn(8))

    def forward(self, x):
        x = x.flatten(2)[:, :, :8]
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        weights = torch.softmax(x @ self.query.expand(x.shape[0], 1, 8).transpose(1, 2), 1)
        return (x * weights).sum(1)


class Joined(nn.Module):
    """Takes any number of images, and joins them."""

    def forward(self, first, *others):
        return torch.cat([first, *others], 1).flatten(1) * 2


def images(*shape):
    return torch.randn(*(shape or (2, 4, 8, 8)))


MODULES = {
    "shared weights": (SharedWeights, lambda: (images(),)),
    "buffers": (Buffers, lambda: (images(),)),
    "tied": (Tied, lambda: (images(2, 8),)),
    "lists": (Lists, lambda: (images(),)),
    "in place": (InPlace, lambda: (images(),)),
    "slices": (Slices, lambda: (images(),)),
    "reshapes": (Reshapes, lambda: (images(),)),
    "configured": (lambda: Configured(True), lambda: (images(),)),
    "configured otherwise": (lambda: Configured(False), lambda: (images(), False)),
    "normed": (Normed, lambda: (images(),)),
    "nested": (Nested, lambda: ({"a": images()}, (images(), images()))),
    "positions": (Positions, lambda: (images(2, 4, 9),)),
    "squeeze": (Squeeze, lambda: (images(),)),
    "resized": (Resized, lambda: (images(),)),
    "attention": (Attention, lambda: (images(),)),
    "token": (Token, lambda: (images(),)),
    "joined": (Joined, lambda: (images(), images(), images())),
}


def outputs(graph, example):
    """The graph's results in float64, its inputs in the order of the example."""
    tensors = [leaf for leaf in tree_leaves(example) if isinstance(leaf, torch.Tensor)]
    given = {v.name: x.numpy() for v, x in zip(graph.inputs, tensors, strict=True)}
    values = evaluate(graph, given)
    return [values[name] for name in graph.outputs]


def assert_equal(found, module, example):
    with torch.no_grad():
        wanted = tree_leaves(module(*example))
    assert len(found) == len(wanted)
    for got, want in zip(found, wanted, strict=True):
        assert got.shape == tuple(want.shape)
        assert want.std() > 0
        np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=1e-5 * float(want.abs().max()))
