"""Saving and loading graphs."""

import os
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file

import graphcnn as gx
from graphcnn.errors import (
    FileProblem,
    GraphCNNError,
    InvalidAttribute,
    InvalidGraph,
    InvalidName,
    MissingWeights,
    NonFiniteWeights,
    ParseError,
)
from graphcnn.ir import Param, evaluate
from tests import saved
from tests.saved import same, weights_of


@pytest.fixture
def network():
    return saved.network()


def test_a_saved_graph_comes_back_with_its_weights(network, tmp_path):
    gx.save(network, tmp_path / "net.gcn")
    loaded = gx.load(tmp_path / "net.gcn")
    assert loaded == network
    assert loaded.fingerprint == network.fingerprint
    image = np.random.default_rng(1).standard_normal((1, 2, 6, 6))
    wanted = evaluate(network, {"image": image})["max_pool2d"]
    np.testing.assert_array_equal(evaluate(loaded, {"image": image})["max_pool2d"], wanted)
    beside = f"net.gcn.{network.fingerprint}.safetensors"
    assert sorted(os.listdir(tmp_path)) == ["net.gcn", beside]
    first, rest = (tmp_path / "net.gcn").read_text().split("\n", 1)
    assert first == f'# weights: "{beside}"'
    assert gx.parse(rest) == network


@pytest.mark.parametrize(
    "weight",
    [
        np.arange(24, dtype=np.float32).reshape(4, 3, 2).T,
        np.broadcast_to(np.arange(4, dtype=np.float32), (2, 3, 4)),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last).numpy()[..., 0],
    ],
)
def test_weights_in_any_layout_of_memory_come_back(weight, tmp_path):
    graph = gx.graph("net", gx.input("x", (2, 3, 4)) * weight)
    gx.save(graph, tmp_path / "net.gcn")
    (param,) = gx.load(tmp_path / "net.gcn").params
    np.testing.assert_array_equal(param.data, weight)


def test_text_without_weights_loads_without_weights(network, tmp_path):
    (tmp_path / "net.gcn").write_text(str(network))
    assert [param.data for param in gx.load(tmp_path / "net.gcn").params] == [None, None]


def edited(path, *changes):
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def with_other_tensors(path, change):
    """Write the weights of a saved graph anew, under the same name."""
    weights = weights_of(path)
    save_file(change(load_file(weights)), weights)


@pytest.mark.parametrize(
    ("changes", "got", "wanted"),
    [
        (
            (("f32[3,2,3,3]", "f32[3,2,2,2]"), ("f32[1,3,4,4]", "f32[1,3,5,5]")),
            "F32[3, 2, 3, 3]",
            "F32[3, 2, 2, 2]",
        ),
        ((("f32", "f64"),), "F32[3, 2, 3, 3]", "F64[3, 2, 3, 3]"),
        ((("relu", "tanh"),), "when it was saved", "nobody has changed"),
        ((("conv2d.weight", "w"),), "lacking: w; too many: conv2d.weight", "for each param"),
    ],
)
def test_a_text_that_was_edited_is_refused(network, tmp_path, changes, got, wanted):
    gx.save(network, tmp_path / "net.gcn")
    edited(tmp_path / "net.gcn", *changes)
    with pytest.raises(FileProblem, match="belong to another graph") as caught:
        gx.load(tmp_path / "net.gcn")
    assert got in caught.value.got
    assert wanted in caught.value.wanted


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda d: {**d, "ghost": np.ones(2, "f")}, "lacking: none; too many: ghost"),
        (lambda d: {"conv2d.bias": d["conv2d.bias"]}, "lacking: conv2d.weight; too many: none"),
        (lambda d: {n: a.astype(np.float16) for n, a in d.items()}, "F16[3, 2, 3, 3]"),
        (lambda d: {n: a + (a == a.max()) for n, a in d.items()}, "when it was saved"),
    ],
)
def test_weights_that_were_changed_are_refused(network, tmp_path, change, got):
    gx.save(network, tmp_path / "net.gcn")
    with_other_tensors(tmp_path / "net.gcn", change)
    with pytest.raises(FileProblem, match="belong to another graph, or are damaged") as caught:
        gx.load(tmp_path / "net.gcn")
    assert got in caught.value.got


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_tensors_of_dtypes_that_numpy_lacks_are_refused(network, tmp_path, dtype):
    gx.save(network, tmp_path / "net.gcn")
    weights = weights_of(tmp_path / "net.gcn")
    tensors = {name: torch.from_numpy(array) for name, array in load_file(weights).items()}
    save_torch_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, weights)
    with pytest.raises(FileProblem, match="belong to another graph") as caught:
        gx.load(tmp_path / "net.gcn")
    assert caught.value.got.startswith(("BF16[", "F8_E4M3["))


