"""Every built-in network against its published figures."""

import pytest

from graphcnn import models
from graphcnn.ir import verify
from graphcnn.report import inspect


def test_every_network_but_lenet_has_published_figures():
    assert ["lenet", *models.PUBLISHED] == list(models.MODELS)


@pytest.mark.parametrize("name", models.PUBLISHED)
def test_published_figures(name, without_weights):
    net = models.build(name)
    verify(net)
    told, published = inspect(net), models.PUBLISHED[name]
    rounded = round(told.macs / published.unit) * published.unit
    assert (told.params, rounded) == (published.params, published.macs)
    batch = models.build(name, batch=3, dtype="f16")
    for output in net.outputs:
        assert batch.type_of(output).shape == (3, *net.type_of(output).shape[1:])
