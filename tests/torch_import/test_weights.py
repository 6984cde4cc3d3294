"""Which params of an imported graph are weights: those that the module's `state_dict` brings."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import graphcnn as gx
from graphcnn.errors import WeightsMismatch
from graphcnn.ir import evaluate
from tests.torch_import.modules import MODULES, Token

pytestmark = pytest.mark.pure


class Numbers(nn.Module):
    """Numbers in the code, on either side and in calls."""

    def forward(self, x):
        return torch.where(x > 0.25, 2 * x, 1 - x).masked_fill(x > 3, -1.5) / 3


class Made(nn.Module):
    """Tensors that the code makes, of numbers and of sizes."""

    def forward(self, x):
        weights = F.dropout(torch.tensor([1.0, 2, 1]), training=False) / 4
        blurred = F.conv1d(x.flatten(0, 1), weights.view(1, 1, 3).expand(4, 1, 3), groups=4)
        return blurred + torch.linspace(0, 1, blurred.shape[-1]) * torch.tensor(0.5)


class Unsaved(nn.Module):
    """A buffer that the state dict has not, beside one that it has, and a mask."""

    def __init__(self):
        super().__init__()
        self.register_buffer("taps", torch.randn(4, 1, 1), persistent=False)
        self.register_buffer("mean", torch.randn(4, 1, 1))
        self.register_buffer("mask", torch.rand(8, 8) > 0.5)

    def forward(self, x):
        return torch.where(self.mask, x * self.taps - self.mean, -1.0)


class Plain(nn.Module):
    """Norms without vectors of their own, and resampling by matrices."""

    def __init__(self):
        super().__init__()
        self.norms = nn.Sequential(
            nn.BatchNorm2d(4, affine=False),
            nn.LayerNorm(8, elementwise_affine=False),
            nn.InstanceNorm2d(4),
            nn.LayerNorm(8, bias=False),
            nn.Upsample(scale_factor=2, mode="bicubic"),
        )

    def forward(self, x):
        return self.norms(x)


class Learned(nn.Module):
    """Lone numbers that are learned, one of them through a function."""

    def __init__(self):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.tensor(0.5))
        self.layers = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1, bias=False)])
        self.layers[1].weight = self.layers[0].weight

    def forward(self, x):
        for layer in self.layers:
            x = layer(x) * self.scale + self.shift
        return 0.5 * x


FIT = {
    "numbers": (Numbers, (2, 4, 8)),
    "made": (Made, (1, 4, 8)),
    "unsaved": (Unsaved, (2, 4, 8, 8)),
    "plain": (Plain, (2, 4, 8, 8)),
    "learned": (Learned, (2, 4, 8, 8)),
    "token": (Token, (2, 4, 8, 8)),
}


@pytest.mark.parametrize("name", FIT)
def test_a_state_dict_is_all_that_a_refit_takes(name, tmp_path):
    torch.manual_seed(0)
    make, shape = FIT[name]
    module, other, x = make().eval(), make().eval(), torch.randn(shape)
    graph = gx.from_torch(module, x)
    for value in other.state_dict().values():
        if value.is_floating_point():
            value.mul_(1.25).add_(0.125)
    for key, value in other.named_buffers():
        if key not in other.state_dict():
            value.copy_(module.get_buffer(key))
    model = gx.compile(graph, target="numpy")
    model.refit(other.state_dict())
    with torch.no_grad():
        wanted = other(x).numpy()
    assert np.ptp(wanted) > 0
    np.testing.assert_allclose(model(x), wanted, atol=1e-5)
    # What is no weight is part of the graph, also on disk.
    gx.save(graph, tmp_path / "net.gcn")
    loaded = gx.load_weights(gx.load(tmp_path / "net.gcn"), other.state_dict())
    (found,) = evaluate(loaded, {graph.inputs[0].name: x.numpy()}).values()
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert gx.to_torch(loaded).state_dict().keys() <= module.state_dict().keys()


def test_what_a_state_dict_lacks_is_a_constant():
    torch.manual_seed(0)
    for make, example in MODULES.values():
        module = make().eval()
        graph = gx.from_torch(module, *example())
        of_weights = {"conv.weight", "fc.weight"} if hasattr(module, "norms") else set()
        for param in graph.params:
            assert param.constant == (param.name not in {*module.state_dict(), *of_weights})


class Shrunk(nn.Module):
    """A lone number that is computed of a learned one."""

    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        return x * torch.exp(-2 * self.rate)


@pytest.mark.parametrize(
    "make",
    [
        lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(4, 4, 3))),
        Shrunk,
    ],
    ids=["weight_norm", "spectral_norm", "number"],
)
def test_what_is_computed_of_weights_is_not_kept_in_silence(make):
    torch.manual_seed(0)
    module, x = make().eval(), torch.randn(1, 4, 8, 8)
    model = gx.compile(gx.from_torch(module, x), target="numpy")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.5)
    with pytest.raises(WeightsMismatch, match="missing") as raised:
        model.refit(module.state_dict())
    if not isinstance(module, Shrunk):
        assert "gx.from_torch(module, *example).params" in raised.value.remedy
    model.refit({p.name: p.data for p in gx.from_torch(module, x).params})
    np.testing.assert_allclose(model(x), module(x).detach().numpy(), atol=1e-5)
