"""Small networks that run on every device: few kernels, all that plans and tails can hold."""

import graphcnn as gx
from graphcnn.ir import with_he_weights
from graphcnn.models.lenet import lenet
from tests import networks


def small(dtype="float32"):
    """A convolution with a residual, a pool and a linear layer: few kernels, all of the plan."""
    h = gx.input("image", (2, 3, 8, 8), dtype)
    h = gx.relu(networks.conv(h, "conv1", 4, 3), name="relu1")
    h = gx.relu(networks.conv(h, "conv2", 4, 3) + h, name="relu2")
    h = gx.flatten(gx.max_pool2d(h, 2, name="pool"))
    w, b = gx.param("fc.weight", (5, 64), dtype), gx.param("fc.bias", (5,), dtype)
    return with_he_weights(gx.graph("small", gx.linear(h, w, b, name="fc")))


def mixed(dtype="float32"):
    """What real networks are made of, once each: depthwise, grouped and dilated convolutions, a
    residual, and a skip that a pool and a concat read."""
    image = gx.input("image", (1, 6, 8, 8), dtype)
    w = gx.param("depthwise.weight", (6, 1, 3, 3), dtype)
    h = gx.relu(gx.conv2d(image, w, None, 1, 1, groups=6, name="depthwise"))
    w = gx.param("grouped.weight", (4, 3, 3, 3), dtype)
    h = gx.silu(gx.conv2d(h, w, None, 1, 1, groups=2, name="grouped"), name="residual")
    w = gx.param("dilated.weight", (4, 4, 2, 2), dtype)
    y = gx.conv2d(h, w, None, 1, (1, 0, 1, 2), 2, name="dilated")
    skip = gx.relu(gx.add(y, h, name="sum"), name="skip")
    h = gx.concat([gx.max_pool2d(skip, 2), gx.avg_pool2d(h, 3, 2, 1)], name="cat")
    return with_he_weights(gx.graph("mixed", [h, skip]))


def vgg_block(dtype="float32"):
    """Two convolutions whose channels fill whole blocks of the reduction, and their pool."""
    h = gx.input("image", (1, 32, 12, 10), dtype)
    h = gx.relu(networks.conv(h, "conv1", 64, 3), name="relu1")
    h = gx.relu(networks.conv(h, "conv2", 64, 3), name="relu2")
    return with_he_weights(gx.graph("vgg_block", gx.max_pool2d(h, 2, name="pool")))


def in_parts(dtype="float32"):
    """Few pixels, whose sums programs share on a GPU: one node of two launches there."""
    h = networks.conv(gx.input("image", (1, 64, 4, 4), dtype), "conv", 32, 3)
    return with_he_weights(gx.graph("in_parts", gx.relu(h, name="relu")))


NETWORKS = {
    "lenet": lambda dtype: lenet(2, dtype),
    "small": small,
    "mixed": mixed,
    "vgg_block": vgg_block,
    "in_parts": in_parts,
}
