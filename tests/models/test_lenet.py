import numpy as np
import pytest

from graphcnn import models
from graphcnn.ir import evaluate, node_cost, verify


def test_shape_of_the_network():
    net = models.lenet(batch=5)
    verify(net)
    assert net.type_of("softmax").shape == (5, 10)
    assert sum(param.type.size for param in net.params) == 61_706
    assert sum(node_cost(node, net).macs for node in net.nodes) == 5 * 416_520
    assert [node.name for node in net.nodes] == [
        *("conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten"),
        *("fc3", "relu3", "fc4", "relu4", "fc5", "softmax"),
    ]


def test_sample():
    images, labels = models.mnist_sample()
    assert (images.shape, images.dtype) == ((1000, 1, 28, 28), np.float32)
    assert (images.min(), images.max()) == (0, 1)
    assert np.bincount(labels, minlength=10).min() >= 80


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_accuracy_on_digits_kept_out_of_training(dtype):
    """On all 1,000 in float32; rounded weights on the first 200."""
    images, labels = models.mnist_sample()
    count = 1000 if dtype == "float32" else 200
    net = models.lenet(count, dtype)
    assert all(param.type.dtype.numpy == param.data.dtype for param in net.params)
    guess = evaluate(net, {"image": images[:count]})["softmax"].argmax(1)
    assert (guess == labels[:count]).mean() >= 0.985
