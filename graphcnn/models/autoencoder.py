"""Auto-encoders, deep and convolutional, with seeded He weights.

Sources: G. Hinton and R. Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks,
2006, figure 2 (784-1000-500-250-30); and F. Chollet, Building Autoencoders in Keras, 2016, whose
convolutional one is for digits of 28x28.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import functional as gx
from graphcnn.frontend import input
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import linear, network

_PIXELS = 784
_FEATURES = (1000, 500, 250)
_CODE = 30


def deep_autoencoder(batch: int = 1, dtype: str = "float32", *, seed: int = 0) -> Graph:
    """The deep auto-encoder: image[batch, 784] in [0, 1] to its reconstruction.

    All layers are logistic but the code, which is linear; unrolled for fine-tuning, the decoder
    has weights of its own.
    """
    h = input("image", (count(batch, "batch", 1), _PIXELS), dtype)
    for number, features in enumerate(_FEATURES, 1):
        h = gx.sigmoid(linear(h, f"encoder{number}", features), name=f"sigmoid{number}")
    h = linear(h, "code", _CODE)
    for number, features in enumerate((*reversed(_FEATURES), _PIXELS), 1):
        last = features == _PIXELS
        h = linear(h, f"decoder{number}", features)
        h = gx.sigmoid(h, name="reconstruction" if last else f"sigmoid{number + 3}")
    return network("deep_autoencoder", h, seed)
