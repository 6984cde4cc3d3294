"""The text form: what is written is read back, and malformed text says what is wrong, and where."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcnn import errors
from graphcnn.ir import Graph, Node, Op, TensorType, Value, inline, outline, parse
from graphcnn.ops.activation import Relu

TEXT = """\
graph mini {
  input image: f32[1,3,8,8]
  param conv.weight: f32[4,3,3,3]
  conv: f32[1,4,8,8] = conv2d(image, conv.weight, padding=(1, 1, 1, 1))
  relu: f32[1,4,8,8] = relu(conv)
  pad: f32[1,4,10,10] = pad(relu, padding=(1, 1, 1, 1), value=-1e999)
  return relu, pad
}"""


def test_printing_is_the_inverse_of_parsing():
    assert str(parse(TEXT)) == TEXT


def test_fused_bodies():
    graph = parse(TEXT)
    group = outline(graph.nodes[:2], ("conv", "relu"), graph)
    fused = graph.replace(nodes=(group, graph.nodes[2]))
    text = str(fused)
    assert "  conv: f32[1,4,8,8], relu: f32[1,4,8,8] = fused(image, conv.weight) {\n" in text
    assert "    return conv, relu\n" in text
    assert parse(text) == fused
    assert str(inline(parse(text))) == TEXT


def test_blanks_and_comments():
    loose = TEXT.replace("\n", "   # a comment\n\n   ").replace(": ", "  :  ").replace(", ", " ,")
    assert parse(loose) == parse(TEXT)


@pytest.mark.parametrize(
    ("old", "new", "error", "says"),
    [
        ("graph mini {", "mini {", errors.ParseError, "line 1"),
        ("graph mini {", "graph 1 {", errors.ParseError, "graph NAME {"),
        ("\n}", "", errors.ParseError, "the text ends inside the graph"),
        ("\n}", "\n}\nmore", errors.ParseError, "text follows the graph"),
        ("return relu, pad\n", "", errors.ParseError, "not a node"),
        ("relu(conv)", "relu conv", errors.ParseError, "line 5"),
        ("relu(conv)", "rule(conv)", errors.UnknownOp, "no operator 'rule'"),
        ("relu(conv)", "relu(conv, slope=1)", errors.ParseError, "no attribute 'slope'"),
        ("relu(conv)", "relu(3)", errors.ParseError, "argument cannot be read"),
        ("relu(conv)", "fused(conv)", errors.ParseError, "has a body"),
        ("relu(conv)", "relu(con)", errors.InvalidGraph, "not defined"),
        ("relu(conv)", "relu(pad)", errors.CyclicGraph, "depends on itself"),
        ("relu(conv)", "relu()", errors.InvalidGraph, "reads input"),
        ("(1, 1, 1, 1), v", "(1, 1, 1), v", errors.InvalidAttribute, "4 integers"),
        ("(1, 1, 1, 1), v", "import os, v", errors.ParseError, "value cannot be read"),
        ("padding=(1, 1, 1, 1), v", "v", errors.ParseError, "do not fit"),
        ("(1, 1, 1, 1), v", "(1, 1, 1, 1), padding=0, v", errors.ParseError, "given twice"),
        ("(1, 1, 1, 1), v", "('a\\x1',), v", errors.ParseError, "value cannot be read"),
        ("(1, 1, 1, 1), v", "(" + "9" * 5000 + ",), v", errors.ParseError, "value cannot be read"),
        ("relu(conv)", "relu(conv,", errors.ParseError, "argument cannot be read"),
        ("relu(conv)", "relu(conv pad)", errors.ParseError, "line 5, column 34"),
        ("relu(conv)", "fused(conv, op=1)", errors.ParseError, "no attribute 'op'"),
        ("f32[4,3,3,3]", "f32[4,,3,3]", errors.ParseError, "type cannot be read"),
        ("image: f32[1,3,8,8]", "image: f33[1,3,8,8]", errors.UnknownDType, "f33"),
        ("image: f32[1,3,8,8]", "image: f32[0,3,8,8]", errors.ParseError, "positive"),
        ("image: f32[1,3,8,8]", "image: f32[1,3,8]", errors.RankError, "N, C, H, W"),
        ("image: f32[1,3,8,8]", "image: f32[1,2,8,8]", errors.ChannelMismatch, "2 channels"),
        ("f32[1,4,10,10]", "f32[1,4,10,11]", errors.InvalidGraph, "not what the op infers"),
        ("input image", "input conv", errors.InvalidGraph, "same name"),
        ("f32[4,3,3,3]", "f32[4,3,9,3]", errors.InvalidGraph, ""),
        ("return relu, pad", "return relu, ghost", errors.InvalidGraph, "ghost"),
    ],
)
def test_malformed_text(old, new, error, says):
    assert old in TEXT
    with pytest.raises(error) as caught:
        parse(TEXT.replace(old, new, 1))
    assert says in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["", "\n\n# only a comment", "graph g {", "}"])
def test_fragments(text):
    with pytest.raises(errors.ParseError, match="where"):
        parse(text)


@pytest.mark.parametrize("thing", [5, None, TEXT.encode()])
def test_text_is_a_string(thing):
    with pytest.raises(errors.ParseError, match="is a string") as caught:
        parse(thing)
    assert caught.value.got == type(thing).__name__


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("(1, 1, 1, 1), v", "(1, 1, 1, None), v", "line 6, column 53"),
        ("image: f32[1,3,8,8]", "image: f32[0,3,8,8]", "line 2, column 16"),
        ("relu(conv)", "rule(conv)", "line 5, column 24"),
        ("return", "return relu\n  return", "line 8, column 3"),
    ],
)
def test_an_error_names_line_and_column(old, new, where):
    with pytest.raises(errors.GraphCNNError) as caught:
        parse(TEXT.replace(old, new))
    assert caught.value.where == where


def test_keywords_are_names_too():
    text = """\
