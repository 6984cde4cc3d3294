"""Verify, explain, compare and profile work on the built-in networks, in every dtype.

One network of each family at a small size: the others have more of the same layers.
"""

import sys

import pytest

from graphcnn import models
from graphcnn.cli import main
from graphcnn.report.tables import WIDTH
from graphcnn.runtime.timing import LEAST_ROUNDS

SMALL = {
    "lenet": {},
    "vgg11_bn": {"size": 32, "classes": 10},
    "resnet18": {"size": 32, "classes": 10},
    "alexnet_2012": {"size": 67, "classes": 10},
    "squeezenet1_1": {"size": 40, "classes": 10},
    "densenet121": {"size": 32, "classes": 10},
    "mobilenet_v2": {"size": 32, "classes": 10},
    "unet": {"size": 188, "width": 2},
    "unet_bn": {"size": 16, "width": 8},
    "deep_autoencoder": {},
    "unet_bilinear": {"size": 16, "width": 8},
    "conv_autoencoder": {},
    "vae": {"mode": "seeded"},
    "vae_conv": {},
    "vanilla_vae": {},
    "tcn": {"steps": 9, "levels": 2},
    "wavenet": {"steps": 8, "stacks": 1, "layers": 3},
}
# Others have layers of those above.
FAMILIES = ("vgg", "resnet", "alexnet")


def test_every_family_is_here():
    others = models.MODELS.keys() - SMALL.keys()
    assert all(name.startswith(FAMILIES) for name in others)
    assert SMALL.keys() <= models.MODELS.keys()


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Layers of 4096 features take seconds to verify, and what is timed needs no precision."""
    for module in ("vgg", "alexnet"):
        monkeypatch.setattr(sys.modules[f"graphcnn.models.{module}"], "_FEATURES", 64)
    monkeypatch.setattr("graphcnn.runtime.timing.MOST_ROUNDS", LEAST_ROUNDS)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", SMALL)
def test_reports(name, dtype, monkeypatch, capsys):
    """Every word of the command line that judges or times a compiled network."""
    graph = models.build(name, 1, dtype, **SMALL[name])
    monkeypatch.setattr("graphcnn.cli.build", lambda *_: graph)
    for word in ("verify", "explain", "compare", "profile"):
        status = main([word, name, "--dtype", dtype, "--device", "cpu"])
        out, err = capsys.readouterr()
        assert (status, err) == (0, ""), out
        assert name in out
        assert "warning" not in out
        assert max(map(len, out.splitlines())) <= WIDTH
