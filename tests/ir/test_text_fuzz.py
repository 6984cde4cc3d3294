"""Any text raises graphcnn's own errors and nothing else; mutated text is in `tests.fuzz`."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graphcnn.errors import GraphCNNError, ParseError
from graphcnn.frontend.from_text import parse
from graphcnn.ir import Graph


def outcome(text: str) -> Graph | str:
    """The graph, or the message of graphcnn's own error; any other error passes through."""
    try:
        return parse(text)
    except GraphCNNError as error:
        return str(error)


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
