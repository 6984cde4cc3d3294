"""Mutated text raises graphcnn's own errors and nothing else."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graphcnn import models
from graphcnn.errors import GraphCNNError, ParseError
from graphcnn.ir import Graph, outline, parse

_LENET = models.lenet()
_GROUP = outline(_LENET.nodes[:3], ("relu1", "pool1"), _LENET)
_SEEDS = (
    str(_LENET),
    str(_LENET.replace(nodes=(_GROUP, *_LENET.nodes[3:]))),
    "graph g {\n  input x: f32[2,3]\n  y: f32[2,3] = softmax(x)\n  return y\n}",
)
_PIECES = (
    *"(){}[],:=#-.'\"\n 019eE_",
    "fused",
    "return",
    "param ",
    "1e999",
    "-1",
    "True",
    "None",
    "()",
    "(1, 1, 1, 1)",
    "99999999999999999999",
    "9" * 5000,
    "(" * 300,
    "f16",
    "i32",
    "conv2d",
    "reshape(x, shape=(-1,))",
    "\x00",
    "٣",
    "ß",
    "\u2028",
    "\r",
    "{'a': 1}",
    "1j",
    "b''",
    "nan",
    "value=",
    "padding=",
    "name=",
    "op=",
    "relu1",
    "conv1.weight",
)


def outcome(text):
    """The graph, or the message of graphcnn's own error; any other error passes through."""
    try:
        return parse(text)
    except GraphCNNError as error:
        return str(error)


@st.composite
def mutated(draw):
    text = draw(st.sampled_from(_SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            text = text[:start] + draw(st.sampled_from(_PIECES)) + text[end:]
        elif kind == 1:
            text = text[:start] + text[end:]
        elif kind == 2:
            lines = text.split("\n")
            first, second = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
            lines[first], lines[second] = lines[second], lines[first]
            text = "\n".join(lines)
        else:
            text = text[:start] + text[start:end] * 2 + text[end:]
    return text


@settings(max_examples=500, deadline=None)
@given(mutated())
def test_mutated_text(text):
    result = outcome(text)
    if isinstance(result, Graph):
        assert parse(str(result)) == result
    else:
        assert "remedy" in result


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
@example("graph g {\n" * 2000)
@example("graph g {\n input x: f32[" + "9" * 6000 + "]\n return x\n}")
def test_any_text(text):
    assert isinstance(outcome(text), Graph | str)


@pytest.mark.parametrize("depth", [2, 3000])
def test_fused_nodes_do_not_nest(depth):
    opened = "y: f32[1] = fused(x) {\n" * depth
    text = f"graph g {{\ninput x: f32[1]\n{opened}y: f32[1] = relu(x)\n"
    with pytest.raises(ParseError, match="do not nest"):
        parse(text + "return y\n}\n" * (depth + 1))