def outcome_is(network, path):
    """Whether a load gives this graph; otherwise it fails with an error that names the file."""
    try:
        found = gx.load(path)
    except GraphCNNError as error:
        text = str(error)
        assert str(path.parent) in text
        assert "remedy" in text
        return False
    assert same(found, network)
    return True


def test_every_damaged_byte_is_seen(network, tmp_path):
    """A byte of either file is another: the load fails, or gives the graph as it was saved."""
    path = tmp_path / "net.gcn"
    gx.save(network, path)
    rng = np.random.default_rng(3)
    refused = 0
    for file in (path, weights_of(path)):
        content = file.read_bytes()
        # All of the first line, which ties the two files, and a sample of the rest.
        places = [*range(60), *rng.integers(60, len(content), 150)]
        flips = rng.integers(1, 256, len(places))
        damaged = [content[:n] for n in rng.integers(0, len(content), 30)]
        for at, flip in zip(places, flips, strict=True):
            damaged.append(content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :])
        for other in damaged:
            file.write_bytes(other)
            refused += not outcome_is(network, path)
        file.write_bytes(content)
    assert refused > 400
    assert same(gx.load(path), network)


def test_the_file_that_is_damaged_is_named(network, tmp_path):
    path = tmp_path / "net.gcn"
    gx.save(network, path)
    file = weights_of(path)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FileProblem) as caught:
        gx.load(path)
    assert caught.value.where == str(file)


def test_unreadable_files(tmp_path):
    with pytest.raises(FileProblem, match="cannot be read"):
        gx.load(tmp_path / "missing.gcn")
    (tmp_path / "binary.gcn").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileProblem, match="cannot be read"):
        gx.load(tmp_path / "binary.gcn")
    (tmp_path / "empty.gcn").write_text("")
    with pytest.raises(ParseError):
        gx.load(tmp_path / "empty.gcn")


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("conv2d(", "conv3d(", ", line 5, column 26"),
        ("input image", "input", ", line 2, column 22"),
        ("relu: f32[1,3,4,4]", "relu: f32[1,3,4,5]", ", node 'relu' = relu"),
    ],
)
def test_an_error_in_a_file_names_the_file(network, tmp_path, old, new, where):
    text = str(network)
    assert old in text
    (tmp_path / "net.gcn").write_text(text.replace(old, new))
    with pytest.raises(GraphCNNError) as caught:
        gx.load(tmp_path / "net.gcn")
    assert caught.value.where == f"{tmp_path / 'net.gcn'}{where}"


@pytest.mark.parametrize(
    "path",
    ["", ".", "net\0.gcn", "net.safetensors", "net\ud800.gcn", b"net.gcn", 5, None, [], object],
    ids=ascii,
)
def test_paths_that_cannot_name_a_graph(network, path, tmp_path, monkeypatch):
    # Above all "net.safetensors": text and weights would overwrite one another.
    monkeypatch.chdir(tmp_path)
    for use in (lambda: gx.save(network, path), lambda: gx.load(path)):
        with pytest.raises(FileProblem, match="cannot name a graph") as caught:
            use()
        assert "net.gcn" in caught.value.remedy
    assert os.listdir(tmp_path) == []


def test_only_graphs_are_saved(tmp_path):
    with pytest.raises(InvalidGraph, match="not a graph"):
        gx.save(gx.input("x", (1,)), tmp_path / "net.gcn")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("variance", "error"), [(-1, InvalidAttribute), (np.nan, NonFiniteWeights)]
)
def test_weights_that_no_graph_may_have_are_not_loaded(tmp_path, variance, error):
    path = tmp_path / "net.gcn"
    net = gx.graph("g", gx.batch_norm(gx.input("x", (1, 4)), np.zeros(4), np.ones(4)))
    data = {param.name: param.data for param in net.params}
    data |= {"batch_norm.running_var": np.full(4, variance, np.float32)}
    save_file(data, tmp_path / "bad.safetensors")
    path.write_text(f'# weights: "bad.safetensors"\n{net}')
    with pytest.raises(error, match="batch_norm"):
        gx.load(path)


def test_a_graph_without_weights_does_not_take_those_that_it_replaces(network, tmp_path):
    gx.save(network, tmp_path / "net.gcn")
    bare = gx.parse(str(network).replace("graph saved", "graph bare"))
    gx.save(bare, tmp_path / "net.gcn")
    assert same(gx.load(tmp_path / "net.gcn"), bare)
    assert os.listdir(tmp_path) == ["net.gcn"]


