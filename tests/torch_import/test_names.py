"""What nodes and params of an imported graph are called, and which operators stay whole."""

from pathlib import Path

import pytest
import torch
from torch import nn

import graphcnn as gx
from tests.torch_import import modules
from tests.torch_import.modules import Lists, SharedWeights, Tied, images

pytestmark = pytest.mark.pure


def test_names_are_the_modules_and_where_is_the_users_line():
    torch.manual_seed(0)
    graph = gx.from_torch(Lists().eval(), images())
    assert graph["ways.1.0"].op.name == "conv2d"
    assert graph["ways.1.0"].inputs[1:] == ("ways.1.0.weight", "ways.1.0.bias")
    assert {"ways.2.1", "ways.2.2"} <= set(graph.names)
    assert set(graph.param_by_name) <= set(Lists().state_dict())
    where = graph["ways.1.0"].where
    assert where.file == modules.__file__
    line = Path(modules.__file__).read_text().splitlines()[where.line - 1]
    assert "way(x) for way in self.ways" in line


def test_a_parameter_is_one_param_however_often_it_is_read():
    assert [p.name for p in gx.from_torch(SharedWeights().eval(), images()).params] == [
        "conv.weight",
        "conv.bias",
    ]
    tied = [p.name for p in gx.from_torch(Tied().eval(), images(2, 8)).params]
    assert tied == ["encode.weight", "encode.bias", "decode.bias"]


@pytest.mark.parametrize("rank", [1, 2])
def test_a_response_norm_is_found_again(rank):
    norm = nn.LocalResponseNorm(4, alpha=0.3, beta=0.6, k=1.5)
    graph = gx.from_torch(norm.eval(), images(*(2, 6, 7, 5)[: rank + 2]))
    assert str(graph.nodes[0].op) == ("local_response_norm(size=4, alpha=0.3, beta=0.6, k=1.5)")
    assert len(graph.nodes) == 1


@pytest.mark.parametrize(
    "module",
    [
        nn.InstanceNorm2d(4, affine=True),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.SiLU(),
        nn.Hardswish(),
        nn.Mish(),
        nn.GroupNorm(2, 4),
        nn.BatchNorm2d(4),
        nn.PixelShuffle(2),
        nn.LayerNorm(8),
        nn.Softplus(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_what_graphcnn_has_stays_whole(module):
    assert len(gx.from_torch(module.eval(), images()).nodes) == 1
