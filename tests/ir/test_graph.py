import numpy as np
import pytest

import graphcnn as gx
from graphcnn.errors import UnknownNode
from graphcnn.ir import Param, TensorType, Value, inline, node_cost, outline, parse, verify

TEXT = """\
graph net {
  input image: f32[1,3,8,8]
  param conv.weight: f32[4,3,3,3]
  param unused: f32[1]
  conv: f32[1,4,8,8] = conv2d(image, conv.weight, padding=(1, 1, 1, 1))
  relu: f32[1,4,8,8] = relu(conv)
  sum: f32[1,4,8,8] = add(relu, relu)
  pool: f32[1,4,4,4] = max_pool2d(sum, kernel_size=(2, 2), stride=(2, 2))
  return pool, relu
}"""


@pytest.fixture
def net():
    return parse(TEXT)


def test_questions(net):
    assert net["relu"].op.name == "relu"
    assert net.producer("image") is None
    assert net.producer("pool") is net.nodes[3]
    assert net.type_of("conv.weight") == TensorType((4, 3, 3, 3))
    assert [node.name for node in net.users("relu")] == ["sum"]
    assert net.users("pool") == ()
    assert net.is_param("unused")
    assert not net.is_param("image")
    assert net.defines("sum")
    assert not net.defines("nothing")


def test_sole_user(net):
    assert net.sole_user("conv").name == "relu"
    # relu has one reader, and is an output besides.
    assert net.sole_user("relu") is None
    assert net.sole_user("pool") is None


def test_what_depends_on_an_input():
    text = """graph g {
      input x: f32[2]
      param p: f32[2]
      a: f32[2] = relu(p)
      b: f32[2] = add(x, a)
      c: f32[2] = add(a, p)
      d: f32[2] = mul(b, c)
      return d
    }"""
    assert parse(text).varying == {"x", "b", "d"}


def test_unknown_node_lists_the_known(net):
    with pytest.raises(UnknownNode, match="conv, relu, sum, pool"):
        net["relu9"]


def test_replace_drops_unread_params(net):
    assert [p.name for p in net.params] == ["conv.weight", "unused"]
    assert [p.name for p in net.replace().params] == ["conv.weight"]


def test_equality_is_structural(net):
    again = parse(TEXT)
    assert again == net
    assert hash(again) == hash(net)
    assert net.replace(outputs=("pool",)) != net


def test_fingerprint_sees_weights(net):
    data = np.zeros((4, 3, 3, 3), np.float32)
    zeros = net.replace(params=(Param("conv.weight", net.params[0].type, data),))
    ones = net.replace(params=(Param("conv.weight", net.params[0].type, data + 1),))
    assert zeros == ones
    assert zeros.fingerprint != ones.fingerprint
    assert len(zeros.fingerprint) == 16


def test_outline_and_inline_are_inverse(net):
    group = outline(net.nodes[:3], ("relu", "sum"), net)
    assert group.inputs == ("image", "conv.weight")
    assert group.outputs == (
        Value("relu", TensorType((1, 4, 8, 8))),
        Value("sum", TensorType((1, 4, 8, 8))),
    )
    fused = net.replace(nodes=(group, net.nodes[3]))
    verify(fused)
    assert inline(fused) == net.replace()
    assert parse(str(fused)) == fused


def test_fused_cost_counts_traffic_at_the_border(net):
    fused = net.replace(nodes=(outline(net.nodes, ("relu", "pool"), net),))
    cost = node_cost(fused.nodes[0], fused)
    unfused = [node_cost(node, net) for node in net.nodes]
    assert cost.macs == sum(c.macs for c in unfused) == 4 * 64 * 27
    assert cost.flops == sum(c.flops for c in unfused)
    assert cost.reads == 3 * 64 + 4 * 27
    assert cost.writes == 4 * 64 + 4 * 16


def test_fused_has_no_rules_of_its_own(net):
    op = outline(net.nodes, ("relu", "pool"), net).op
    for question in (op.infer, op.reference, lambda: op.error((), (), np.zeros(1), 0.0)):
        with pytest.raises(NotImplementedError, match="body"):
            question()


def test_he_weights_are_seeded_and_scaled():
    x = gx.input("x", (1, 64, 4, 4))
    y = gx.conv2d(x, gx.param("w", (128, 64, 3, 3)), gx.param("b", (128,)))
    stats = {role: gx.param(role, (128,)) for role in ("mean", "var", "weight", "bias")}
    y = gx.batch_norm(y, *stats.values())
    net = gx.graph("net", y)
    from graphcnn.ir import with_he_weights

    first, again, other = (with_he_weights(net, seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    data = {param.name: param.data for param in first.params}
    # An estimate from n normal numbers has a relative standard deviation of 1 / sqrt(2 n).
    off = data["w"].std() / np.sqrt(2 / 576) - 1
    assert abs(off) < 8 / np.sqrt(2 * data["w"].size)
    assert (data["var"] >= 0.5).all()
    assert (data["weight"] >= 0.5).all()
    assert (data["mean"] < 0).any()
    # Data that is there stays.
    assert with_he_weights(first, 9).fingerprint == first.fingerprint


def test_members_are_the_nodes_that_a_node_stands_for(net):
    group = outline(net.nodes[:2], ("relu",), net)
    assert group.members == net.nodes[:2]
    assert net.nodes[2].members == (net.nodes[2],)


def test_a_node_prints_its_line_of_the_text_form(net):
    assert str(net["relu"]) == "relu: f32[1,4,8,8] = relu(conv)"
    assert str(outline(net.nodes[:2], ("relu",), net)).endswith("  return relu\n}")
