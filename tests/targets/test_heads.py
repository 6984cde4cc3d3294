"""Convolutions whose kernels repeat the elements of their input."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.frontend.resampling import interpolate
from graphcnn.runtime.boundary import example_inputs
from tests.stepwise import check_model

DRAW = np.random.default_rng(5)


def weight(*shape):
    return DRAW.standard_normal(shape).astype(np.float32)


def image(*shape):
    return gx.input("x", shape)


def doubled():
    up = interpolate(image(2, 32, 3, 4), scale_factor=2)
    return gx.relu(gx.conv2d(up, weight(6, 32, 3, 3), weight(6), padding=1))


def sized():
    up = interpolate(image(1, 32, 3, 4), (9, 4))
    return gx.max_pool2d(gx.conv2d(up, weight(6, 32, 3, 3), padding=2, dilation=2), 2)


def strided():
    up = interpolate(image(1, 64, 5, 4), scale_factor=3)
    return gx.conv2d(up, weight(6, 32, 5, 5), stride=2, padding=(1, 2, 0, 1), groups=2)


def of_a_sequence():
    up = interpolate(image(2, 32, 7), scale_factor=4)
    return gx.tanh(gx.conv1d(up, weight(6, 32, 3), padding=1))


def behind_a_convolution():
    h = gx.relu(gx.conv2d(image(2, 5, 4, 6), weight(32, 5, 3, 3), padding=1))
    up = interpolate(h, scale_factor=2)
    g = gx.conv2d(up, weight(32, 32, 3, 3), padding=1)
    return gx.relu(g + gx.conv2d(up, weight(32, 32, 1, 1)))


def residual():
    skip = gx.conv2d(gx.input("skip", (2, 5, 8, 12)), weight(32, 5, 1, 1))
    h = gx.relu(gx.conv2d(image(2, 5, 4, 6), weight(32, 5, 3, 3), padding=1))
    h = gx.conv2d(interpolate(h, scale_factor=2), weight(32, 32, 3, 3), padding=1)
    return gx.relu(h + skip)


NETWORKS = [doubled, sized, strided, of_a_sequence, residual]


@pytest.mark.parametrize("make", NETWORKS)
def test_an_interpolation_takes_no_step(make):
    source = gx.graph("g", make())
    (up,) = (node for node in source.nodes if node.op.name == "interpolate")
    pair = (up.name, source.users(up.name)[0].name)
    model = gx.compile(source, device="cpu", must_fuse=[pair])
    labels = [step.label for step in model.plan.steps]
    assert any(label.startswith("interpolate+conv") for label in labels)
    assert "interpolate" not in labels
    check_model(model, example_inputs(source))
    assert gx.verify(model).ok


def test_an_interpolation_before_1x1_filters_takes_no_step_by_itself():
    up = interpolate(image(2, 32, 3, 4), scale_factor=2)
    model = gx.compile(gx.graph("g", gx.conv2d(up, weight(6, 32, 1, 1))), device="cpu")
    assert [step.label for step in model.plan.steps] == ["interpolate+conv2d"]
    assert gx.verify(model).ok


def test_a_value_with_two_readers_is_stored():
    model = gx.compile(gx.graph("g", behind_a_convolution()), device="cpu")
    assert "interpolate" in [step.label for step in model.plan.steps]
    assert gx.verify(model).ok
