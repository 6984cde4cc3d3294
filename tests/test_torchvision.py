"""torchvision's networks by name: their numbers, and the shell."""

import importlib.util
import json

import pytest
import torch

from bench.torchvision_networks import measured
from graphcnn.cli import main
from graphcnn.errors import DTypeMismatch, UnknownModel
from graphcnn.torch_import.torchvision_networks import graph, network

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None,
    reason='torchvision is not here: pip install "graphcnn[torchvision]"',
)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small"])
def test_a_network_is_torchs_and_runs_on_our_kernels(name):
    row = measured(name, size=64)
    assert row.ok, row
    assert row.kernels > 0


def test_a_seed_gives_a_network_and_leaves_torchs_numbers_alone():
    before = torch.random.get_rng_state()
    first, again, other = (network("resnet18", seed, size=32).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    name = "layer4.1.bn2.running_var"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


def test_the_signal_lives_through_a_deep_network():
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert network("mobilenet_v2", size=64)(images).std() > 0.01


def test_unknown_networks_and_dtypes_are_named():
    with pytest.raises(UnknownModel, match="resnet50"):
        network("resnet49")
    with pytest.raises(DTypeMismatch, match="int32"):
        graph("alexnet", 1, "int32", 0)


def test_the_shell_takes_them(capsys):
    assert main(["inspect", "torchvision:squeezenet1_1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"] == 1_235_496
