"""An inspection states what a graph is, in JSON whole and in a table of 80 columns."""

import json
from dataclasses import replace

import pytest

import graphcnn as gx
from graphcnn import models
from graphcnn.frontend import param
from graphcnn.report import inspect
from graphcnn.report.tables import WIDTH

# The receptive fields of VGG-16 as the literature has them, by layer; 224 pixels are the image.
VGG16 = {
    "conv1_1": 3,
    "conv1_2": 5,
    "pool1": 6,
    "conv2_1": 10,
    "conv2_2": 14,
    "pool2": 16,
    "conv3_1": 24,
    "conv3_2": 32,
    "conv3_3": 40,
    "pool3": 44,
    "conv4_1": 60,
    "conv4_2": 76,
    "conv4_3": 92,
    "pool4": 100,
    "conv5_1": 132,
    "conv5_2": 164,
    "conv5_3": 196,
    "pool5": 212,
}


@pytest.fixture
def vgg16(monkeypatch):
    """Without numbers: drawing 138 million takes seconds."""
    monkeypatch.setattr("graphcnn.models.layers.with_he_weights", lambda graph, seed: graph)
    return inspect(models.vgg16())


def cells(told, name):
    """The row of a node in the table, without the cells that hold several words."""
    return next(line.split() for line in str(told).splitlines() if line.startswith(f"{name} "))


def test_the_receptive_fields_of_vgg16(vgg16):
    for name, size in VGG16.items():
        assert f"{size}x{size}" in cells(vgg16, name)
    for name in ("flatten", "fc6", "softmax"):
        assert "all" in cells(vgg16, name)
    assert max(map(len, str(vgg16).splitlines())) <= WIDTH


def test_every_name_and_number_of_vgg16_is_whole(vgg16):
    assert ".." not in str(vgg16)
    for row in vgg16.rows:
        assert f"{row.macs:,}" in cells(vgg16, row.name)


def test_json_has_size_jump_and_start_per_dimension():
    plain = json.loads(json.dumps(inspect(models.lenet()).to_json()))
    rows = {row["name"]: row for row in plain["rows"]}
    assert rows["pool2"]["op"] == "max_pool2d(kernel_size=(2, 2), stride=(2, 2))"
    assert rows["pool2"]["receptive_field"] == {"image": [{"size": 16, "jump": 4, "start": -2}] * 2}
    assert rows["softmax"]["receptive_field"] == {"image": [None, None]}


def test_a_line_per_input():
    x, y = gx.input("x", (1, 2, 8, 9)), gx.input("y", (1, 2, 8, 9))
    h = gx.conv2d(x, param("w", (2, 2, 3, 5)), padding=(1, 2), name="conv")
    h = gx.add(h, gx.softmax(y, dim=2, name="softmax"), name="sum")
    told = inspect(gx.graph("g", h))
    row = told.tables()[0].rows[-2]
    assert row == ("sum", "add()", "1x2x8x9", "3x5\nallx1", "0", "0")
    assert told.tables()[0].rows[0][3] == "3x5\n-"
    assert "a line per input" in str(told)


def test_attributes_of_windows_are_short_where_they_are_even():
    x = gx.input("x", (1, 5, 8, 9))
    h = gx.max_pool2d(x, (2, 2), (2, 1), (1, 0), name="pool")
    h = gx.reshape(h, (8, 5, 5, 1, 1), name="row")
    shown = [row[1] for row in inspect(gx.graph("g", h)).tables()[0].rows]
    assert shown[0] == "max_pool2d(kernel_size=2, stride=(2, 1), padding=(1, 0, 1, 0))"
    assert shown[1] == "reshape(shape=(8, 5, 5, 1, 1))"


def test_running_statistics_and_published_figures_stand_apart(monkeypatch):
    monkeypatch.setattr("graphcnn.models.layers.with_he_weights", lambda graph, seed: graph)
    told = inspect(models.vgg16_bn())
    assert (told.params, told.statistics) == (138_365_992, 8_448)
    told = replace(told, published=models.PUBLISHED["vgg16_bn"])
    assert [row[0::4] for row in told.tables()[0].rows[-3:]] == [
        ("total", "138,365,992"),
        ("running statistics", "8,448"),
        ("published", "138,365,992"),
    ]
    assert "torchvision" in str(told)
    assert told.to_json()["published"]["macs"] == 15_470_000_000


def test_sizes_stay_whole_beside_long_attributes(monkeypatch):
    monkeypatch.setattr("graphcnn.models.layers.with_he_weights", lambda graph, seed: graph)
    for net in (models.squeezenet1_1(), models.densenet121()):
        told = inspect(net)
        printed = str(told).split()
        assert max(map(len, str(told).splitlines())) <= WIDTH
        assert all("x".join(map(str, node.type.shape)) in printed for node in net.nodes)


def test_a_type_is_told_where_it_is_another():
    told = inspect(gx.graph("g", gx.sum(gx.input("x", (2, 3)), name="sum")))
    assert told.tables()[0].rows[0][2] == "scalar"
    told = replace(told, rows=(replace(told.rows[0], type="f64[2,3]"),))
    assert told.tables()[0].rows[0][2] == "f64 2x3"
