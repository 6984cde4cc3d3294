"""The first part of the main job: a trained network on real input, through fused kernels."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn import models


@pytest.mark.parametrize("fuse", [True, False])
def test_lenet_reads_digits_it_has_not_seen(fuse):
    images, labels = models.mnist_sample()
    model = gx.compile(models.lenet(batch=250), device="cpu", fuse=fuse)
    guessed = np.concatenate([model(image=part).argmax(1) for part in np.split(images, 4)])
    assert (guessed == labels).mean() >= 0.985
    assert len(set(guessed)) == 10
