"""digit-recognizer-py: a network of three convolutions that reads handwritten digits."""

import torch

from graphcnn.models import mnist_sample
from tests.real.trained import definition, folder, imported


def test_digits_are_read():
    at = folder("digit_recognizer", "digit-recognizer-py")
    network = definition(at, "model").CNN().eval()
    network.load_state_dict(torch.load(at / "models/handwriting_model.pth", weights_only=True))
    images, labels = mnist_sample()
    # The mean and deviation of MNIST that the package states.
    images = (torch.from_numpy(images) - 0.1307) / 0.3081
    run = imported(network, images[:1], other=(images[1:2],))
    (scores,) = run(images)
    assert (scores.argmax(1).numpy() == labels).mean() > 0.99
