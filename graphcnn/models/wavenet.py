"""WaveNet: three stacks of ten dilated causal convolutions, with seeded He weights.

Source: A. van den Oord et al., WaveNet: A Generative Model for Raw Audio, 2016, sections 2.1 to
2.4; 32 residual and 256 skip channels, and no conditioning.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import Tensor, input
from graphcnn.frontend import functional as gx
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import causal_conv, classifier

_LEVELS = 256  # of the samples, after mu-law companding
_RESIDUAL, _SKIP = 32, 256


def wavenet(
    batch: int = 1,
    dtype: str = "float32",
    *,
    steps: int = 1024,
    stacks: int = 3,
    layers: int = 10,
    seed: int = 0,
) -> Graph:
    """WaveNet: audio[batch, 256, steps], one-hot, to the probabilities of each next sample.

    Dilations double from 1 with each of the `layers` of a stack. What the last layer would add to
    its input is read by nobody, so it has skip channels only.
    """
    audio = input("audio", (count(batch, "batch", 1), _LEVELS, count(steps, "steps", 1)), dtype)
    h = causal_conv(audio, "causal", _RESIDUAL, 2)
    skips = []
    for stack in range(1, count(stacks, "stacks", 1) + 1):
        for layer in range(count(layers, "layers", 1)):
            at = f"stack{stack}.layer{layer}"
            gated = _gated(h, at, dilation=2**layer)
            skips.append(causal_conv(gated, f"{at}.skip", _SKIP, 1))
            h = h.add(causal_conv(gated, f"{at}.residual", _RESIDUAL, 1), name=f"{at}.add")
    total = skips[0]
    for number, skip in enumerate(skips[1:], 1):
        total = total.add(skip, name=f"skips{number}")
    h = causal_conv(gx.relu(total, name="relu1"), "post1", _SKIP, 1)
    scores = causal_conv(gx.relu(h, name="relu2"), "post2", _LEVELS, 1)
    return classifier("wavenet", scores, seed)


def _gated(h: Tensor, at: str, dilation: int) -> Tensor:
    """The gated activation: tanh of a filter times sigmoid of a gate."""
    shape = gx.tanh(causal_conv(h, f"{at}.filter", _RESIDUAL, 2, dilation), name=f"{at}.tanh")
    gate = gx.sigmoid(causal_conv(h, f"{at}.gate", _RESIDUAL, 2, dilation), name=f"{at}.sigmoid")
    gated: Tensor = shape.mul(gate, name=f"{at}.gated")
    return gated
