"""Variational auto-encoders of digits and of pictures, with seeded He weights.

Source: D. Kingma and M. Welling, Auto-Encoding Variational Bayes, 2014. The layers are those of
three well-known programs: `vae` of pytorch/examples, `vae_conv` of Chollet's Keras example, and
`vanilla_vae` of A. Subramanian's PyTorch-VAE.

Each returns the reconstruction, and the mean and the logarithm of the variance of the code. What
is decoded is, in mode "mean", the mean itself, and in the others mean + exp(logvar / 2) * noise:
the noise, standard normal numbers, is an input of the graph in mode "input", and drawn in the graph
in mode "seeded", by the seed of the weights.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.errors import InvalidAttribute, shown
from graphcnn.frontend import Tensor, input
from graphcnn.frontend import functional as gx
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import conv, image, linear, network, norm, transposed_conv

_MODES = ("mean", "input", "seeded")


def vae(batch: int = 1, dtype: str = "float32", *, mode: str = "mean", seed: int = 0) -> Graph:
    """The one of linear layers, 784-400-20-400-784: image[batch, 784] in [0, 1]."""
    x = input("image", (count(batch, "batch", 1), 784), dtype)
    h = gx.relu(linear(x, "fc1", 400), name="relu1")
    mean, logvar = linear(h, "mean", 20), linear(h, "logvar", 20)
    z = _code(mean, logvar, mode, seed)
    h = gx.relu(linear(z, "fc3", 400), name="relu3")
    h = gx.sigmoid(linear(h, "fc4", 784), name="reconstruction")
    return network("vae", [h, mean, logvar], seed)


def vae_conv(batch: int = 1, dtype: str = "float32", *, mode: str = "mean", seed: int = 0) -> Graph:
    """The convolutional one with a code of two numbers: image[batch, 1, 28, 28] in [0, 1].

    Keras pads a stride of 2 at the bottom and the right. Its transposed convolutions there take the
    odd row and column off the end, those here, as PyTorch's, off the front.
    """
    h = image(batch, 28, dtype, channels=1)
    h = gx.relu(conv(h, "conv1", 32, 3, 2, (0, 0, 1, 1)), name="relu1")
    h = gx.relu(conv(h, "conv2", 64, 3, 2, (0, 0, 1, 1)), name="relu2")
    h = gx.relu(linear(gx.flatten(h, name="flatten"), "fc", 16), name="relu3")
    mean, logvar = linear(h, "mean", 2), linear(h, "logvar", 2)
    z = _code(mean, logvar, mode, seed)
    h = gx.relu(linear(z, "decoder_fc", 64 * 7 * 7), name="relu4")
    h = gx.reshape(h, (-1, 64, 7, 7), name="unflatten")
    h = gx.relu(transposed_conv(h, "up1", 64, 3, 2, 1, 1), name="relu5")
    h = gx.relu(transposed_conv(h, "up2", 32, 3, 2, 1, 1), name="relu6")
    h = gx.sigmoid(transposed_conv(h, "up3", 1, 3, 1, 1), name="reconstruction")
    return network("vae_conv", [h, mean, logvar], seed)


def vanilla_vae(
    batch: int = 1, dtype: str = "float32", *, mode: str = "mean", seed: int = 0
) -> Graph:
    """The one for pictures, with a code of 128 numbers: image[batch, 3, 64, 64] in [-1, 1]."""
    h = image(batch, 64, dtype)
    for number, channels in enumerate((32, 64, 128, 256, 512), 1):
        h = _leaky(conv(h, f"encoder{number}", channels, 3, 2, 1), f"encoder{number}")
    h = gx.flatten(h, name="flatten")
    mean, logvar = linear(h, "mean", 128), linear(h, "logvar", 128)
    z = _code(mean, logvar, mode, seed)
    h = gx.reshape(linear(z, "decoder_input", 512 * 2 * 2), (-1, 512, 2, 2), name="unflatten")
    for number, channels in enumerate((256, 128, 64, 32, 32), 1):
        h = transposed_conv(h, f"decoder{number}", channels, 3, 2, 1, 1)
        h = _leaky(h, f"decoder{number}")
    h = gx.tanh(conv(h, "last", 3, 3, 1, 1), name="reconstruction")
    return network("vanilla_vae", [h, mean, logvar], seed)


def _leaky(h: Tensor, name: str) -> Tensor:
    return gx.leaky_relu(norm(h, f"{name}_bn"), name=f"{name}_relu")


def _code(mean: Tensor, logvar: Tensor, mode: str, seed: int) -> Tensor:
    """What is decoded: see the module."""
    match mode:
        case "mean":
            return mean
        case "input":
            noise = input("noise", mean.shape, mean.dtype)
        case "seeded":
            noise = gx.random_normal(mean, seed, name="noise")
        case _:
            raise InvalidAttribute(
                "a variational auto-encoder decodes the mean or a sample",
                got=f"mode={shown(mode)}",
                wanted=", ".join(_MODES),
                remedy='leave it out for "mean"',
            )
    deviation = gx.exp(logvar.mul(0.5, name="half"), name="deviation")
    code: Tensor = mean.add(deviation.mul(noise, name="spread"), name="code")
    return code