def test_a_text_of_an_earlier_version_says_what_to_do(network, tmp_path):
    """Its weights were in a file of another name, and nothing said whose they were."""
    path = tmp_path / "net.gcn"
    path.write_text(str(network))
    save_file({param.name: param.data for param in network.params}, tmp_path / "net.safetensors")
    with pytest.raises(FileProblem, match="weights beside it") as caught:
        gx.load(path)
    line = re.search(r"# weights: .*?\"(?= )", caught.value.remedy)[0]
    path.write_text(f"{line}\n{network}")
    assert same(gx.load(path), network)
    path.write_text(f"# weights: null\n{network}")
    assert [param.data for param in gx.load(path).params] == [None, None]


@pytest.mark.parametrize(
    "line",
    [
        *("net", "5", "[]", '"', '""', '".."', '"../net.safetensors"', '"/etc/x"'),
        *('"a\\u0000"', '"\\ud800"', "[" * 10**5, "1" * 5000, '"' + "a" * 5000 + '"'),
    ],
    ids=lambda line: line[:20],
)
def test_a_first_line_that_names_no_file_beside(network, tmp_path, line):
    (tmp_path / "net.gcn").write_text(f"# weights: {line}\n{network}")
    with pytest.raises(FileProblem) as caught:
        gx.load(tmp_path / "net.gcn")
    assert str(tmp_path) in caught.value.where


def test_names_that_differ_in_what_looks_like_a_suffix(network, tmp_path):
    other = network.replace(params=tuple(replace(p, data=-p.data) for p in network.params))
    for first, second in (("net.1", "net.2"), ("m.txt", "m.gcn"), ("net", "net.gcn")):
        gx.save(network, tmp_path / first)
        gx.save(other, tmp_path / second)
        gx.save(other, tmp_path / second)
        assert same(gx.load(tmp_path / first), network)
        assert same(gx.load(tmp_path / second), other)


@pytest.mark.parametrize("name", ["a b.gcn", "größe.gcn", "net\n.gcn", "net'\".gcn", "n*?[a].gcn"])
def test_odd_names(network, tmp_path, name):
    for _ in range(2):
        gx.save(network, tmp_path / name)
        assert len(os.listdir(tmp_path)) == 2
    assert same(gx.load(tmp_path / name), network)


def test_a_name_that_utf_8_does_not_have(network, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/net\xff.gcn")
    gx.save(network, path)
    assert same(gx.load(path), network)


def filled(network, change):
    first, *others = network.params
    return network.replace(params=(Param(first.name, first.type, change(first.data)), *others))


def test_graphs_that_would_not_come_back_are_not_saved(network, tmp_path):
    path = tmp_path / "net.gcn"
    with pytest.raises(MissingWeights, match="all of its weights") as caught:
        gx.save(filled(network, lambda data: None), path)
    assert "conv2d.weight" in caught.value.got
    with pytest.raises(InvalidGraph, match="dtype"):
        gx.save(filled(network, lambda data: data.astype(np.float64)), path)
    with pytest.raises(InvalidGraph):
        gx.save(network.replace(outputs=("ghost",)), path)
    reserved = gx.graph("g", gx.add(gx.input("x", (2,)), gx.param("__metadata__", (2,))))
    with pytest.raises(InvalidName, match="__metadata__"):
        gx.save(reserved, path)
    assert os.listdir(tmp_path) == []


def test_bfloat16_params_hold_bfloat16_values(tmp_path):
    path = tmp_path / "net.gcn"
    x = gx.input("x", (1, 3), "bfloat16")
    weight = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    network = gx.graph("g", gx.linear(x, weight, name="fc"))
    gx.save(network, path)
    assert same(gx.load(path), network)
    assert weights_of(path).read_bytes().count(b"F32") == 1
    finer = filled(network, lambda data: data + np.float32(2**-12))
    with pytest.raises(InvalidGraph, match="no bfloat16 numbers"):
        gx.save(finer, path)
    save_file({"fc.weight": finer.params[0].data}, tmp_path / "finer.safetensors")
    path.write_text(f'# weights: "finer.safetensors"\n{network}')
    with pytest.raises(InvalidGraph, match="no bfloat16 numbers") as caught:
        gx.load(path)
    assert "finer.safetensors" in caught.value.where


def test_scalars_and_params_that_nothing_reads(tmp_path):
    text = """graph g {
  input x: f32[2]
  param p: f32[]
  param unread: f64[3]
  y: f32[2] = add(x, p)
  return y
}"""
    graph = gx.parse(text)
    data = (np.array(2.5, np.float32), np.arange(3.0))
    pairs = zip(graph.params, data, strict=True)
    graph = replace(graph, params=tuple(replace(p, data=d) for p, d in pairs))
    gx.save(graph, tmp_path / "net.gcn")
    assert same(gx.load(tmp_path / "net.gcn"), graph)