graph graph {
  input input: f32[2]
  param param: f32[2]
  constant constant: f32[]
  sum: f32[2] = add(input, param)
  return: f32[2] = mul(sum, constant)
  return return, input
}"""
    graph = parse(text)
    assert str(graph) == text
    assert graph.outputs == ("return", "input")
    assert [param.constant for param in graph.params] == [False, True]


@dataclass(frozen=True)
class Labelled(Relu):
    label: object = ""


@pytest.fixture
def labelled(monkeypatch):
    """An operator whose attribute may hold anything."""
    monkeypatch.setitem(Op.registry, "labelled", Labelled)
    monkeypatch.setattr(Labelled, "name", "labelled", raising=False)

    def read_back(label):
        image = Value("x", TensorType((2,)))
        node = Node("y", Labelled(label), ("x",), (Value("y", image.type),))
        graph = Graph("g", (image,), (), (node,), ("y",))
        assert str(graph).count("\n") == 4
        return graph, parse(str(graph))

    return read_back


@pytest.mark.parametrize(
    "label",
    [
        "inf",
        "a # b",
        "'",
        '"',
        "\"'\\",
        "\n\r\t\0",
        "a, b) = c(",
        "{}",
        "\u2028\x85",
        "größe",
        "\ud800",
        ("inf", ("#",), -float("inf"), ()),
        True,
        -1.5e-300,
        (((1,),),),
    ],
    ids=ascii,
)
def test_attributes_of_any_characters_come_back(labelled, label):
    graph, again = labelled(label)
    assert again == graph
    assert again.nodes[0].op.label == label


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=20))
def test_strings_come_back(label):
    from graphcnn.ir.graph import literal
    from graphcnn.ir.text import _Parser

    assert _Parser(literal(label)).literal() == label


MANY = 10**5
HOSTILE = {
    "name": "a" * MANY,
    "words": "a " * MANY,
    "blanks": " " * MANY + "a",
    "equals": "=" * MANY,
    "values": "a: f32[2], " * MANY,
    "type": "y: f32[" + "2," * MANY,
    "operands": "y: f32[2] = relu(" + "x," * MANY,
    "numbers": "y: f32[2] = relu(x, a=(" + "1," * MANY,
    "digits": "y: f32[2] = relu(x, a=" + "1" * MANY,
    "parentheses": "y: f32[2] = relu(x, a=" + "(" * MANY,
    "string": "y: f32[2] = relu(x, a='" + "\\'" * MANY,
    "quotes": "y: f32[2] = relu(x, a=" + "'\"" * MANY,
    "returned": "return " + "x, " * MANY,
    "keywords": "input " * MANY,
    "lines": "\n" * MANY + "?",
    "comments": "#" * MANY + "\n?",
}


def test_time_is_linear_in_a_line():
    """A parser that looks at characters again and again needs minutes for any of these lines; this
    one is stopped after one."""
    script = """
from graphcnn.errors import ParseError
from tests.ir.test_text import HOSTILE
import graphcnn
for line in HOSTILE.values():
    try:
        graphcnn.parse("graph g {\\n input x: f32[2]\\n" + line)
    except ParseError as error:
        assert len(str(error)) < 1000
    else:
        raise AssertionError(line[:80])
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_long_line_is_read():
    operands = ", ".join(["x"] * 10**5)
    text = (
        f"graph g {{\n  input x: f32[1,2]\n  y: f32[1,200000] = concat({operands})\n  return y\n}}"
    )
    assert str(parse(text)) == text


def test_tuples_nest_to_a_bound(labelled):
    deep = 1
    for _ in range(16):
        deep = (deep,)
    graph, again = labelled(deep)
    assert again == graph
    with pytest.raises(errors.ParseError, match="at most 16 deep"):
        labelled((deep,))
