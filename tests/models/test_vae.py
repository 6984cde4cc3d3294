"""The variational auto-encoders against PyTorch; their figures are in test_published."""

import numpy as np
import pytest
from torch import nn
from torch.nn import functional as F

from graphcnn import errors, models
from graphcnn.ir import evaluate
from graphcnn.runtime.boundary import example_inputs
from tests.models.against_torch import assert_equals_torch


class Vae(nn.Module):
    """An encoder, two heads, and a decoder; with the noise as its second argument."""

    def __init__(self, encoder, mean, logvar, decoder):
        super().__init__()
        self.encoder, self.mean, self.logvar, self.decoder = encoder, mean, logvar, decoder

    def forward(self, image, noise=0):
        h = self.encoder(image)
        mean, logvar = self.mean(h), self.logvar(h)
        return self.decoder(mean + (logvar / 2).exp() * noise), mean, logvar


class KerasConv2d(nn.Conv2d):
    def forward(self, x):
        return super().forward(F.pad(x, (0, 1, 0, 1)))


def linear():
    return Vae(
        nn.Sequential(nn.Linear(784, 400), nn.ReLU()),
        *(nn.Linear(400, 20), nn.Linear(400, 20)),
        nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid()),
    )


def convolutional():
    up = nn.ConvTranspose2d
    encoder = nn.Sequential(
        *(KerasConv2d(1, 32, 3, 2), nn.ReLU(), KerasConv2d(32, 64, 3, 2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(3136, 16), nn.ReLU()),
    )
    decoder = nn.Sequential(
        *(nn.Linear(2, 3136), nn.ReLU(), nn.Unflatten(1, (64, 7, 7))),
        *(up(64, 64, 3, 2, 1, output_padding=1), nn.ReLU()),
        *(up(64, 32, 3, 2, 1, output_padding=1), nn.ReLU()),
        *(up(32, 1, 3, 1, 1), nn.Sigmoid()),
    )
    return Vae(encoder, nn.Linear(16, 2), nn.Linear(16, 2), decoder)


def vanilla():
    encoder, channels = nn.Sequential(), 3
    for filters in (32, 64, 128, 256, 512):
        encoder.append(nn.Conv2d(channels, filters, 3, 2, 1))
        encoder.extend([nn.BatchNorm2d(filters), nn.LeakyReLU()])
        channels = filters
    decoder = nn.Sequential(nn.Linear(128, 2048), nn.Unflatten(1, (512, 2, 2)))
    for filters in (256, 128, 64, 32, 32):
        decoder.append(nn.ConvTranspose2d(channels, filters, 3, 2, 1, output_padding=1))
        decoder.extend([nn.BatchNorm2d(filters), nn.LeakyReLU()])
        channels = filters
    decoder.extend([nn.Conv2d(32, 3, 3, padding=1), nn.Tanh()])
    encoder.append(nn.Flatten())
    return Vae(encoder, nn.Linear(2048, 128), nn.Linear(2048, 128), decoder)


NETWORKS = {"vae": linear, "vae_conv": convolutional, "vanilla_vae": vanilla}


@pytest.mark.parametrize("mode", ["mean", "input"])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_torch(name, mode):
    net = models.build(name, 2, mode=mode, seed=1)
    assert [value.name for value in net.inputs] == ["image", "noise"][: 1 + (mode == "input")]
    assert_equals_torch(net, NETWORKS[name](), net.outputs)
    assert net.outputs == ("reconstruction", "mean", "logvar")


def test_a_seeded_sample_is_that_of_its_noise():
    """The draw of the graph, put in as the input, gives the same values."""
    seeded, given = (models.vae(2, mode=mode, seed=1) for mode in ("seeded", "input"))
    image = example_inputs(seeded)["image"]
    drawn = evaluate(seeded, {"image": image}, ["noise", *seeded.outputs])
    assert np.ptp(drawn["noise"]) > 1
    wanted = evaluate(given, {"image": image, "noise": drawn.pop("noise")})
    for name, array in wanted.items():
        np.testing.assert_array_equal(drawn[name], array)
    other = evaluate(models.vae(2, mode="seeded", seed=2), {"image": image}, ["noise"])["noise"]
    assert (other != evaluate(seeded, {"image": image}, ["noise"])["noise"]).all()


def test_an_unknown_mode():
    with pytest.raises(errors.InvalidAttribute, match="mean, input, seeded"):
        models.vae(mode="median")
