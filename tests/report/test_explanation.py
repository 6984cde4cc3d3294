"""An explanation accounts for every node of the network."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import Graph
from graphcnn.report import explain

DRAW = np.random.default_rng(2)


def draw(*shape: int) -> np.ndarray:
    return DRAW.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def net() -> Graph:
    x = gx.input("image", (1, 3, 8, 8))
    h = gx.conv2d(x, draw(8, 3, 3, 3), padding=1, name="conv1")
    h = gx.batch_norm(h, draw(8), 1 + draw(8) ** 2, draw(8), draw(8), name="norm1")
    skip = gx.relu(h, name="relu1")
    h = gx.max_pool2d(skip, 2, name="pool1")
    h = gx.dropout(gx.flatten(h, name="flatten"), name="dropout")
    h = gx.linear(h, draw(4, 128), name="fc")
    overlapping = gx.max_pool2d(skip, 3, stride=2, name="pool2")
    return gx.graph("net", [h, overlapping])


def test_every_node_is_accounted_for(net):
    told = explain(gx.compile(net, device="cpu"))
    ran = [name for row in told.rows for name in row.nodes]
    gone = [vanished.name for vanished in told.vanished]
    assert sorted(ran + gone) == sorted(node.name for node in net.nodes)
    assert gone == ["conv1", "flatten", "dropout"]
    because = {vanished.name: vanished.because for vanished in told.vanished}
    assert because["conv1"] == "'norm1' does its work"
    assert because["flatten"] == "another name for the memory of 'pool1'"
    assert because["dropout"] == "simplify: dropout() changes nothing; 'flatten' is read instead"


def test_rows_and_totals(net):
    model = gx.compile(net, device="cpu")
    told = explain(model)
    first = told.rows[0]
    assert first.kernel == "conv2d+relu+max_pool2d"
    assert first.nodes == ("norm1", "relu1", "pool1")
    assert first.exports == ("relu1", "pool1")
    assert first.inputs == ("f32[1,3,8,8]",)
    assert first.outputs == ("f32[1,8,8,8]", "f32[1,8,4,4]")
    assert len(first.tile) == 3
    assert len(first.grid) == 3
    assert (told.source_nodes, told.kernel_count) == (8, 3)
    assert told.arena_bytes == model.plan.arena_bytes > 0
    # image in, relu1 and pool1 out; fc; pool2.
    assert told.moved == (192 + 512 + 128) + (128 + 4) + (512 + 72)
    unfused = (192 + 512) + 2 * (512 + 512) + (512 + 128) + (128 + 4) + (512 + 72)
    assert told.moved_unfused == unfused
    assert [(r.node, r.rule) for r in told.refusals if r.node == "pool2"]
    text = str(told)
    assert "8 nodes -> 3 kernels" in text
    assert all(word in text for word in ("declined", "pool2", "no kernel runs for", "norm1"))


def test_a_copy_of_a_strided_value_is_moved():
    """A step that runs for another name or a view reads and writes its elements."""
    x = gx.input("x", (2, 3, 8, 8))
    told = explain(gx.compile(gx.graph("g", x.permute(0, 2, 3, 1)), device="cpu"))
    assert (told.source_nodes, told.kernel_count, told.moved) == (1, 1, 2 * 384)
    assert "1 node -> 1 kernel\n" in str(told)


def test_a_library_has_no_tiles(net):
    told = explain(gx.compile(net, target="library", device="cpu"))
    assert (told.kernel_count, told.library_count) == (0, len(told.rows))
    assert "8 nodes -> 6 library calls" in str(told)
    assert all(row.tile == row.grid == () for row in told.rows)
    assert told.arena_bytes == 0


def test_a_library_call_between_kernels_is_told_with_its_cost():
    """72 numbers of four bytes are read, and as many written."""
    graph = gx.graph("net", gx.softmax(gx.relu(gx.input("x", (6, 3, 2, 1, 2))), name="called"))
    told = explain(gx.compile(graph, device="cpu"))
    (row,) = (row for row in told.rows if row.name == "called")
    assert (row.kernel, row.tile, row.grid) == ("library softmax", (), ())
    (declined,) = (refusal for refusal in told.refusals if refusal.node == "called")
    assert declined.because.endswith(": a library call, which moves 576 bytes")
    assert "library call, which moves 576 bytes" in " ".join(str(told).split())
