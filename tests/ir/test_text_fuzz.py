"""Any text raises graphcnn's own errors and nothing else; mutated text is in `tests.fuzz`."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graphcnn.errors import ParseError
from graphcnn.ir import Graph, parse
from tests.fuzz.texts import outcome


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
