"""A small graph to save, and what a test looks at afterwards."""

import numpy as np

import graphcnn as gx


def network():
    """A convolution with its bias, relu and pool."""
    rng = np.random.default_rng(0)
    x = gx.input("image", (1, 2, 6, 6))
    h = gx.relu(gx.conv2d(x, rng.standard_normal((3, 2, 3, 3)), rng.standard_normal(3)))
    return gx.graph("saved", gx.max_pool2d(h, 2))


def weights_of(path):
    """The file of the weights of a saved graph."""
    (found,) = path.parent.glob(f"{path.name}.*.safetensors")
    return found


def same(first, second):
    """Whether two graphs are equal, their weights too."""
    return first == second and first.fingerprint == second.fingerprint
