"""Saving and loading graphs."""

import os
import stat

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import graphcnn as gx
from graphcnn.errors import (
    FileProblem,
    InvalidAttribute,
    InvalidGraph,
    NonFiniteWeights,
    ParseError,
)
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


@pytest.mark.parametrize("path", ["", ".", "net\0.gcn", "net.safetensors", 5, None])
def test_paths_that_cannot_name_a_graph(network, path, tmp_path, monkeypatch):
    # Above all "net.safetensors": text and weights would overwrite one another.
    monkeypatch.chdir(tmp_path)
    for use in (lambda: gx.save(network, path), lambda: gx.load(path)):
        with pytest.raises(FileProblem, match="cannot name a graph") as caught:
            use()
        assert "net.gcn" in caught.value.remedy
    assert os.listdir(tmp_path) == []


def test_files_have_the_permissions_that_the_user_s_files_have(network, tmp_path):
    gx.save(network, tmp_path / "net.gcn")
    (tmp_path / "other").write_text("")
    modes = {stat.S_IMODE(os.stat(file).st_mode) for file in tmp_path.iterdir()}
    assert len(modes) == 1


def test_weights_of_another_dtype_are_refused(network, tmp_path):
    gx.save(network, tmp_path / "net.gcn")
    (tmp_path / "net.gcn").write_text(str(network).replace("f32", "f64"))
    with pytest.raises(FileProblem, match="float32") as caught:
        gx.load(tmp_path / "net.gcn")
    assert "float64" in str(caught.value.wanted)


def test_only_graphs_are_saved(tmp_path):
    with pytest.raises(InvalidGraph, match="not a graph"):
        gx.save(gx.input("x", (1,)), tmp_path / "net.gcn")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("variance", "error"), [(-1, InvalidAttribute), (np.nan, NonFiniteWeights)]
)
def test_weights_that_no_graph_may_have_are_not_loaded(tmp_path, variance, error):
    net = gx.graph("g", gx.batch_norm(gx.input("x", (1, 4)), np.zeros(4), np.ones(4)))
    gx.save(net, tmp_path / "net.gcn")
    weights = tmp_path / "net.safetensors"
    data = load_file(weights) | {"batch_norm.running_var": np.full(4, variance, np.float32)}
    save_file(data, weights)
    with pytest.raises(error, match="batch_norm"):
        gx.load(tmp_path / "net.gcn")


def test_a_graph_without_weights_does_not_take_those_of_an_older_file(network, tmp_path):
    gx.save(network, tmp_path / "net.gcn")
    before = (tmp_path / "net.gcn").read_text()
    bare = gx.parse(str(network).replace("graph saved", "graph bare"))
    with pytest.raises(FileProblem, match="older file"):
        gx.save(bare, tmp_path / "net.gcn")
    assert (tmp_path / "net.gcn").read_text() == before
    gx.save(bare, tmp_path / "bare.gcn")
    assert gx.load(tmp_path / "bare.gcn") == bare
