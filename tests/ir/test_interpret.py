import weakref

import pytest

import graphcnn as gx
from graphcnn.ir.interpret import interpret

NET = gx.parse("""
graph net {
  input x: f32[1]
  a: f32[1] = relu(x)
  b: f32[1] = add(x, a)
  unread: f32[1] = tanh(a)
  c: f32[1] = mul(b, b)
  return c
}
""")


class Token:
    def __init__(self, text):
        self.text = text


def test_nodes_are_applied_in_order_to_what_stands_for_their_operands():
    def apply(node, operands):
        return f"{node.op.name}({', '.join(operands)})"

    made = dict(interpret(NET.nodes, str.upper, apply))
    assert list(made) == ["a", "b", "unread", "c"]
    assert made["c"] == "mul(add(X, relu(X)), add(X, relu(X)))"


def test_a_value_is_let_go_after_its_last_reader():
    alive = weakref.WeakValueDictionary()

    def apply(node, operands):
        alive[node.name] = token = Token(node.name)
        return token

    seen = {name: sorted(alive) for name, _ in interpret(NET.nodes, Token, apply)}
    assert seen["b"] == ["a", "b"]
    assert seen["c"] == ["c"]


def test_nothing_runs_before_it_is_asked_for():
    def apply(node, operands):
        raise AssertionError

    lazy = interpret(NET.nodes, Token, apply)
    with pytest.raises(AssertionError):
        next(lazy)
