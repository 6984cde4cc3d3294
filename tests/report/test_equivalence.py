"""What a pass changed in the meaning of a value is found, however little it is."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import Graph
from graphcnn.report import Verification, verify
from tests.report.edits import Edit, with_op, with_weight, without
from tests.tolerance import tf32

DRAW = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return DRAW.standard_normal(shape, np.float32)


def small_net() -> Graph:
    x = gx.input("image", (2, 3, 9, 9))
    h = gx.conv2d(x, draw(4, 3, 3, 3), draw(4), name="conv")
    h = gx.leaky_relu(h, 0.1, name="leaky")
    scale = [draw(4), 1 + DRAW.random(4, np.float32), 1 + draw(4), draw(4)]
    h = gx.batch_norm(gx.max_pool2d(h, 2, name="pool"), *scale, name="norm")
    return gx.graph("small", [gx.linear(gx.flatten(h), draw(5, 36), name="fc"), h])


def changed_by_a_pass(verdict: Verification, node: str) -> None:
    """The passes fail at a node and the kernels do nothing wrong."""
    assert not verdict.ok
    assert all(row.problem is None for row in verdict.rows)
    assert [value.name for value in verdict.values if value.problem] == [node]
    assert verdict.first_bad is not None
    assert (verdict.first_bad.node, verdict.first_bad.group) == (node, None)
    (line,) = verdict.problems
    assert line.startswith(f"node '{node}' ({__file__}:")
    assert "a pass changed its meaning" in line
    assert f"FAIL: node '{node}'" in str(verdict)


def test_a_pass_that_changes_the_meaning_is_seen():
    passes = [Edit(without("leaky"))]
    changed_by_a_pass(verify(gx.compile(small_net(), device="cpu", passes=passes)), "pool")


@pytest.mark.parametrize("new", ["new", ""])
@pytest.mark.parametrize("target", ["triton", "library"])
@pytest.mark.parametrize("node", ["conv", "fc"])
@pytest.mark.parametrize("change", [lambda w: w * 1.0001, tf32], ids=["1.0001", "tf32"])
def test_weights_that_a_pass_changed_a_little_are_seen(change, node, target, new):
    """Under a name of its own a new weight may be off by its rounding, else by nothing."""
    passes = [Edit(with_weight(node, change, new))]
    verdict = verify(gx.compile(small_net(), device="cpu", target=target, passes=passes))
    if new:
        changed_by_a_pass(verdict, node)
    else:
        assert "a pass changed its meaning" in verdict.verdict


@pytest.mark.parametrize(
    ("node", "attributes"),
    [("leaky", {"negative_slope": 0.1001}), ("norm", {"eps": 1.1e-5})],
)
def test_attributes_that_a_pass_changed_a_little_are_seen(node, attributes):
    passes = [Edit(with_op(node, **attributes))]
    changed_by_a_pass(verify(gx.compile(small_net(), device="cpu", passes=passes)), node)


def test_an_infinity_of_the_other_sign_is_seen():
    """No finite value shows it: -inf * 0.1 and -inf * -0.1."""
    net = gx.graph("g", gx.leaky_relu(gx.input("x", (1, 2)), 0.1, name="y"))
    edit = Edit(with_op("y", negative_slope=-0.1))
    for passes, right in (((), True), ((edit,), False)):
        model = gx.compile(net, target="numpy", passes=passes)
        verdict = verify(model, x=np.array([[np.inf, -np.inf]], np.float32))
        assert verdict.ok is right
    assert verdict.first_bad.node == "y"


def test_outputs_that_a_pass_exchanged_are_seen():
    x = gx.input("x", (1, 6))
    net = gx.graph("pair", [gx.relu(x, name="a"), gx.tanh(x, name="b")])
    swap = Edit(lambda graph: graph.replace(outputs=graph.outputs[::-1]))
    verdict = verify(gx.compile(net, device="cpu", passes=[swap]))
    assert [value.name for value in verdict.values if value.problem] == ["a", "b"]
    assert "node 'a'" in verdict.verdict


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_folded_batch_norms_are_within_the_rounding_of_their_weights(dtype):
    x = gx.input("image", (2, 3, 8, 8), dtype)
    h = gx.conv2d(gx.relu(x), draw(4, 3, 1, 1), name="conv")
    scale = [draw(4), 1 + DRAW.random(4, np.float32), 1 + DRAW.random(4, np.float32), draw(4)]
    h = gx.batch_norm(gx.batch_norm(h, *scale), *scale, name="norm")
    model = gx.compile(gx.graph("net", h), device="cpu")
    assert [node.op.name for node in model.graph.nodes] == ["relu", "conv2d"]
    verdict = verify(model)
    assert verdict.ok, verdict.verdict
    (value,) = verdict.values
    assert (value.name, value.problem) == ("norm", None)
    assert 0 < value.share <= 1
    assert value.error > 1e-9
