"""Auto-encoders, deep and convolutional, with seeded He weights.

Sources: G. Hinton and R. Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks,
2006, figure 2 (784-1000-500-250-30); and F. Chollet, Building Autoencoders in Keras, 2016, whose
convolutional one is for digits of 28x28.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import functional as gx
from graphcnn.frontend import input
from graphcnn.frontend.resampling import interpolate
from graphcnn.frontend.spatial import max_pool2d
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import conv, image, linear, network

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


def conv_autoencoder(batch: int = 1, dtype: str = "float32", *, seed: int = 0) -> Graph:
    """The convolutional auto-encoder: image[batch, 1, 28, 28] in [0, 1] to its reconstruction.

    The code is 8x4x4: the third pool has a remainder. The third convolution of the decoder is not
    padded, so that its 14 rows become the image's 28.
    """
    h = image(batch, 28, dtype, channels=1)
    for number, channels in enumerate((16, 8, 8), 1):
        h = gx.relu(conv(h, f"encoder{number}", channels, 3, padding=1), name=f"relu{number}")
        h = max_pool2d(h, 2, ceil_mode=True, name=f"pool{number}")
    for number, (channels, padding) in enumerate(((8, 1), (8, 1), (16, 0)), 1):
        h = conv(h, f"decoder{number}", channels, 3, padding=padding)
        h = interpolate(gx.relu(h, name=f"relu{number + 3}"), scale_factor=2, name=f"up{number}")
    h = gx.sigmoid(conv(h, "decoder4", 1, 3, padding=1), name="reconstruction")
    return network("conv_autoencoder", h, seed)
