"""Saving and loading graphs."""

import os

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.errors import FileProblem, ParseError
from graphcnn.ir import evaluate


@pytest.fixture
def network():
    rng = np.random.default_rng(0)
    x = gx.input("image", (1, 2, 6, 6))
    h = gx.relu(gx.conv2d(x, rng.standard_normal((3, 2, 3, 3)), rng.standard_normal(3)))
    return gx.graph("saved", gx.max_pool2d(h, 2))


def test_a_saved_graph_comes_back_with_its_weights(network, tmp_path):
    gx.save(network, tmp_path / "net.gcn")
    loaded = gx.load(tmp_path / "net.gcn")
    assert loaded == network
    assert loaded.fingerprint == network.fingerprint
    image = np.random.default_rng(1).standard_normal((1, 2, 6, 6))
    wanted = evaluate(network, {"image": image})["max_pool2d"]
    np.testing.assert_array_equal(evaluate(loaded, {"image": image})["max_pool2d"], wanted)
    assert sorted(os.listdir(tmp_path)) == ["net.gcn", "net.safetensors"]


def test_text_without_weights_loads_without_weights(network, tmp_path):
    (tmp_path / "net.gcn").write_text(str(network))
    assert [param.data for param in gx.load(tmp_path / "net.gcn").params] == [None, None]


def test_weights_of_another_graph_are_refused(network, tmp_path):
    gx.save(network, tmp_path / "net.gcn")
    text = (
        str(network).replace("f32[3,2,3,3]", "f32[3,2,2,2]").replace("f32[1,3,4,4]", "f32[1,3,5,5]")
    )
    (tmp_path / "net.gcn").write_text(text)
    with pytest.raises(FileProblem, match="belong to another graph"):
        gx.load(tmp_path / "net.gcn")


def test_unreadable_files(tmp_path):
    with pytest.raises(FileProblem, match="cannot be read"):
        gx.load(tmp_path / "missing.gcn")
    (tmp_path / "binary.gcn").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileProblem, match="cannot be read"):
        gx.load(tmp_path / "binary.gcn")
    (tmp_path / "empty.gcn").write_text("")
    with pytest.raises(ParseError):
        gx.load(tmp_path / "empty.gcn")


def test_a_failed_write_leaves_nothing(network, tmp_path):
    with pytest.raises(FileProblem, match="cannot be written"):
        gx.save(network, tmp_path / "no such folder" / "net.gcn")
    (tmp_path / "taken.gcn").mkdir()
    with pytest.raises(FileProblem, match="cannot be written"):
        gx.save(network, tmp_path / "taken.gcn")
    assert sorted(os.listdir(tmp_path)) == ["taken.gcn", "taken.safetensors"]
