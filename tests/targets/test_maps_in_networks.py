"""Resampling and norms between convolutions: inner images, at several batch sizes."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import with_he_weights
from graphcnn.plan import Call
from tests.stepwise import check_model


def conv(h, name, filters, channels):
    return gx.conv2d(h, gx.param(name, (filters, channels, 3, 3), h.dtype), padding=1)


def normalized(h):
    """Six channels of 9 x 8 pixels, by each norm."""
    vectors = np.random.default_rng(0).uniform(0.5, 1.5, (2, 6)).astype(h.dtype.numpy)
    h = gx.silu(gx.group_norm(conv(h, "a", 6, 3), 3, *vectors))
    h = conv(gx.instance_norm(h, weight=vectors[0]), "b", 6, 6)
    return gx.layer_norm(conv(gx.layer_norm(h, 8), "c", 6, 6), (6, 9, 8))


def resampled(h):
    """Up, down and pooled, with two sizes that divide none."""
    h = conv(gx.interpolate(gx.relu(conv(h, "a", 6, 3)), scale_factor=2), "b", 6, 6)
    h = conv(gx.interpolate(h, (7, 13), mode="bilinear"), "c", 5, 6)
    h = gx.adaptive_max_pool2d(h, (5, 6)) + gx.adaptive_avg_pool2d(h, (5, 6))
    h = gx.lp_pool2d(h, 2, 2, ceil_mode=True)
    return gx.global_max_pool2d(conv(h, "d", 4, 5)) + gx.mean(h, (1, 2, 3), keepdim=True)


@pytest.mark.parametrize("make", [normalized, resampled])
@pytest.mark.parametrize("sanitize", ["0", "1"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_kernels_compute_them_at_every_batch_size(dtype, sanitize, make, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", sanitize)
    x = gx.input("image", (2, 3, 9, 8), dtype)
    model = gx.compile(with_he_weights(gx.graph("g", make(x))), device="cpu")
    assert not [step.node for step in model.plan.steps if isinstance(step.work, Call)]
    for batch in (2, 1, 5):
        image = np.random.default_rng(batch).standard_normal((batch, 3, 9, 8))
        check_model(model, {"image": image.astype(dtype)})


def test_a_norm_reads_weights_that_the_graph_computes():
    x, w = gx.input("x", (1, 4, 5)), gx.input("w", (1, 4))
    graph = gx.graph("g", gx.group_norm(x, 2, gx.reshape(gx.relu(w), (4,))))
    model = gx.compile(graph, device="cpu")
    assert not [step.node for step in model.plan.steps if isinstance(step.work, Call)]
    rng = np.random.default_rng(0)
    arrays = {v.name: rng.standard_normal(v.type.shape, np.float32) for v in graph.inputs}
    check_model(model, arrays)
