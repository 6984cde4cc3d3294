"""A temporal convolutional network, as for MNIST pixel by pixel, with seeded He weights.

Source: S. Bai, J. Z. Kolter and V. Koltun, An Empirical Evaluation of Generic Convolutional and
Recurrent Networks for Sequence Modeling, 2018: 8 levels of 25 channels with filters of 7 taps. The
weights are those that weight norm makes, g * v / |v|, and a padding on both sides that is chomped
off behind is one in front.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import Tensor, input
from graphcnn.frontend import functional as gx
from graphcnn.frontend.movement import slice
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import causal_conv, linear, network

_CHANNELS, _TAPS = 25, 7


def tcn(
    batch: int = 1,
    dtype: str = "float32",
    *,
    steps: int = 784,
    levels: int = 8,
    classes: int = 10,
    seed: int = 0,
) -> Graph:
    """The network: sequence[batch, 1, steps] to log-probabilities[batch, classes] at its end.

    The last step sees 1 + 12 * (2^levels - 1) steps: 3,061 with 8 levels.
    """
    h = input("sequence", (count(batch, "batch", 1), 1, count(steps, "steps", 1)), dtype)
    for level in range(count(levels, "levels", 1)):
        h = _block(h, f"level{level}", dilation=2**level)
    h = gx.flatten(slice(h, 2, -1, name="last"), name="flatten")
    scores = linear(h, "linear", count(classes, "classes", 1))
    return network("tcn", gx.log_softmax(scores, name="log_softmax"), seed)


def _block(x: Tensor, at: str, dilation: int) -> Tensor:
    """Two causal convolutions, and around them the input, by a 1x1 where its channels differ."""
    h = x
    for number in (1, 2):
        h = gx.relu(
            causal_conv(h, f"{at}.conv{number}", _CHANNELS, _TAPS, dilation),
            name=f"{at}.relu{number}",
        )
        h = gx.dropout(h, name=f"{at}.dropout{number}")
    if x.shape[1] != _CHANNELS:
        x = causal_conv(x, f"{at}.downsample", _CHANNELS, 1)
    return gx.relu(h.add(x, name=f"{at}.add"), name=f"{at}.relu")
