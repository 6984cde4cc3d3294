"""The text form: what is written is read back, and malformed text says what is wrong, and where."""

import pytest

from graphcnn import errors
from graphcnn.ir import inline, outline, parse

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
        ("relu(conv)", "gelu(conv)", errors.UnknownOp, "no operator 'gelu'"),
        ("relu(conv)", "relu(conv, slope=1)", errors.ParseError, "no attribute 'slope'"),
        ("relu(conv)", "relu(3)", errors.ParseError, "argument cannot be read"),
        ("relu(conv)", "fused(conv)", errors.ParseError, "has a body"),
        ("relu(conv)", "relu(con)", errors.InvalidGraph, "not defined"),
        ("relu(conv)", "relu(pad)", errors.CyclicGraph, "depends on itself"),
        ("relu(conv)", "relu()", errors.InvalidGraph, "reads input"),
        ("(1, 1, 1, 1), v", "(1, 1), v", errors.InvalidAttribute, "4 integers"),
        ("(1, 1, 1, 1), v", "import os, v", errors.ParseError, "value cannot be read"),
        ("padding=(1, 1, 1, 1), v", "v", errors.ParseError, "do not fit"),
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
